"""`wait` and `watch`: looks on a fixed schedule, until a wish comes true or somebody ends it."""

import enum
import math
import os
import select
import signal
import time
from types import FrameType
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from halfopen.check import check
from halfopen.errors import HopelessError, NoTimeError
from halfopen.model import Report, ScanOptions, Target, Verdict
from halfopen.scan import process
from halfopen.scan.attempts import SIDE_BY_SIDE
from halfopen.scan.command import MAX_HOSTS
from halfopen.scan.head_start import TIMEOUT

_LEAST_BUDGET = 1.0
"""Seconds that a look may take at least, however short the interval: silence needs time."""

_IMPATIENCE = 0.5
"""Seconds between a signal and another that is meant: `timeout` sends its own twice."""

Look = Callable[[Sequence[Target], float], Report]
"""Asks about targets by a deadline: what check() does; a test puts its own in its place."""


class Stop:
    """Ctrl-C and the like, while a `with` lasts: they end waiting, and the look that runs."""

    def __init__(self) -> None:
        """Stop nothing yet."""
        self.number = 0
        """The signal that came; 0 if none has."""
        self._came = 0.0
        self._pipe = (-1, -1)
        self._before: Dict[int, object] = {}

    def __enter__(self) -> "Stop":
        """Take the signals."""
        process.be_uninterrupted()
        self._pipe = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's choice stands
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        for end in self._pipe:
            os.close(end)

    def _stop(self, number: int, frame: Optional[FrameType]) -> None:
        if self.number:
            if time.monotonic() - self._came > _IMPATIENCE:  # at once, and no summary
                process.end_by_signal(number, frame)
            return
        self.number, self._came = number, time.monotonic()
        os.write(self._pipe[1], b"!")
        process.interrupt()

    def wait(self, until: float) -> bool:
        """Wait until then (`time.monotonic` seconds) or until a signal; return whether one came."""
        left = max(0.0, until - time.monotonic())
        select.select([self._pipe[0]], [], [], left)
        return bool(self.number)


def looks(
    every: float,
    stop: Stop,
    tick: Callable[[], None] = lambda: None,
    lasting: float = math.inf,
) -> Iterator[float]:
    """Give the time of each look: `every` seconds after the one before, without drift.

    A look that takes longer costs the ones that it overlaps. `tick` is called each second in
    between. Ends by a signal, or when `lasting` seconds have passed.
    """
    start, number = time.monotonic(), 0
    while not stop.number:
        yield start + number * every
        passed = time.monotonic() - start
        number = max(number + 1, math.ceil(passed / every))
        last = number * every > lasting - 0.001  # 3 * 0.7 is less than 2.1
        until = start + (lasting if last else number * every)
        while time.monotonic() < until:
            if stop.wait(min(until, time.monotonic() + 1)):
                return
            tick()
        if last:
            return


def asker(means: ScanOptions) -> Look:
    """Return what asks with these means."""
    return lambda targets, deadline: check(targets, deadline, means)


def _naming(option: str, verdicts: Sequence[Verdict]) -> List[Verdict]:
    """Return the verdicts; where time was short, with the option here that gives more."""
    return [
        verdict._replace(error=NoTimeError(str(verdict.error).replace("--timeout", option)))
        if isinstance(verdict.error, NoTimeError)
        else verdict
        for verdict in verdicts
    ]


def _budget(every: float, targets: Sequence[Target]) -> float:
    """Return how many seconds a look may take; nmap runs once a port, so many ports need more."""
    runs = len({target.port for target in targets}) + len(targets) // MAX_HOSTS
    waves = -(-runs // SIDE_BY_SIDE)
    return min(TIMEOUT, max(_LEAST_BUDGET * waves, every))


# -- wait ---------------------------------------------------------------------------------------


class Wish(NamedTuple):
    """What to wait for."""

    state: str = "open"
    """One of PORT_STATES, or not-open."""
    within: float = 60.0
    """Seconds."""
    every: float = 1.0
    """Seconds from the start of a look to the next."""
    times: int = 1
    """How many looks in a row have to agree."""
    one_is_enough: bool = False

    def met(self, verdict: Verdict) -> bool:
        """Return whether a look found what is wished for; a failed check never does."""
        if self.state == "not-open":
            return verdict.state in ("closed", "filtered")
        return verdict.state == self.state


class Result(enum.Enum):
    """How waiting ended."""

    REACHED = "reached"
    LATE = "timed out"
    HOPELESS = "cannot check"
    STOPPED = "stopped"


class Waited(NamedTuple):
    """How waiting stands, and at last how it ended."""

    result: Optional[Result]
    """None while it goes on."""
    wish: Wish
    seconds: float
    looks: int
    verdicts: Tuple[Verdict, ...]
    streaks: Tuple[int, ...]
    """For each target, how many looks in a row have found what is wished for."""

    @property
    def reached(self) -> Tuple[bool, ...]:
        """Whether enough looks have, for each target."""
        return tuple(streak >= self.wish.times for streak in self.streaks)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.wish.within - self.seconds)


def wait(
    targets: Sequence[Target],
    wish: Wish,
    stop: Stop,
    look: Look,
    show: Callable[[Waited], None] = lambda _: None,
) -> Waited:
    """Look until the wish has come true for all targets at once, or for one if that is enough.

    `show` is called at once, after each look, and each second in between.
    """
    start = time.monotonic()
    end = start + wish.within
    count, streaks = 0, [0] * len(targets)
    verdicts: List[Verdict] = []

    def stand(result: Optional[Result] = None) -> Waited:
        passed = time.monotonic() - start
        return Waited(result, wish, passed, count, tuple(verdicts), tuple(streaks))

    show(stand())
    for _ in looks(wish.every, stop, lambda: show(stand()), wish.within):
        deadline = time.monotonic() + _budget(wish.every, targets)
        found = _naming(
            "--timeout" if deadline > end else "--interval",
            look(targets, min(end, deadline)).verdicts,
        )
        if stop.number:
            break
        count += 1
        verdicts = verdicts or list(found)
        for index, verdict in enumerate(found):
            too_late = deadline > end and verdict.error is not None
            hopeless = isinstance(verdict.error, HopelessError)
            if too_late and not hopeless and not wish.met(verdicts[index]):
                continue  # there was no time to find out: what was seen before is what is told
            verdicts[index] = verdict
            streaks[index] = streaks[index] + 1 if wish.met(verdict) else 0
        enough = any if wish.one_is_enough else all
        if enough(streak >= wish.times for streak in streaks):
            return stand(Result.REACHED)
        if any(isinstance(verdict.error, HopelessError) for verdict in verdicts):
            return stand(Result.HOPELESS)
        show(stand())
    return stand(Result.STOPPED if stop.number else Result.LATE)


# -- watch --------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """A look."""

    when: float
    """Unix time."""
    verdicts: Tuple[Verdict, ...]


def watch(  # noqa: PLR0913  what a watch is made of
    targets: Sequence[Target],
    every: float,
    stop: Stop,
    look: Look,
    *,
    count: Optional[int] = None,
    lasting: float = math.inf,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[Seen]:
    """Give look after look, until a signal, or `count` looks, or `lasting` seconds.

    `tick` is called each second in between.
    """
    for number, _ in enumerate(looks(every, stop, tick, lasting), 1):
        when = time.time()
        found = look(targets, time.monotonic() + _budget(every, targets)).verdicts
        if stop.number:  # it was cut short
            return
        yield Seen(when, tuple(_naming("--interval", found)))
        if number == count:
            return
