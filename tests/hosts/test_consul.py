"""Consul: a fake of what runs its checks, after its documentation and source.

Debian has no package of it.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar

from support.machine import example

from .contract import FAULTS, Contract, Host, with_limit

EXAMPLE = example("consul/half-open.hcl")
USER = "nobody"  # for consul, which only its package makes


def checks(text: str) -> dict[str, list[str]]:
    """Return the arguments of each check, read without a parser of HCL: its lists are JSON's."""
    assert "timeout" not in re.sub("#.*", "", text), "30 s is what the fake and the example go by"
    found = re.findall(r'^ *id += "(\S+)-half-open"$.*?^ *args += ([^\n]*)$', text, re.M | re.S)
    return {web: json.loads(args) for web, args in found}


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

    CONFIG = with_limit(EXAMPLE, 3)

    def judge(self, web: str) -> str:
        # timeout(1) makes the group, and kills it.
        argv = ["timeout", "--signal=KILL", "30", *checks(self.config)[web]]
        done = self.machine.run(argv, USER)
        self.output[web] = done.stdout + done.stderr
        return {0: "passing", 1: "warning"}.get(done.returncode, "critical")


class TestContract(Contract):
    HOST = Consul
