"""A lab, an installation and the two backends for all monitor hosts; a machine for each test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Iterator

import pytest
from lab import TOOL_PATH, Lab, why_no_lab
from support.machine import WEB1, Farm, Machine, Site, site

from .contract import Host

PLACES = ":/usr/lib/nagios/plugins:/lib/systemd"
"""Where Debian has programs that are not for people."""


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    reason = why_no_lab()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module", autouse=True)
def _daemons(request: pytest.FixtureRequest) -> None:
    """Skip a module whose NEEDS, the programs of its monitor host, are not on this system."""
    needs = getattr(request.module, "NEEDS", ())
    absent = [name for name in needs if not shutil.which(name, path=TOOL_PATH + PLACES)]
    if absent:
        pytest.skip("needs " + ", ".join(absent))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def installed(_able: None, shared: Path) -> Iterator[Site]:
    with site(shared) as made:
        yield made


@pytest.fixture(scope="session")
def lab(_able: None) -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def farm(lab: Lab) -> Iterator[Farm]:
    """Return the backends: web1 (192.0.2.11:443) open, web2 (192.0.2.12:443) closed."""
    with Farm(lab) as made:
        made.only(WEB1)
        yield made


@pytest.fixture
def machine(lab: Lab, installed: Site) -> Iterator[Machine]:
    """Return a machine with the real nmap, both commands installed."""
    with Machine(lab, installed) as made:
        yield made


@pytest.fixture(scope="class")
def host(request: pytest.FixtureRequest, lab: Lab, installed: Site) -> Iterator[Host]:
    """Return the monitor host of a contract's class, on a machine of its own."""
    with Machine(lab, installed) as machine:
        if not request.cls.HOST.ROOT:
            machine.let_nmap()
        with request.cls.HOST(machine) as made:
            yield made
