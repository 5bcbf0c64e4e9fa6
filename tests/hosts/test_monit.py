"""examples/monit, judged by monit: `monit status` and its log."""

from __future__ import annotations

import re
import signal
from typing import ClassVar

from support.machine import Farm, Machine, example

from .contract import EndingContract, Host, changed, with_limit

NEEDS = ("monit",)

EXAMPLE = example("monit/halfopen")
AS_NOBODY = " as uid nobody and gid nogroup"

# In place of Debian's own, which checks every 120 s and has no interface for `monit status`.
MONITRC = """
set daemon 1
set log /var/log/monit.log
set idfile /var/lib/monit/id
set statefile /var/lib/monit/state
set httpd unixsocket /run/monit.sock
    allow localhost
include /etc/monit/conf.d/*
"""


class Monit(Host):
    """monit, as root, which is what it has to be."""

    CONFIG = with_limit(EXAMPLE, 3)
    UP, DOWN, FAILED = ("OK", "0"), ("Status failed", "2"), ("Status failed", "3")
    OPEN = ""  # it logs nothing of a service that is as it should be
    # monit kills what it started, and that alone.
    ENDS = "'web2' program timed out"
    IMPATIENT: ClassVar = {
        "config": changed(EXAMPLE, ("-p 443", "-p 80"), ("10 seconds", "1 seconds"))
    }
    AT: ClassVar = {
        "halfopen without interpreter": ("Status failed", "127"),
        "halfopen not importable": ("Status failed", "1"),
    }

    def start(self) -> None:
        self.machine.write("/etc/monit/conf.d/halfopen", self.config)
        self.machine.write("/etc/monit/monitrc", MONITRC, 0o600)
        # monit 5.34 never ends at a SIGTERM that comes while a check runs: it kills the check, and
        # waits for the SIGCHLD that it has blocked.
        self.run_daemon("monit", "-I", ends_by=signal.SIGKILL)

    def judge(self, service: str) -> tuple[str, ...]:
        """Return what it says of a service: its status, and the exit code that it saw last."""
        said = self.machine.run(["monit", "-B", "status", service]).stdout
        return tuple(re.findall(r"^  (?:status|last exit value) {3,}(.*)$", said, re.MULTILINE))

    def shown(self) -> str:
        return self.machine.read("/var/log/monit.log")


class TestContract(EndingContract):
    HOST = Monit

    def test_the_log_tells_of_a_failure_and_of_its_end(self, host: Monit, farm: Farm) -> None:
        before = len(host.shown())
        assert host.sees(farm, up="web2"), host.told()
        log = host.shown()[before:]

        assert re.search(r"error +: 'web1' status failed \(2\) -- .*\.11:443 closed", log)
        assert re.search(r"info +: 'web2' status succeeded \(0\) -- .*\.12:443 open", log)
        # A hanging nmap is ours to end, in good time before monit's limit.
        assert "timed out" not in host.shown()


def test_a_check_may_run_as_another_user(machine: Machine, farm: Farm) -> None:
    assert AS_NOBODY.strip() in EXAMPLE  # in its comment, and here as the comment says
    machine.let_nmap()
    with Monit(machine, re.sub(r"( -t \d+'\")", rf"\1{AS_NOBODY}", EXAMPLE)) as host:
        assert host.sees(farm, up="web1"), host.told()
