"""The values of `halfopen smoke`: what a probe is given, and what it finds."""

import enum
import time
from typing import Callable, ContextManager, NamedTuple, Optional, Sequence, Tuple

from halfopen.check import Run
from halfopen.errors import HalfopenError
from halfopen.model import NmapRun, ScanOptions
from halfopen.scan import runner
from halfopen.smoke import targets
from halfopen.smoke.targets import Port

ALL = "all"
"""The name of a finding about a whole group, which was not tested."""

_STEP = 5.0
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
    WITH_NEXT = "a scan of an open port and the next"
    OWN_ALONE = "halfopen's own scan of an open port with --no-plus-one"
    PLAIN_ALONE = "a plain scan of an open port of another host, as a script makes it"


class Finding(NamedTuple):
    """The result of one test of nmap."""

    group: str
    name: str
    outcome: Outcome
    detail: str
    seconds: float = 0.0
    error: Optional[HalfopenError] = None
    """Why halfopen names no state."""
    truth: str = ""
    """The number and the true state of the port that nmap was asked about."""
    runs: Tuple[NmapRun, ...] = ()
    """The runs of nmap that show it."""
    about: About = About.OTHER


class Machine(NamedTuple):
    """What the probes do to this machine; a test gives a fake."""

    run: Run = runner.run_all
    make_port: Callable[[str, int, int], ContextManager[Port]] = targets.make_port
    connect: Callable[[Port], str] = targets.connect
    second_host: Callable[[], ContextManager[Port]] = targets.second_host


class Context(NamedTuple):
    """What a probe is given."""

    options: ScanOptions
    deadline: float
    """In `time.monotonic` seconds."""
    machine: Machine
    suspect: bool = False
    """Whether this build of nmap is known to deliver packets late."""

    def until(self) -> float:
        """Return when a step that begins now has to end."""
        return min(self.deadline, time.monotonic() + _STEP)

    def unfinished(self, began: float) -> Outcome:
        """Return what it means that nmap did not end: a fault, if it had enough time."""
        return Outcome.FAILED if self.deadline - began >= _ENOUGH else Outcome.INCONCLUSIVE


class Examination(NamedTuple):
    """All that was found of an nmap."""

    nmap: str
    """Its path, or its name if it was not found."""
    findings: Sequence[Finding]
    version: str = ""
    """Empty if it gave none."""
    suspect: bool = False
    """Whether this build is known to deliver packets late."""
