"""The system's clock is set while a check runs: the faults of the table that need a C compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import FAULTS, Fault, assert_as_expected_and_documented, world
from lab import Lab

NEEDS = ("cc", "setcap")
CASES = {fault.name: fault for fault in FAULTS["system"] if fault.fakes_the_clock}


@pytest.mark.parametrize("fault", CASES.values(), ids=CASES)
def test_a_check_bears_that_the_clock_is_set(lab: Lab, installed: Path, fault: Fault) -> None:
    with world(lab, installed) as made:
        assert_as_expected_and_documented(made, fault)
