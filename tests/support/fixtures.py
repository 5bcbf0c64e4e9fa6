"""Fixtures of more than one folder: a network, an installation, the two backends, a machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from lab import Lab, why_no_lab

from .machine import WEB1, Farm, Machine, install, remove_what_is_stale


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
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation for machines; the first worker of pytest-xdist makes it for all."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made = folder / "installed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            remove_what_is_stale()
            install(Path(tempfile.mkdtemp(dir=str(folder)))).rename(made)
    return made


@pytest.fixture
def farm(lab: Lab) -> Iterator[Farm]:
    """Return the backends: web1 (192.0.2.11:443) open, web2 (192.0.2.12:443) closed."""
    with Farm(lab) as made:
        made.only(WEB1)
        yield made


@pytest.fixture
def machine(lab: Lab, installed: Path) -> Iterator[Machine]:
    """Return a machine with the real nmap, both commands installed."""
    with Machine(lab, installed) as made:
        yield made
