"""Whatever fails of nmap, the system or the caller: no wrong verdict, in time, nothing left."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
from faults import FAULTS, Fault, World, assert_as_expected_and_documented, documented, world
from lab import Lab

CASES = {f"{kind} {fault.name}": fault for kind, faults in FAULTS.items() for fault in faults}
# The others are made in tests/hosts, for they need a C compiler.
HERE = {name: fault for name, fault in CASES.items() if not fault.fakes_the_clock}


@pytest.fixture(scope="module")
def made(lab: Lab, installed: Path) -> Iterator[World]:
    with world(lab, installed) as made:
        yield made


@pytest.mark.parametrize("fault", HERE.values(), ids=HERE)
def test_a_fault_is_told_in_time_leaves_nothing_and_is_as_documented(
    made: World, fault: Fault
) -> None:
    assert_as_expected_and_documented(made, fault)


def test_the_document_has_a_row_for_each_fault_in_their_order() -> None:
    names = [line.split(" | ")[0][len("| ") :] for line in documented()]
    assert names == [fault.name for fault in CASES.values()]
