"""What the rounds add up to, for each target."""

from collections import deque
from typing import Deque, NamedTuple, Optional, Sequence, Tuple

from halfopen.model import Status, Target, Verdict
from halfopen.runbook.schedule import Round

HISTORY = 30
"""How many of the last results are kept to be shown."""

_MARKS = {"open": "o", "closed": "x", "filtered": ".", "error": "?"}


class Statistics:
    """All that was found of one target. Lengths of time go by the monotonic clock."""

    def __init__(self, wanted: Sequence[str] = ("open",)) -> None:
        """Begin without a round. `wanted`: the states that are waited for."""
        self.wanted = wanted
        self.in_a_row = 0
        """How many of the last rounds have all found such a state."""
        self.verdict: Optional[Verdict] = None
        self.since = 0.0
        """Unix time of the first round that found the state that it is in."""
        self.down_since: Optional[float] = None
        """Unix time of the first round of an outage that has not ended."""
        self.found = self.open = self.changes = 0
        """How many rounds found anything, found it open, found another state."""
        self.longest_outage = 0.0
        """Seconds from a round that did not find it open to the next that did, or to the last."""
        self.outage = 0.0
        """The length of the last one."""
        self.rtts = 0
        """How many round trips were measured."""
        self.rtt_min, self.rtt_max = float("inf"), 0.0
        self.history: Deque[str] = deque(maxlen=HISTORY)
        self._rtt_sum = self._down_from = 0.0

    def add(self, verdict: Verdict, time: float, monotonic: float) -> None:
        """Add what a round found that began at this time, by both clocks."""
        if self.verdict is None or verdict.state != self.verdict.state:
            self.changes += self.verdict is not None
            self.since = time
        self.verdict = verdict
        self.in_a_row = self.in_a_row + 1 if verdict.state in self.wanted else 0
        self.history.append(_MARKS[verdict.state])
        if verdict.state != "error":  # it says nothing about the target
            self.found += 1
            self.open += verdict.state == "open"
            self._note_outage(verdict.state != "open", time, monotonic)
        seen = verdict.observation
        if seen is not None and seen.rtt is not None:
            self.rtts += 1
            self._rtt_sum += seen.rtt
            self.rtt_min = min(self.rtt_min, seen.rtt)
            self.rtt_max = max(self.rtt_max, seen.rtt)

    def _note_outage(self, down: bool, time: float, monotonic: float) -> None:
        if down and self.down_since is None:
            self.down_since, self._down_from = time, monotonic
        if self.down_since is not None:
            self.outage = monotonic - self._down_from
            self.longest_outage = max(self.longest_outage, self.outage)
        if not down:
            self.down_since = None

    @property
    def state(self) -> str:
        """The last verdict's; "" if there was no round."""
        return "" if self.verdict is None else self.verdict.state

    @property
    def availability(self) -> Optional[float]:
        """Percent of the rounds that found it open, of those that found anything."""
        return 100 * self.open / self.found if self.found else None

    @property
    def rtt_mean(self) -> float:
        """Mean round trip in seconds; 0 if none was measured."""
        return self._rtt_sum / self.rtts if self.rtts else 0.0

    @property
    def status(self) -> Status:
        """The last verdict's."""
        return Status.UNKNOWN if self.verdict is None else self.verdict.status


Rows = Sequence[Tuple[Target, Statistics]]


class Standing(NamedTuple):
    """How the targets stand."""

    rows: Rows
    seconds: float = 0.0
    """Since the beginning."""
    round: Optional[Round] = None
    """The last one."""

    @property
    def rounds(self) -> int:
        """How many there were."""
        return 0 if self.round is None else self.round.number

    @property
    def status(self) -> Status:
        """The worst of the last verdicts; UNKNOWN if there was no round."""
        statuses = (statistics.status for _, statistics in self.rows)
        return max(statuses, default=Status.UNKNOWN)
