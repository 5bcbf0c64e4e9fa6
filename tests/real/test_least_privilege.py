"""How little a check needs, with an installation that any user may run: see SECURITY.md."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from lab import NOBODY
from support.machine import WEB1, WEB2, Machine, wait_until

PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"
NET_RAW = 1 << 13  # linux/capability.h
NOBODY_ELSE = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def with_only(capability: str) -> list[str]:
    """Return the words that leave a command nobody's rights, and at most one capability."""
    kept = f"-all,+{capability}" if capability else "-all"
    return [
        *NOBODY_ELSE,
        *(f"--{one}={kept}" for one in ("inh-caps", "ambient-caps", "bounding-set")),
    ]


@pytest.mark.usefixtures("farm")
def test_an_ambient_cap_net_raw_and_no_other_right_is_enough(machine: Machine) -> None:
    checks = [
        machine.run([*with_only("net_raw"), PLUGIN, address, "443"])
        for address in (WEB1, WEB2, NOBODY[4])
    ]
    told = [done.stdout.split(" (")[0] for done in checks]

    assert told == [
        f"TCP HALF-OPEN OK - {WEB1}:443 open",
        f"TCP HALF-OPEN CRITICAL - {WEB2}:443 closed",
        f"TCP HALF-OPEN CRITICAL - {NOBODY[4]}:443 filtered",
    ]


def rights(pid: int) -> tuple[str, set[int]]:
    """Return a process's user ids, and which sets of capabilities it has."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    status = {name: value.strip() for name, _, value in lines}
    sets = {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    return status["Uid"], sets


@pytest.mark.parametrize("program", ["nmap", "check_tcp_half_open"])
def test_that_is_all_that_nmap_and_the_check_have(machine: Machine, program: str) -> None:
    seen: list[tuple[str, set[int]]] = []

    def look() -> bool:
        for pid in machine.running(program):
            with contextlib.suppress(OSError):
                seen.append(rights(pid))
        return check.poll() is not None

    check = machine.start([*with_only("net_raw"), PLUGIN, NOBODY[4], "443"])
    assert wait_until(look), machine.printed(check)

    assert seen
    assert [each for each in seen if each != ("\t".join(["65534"] * 4), {NET_RAW})] == []


def test_without_it_the_check_is_unknown_and_names_it(machine: Machine) -> None:
    done = machine.run([*with_only(""), PLUGIN, WEB1, "443"])

    assert done.stdout.startswith("TCP HALF-OPEN UNKNOWN - nmap needs root or CAP_NET_RAW; ")
    assert (done.returncode, done.stderr) == (3, "")


def test_an_nmap_of_the_monitors_group_is_nobody_elses(machine: Machine) -> None:
    """A copy, as SECURITY.md shows it."""
    nmap = "/usr/local/lib/halfopen/nmap"
    for words in (
        ["useradd", "--system", "--user-group", "monitor"],
        ["install", "-D", "-o", "root", "-g", "monitor", "-m", "750", "/usr/bin/nmap", nmap],
        ["setcap", "cap_net_raw+ep", nmap],
    ):
        assert machine.run(words).returncode == 0
    check = [PLUGIN, "-H", NOBODY[4], "-p", "443", "--nmap", nmap]
    as_monitor = ["setpriv", "--reuid=monitor", "--regid=monitor", "--init-groups"]
    theirs, others = machine.run([*as_monitor, *check]), machine.run(check, "nobody")

    assert theirs.stdout.startswith("TCP HALF-OPEN CRITICAL - 192.0.2.77:443 filtered")
    assert others.stdout.startswith("TCP HALF-OPEN UNKNOWN - cannot start ")
    assert others.returncode == 3
