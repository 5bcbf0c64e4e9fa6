"""One network for all tests with the real nmap; without root or the tools they are skipped."""

from __future__ import annotations

from typing import Iterator

import pytest
from lab import Lab, why_no_lab
from support.fixtures import farm, installed, machine, shared

from .commands import HALFOPEN, PLUGIN

__all__ = ["farm", "installed", "machine", "shared"]


@pytest.fixture(scope="session", autouse=True)
def _able() -> None:
    reason = why_no_lab()
    if reason:
        pytest.skip(reason)
    for script in (PLUGIN, HALFOPEN):
        assert script.exists(), f"{script} is not installed beside this Python"


@pytest.fixture(scope="session")
def lab(_able: None) -> Iterator[Lab]:
    """Return the network; a test leaves it as it was."""
    with Lab() as lab:
        yield lab
