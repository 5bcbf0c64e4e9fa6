"""examples/monit, judged by monit: `monit status` and its log."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from typing import Iterator

import pytest
from lab import Running
from support.machine import EXAMPLES, WEB2, Farm, Machine, end, wait_until

NEEDS = ("monit",)

EXAMPLE = (EXAMPLES / "monit/halfopen").read_text(encoding="utf-8")
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

OPEN, CLOSED, UNKNOWN = ("OK", "0"), ("Status failed", "2"), ("Status failed", "3")


@contextlib.contextmanager
def monit(machine: Machine, services: str = EXAMPLE) -> Iterator[Running[str]]:
    """Run monit with these services; as root, which is what it has to be."""
    machine.write("/etc/monit/conf.d/halfopen", services)
    machine.write("/etc/monit/monitrc", MONITRC, 0o600)
    daemon = machine.start(["monit", "-I"])
    try:
        yield daemon
    finally:
        # monit 5.34 never ends at a SIGTERM that comes while a check runs: it kills the check, and
        # waits for the SIGCHLD that it has blocked.
        end(daemon, signal.SIGKILL)


def judged(machine: Machine, service: str) -> tuple[str, ...]:
    """Return what monit says of a service: its status, and the exit code that it saw last."""
    said = machine.run(["monit", "-B", "status", service]).stdout
    return tuple(re.findall(r"^  (?:status|last exit value) {3,}(.*)$", said, re.MULTILINE))


def log(machine: Machine) -> str:
    return machine.read("/var/log/monit.log")


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_monit_alerts_for_the_closed_backend_alone(machine: Machine, farm: Farm, user: str) -> None:
    services = EXAMPLE
    if user == "nobody":
        assert AS_NOBODY.strip() in services  # in its comment, and here as the comment says
        services = services.replace("-t 5'\"", "-t 5'\"" + AS_NOBODY)
        assert services.count(AS_NOBODY) == 2
        machine.let_nmap()
    with monit(machine, services):
        assert wait_until(lambda: judged(machine, "web1") == OPEN), log(machine)
        assert wait_until(lambda: judged(machine, "web2") == CLOSED), log(machine)
        assert "'web1' status failed" not in log(machine)
        farm.only(WEB2)
        assert wait_until(lambda: judged(machine, "web1") == CLOSED), log(machine)
        assert wait_until(lambda: judged(machine, "web2") == OPEN), log(machine)

    assert re.search(
        r"error +: 'web1' status failed \(2\) -- .* 192\.0\.2\.11:443 closed", log(machine)
    )
    assert re.search(r"info +: 'web2' status succeeded \(0\) -- .*:443 open", log(machine))


@pytest.mark.usefixtures("farm")
def test_a_broken_nmap_is_an_alert_of_its_own_and_never_a_success(machine: Machine) -> None:
    with monit(machine):
        for fault in ("missing", "not allowed", "hanging"):
            assert wait_until(lambda: judged(machine, "web1") == OPEN), log(machine)
            assert wait_until(lambda: judged(machine, "web2") == CLOSED), log(machine)
            machine.break_nmap(fault)
            assert wait_until(lambda: judged(machine, "web1") == UNKNOWN), log(machine)
            assert wait_until(lambda: judged(machine, "web2") == UNKNOWN), log(machine)
            machine.mend_nmap()
        assert wait_until(lambda: judged(machine, "web1") == OPEN), log(machine)
        # Last, and without the package first: the commands can't be mended.
        for fault, code in (("not importable", "1"), ("no interpreter", "127")):
            machine.break_halfopen(fault)
            failed = ("Status failed", code)
            assert wait_until(lambda: judged(machine, "web1") == failed), log(machine)  # noqa: B023
            assert wait_until(lambda: judged(machine, "web2") == failed), log(machine)  # noqa: B023

    assert "'web2' status succeeded" not in log(machine)
    # A hanging nmap is ours to end, in good time before monit's limit.
    assert "timed out" not in log(machine)


@pytest.mark.usefixtures("farm")
def test_when_monit_kills_a_check_nmap_ends_by_itself(machine: Machine) -> None:
    machine.slow_nmap()
    services = EXAMPLE.replace("-H 192.0.2.12 -p 443", "-H 192.0.2.25 -p 80")
    services = services.replace("timeout 10 seconds", "timeout 1 seconds")
    assert services.count("timeout 1 seconds") == 2
    with monit(machine, services):
        # Some version of "program timed out": monit kills what it started, and that alone.
        assert wait_until(lambda: "'web2' program timed out" in log(machine)), log(machine)
        left, since = machine.running("nmap.real"), time.monotonic()
        assert judged(machine, "web2")[0] != "OK"

    assert left
    assert wait_until(lambda: not machine.running("nmap.real"), 15)
    assert time.monotonic() - since < 8  # -t 5 began before; unlimited it would be 59
