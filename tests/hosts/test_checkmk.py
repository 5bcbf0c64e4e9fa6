"""Checkmk's local check, run by its agent; verdicts by the documented grammar of a local section.

Debian has no package of the agent, so a stand-in runs where the real one is not installed.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from support.machine import PATIENCE, WEB1, Farm, Machine, example

from .contract import ADDRESSES, Contract, Host, Judged, with_limit

LOCAL = "/usr/lib/check_mk_agent/local"
AGENT = "/usr/bin/check_mk_agent"

SECTION = r"^<<<local\b.*>>>\n((?:(?!<<<).*\n)*)"
LINE = re.compile(
    r'(?P<cached>cached\(\d+,\d+\) )?(?P<status>[0-3]) "(?P<service>[^"]+)" '
    r"(?P<metrics>-|time=[0-9.;]+) (?P<text>\S.*)"
)
"""A line of the section: docs.checkmk.com, "Local checks"; each of its parts must be right."""


class Checkmk(Host):
    """The agent, with the example among the checks that it waits for."""

    UP, DOWN, FAILED = "0", "2", "3"
    # Of services that nothing is told of Checkmk says that they are missing.
    AT = dict.fromkeys(("halfopen without interpreter", "halfopen not importable"))
    CONFIG = LOCAL

    def start(self) -> None:
        if not self.machine.path(AGENT).exists():
            fake = Path(__file__).with_name("check_mk_agent").read_text(encoding="utf-8")
            self.machine.write(AGENT, fake, 0o755)
        text = with_limit(example("checkmk/tcp_half_open"), 3)
        self.machine.write(f"{self.config}/tcp_half_open", text, 0o755)

    def section(self) -> dict[str, dict[str, str]]:
        """Return what the agent tells the Checkmk server of local checks: service to its parts."""
        self.output["all"] = self.machine.run([AGENT], timeout=PATIENCE).stdout
        sections = re.findall(SECTION, self.output["all"], re.MULTILINE)
        lines = [line for body in sections for line in body.splitlines()]
        found = [LINE.fullmatch(line) for line in lines]
        assert all(found), lines
        return {match["service"]: match.groupdict("") for match in found if match}

    def judged(self) -> Judged:
        section = self.section()
        services = {web: f"TCP half-open {address}:443" for web, address in ADDRESSES.items()}
        assert set(section) <= set(services.values())
        return {web: section.get(name, {}).get("status") for web, name in services.items()}


class TestContract(Contract):
    HOST = Checkmk

    def test_the_parts_of_a_service(self, host: Checkmk) -> None:
        web1, web2 = host.section().values()

        assert web1["text"] == f"{WEB1}:443 open (syn-ack) https"
        assert re.fullmatch(r"time=0\.\d{6};;;0", web1["metrics"])
        assert web2["metrics"] == "-"


def test_in_a_folder_of_seconds_the_agent_tells_how_old_it_is(machine: Machine, farm: Farm) -> None:
    with Checkmk(machine, LOCAL + "/2") as host:  # the example's 60 would take as many
        assert host.sees(farm, up="web1"), host.told()
        first, second = (parts["cached"] for parts in host.section().values())
    when, seconds = map(int, re.findall(r"\d+", first))

    assert first == second
    assert time.time() - 60 < when <= time.time()
    assert seconds == 2
