"""What the rounds add up to, for each target and for all."""

from collections import deque
from typing import Deque, NamedTuple, Optional, Sequence

from halfopen.errors import HopelessError
from halfopen.model import Report, Status, Target, Verdict

HISTORY = 30
"""How many of the last results are kept to be shown."""

_MARKS = {"open": "o", "closed": "x", "filtered": ".", "error": "?"}


class Statistics:
    """All that was found of one target. Lengths of time go by the monotonic clock."""

    def __init__(self, target: Target, wanted: Sequence[str] = ("open",)) -> None:
        """Begin without a round. `wanted`: the states that are waited for."""
        self.target, self.wanted = target, wanted
        self.in_a_row = 0
        """How many of the last rounds have all found such a state."""
        self.verdict = Verdict(Status.UNKNOWN, target)
        """The last round's; at first one with neither an observation nor an error."""
        self.state = self.before = ""
        """The state that the last round found, and the round before it; "" if there was none."""
        self.since = 0.0
        """Unix time of the first round that found the state that it is in."""
        self.down_since: Optional[float] = None
        """Unix time of the first round of an outage that has not ended."""
        self.found = self.open = self.changes = 0
        """How many rounds found anything, found it open, found another state."""
        self.outage = self.longest_outage = 0.0
        """Seconds from a round that did not find it open to the next that did, or to the last: the
        last outage, and the longest."""
        self.rtts, self.rtt_sum = 0, 0.0
        """How many round trips were measured, and their seconds."""
        self.rtt_min, self.rtt_max = float("inf"), 0.0
        self.history: Deque[str] = deque(maxlen=HISTORY)
        self._down_from = 0.0

    def add(self, verdict: Verdict, time: float, monotonic: float) -> None:
        """Add what a round found that began at this time, by both clocks."""
        self.verdict, self.before, self.state = verdict, self.state, verdict.state
        if self.state != self.before:
            self.changes += self.before != ""
            self.since = time
        self.in_a_row = self.in_a_row + 1 if self.state in self.wanted else 0
        self.history.append(_MARKS[self.state])
        if self.state != "error":  # it says nothing about the target
            self.found += 1
            self.open += self.state == "open"
            if self.state != "open" and self.down_since is None:
                self.down_since, self._down_from = time, monotonic
            if self.down_since is not None:
                self.outage = monotonic - self._down_from
                self.longest_outage = max(self.longest_outage, self.outage)
            if self.state == "open":
                self.down_since = None
        seen = verdict.observation
        if seen is not None and seen.rtt is not None:
            self.rtts += 1
            self.rtt_sum += seen.rtt
            self.rtt_min = min(self.rtt_min, seen.rtt)
            self.rtt_max = max(self.rtt_max, seen.rtt)


class Standing(NamedTuple):
    """How the targets stand."""

    rows: Sequence[Statistics]
    seconds: float = 0.0
    """Since the beginning."""
    fresh: bool = False
    """Whether a round has just ended; else a second has passed, or it is the beginning or end."""
    rounds: int = 0
    """How many have ended; what follows is of the last."""
    time: float = 0.0
    """When it began, in Unix time."""
    took: float = 0.0
    """How many seconds it took."""
    slow: int = 0
    """How many took longer than the interval."""
    report: Report = Report(())

    @property
    def status(self) -> Status:
        """The worst of the last verdicts; UNKNOWN if there was no round."""
        return max((row.verdict.status for row in self.rows), default=Status.UNKNOWN)

    @property
    def hopeless(self) -> Sequence[HopelessError]:
        """Why targets can't be checked, in later rounds neither: no nmap, not allowed."""
        errors = [verdict.error for verdict in self.report.verdicts]
        return [error for error in errors if isinstance(error, HopelessError)]
