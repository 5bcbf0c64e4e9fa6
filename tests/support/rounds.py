"""Rounds without waiting: a clock that tests move, a signal at a time, checks that are fakes."""

from __future__ import annotations

import signal
from typing import Sequence

from halfopen.check import judge
from halfopen.errors import CheckError, HopelessError, NotAllowedError, NoTimeError
from halfopen.model import Expectation, Observation, Report, Target, Verdict, failure
from halfopen.runbook.schedule import Stop
from halfopen.runbook.statistics import Standing, Statistics

A, B = Target("192.0.2.11", 443, label="web1"), Target("2001:db8::12", 443)
BEGIN = 1000.0
"""`time.monotonic` at the beginning."""
UNIX = 1700000000.0
"""The Unix time then."""

ERRORS = {
    "error": CheckError("no route to it"),
    "late": NoTimeError("no time left to ask; raise --timeout"),
    "none": HopelessError("nmap not found"),
    "forbidden": NotAllowedError("nmap needs root"),
}
REASONS = {"open": "syn-ack", "closed": "reset", "filtered": "no-response"}


def verdict(word: str, target: Target = B, rtt: float | None = None) -> Verdict:
    """Return what a word stands for: a port's state, or one of the ERRORS."""
    if word in ERRORS:
        return failure(ERRORS[word], target)
    return judge(target, Observation(word, REASONS[word], target.host, rtt), Expectation())


class Clock:
    """Stands in for the module time: only what the tests do moves it."""

    def __init__(self) -> None:
        self.now = BEGIN

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return round(self.now - BEGIN, 6)

    def monotonic(self) -> float:
        """Stand in for time.monotonic."""
        return self.now

    def time(self) -> float:
        """Stand in for time.time."""
        return UNIX + self.passed


class FakeStop(Stop):
    """A Stop that moves the clock instead of waiting; at `at` seconds there is a signal."""

    def __init__(self, clock: Clock, at: float = float("inf"), woken_at: float = -1.0) -> None:
        super().__init__()
        self._clock, self._at, self._woken_at = clock, BEGIN + at, BEGIN + woken_at

    def wait(self, until: float) -> None:
        """Move the clock, at most to the signal or to wake()."""
        self.woken = self._clock.now < self._woken_at <= until
        ends = min(until, self._at, self._woken_at if self.woken else until)
        self._clock.now = max(self._clock.now, ends)
        self.see()

    def see(self) -> None:
        """Let the signal come if its time has."""
        if self._clock.now >= self._at:
            self.number = signal.SIGINT


class FakeChecks:
    """Stands in for checking: finds what it is told, the last of it for ever, in `takes` seconds.

    A finding has a word for each target: see verdict().
    """

    def __init__(
        self, clock: Clock, *findings: str, takes: float = 0.2, stop: FakeStop | None = None
    ) -> None:
        self._clock, self._findings, self._takes, self._stop = clock, findings, takes, stop
        self.began: list[float] = []
        self.deadlines: list[float] = []
        """Both in seconds since the beginning."""

    def __call__(self, targets: Sequence[Target], deadline: float) -> Report:
        self.began.append(self._clock.passed)
        self.deadlines.append(round(deadline - BEGIN, 6))
        words = self._findings[min(len(self.began), len(self._findings)) - 1].split()
        assert len(words) == len(targets)
        self._clock.now = min(self._clock.now + self._takes, deadline)
        if self._stop is not None:
            self._stop.see()
        return Report(tuple(verdict(word, target) for word, target in zip(words, targets)))


def row(
    *words: str, target: Target = B, rtt: float | None = None, wanted: Sequence[str] = ("open",)
) -> Statistics:
    """Return the statistics of rounds that found this, a second apart."""
    statistics = Statistics(target, wanted)
    for passed, word in enumerate(words):
        statistics.add(verdict(word, target, rtt), UNIX + passed, BEGIN + passed)
    return statistics


def standing(
    rows: Sequence[Statistics], seconds: float, took: float = 0.1, rounds: int = 4
) -> Standing:
    """Return how it stands after a last round that took so long."""
    if not rounds:
        return Standing(rows, seconds)
    report = Report(tuple(row.verdict for row in rows))
    return Standing(rows, seconds, True, rounds, UNIX + 4, took, int(took > 2.0), report)
