"""Consul: the real agent where there is one on PATH, and always a fake of what runs its checks.

Debian 12 has no package of it. The fake plays what Consul's documentation and source say.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Iterator, NamedTuple, Union

import pytest
from lab import TARGET, TOOL_PATH, Lab

from .machine import EXAMPLES, WEB1, WEB2, Farm, Machine, wait_until

EXAMPLE = "consul/half-open.hcl"
USER = "nobody"  # for consul, which only its package makes
CONSUL = shutil.which("consul", path=TOOL_PATH)
PASSING = {"web1-half-open": "passing", "web2-half-open": "critical"}
FAILED = {"web1-half-open": "critical", "web2-half-open": "critical"}


class Check(NamedTuple):
    """A check as the example defines it."""

    id: str
    args: list[str]
    timeout: float = 30.0


def checks_of_the_example() -> list[Check]:
    """Return the checks, read without a parser of HCL: their lists are JSON's, too."""
    text = (EXAMPLES / EXAMPLE).read_text(encoding="utf-8")
    blocks = re.findall(r"\n  check \{\n(.*?)\n  \}", text, re.S)
    found = []
    for block in blocks:
        values = dict(re.findall(r"^ *(\w+) += (.*)$", block, re.M))
        assert "timeout" not in values, "30 s is what the fake and the example's comment go by"
        found.append(Check(json.loads(values["id"]), json.loads(values["args"])))
    return found


class FakeAgent:
    """A fake agent.

    Contract: the arguments are a program and its words, run without a shell as the agent's user,
    in a process group of their own, which gets SIGKILL at the timeout. Exit code 0 is passing, 1
    is warning, all else (a signal, a timeout, what can't be started) critical. What was printed,
    on stderr too, is kept. The real one waits the interval; the fake is asked.
    """

    def __init__(self, machine: Machine, checks: list[Check]) -> None:
        """Run nothing yet."""
        self._machine, self._checks = machine, checks
        self._output: dict[str, str] = {}

    def states(self) -> dict[str, str]:
        """Run each check once, side by side."""
        with ThreadPoolExecutor(len(self._checks)) as pool:
            states = pool.map(self._state, self._checks)
            return {check.id: state for check, state in zip(self._checks, states)}

    def output(self, check: str) -> str:
        """Return what the check printed last."""
        return self._output[check]

    def _state(self, check: Check) -> str:
        # timeout(1) makes the group, and kills it.
        limit = ["timeout", "--signal=KILL", str(check.timeout)]
        done = self._machine.run([*limit, *check.args], USER, check.timeout + 30)
        self._output[check.id] = done.stdout + done.stderr
        return {0: "passing", 1: "warning"}.get(done.returncode, "critical")


class RealAgent:
    """The real agent, in development mode: no state on disk."""

    def __init__(self, lab: Lab, machine: Machine) -> None:
        """Start it as the user that it runs as."""
        assert CONSUL
        self._lab = lab
        # Wherever the tests' PATH has it, it is to be on the machine.
        shutil.copy(CONSUL, str(machine.path("/usr/local/bin/consul")))
        machine.install(EXAMPLE, "/etc/consul.d/half-open.hcl")
        self.process = machine.start(
            ["/usr/local/bin/consul", "agent", "-dev", "-config-dir=/etc/consul.d"], USER
        )

    def states(self) -> dict[str, str]:
        """Ask the agent; it calls critical what it has not checked yet."""
        return {name: check["Status"] for name, check in self._ask().items() if check["Output"]}

    def output(self, check: str) -> str:
        """Ask the agent for what the check printed last."""
        return str(self._ask()[check]["Output"])

    def _ask(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            return self._lab.within("scanner", partial(_get, "/v1/agent/checks"))
        return {}


def _get(path: str) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open("http://127.0.0.1:8500" + path, timeout=10) as answer:
        return json.load(answer)


Agent = Union[FakeAgent, RealAgent]


@pytest.fixture(params=["fake", *(["real"] if CONSUL else [])])
def agent(request: pytest.FixtureRequest, lab: Lab, machine: Machine) -> Iterator[Agent]:
    """Return an agent with the example's checks, and an nmap that its user may use."""
    machine.let_nmap()
    if request.param == "fake":
        yield FakeAgent(machine, checks_of_the_example())
        return
    real = RealAgent(lab, machine)
    yield real
    real.process.kill()
    real.process.wait()


def test_the_example_checks_both_backends() -> None:
    plugin = "/usr/lib/nagios/plugins/check_tcp_half_open"
    shell = ["/bin/sh", "-c"]

    assert checks_of_the_example() == [
        Check("web1-half-open", [*shell, f"{plugin} {WEB1} 443 || exit 2"]),
        Check("web2-half-open", [*shell, f"{plugin} {WEB2} 443 || exit 2"]),
    ]


def test_services_come_and_go_and_what_is_broken_is_critical(
    agent: Agent, machine: Machine, farm: Farm
) -> None:
    assert wait_until(lambda: agent.states() == PASSING), agent.states()
    assert agent.output("web1-half-open").startswith("TCP HALF-OPEN OK - 192.0.2.11:443 open")
    assert agent.output("web2-half-open").startswith("TCP HALF-OPEN CRITICAL - 192.0.2.12:443")

    farm.only(WEB2)
    reverse = dict(zip(PASSING, ["critical", "passing"]))
    assert wait_until(lambda: agent.states() == reverse), agent.states()

    for fault in ("missing", "not allowed"):
        machine.break_nmap(fault)
        assert wait_until(lambda: agent.states() == FAILED), agent.states()
        assert "TCP HALF-OPEN UNKNOWN - nmap " in agent.output("web2-half-open")
        machine.let_nmap()
        assert wait_until(lambda: agent.states() == reverse), agent.states()
    # Last, and without the package first: the commands can't be mended.
    for fault, why in (("not importable", "ModuleNotFoundError"), ("no interpreter", "not found")):
        machine.break_halfopen(fault)

        def critical() -> bool:
            failed = agent.states() == FAILED
            return failed and why in agent.output("web1-half-open")  # noqa: B023

        assert wait_until(critical), (agent.states(), agent.output("web1-half-open"))


@pytest.mark.usefixtures("farm")
def test_a_hanging_nmap_is_critical_before_consul_loses_patience(
    agent: Agent, machine: Machine
) -> None:
    machine.break_nmap("hanging")

    def critical() -> bool:
        failed = agent.states() == FAILED
        return failed and "UNKNOWN - nmap did not end" in agent.output("web1-half-open")

    assert wait_until(critical, 90), agent.states()


def test_nothing_outlives_a_check_whose_group_was_killed(machine: Machine) -> None:
    machine.slow_nmap()
    *shell, command = checks_of_the_example()[0].args
    command = command.replace(f"{WEB1} 443", f"-H {TARGET[4]} -p 80 -t 10")
    check = machine.start(["setsid", "--wait", *shell, command], USER)
    assert wait_until(lambda: machine.running("nmap.real"))
    (pid,) = machine.running("check_tcp_half_open")
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    check.wait(20)

    # nmap is in a group of its own, and ends with its --host-timeout.
    assert wait_until(lambda: not machine.running("nmap.real"), 30)
