"""What a series of looks adds up to, for each target."""

import time
from collections import deque
from typing import Deque, NamedTuple, Optional

from halfopen.model import Verdict

STRIP = 30
"""How many of the last results are kept to be shown."""

_MARKS = {"open": "o", "closed": "x", "filtered": ".", "error": "?"}


class Change(NamedTuple):
    """A target is not what it was; at its first look there is no `before`."""

    when: float
    """Unix time."""
    before: str
    verdict: Verdict


class Tally:
    """All that was seen of one target."""

    def __init__(self) -> None:
        """Begin without a look."""
        self.verdict: Optional[Verdict] = None
        self.since = 0.0
        """Unix time of the first look that found the state that it is in."""
        self.looks = self.open = self.failed = self.changes = 0
        """How many looks there were, found it open, failed themselves, found it changed."""
        self.longest_outage = 0.0
        """Seconds from a look that did not find it open to the next that did, or to the last."""
        self.rtts = 0
        """How many round trips were measured."""
        self.rtt_sum, self.rtt_min, self.rtt_max = 0.0, float("inf"), 0.0
        self.strip: Deque[str] = deque(maxlen=STRIP)
        self._down_since: Optional[float] = None

    def add(self, verdict: Verdict, when: Optional[float] = None) -> Optional[Change]:
        """Add a look; return what changed."""
        when = time.time() if when is None else when
        before = "" if self.verdict is None else self.verdict.state
        self.verdict = verdict
        self.looks += 1
        self.open += verdict.state == "open"
        self.failed += verdict.state == "error"
        self.strip.append(_MARKS[verdict.state])
        self._note_outage(verdict.state, when)
        seen = verdict.observation
        if seen is not None and seen.rtt is not None:
            self.rtts += 1
            self.rtt_sum += seen.rtt
            self.rtt_min = min(self.rtt_min, seen.rtt)
            self.rtt_max = max(self.rtt_max, seen.rtt)
        if verdict.state == before:
            return None
        self.since = when
        self.changes += before != ""
        return Change(when, before, verdict)

    def _note_outage(self, state: str, when: float) -> None:
        if state == "error":  # it says nothing about the target
            return
        if state != "open" and self._down_since is None:
            self._down_since = when
        if self._down_since is not None:
            self.longest_outage = max(self.longest_outage, when - self._down_since)
        if state == "open":
            self._down_since = None

    @property
    def availability(self) -> Optional[float]:
        """Percent of the looks that found it open, of those that found anything."""
        told = self.looks - self.failed
        return 100 * self.open / told if told else None

    @property
    def rtt_mean(self) -> float:
        """Mean round trip in seconds; 0 if none was measured."""
        return self.rtt_sum / self.rtts if self.rtts else 0.0
