"""The values of `halfopen smoke`: what a probe is given, and what it finds."""

import enum
import time
from typing import Callable, ContextManager, NamedTuple, Sequence, Tuple

from halfopen.check import Run
from halfopen.model import LATE, UNSTARTED, NmapRun, Observation, ScanOptions
from halfopen.scan import reader, runner
from halfopen.smoke import targets
from halfopen.smoke.targets import Neighbour, Port

ALL = "all"
"""The name of a finding about a whole group, which was not tested."""

STEP = 5.0
"""Seconds that one step may take: a hanging nmap has to leave time for the conclusion."""

_ENOUGH = 3.0
"""Seconds that are enough for one run: an nmap that needs more hangs."""


class Outcome(enum.Enum):
    """What came of one test of nmap."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not tested, and nmap can be called fit without it."""
    INCONCLUSIVE = "inconclusive"
    """Not tested, and nmap can't be called fit without it."""


class About(enum.Enum):
    """What a finding is evidence of, where the conclusion depends on it."""

    OTHER = "nothing in particular"
    OWN = "halfopen's own scan of an open port"
    OWN_ALONE = "the same with --no-plus-one"
    PLAIN_ALONE = "a plain scan of an open port of another host, as a script makes it"
    PLAIN_WITH_NEXT = "a plain scan of that port and the next"


class Trial(NamedTuple):
    """A run of nmap and the true state of the port that it was asked about: a recording."""

    case: str
    port: int
    state: str
    run: NmapRun

    @property
    def right(self) -> bool:
        """Whether halfopen reads that state from it."""
        address = self.run.argv[-1]
        seen = reader.read(self.run, [address], [self.port])[address, self.port]
        return isinstance(seen, Observation) and seen.state == self.state


def had_no_time(run: NmapRun) -> bool:
    """Return whether our time limit ended a run."""
    return run.cut in (LATE, UNSTARTED)


class Finding(NamedTuple):
    """The result of one test of nmap."""

    group: str
    name: str
    outcome: Outcome
    detail: str
    seconds: float = 0.0
    about: About = About.OTHER
    trials: Tuple[Trial, ...] = ()
    """The runs that show it."""


class Nmap(NamedTuple):
    """The nmap under test."""

    path: str
    """Its name, if it was not found."""
    version: str = ""
    """Empty if it gave none."""
    suspect: bool = False
    """Whether this build is known to deliver packets late."""


class Machine(NamedTuple):
    """What the probes do to this machine; a test gives a fake."""

    run: Run = runner.run_all
    make_port: Callable[[str, int, int], Port] = targets.make_port
    connect: Callable[[Port], str] = targets.connect
    second_host: Callable[[], ContextManager[Neighbour]] = targets.second_host


class Context(NamedTuple):
    """What a probe is given."""

    options: ScanOptions
    deadline: float
    """In `time.monotonic` seconds."""
    machine: Machine
    nmap: Nmap

    def until(self, seconds: float = STEP) -> float:
        """Return when a step that begins now has to end."""
        return min(self.deadline, time.monotonic() + seconds)

    def unfinished(self, began: float) -> Outcome:
        """Return what it means that nmap did not end: a fault, if it had enough time."""
        return Outcome.FAILED if self.deadline - began >= _ENOUGH else Outcome.INCONCLUSIVE


class Examination(NamedTuple):
    """All that was found."""

    nmap: Nmap
    findings: Sequence[Finding]
