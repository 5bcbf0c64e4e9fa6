"""Consul: a fake of what runs its checks, after its documentation and source.

Debian has no package of it.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar, NamedTuple

from support.machine import WEB1, WEB2

from .contract import FAULTS, PLUGIN, Contract, Host, Judged, example, side_by_side, with_limit

EXAMPLE = example("consul/half-open.hcl")
USER = "nobody"  # for consul, which only its package makes


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


class Consul(Host):
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


class TestContract(Contract):
    HOST = Consul


def test_the_example_checks_both_backends() -> None:
    shell = ["/bin/sh", "-c"]

    assert checks(EXAMPLE) == [
        Check("web1-half-open", [*shell, f"{PLUGIN} {WEB1} 443 || exit 2"]),
        Check("web2-half-open", [*shell, f"{PLUGIN} {WEB2} 443 || exit 2"]),
    ]
