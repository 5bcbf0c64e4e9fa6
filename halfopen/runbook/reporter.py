"""Who tells of the rounds: the interface that wait's and watch's reporters share, and its loop."""

import contextlib
import errno
import os
import select
import time
from typing import ContextManager, Dict, Iterator, Optional, Sequence

from halfopen.formats.registry import printable
from halfopen.formats.wording import transcript
from halfopen.model import Target
from halfopen.runbook.schedule import Ask, Schedule, Stop, rounds
from halfopen.runbook.statistics import Standing, Statistics
from halfopen.runbook.wording import described, stamp, state_name


class ClosedError(Exception):
    """Nobody reads what we print any more."""


def say(text: str) -> None:
    """Print a line, at once; raise ClosedError if nobody reads it."""
    write(printable(text) + "\n")


def write(text: str, descriptor: int = 1) -> None:
    """Write to a descriptor, standard output by default; raise ClosedError if nobody reads it."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        # A full disk ends nothing: what is waited for, or watched, goes on.
        if error.errno in (errno.EPIPE, errno.EIO):
            raise ClosedError from None


def check_reader() -> None:
    """Raise ClosedError if the reader of what we print has gone: do not wait for a change."""
    poll = select.poll()
    poll.register(1, 0)
    if poll.poll(0):
        raise ClosedError


class Reporter:
    """Tells of the rounds while its `with` lasts. This one tells nothing."""

    def __enter__(self) -> "Reporter":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def show(self, now: Standing) -> None:
        """Tell what a round found."""

    def tick(self, now: Standing) -> None:  # noqa: ARG002  what the others need
        """Note that a second has passed, or that the first round begins."""
        check_reader()


class Lines(Reporter):
    """A line for each change; if verbose, nmap's command lines as well."""

    def __init__(self, verbose: bool = False) -> None:
        """Begin without a state."""
        self._states: Dict[Target, str] = {}
        self._verbose = verbose

    def show(self, now: Standing) -> None:
        """Tell what is not as it was."""
        assert now.round is not None  # noqa: S101  for mypy: a round has ended
        for target, statistics in now.rows:
            before = self._states.get(target, "")
            self._states[target] = statistics.state
            if statistics.verdict is not None and statistics.state != before:
                came_from = f"{state_name(before)} -> " if before else ""
                told = f"{target.name} {came_from}{described(statistics.verdict)}"
                say(f"{stamp(now.round.time)} {told}")
        for line in transcript(now.round.report, self._verbose):
            say(line)


def follow(  # noqa: PLR0913  what a loop is made of
    targets: Sequence[Target],
    schedule: Schedule,
    stop: Stop,
    ask: Ask,
    reporter: Reporter,
    wanted: Sequence[str] = ("open",),
    unread: Optional[ContextManager[None]] = None,
) -> Iterator[Standing]:
    """Give how the targets stand at first, after each round and at the end; let it be told.

    `unread`: what to do where nobody reads it any more; the default is to raise ClosedError.
    """
    unread = unread or contextlib.nullcontext()
    start = time.monotonic()
    now = Standing([(target, Statistics(wanted)) for target in targets])

    def tick() -> None:
        with unread:
            reporter.tick(now._replace(seconds=time.monotonic() - start))

    tick()
    yield now
    for found in rounds(targets, schedule, stop, ask, tick):
        for (_, statistics), verdict in zip(now.rows, found.report.verdicts):
            statistics.add(verdict, found.time, found.began)
        now = now._replace(round=found, seconds=time.monotonic() - start)
        with unread:
            reporter.show(now)
        yield now
    yield now._replace(seconds=time.monotonic() - start)
