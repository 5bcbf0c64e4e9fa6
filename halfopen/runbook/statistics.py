"""What the rounds add up to, for each target."""

from collections import deque
from typing import Deque, NamedTuple, Optional, Sequence, Tuple

from halfopen.model import Status, Target, Verdict

HISTORY = 30
"""How many of the last results are kept to be shown."""

_MARKS = {"open": "o", "closed": "x", "filtered": ".", "error": "?"}


class Change(NamedTuple):
    """A target's state is not what it was; in its first round there is no `before`."""

    time: float
    """Unix time."""
    before: str
    verdict: Verdict


class Statistics:
    """All that was found of one target. Lengths of time go by the monotonic clock."""

    def __init__(self) -> None:
        """Begin without a round."""
        self.verdict: Optional[Verdict] = None
        self.since = 0.0
        """Unix time of the first round that found the state that it is in."""
        self.down_since: Optional[float] = None
        """Unix time of the first round of an outage that has not ended."""
        self.rounds = self.open = self.failed = self.changes = 0
        """How many rounds there were, found it open, failed, found another state."""
        self.longest_outage = 0.0
        """Seconds from a round that did not find it open to the next that did, or to the last."""
        self.outage = 0.0
        """The length of the last one."""
        self.rtts = 0
        """How many round trips were measured."""
        self.rtt_min, self.rtt_max = float("inf"), 0.0
        self.history: Deque[str] = deque(maxlen=HISTORY)
        self._rtt_sum = self._down_from = 0.0

    def add(self, verdict: Verdict, time: float, monotonic: float) -> Optional[Change]:
        """Add what a round found that began at this time, by both clocks; return what changed."""
        before = "" if self.verdict is None else self.verdict.state
        self.verdict = verdict
        self.rounds += 1
        self.open += verdict.state == "open"
        self.failed += verdict.state == "error"
        self.history.append(_MARKS[verdict.state])
        if verdict.state != "error":  # it says nothing about the target
            self._note_outage(verdict.state != "open", time, monotonic)
        seen = verdict.observation
        if seen is not None and seen.rtt is not None:
            self.rtts += 1
            self._rtt_sum += seen.rtt
            self.rtt_min = min(self.rtt_min, seen.rtt)
            self.rtt_max = max(self.rtt_max, seen.rtt)
        if verdict.state == before:
            return None
        self.since = time
        self.changes += before != ""
        return Change(time, before, verdict)

    def _note_outage(self, down: bool, time: float, monotonic: float) -> None:
        if down and self.down_since is None:
            self.down_since, self._down_from = time, monotonic
        if self.down_since is not None:
            self.outage = monotonic - self._down_from
            self.longest_outage = max(self.longest_outage, self.outage)
        if not down:
            self.down_since = None

    @property
    def availability(self) -> Optional[float]:
        """Percent of the rounds that found it open, of those that found anything."""
        found = self.rounds - self.failed
        return 100 * self.open / found if found else None

    @property
    def rtt_mean(self) -> float:
        """Mean round trip in seconds; 0 if none was measured."""
        return self._rtt_sum / self.rtts if self.rtts else 0.0

    @property
    def status(self) -> Status:
        """The last verdict's."""
        return Status.UNKNOWN if self.verdict is None else self.verdict.status


Rows = Sequence[Tuple[Target, Statistics]]


def worst(rows: Rows) -> Status:
    """Return the worst of the last verdicts; UNKNOWN if there was no round."""
    return max((statistics.status for _, statistics in rows), default=Status.UNKNOWN)
