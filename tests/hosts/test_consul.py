"""Consul: the real agent where there is one on PATH, and always a fake of what runs its checks.

Debian has no package of it. The fake plays what Consul's documentation and source say.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import urllib.request
from functools import partial
from typing import Any, ClassVar, NamedTuple

from lab import TARGET, TOOL_PATH
from support.machine import WEB1, WEB2, Machine, wait_until

from .contract import FAULTS, PLUGIN, Contract, Host, Judged, example, side_by_side, with_limit

EXAMPLE = example("consul/half-open.hcl")
USER = "nobody"  # for consul, which only its package makes
CONSUL = shutil.which("consul", path=TOOL_PATH)


class Check(NamedTuple):
    """A check as the example defines it."""

    id: str
    args: list[str]
    timeout: float = 30.0


def checks(text: str) -> list[Check]:
    """Return an example's checks, read without a parser of HCL: its lists are JSON's, too."""
    found = []
    for block in re.findall(r"\n  check \{\n(.*?)\n  \}", text, re.S):
        values = dict(re.findall(r"^ *(\w+) += (.*)$", block, re.M))
        assert "timeout" not in values, "30 s is what the fake and the example's comment go by"
        found.append(Check(json.loads(values["id"]), json.loads(values["args"])))
    return found


class FakeAgent(Host):
    """A fake agent.

    Contract: the arguments are a program and its own, run without a shell as the agent's user, in a
    process group of their own, which gets SIGKILL at the timeout. Exit code 0 is passing, 1 is
    warning, all else (a signal, a timeout, what can't be started) critical. What was printed, on
    stderr too, is kept. The real one waits the interval; the fake is asked.
    """

    ROOT = False
    UP, DOWN, FAILED = "passing", "critical", "critical"
    SAYS: ClassVar = {
        **FAULTS,
        "halfopen without interpreter": "not found",
        "halfopen not importable": "ModuleNotFoundError",
    }

    def start(self) -> None:
        self._checks = {check.id: check for check in checks(with_limit(EXAMPLE, 3))}

    def judged(self) -> Judged:
        return side_by_side(self._judge)

    def _judge(self, web: str) -> str:
        check = self._checks[f"{web}-half-open"]
        # timeout(1) makes the group, and kills it.
        limit = ["timeout", "--signal=KILL", str(check.timeout)]
        done = self.machine.run([*limit, *check.args], USER, check.timeout + 30)
        self.output[web] = done.stdout + done.stderr
        return {0: "passing", 1: "warning"}.get(done.returncode, "critical")


class RealAgent(FakeAgent):
    """The real agent, in development mode: no state on disk."""

    def start(self) -> None:
        assert CONSUL
        # Wherever the tests' PATH has it, it is to be on the machine.
        shutil.copy(CONSUL, str(self.machine.path("/usr/local/bin/consul")))
        self.machine.write("/etc/consul.d/half-open.hcl", with_limit(EXAMPLE, 3))
        argv = ["/usr/local/bin/consul", "agent", "-dev", "-config-dir=/etc/consul.d"]
        self.run_daemon(*argv, user=USER)

    def judged(self) -> Judged:
        checked = {name: check for name, check in self._ask().items() if check["Output"]}
        return {name.split("-")[0]: check["Status"] for name, check in checked.items()}

    def shown(self) -> str:
        return "".join(str(check["Output"]) for check in self._ask().values())

    def _ask(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            return self.machine.lab.within("scanner", partial(_get, "/v1/agent/checks"))
        return {}


def _get(path: str) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open("http://127.0.0.1:8500" + path, timeout=10) as answer:
        return json.load(answer)


class TestFakeAgent(Contract):
    HOST = FakeAgent


if CONSUL:

    class TestRealAgent(Contract):
        HOST = RealAgent


def test_the_example_checks_both_backends() -> None:
    shell = ["/bin/sh", "-c"]

    assert checks(EXAMPLE) == [
        Check("web1-half-open", [*shell, f"{PLUGIN} {WEB1} 443 || exit 2"]),
        Check("web2-half-open", [*shell, f"{PLUGIN} {WEB2} 443 || exit 2"]),
    ]


def test_nothing_outlives_a_check_whose_group_was_killed(machine: Machine) -> None:
    machine.break_nmap("slow")
    *shell, command = checks(EXAMPLE)[0].args
    command = command.replace(f"{WEB1} 443", f"-H {TARGET[4]} -p 80 -t 5")
    check = machine.start(["setsid", "--wait", *shell, command], USER)
    assert wait_until(lambda: machine.running("nmap.real"))
    (pid,) = machine.running("check_tcp_half_open")
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    check.wait(20)

    # nmap is in a group of its own, and ends with its --host-timeout.
    assert wait_until(lambda: not machine.nmaps(), 30)
