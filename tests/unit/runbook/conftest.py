"""A clock that tests move, a time zone that is not UTC, and no variable that rich obeys."""

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
        patch.setenv("TZ", "XXX+03:30")  # in POSIX that is 3.5 hours behind UTC
        patch.setenv("TERM", "xterm-256color")
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES"):
            patch.delenv(name, raising=False)
        time.tzset()
        yield
    time.tzset()
