"""Whatever fails of nmap, the system or the caller: no wrong verdict, in time, nothing left."""

from __future__ import annotations

import re
import signal
import subprocess
from typing import Iterator

import pytest
from lab import Lab
from support.machine import Site

from halfopen import programs

from .faults import (
    DOCUMENT,
    FAULTS,
    OPEN,
    SLACK,
    UNKNOWN,
    Ending,
    Fault,
    World,
    row,
    without_halfopen,
    without_time,
    world,
)

NEEDS = ("cc", "prlimit", "setcap", "setpriv", "unshare")
CASES = [(f"{kind} {fault.name}", fault) for kind, faults in FAULTS.items() for fault in faults]


@pytest.fixture(scope="module")
def made(lab: Lab, installed: Site) -> Iterator[World]:
    with world(lab, installed) as made:
        yield made


@pytest.fixture(scope="module")
def is_of_this_nmap() -> bool:
    """Return whether the document's words are those of the nmap that is installed."""
    nmap = programs.find_program("nmap")
    done = subprocess.run([nmap, "-V"], capture_output=True, text=True, timeout=30, check=True)
    version = done.stdout.split()[2]
    (of,) = re.findall(r"with nmap (\S+) and", DOCUMENT.read_text(encoding="utf-8"))
    return bool(of == version)


def documented() -> list[str]:
    """Return the rows of the document's tables, without their heads."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    return [line for line in rows if not line.startswith(("| Fault |", "| --- |"))]


def assert_as_expected(fault: Fault, ending: Ending) -> None:
    assert ending.happened, ending
    assert ending.seconds <= fault.limit + SLACK, ending
    assert set(ending.left) == ({"nmap"} if fault.lives_on else set()), ending
    if fault.or_open and without_halfopen(ending):
        assert ending.code not in (OPEN, 2), ending
        return
    assert ending.stderr == "", ending
    if fault.code is None:
        assert (signal_name(ending.code), ending.stdout) == (ending.variant, ""), ending
        return
    is_open = fault.or_open and ending.code == OPEN
    assert ending.code == fault.code or is_open, ending
    assert (" open (syn-ack)" if is_open else fault.says) in ending.stdout, ending
    assert ending.stdout.count("\n") == (1 if fault.says or fault.or_open else 0), ending
    if ending.code == UNKNOWN:
        assert ending.stdout.startswith("TCP HALF-OPEN UNKNOWN - "), ending
        assert "; " in ending.stdout, f"a cause without advice: {ending}"


def signal_name(code: int) -> str:
    return signal.Signals(-code).name[len("SIG") :] if code < 0 else ""


@pytest.mark.parametrize("fault", [fault for _, fault in CASES], ids=[name for name, _ in CASES])
def test_a_fault_is_told_in_time_leaves_nothing_and_is_as_documented(
    made: World, fault: Fault, is_of_this_nmap: bool
) -> None:
    endings = made.endings(fault)
    for ending in endings:
        assert_as_expected(fault, ending)
    if not fault.or_open and is_of_this_nmap:
        told = [without_time(line) for line in documented()]
        assert without_time(row(fault, endings)) in told, "make faults writes it anew"


def test_the_document_has_a_row_for_each_fault_in_their_order() -> None:
    names = [line.split(" | ")[0][len("| ") :] for line in documented()]
    assert names == [fault.name for _, fault in CASES]
