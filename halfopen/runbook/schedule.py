"""Rounds at fixed times, each a check of all targets, until a signal or a limit ends them."""

import contextlib
import math
import queue
import signal
import time
from types import FrameType
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Sequence

from halfopen.check import check
from halfopen.model import Report, ScanOptions, Target
from halfopen.runbook.statistics import Standing, Statistics
from halfopen.scan import process
from halfopen.scan.head_start import TIMEOUT
from halfopen.targets.resolve import Resolver

_PAUSE = 0.5
"""Seconds between a signal and another that is meant: `timeout` sends its own twice."""

Ask = Callable[[Sequence[Target], float], Report]
"""Checks targets by a deadline."""


class Schedule(NamedTuple):
    """When rounds come, and how many."""

    interval: float = 2.0
    """Seconds from the start of a round to the start of the next."""
    rounds: Optional[int] = None
    """None for no limit."""
    duration: Optional[float] = None
    """Seconds; None for no limit."""
    timeout: float = TIMEOUT
    """Seconds that a round may take."""


class Stop:
    """Ends waiting, and the round that runs, by Ctrl-C and the like, while a `with` lasts."""

    def __init__(self) -> None:
        """Stop nothing yet."""
        self.number = 0
        """The signal that came; 0 if none has."""
        self.woken = False
        """Whether wake() was called."""
        self.at_once: Callable[[], None] = lambda: None
        """Called where a second signal ends the process without more ado."""
        self._came = 0.0
        # The one lock-like thing of Python that a signal's handler may use.
        self._events: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._before: Dict[int, object] = {}

    def __enter__(self) -> "Stop":
        """Take the signals."""
        process.interrupted = False
        # After a handler that outlasts a get()'s timeout, as that of Ctrl-Z does, Python's get()
        # waits for ever (seen with 3.11).
        self._before[signal.SIGCONT] = signal.signal(
            signal.SIGCONT, lambda *_: self._events.put(None)
        )
        for number in process.ENDING_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's choice stands
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back; not after one: the summary is to be printed, and another may follow."""
        if self.number:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _stop(self, number: int, frame: Optional[FrameType]) -> None:
        if not self.number:
            self.number, self._came = number, time.monotonic()
            self._events.put(None)
            process.interrupt()
        elif time.monotonic() - self._came > _PAUSE:
            self.at_once()
            process.end_by_signal(number, frame)

    def wake(self) -> None:
        """End a wait(), from another thread: the next round is to come now."""
        self.woken = True
        self._events.put(None)

    def wait(self, until: float) -> None:
        """Wait until then (`time.monotonic` seconds), a signal or wake()."""
        if not self.number:
            with contextlib.suppress(queue.Empty):
                self._events.get(timeout=max(0.0, until - time.monotonic()))
                while True:  # several that woke it count once
                    self._events.get_nowait()


def follow(
    targets: Sequence[Target],
    schedule: Schedule,
    stop: Stop,
    ask: Ask,
    wanted: Sequence[str] = ("open",),
) -> Iterator[Standing]:
    """Check the targets again and again: each round begins an interval after the one before.

    Give how the targets stand at first, after each round, each second in between, and at the end.
    There is no drift; a round that takes longer costs those that it overlaps. `stop.wake` lets a
    round come early. A round that a signal cuts short does not count.
    """
    start, place = time.monotonic(), 0
    duration = math.inf if schedule.duration is None else schedule.duration
    now = Standing([Statistics(target, wanted) for target in targets])
    yield now
    while not stop.number:
        stop.woken = False
        when, began = time.time(), time.monotonic()
        report = ask(targets, began + schedule.timeout)
        took = time.monotonic() - began
        if stop.number:
            break
        for row, verdict in zip(now.rows, report.verdicts):
            row.add(verdict, when, began)
        slow = now.slow + (took > schedule.interval)
        passed = began - start + took
        now = Standing(now.rows, passed, True, now.rounds + 1, when, took, slow, report)
        yield now
        if now.rounds == schedule.rounds:
            return
        place = max(place + 1, math.ceil((time.monotonic() - start) / schedule.interval))
        last = place * schedule.interval > duration - 0.001  # 3 * 0.7 is less than 2.1
        until = start + (duration if last else place * schedule.interval)
        while time.monotonic() < until and not (stop.woken or stop.number):
            stop.wait(min(until, time.monotonic() + 1))
            yield now._replace(seconds=time.monotonic() - start, fresh=False)
        if stop.woken:
            place -= 1
        elif last:
            return
    yield now._replace(seconds=time.monotonic() - start, fresh=False)


def asker(options: ScanOptions, resolver: Resolver) -> Ask:
    """Return what checks with these options."""
    return lambda targets, deadline: check(targets, deadline, options, resolver=resolver.resolve)
