"""Checkmk's local check, run by its agent; verdicts by the documented grammar of a local section.

Debian 12 has no package of the agent, so a stand-in runs where the real one is not installed.
"""

from __future__ import annotations

import re
import time

import pytest

from .machine import PATIENCE, WEB1, WEB2, Farm, Machine, wait_until

EXAMPLE = "checkmk/tcp_half_open"
LOCAL = "/usr/lib/check_mk_agent/local"
AGENT = "/usr/bin/check_mk_agent"

# A fake of check_mk_agent, for its local checks alone. As the agent's: programs in the folder are
# waited for; those in a folder of a number of seconds run in the background, and what they said
# last is told with its age, and is forgotten when they do not exit 0.
STAND_IN = f"""#!/bin/sh
exec </dev/null 2>/dev/null
export LC_ALL=C
kept=/var/lib/check_mk_agent/cache
mkdir -p $kept
echo '<<<local:sep(0)>>>'
cd {LOCAL} || exit
for program in ./*; do
    [ -f "$program" ] && [ -x "$program" ] && "$program"
done
for program in [1-9]*/*; do
    [ -x "$program" ] || continue
    last=$kept/local_${{program##*/}}
    [ -s "$last" ] && sed "s/^/cached($(stat -c %Y "$last"),${{program%/*}}) /" "$last"
    [ -e "$last.new" ] || {{
        if "$program" >"$last.new"; then mv "$last.new" "$last"; else rm "$last" "$last.new"; fi
    }} >/dev/null &
done
"""

NUMBER = r"-?\d+(?:\.\d+)?"
LEVEL = rf"(?:(?:{NUMBER}:)?{NUMBER})?"
METRIC = rf"[A-Za-z]\w*={NUMBER}(?:;{LEVEL}(?:;{LEVEL}(?:;(?:{NUMBER})?(?:;(?:{NUMBER})?)?)?)?)?"
LINE = re.compile(
    r"(?P<cached>cached\(\d+,\d+\) )?(?P<status>[0-3]) "
    r"(?:\"(?P<quoted>[^\"']+)\"|(?P<plain>[^ \"']+)) "
    rf"(?P<metrics>-|{METRIC}(?:\|{METRIC})*) (?P<text>\S.*)"
)
"""A line of the section: docs.checkmk.com, "Local checks"; each of its parts must be right."""

WEBS = [f"TCP half-open {address}:443" for address in (WEB1, WEB2)]


def local_section(machine: Machine) -> dict[str, dict[str, str]]:
    """Return what the agent tells the Checkmk server of local checks: service to its parts."""
    done = machine.run([AGENT], timeout=PATIENCE)
    services = {}
    for header, body in re.findall(r"^<<<(.+)>>>\n((?:(?!<<<).*\n)*)", done.stdout, re.MULTILINE):
        for line in body.splitlines() if re.match(r"local\b", header) else []:
            match = LINE.fullmatch(line)
            assert match, line
            parts = {name: part or "" for name, part in match.groupdict().items()}
            services[parts["quoted"] or parts["plain"]] = parts
    return services


def statuses(machine: Machine) -> dict[str, str]:
    return {service: parts["status"] for service, parts in local_section(machine).items()}


@pytest.fixture
def agent(machine: Machine) -> Machine:
    """Return a machine with the agent, and no local check yet."""
    if not machine.path(AGENT).exists():
        machine.write(AGENT, STAND_IN, 0o755)
    return machine


def test_each_server_is_a_service(agent: Machine, farm: Farm) -> None:
    agent.install(EXAMPLE, f"{LOCAL}/tcp_half_open", 0o755)
    before = local_section(agent)
    farm.only(WEB2)
    after = local_section(agent)

    assert list(before) == WEBS
    assert [before[web]["status"] for web in WEBS] == ["0", "2"]
    assert [after[web]["status"] for web in WEBS] == ["2", "0"]
    assert before[WEBS[0]]["text"] == f"{WEB1}:443 open (syn-ack) https"
    assert before[WEBS[1]]["text"] == f"{WEB2}:443 closed (reset)"
    assert re.fullmatch(r"time=0\.\d{6};;;0", before[WEBS[0]]["metrics"])
    assert before[WEBS[1]]["metrics"] == "-"


@pytest.mark.usefixtures("farm")
def test_a_broken_nmap_is_unknown(agent: Machine) -> None:
    agent.install(EXAMPLE, f"{LOCAL}/tcp_half_open", 0o755)
    for fault in ("missing", "not allowed", "hanging"):
        agent.break_nmap(fault)
        found = local_section(agent)

        assert {service: parts["status"] for service, parts in found.items()} == dict.fromkeys(
            WEBS, "3"
        ), fault
        assert all("nmap" in parts["text"] for parts in found.values()), found


@pytest.mark.parametrize("folder", [LOCAL, LOCAL + "/2"])
@pytest.mark.usefixtures("farm")
def test_of_a_halfopen_that_does_not_start_nothing_is_told(agent: Machine, folder: str) -> None:
    """Checkmk then says of the services that they are missing."""
    agent.install(EXAMPLE, f"{folder}/tcp_half_open", 0o755)
    assert wait_until(lambda: statuses(agent) == {WEBS[0]: "0", WEBS[1]: "2"})
    # Without the package first: the commands can't be mended.
    for fault in ("not importable", "no interpreter"):
        agent.break_halfopen(fault)
        assert wait_until(lambda: statuses(agent) == {}), fault


@pytest.mark.usefixtures("farm")
def test_run_beside_the_agent_every_few_seconds(agent: Machine) -> None:
    """In a folder of seconds; 2, for the example's 60 would take as many."""
    agent.install(EXAMPLE, f"{LOCAL}/2/tcp_half_open", 0o755)
    began = time.time()

    assert wait_until(lambda: statuses(agent) == {WEBS[0]: "0", WEBS[1]: "2"})
    cached = [parts["cached"] for parts in local_section(agent).values()]
    when, seconds = re.findall(r"\d+", cached[0])
    assert len(set(cached)) == 1
    assert began - 1 <= int(when) <= time.time()
    assert seconds == "2"
    agent.break_nmap("missing")
    # Told, not forgotten: it exits 0 whatever it found.
    assert wait_until(lambda: statuses(agent) == dict.fromkeys(WEBS, "3"))
