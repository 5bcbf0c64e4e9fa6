"""Fixtures of more than one folder: a network, an installation, the two backends, a machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest
from lab import Lab, why_no_lab

from .machine import WEB1, Farm, Machine, Site, site


@pytest.fixture(scope="session", autouse=True)
def able() -> None:
    """Skip where there can be no network."""
    reason = why_no_lab()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Return the network; a test leaves it as it was."""
    with Lab() as made:
        yield made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for all workers of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def installed(shared: Path) -> Iterator[Site]:
    with site(shared) as made:
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
