"""What `halfopen smoke` says of an nmap, on a fake machine: without nmap, root or a network.

expected.txt has what is printed, case by case, and the exit codes without and with --strict. What
needs the real thing is in tests/real/test_smoke.py.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Callable

import pytest
from support.fake_machine import NMAP, SYSTEM, Argv, FakeMachine, alone, apart, late_7_70, plain
from support.fake_run import port_of

from halfopen.errors import CheckError
from halfopen.model import LATE, NmapRun
from halfopen.scan import diagnosis
from halfopen.smoke import report
from halfopen.smoke.conclusion import FIT, NOT_FIT, second_port_needed, verdict
from halfopen.smoke.findings import Examination, Outcome

KILLED: dict[str, Any] = {"stdout": b"", "exit_code": -9, "cut": LATE}


def named(found: Examination, outcome: Outcome) -> dict[str, str]:
    """Return the findings of an outcome: "group: name" to detail."""
    return {f"{f.group}: {f.name}": f.detail for f in found.findings if f.outcome is outcome}


def test_an_nmap_without_a_fault_is_fit() -> None:
    machine = FakeMachine()
    found = machine.examine()

    assert verdict(found.findings) is FIT
    assert {f.outcome for f in found.findings} == {Outcome.OK}
    assert found.nmap == NMAP
    assert second_port_needed(found.findings) is False
    assert machine.told == ["nmap and its libraries", "states", "two hosts"]
    asked = [argv[argv.index("-p") + 1] for argv in machine.commands if "-Pn" in argv]
    assert {"65535", "65535,65534"} < set(asked)
    assert len([one for one in asked if "," in one]) >= 6 <= len(list(filter(str.isdigit, asked)))
    between = [tuple(argv[:3]) for argv in machine.commands if apart(argv)]
    assert len(between) >= 15
    assert set(between) == {("enter", "--net", NMAP)}


@pytest.mark.parametrize(
    ("version", "library", "detail", "suspect"),
    [
        ("7.93", SYSTEM, "libpcap-1.10.3 (the system's)", False),
        ("7.93", "nmap-libpcap-1.10.3", "nmap-libpcap-1.10.3 (bundled)", False),
        ("7.94SVN", "libpcap-1.10.4", "libpcap-1.10.4 (the system's)", False),
        ("7.70", "libpcap-1.8.1", "libpcap-1.8.1 (the system's)", True),
        ("7.70", "nmap-libpcap-1.8.1", "nmap-libpcap-1.8.1 (bundled)", False),
        ("7.70SVN", "libpcap-1.10.0", "libpcap-1.10.0 (the system's)", True),
        ("7.80", "libpcap-1.9.1", "libpcap-1.9.1 (the system's)", False),
        ("7.60", "libpcap-1.5.3", "libpcap-1.5.3 (the system's)", True),
        ("6.40", "libpcap-1.4.0", "libpcap-1.4.0 (the system's)", False),
        ("6.49BETA4", "libpcap-1.7.4", "libpcap-1.7.4 (the system's)", True),
        ("7.93", "no-packet-library", "libpcap unknown", False),
        ("7.70", "no-packet-library", "libpcap unknown", True),  # it may be a late one
        ("10.1", SYSTEM, "libpcap-1.10.3 (the system's)", False),
        # It names a folder: it must lead no file astray.
        ("7.93/../../../out", SYSTEM, "libpcap-1.10.3 (the system's)", False),
        ("7.93\x1b[31m", SYSTEM, "libpcap-1.10.3 (the system's)", False),
    ],
)
def test_what_nmap_says_of_itself(version: str, library: str, detail: str, suspect: bool) -> None:
    machine = FakeMachine()
    machine.version, machine.library = version, library
    found = machine.examine()

    assert found.version == re.split("[/\x1b]", version)[0]
    assert named(found, Outcome.OK)["means: nmap"] == f"{NMAP}, {found.version}, {detail}"
    assert ("means: suspicion" in named(found, Outcome.SKIPPED)) is suspect
    assert verdict(found.findings) is FIT, "what is measured counts"


# -- what is wrong, and what is printed -----------------------------------------------------------


def answer(
    instead: str, chosen: Callable[[Argv, str], bool], only: int = 0
) -> Callable[[Argv, str], str]:
    """Return an nmap that says another state to chosen commands, or only to one, by its number."""
    asked: list[Argv] = []

    def says(argv: Argv, true: str) -> str:
        asked.extend([argv] if chosen(argv, true) else [])
        return instead if argv in asked and only in (0, len(asked)) else true

    return says


def give(chosen: Callable[[Argv], bool], **changes: Any) -> Callable[[Argv, str, NmapRun], NmapRun]:
    """Return an nmap that gives something else to chosen commands."""
    return lambda argv, _, run: run._replace(**changes) if chosen(argv) else run


REFUSED = give(
    lambda _: True,
    stdout=b"",
    stderr=b"You requested a scan type which requires root privileges.\nQUITTING!\n",
    exit_code=1,
)


def no_memory(argv: Argv, _: str, run: NmapRun) -> NmapRun:
    """Give nothing once plain scans begin."""
    if plain(argv):
        raise CheckError("cannot start nmap: Cannot allocate memory; free some memory")
    return run


V7_70: dict[str, Any] = {"version": "7.70", "library": "libpcap-1.8.1"}
ALONE: dict[str, Any] = {"neighbour": False}
ALL_PORTS = list(itertools.product(("open", "closed", "filtered"), (4, 6), (0, 65535)))
CASES: dict[str, dict[str, Any]] = {
    "nmap is not there": {"nmap": "no-such-nmap"},
    "nmap names no version": {"version_run": {"stdout": b"Nmap version x ( \xff"}},
    "nmap fails at once": {"version_run": {"exit_code": -11}},
    "nmap does not end and had little time": {"version_run": KILLED, "time": 2.0},
    "nmap hangs": {"gives": give(lambda _: True, **KILLED)},
    "nmap hangs between hosts": {"gives": give(apart, **KILLED)},
    "nmap prints no XML": {"gives": give(lambda _: True, stdout=b"<nmaprun>")},
    "a closed port is hidden": {"connections": {("closed", 4): "filtered"}},
    "no SYN scan is allowed": {"gives": REFUSED},
    "halfopen needs the second port": {
        "says": answer("filtered", lambda a, true: alone(a) and not plain(a) and true == "open")
    },
    "one of halfopen's own scans is wrong": {
        "says": answer("closed", lambda a, _: apart(a) and not plain(a), only=5)
    },
    "plain scans with the next port are wrong": {
        "says": answer("closed", lambda a, _: apart(a) and plain(a) and not alone(a))
    },
    "packets are late and halfopen's own scan is wrong, too": {
        **V7_70,
        "says": answer("filtered", lambda a, _: apart(a) and (alone(a) or not plain(a))),
    },
    "packets are late as 7.70 was recorded": {**V7_70, "gives": late_7_70},
    "one plain scan of the port alone is wrong": {
        "says": answer("filtered", lambda a, _: apart(a) and plain(a) and alone(a), only=3)
    },
    "packets may be late and there is no other host": {**V7_70, **ALONE},
    "no other host can be made": ALONE,
    "nmap makes connections": {"connects": True},
    "no listener notices a connection": {"deaf": True},
    "an open port cannot be made": {"absent": [("open", 4, 0)]},
    "the last port is another's": {"absent": [("open", 4, 65535)]},
    "no port can be made": {"absent": ALL_PORTS},
    "nmap cannot be started any more": {"gives": no_memory},
    "no time is left for two hosts": {"gives": give(apart, **KILLED), "time": 2.9},
    "packets may be late and no time is left": {
        **V7_70,
        "gives": give(apart, **KILLED),
        "time": 2.9,
    },
}
EXPECTED = Path(__file__).with_name("expected.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_found_weighed_and_printed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    machine = FakeMachine()
    # To others, other advice is given.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(diagnosis, "_process_status", lambda: defaultdict(int, CapEff=0xFFFFFFFF))
    vars(machine).update(CASES[name])
    found = machine.examine()

    printed, code = report.output(found, "text", verbose=False, strict=False)[:2]
    strict = report.output(found, "text", verbose=False, strict=True).code
    assert f"=== {name}: {code}, {strict}\n{printed}\n\n" in EXPECTED


@pytest.mark.parametrize("state", ["open", "closed", "filtered"])
@pytest.mark.parametrize("instead", ["open", "closed", "filtered"])
def test_a_wrong_state_is_not_fit(state: str, instead: str) -> None:
    machine = FakeMachine()
    machine.says = answer(
        instead, lambda argv, true: (true, argv[-1]) == (state, "::1") and port_of(argv) < 65535
    )
    found = machine.examine()

    right = state == instead
    wanted = {f"states: {state} port, IPv6, {how}" for how in ("with the next", "alone")}
    assert set(named(found, Outcome.FAILED)) == (set() if right else wanted)
    assert verdict(found.findings) is (FIT if right else NOT_FIT)


def test_what_nmap_said_when_it_was_refused_is_kept() -> None:
    machine = FakeMachine()
    machine.gives = REFUSED
    (raw,) = [f for f in machine.examine().findings if f.name == "raw sockets"]

    assert {run.exit_code for run in raw.runs} == {1}
