"""A clock that tests move, a time zone that is not UTC, and a terminal of a known kind."""

import time
from typing import Iterator

import pytest
from support.rounds import Clock

from halfopen.runbook import schedule, wait


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the rounds go by."""
    clock = Clock()
    for module in (schedule, wait):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        fixed = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        fixed["TZ"] = "XXX+03:30"  # in POSIX that is 3.5 hours behind UTC
        for name, value in fixed.items():
            patch.setenv(name, value)
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            patch.delenv(name, raising=False)
        time.tzset()
        yield
    time.tzset()
