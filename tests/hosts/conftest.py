"""A lab for all monitor hosts, and each host's run for its contract."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Iterator

import pytest
from lab import TOOL_PATH, Lab
from support.fixtures import able, farm, installed, lab, machine
from support.machine import Machine

from .contract import Host

__all__ = ["able", "farm", "installed", "lab", "machine"]

PLACES = ":/usr/lib/nagios/plugins:/lib/systemd"
"""Where Debian has programs that are not for people."""


@pytest.fixture(scope="module", autouse=True)
def _daemons(request: pytest.FixtureRequest) -> None:
    """Skip a module whose NEEDS, the programs of its monitor host, are not on this system."""
    needs = getattr(request.module, "NEEDS", ())
    absent = [name for name in needs if not shutil.which(name, path=TOOL_PATH + PLACES)]
    if absent:
        pytest.skip("needs " + ", ".join(absent))


@pytest.fixture(scope="class")
def host(request: pytest.FixtureRequest, lab: Lab, installed: Path) -> Iterator[Host]:
    """Return the monitor host of a contract's class, on a machine of its own."""
    with Machine(lab, installed) as made:
        if not request.cls.HOST.ROOT:
            made.let_nmap()
        with request.cls.HOST(made) as host:
            yield host
