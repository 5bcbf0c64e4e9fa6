"""`watch`: rounds until a signal or a limit ends them, and what there was."""

import gc
import json
from typing import TYPE_CHECKING, List, Sequence

from halfopen.formats import json as json_format
from halfopen.formats.registry import FORMATS, Output, printable
from halfopen.model import ScanOptions, Target
from halfopen.runbook import table
from halfopen.runbook.reporter import ClosedError, Lines, Reporter, check_reader, follow, say
from halfopen.runbook.schedule import Schedule, Stop, asker
from halfopen.runbook.statistics import Rows, Standing
from halfopen.runbook.terminal import Screen, new_console, on_terminal
from halfopen.runbook.wording import shortened, span, stamp
from halfopen.targets.resolve import Resolver

if TYPE_CHECKING:
    from rich.console import Console

_MOST_REASONS = 3
"""How many reasons for failed checks are shown below a table."""

FILE = (200, 1000000)
"""Columns and lines where there is no terminal."""


def run(
    targets: Sequence[Target],
    schedule: Schedule,
    options: ScanOptions,
    format_name: str,
    verbose: bool = False,
) -> Output:
    """Show round after round until the schedule or a signal ends it; then what there was."""
    gc.enable()  # main.py has turned it off: a check ends before its garbage could matter
    now, live = Standing(()), on_terminal()
    with Stop() as stop:
        reporter: Reporter = _Lines(schedule, verbose)
        if format_name == "json":
            reporter = _Json()
        elif live and not verbose:
            reporter = _Live(schedule, stop)
        try:
            with reporter:
                for now in follow(targets, schedule, stop, asker(options, Resolver()), reporter):
                    if now.rounds == 1 and now.round and len(now.round.hopeless) == len(targets):
                        break
        except ClosedError:  # as `head` does; nobody is there to be told
            format_name = ""
    text = ""
    if format_name == "text":
        text = summary(now, schedule, new_console(*(() if live else FILE)))
    return Output(text, FORMATS["text"].codes[now.status])


# -- what is told -------------------------------------------------------------------------------


class _Lines(Lines):
    """A line for each change, and once for rounds that take too long."""

    def __init__(self, schedule: Schedule, verbose: bool) -> None:
        super().__init__(verbose)
        self._schedule, self._said_slow = schedule, False

    def show(self, now: Standing) -> None:
        super().show(now)
        slow = _slow(now, self._schedule)
        if slow and now.round and not self._said_slow:
            self._said_slow = True
            say(f"{stamp(now.round.time)} {slow[0]}")


class _Json(Reporter):
    """An object for each round."""

    def show(self, now: Standing) -> None:
        assert now.round is not None  # noqa: S101  for mypy: a round has ended
        say(
            json.dumps(
                {
                    "version": 2,
                    "time": stamp(now.round.time),
                    "round": now.round.number,
                    "seconds": round(now.round.seconds, 3),
                    "targets": list(map(json_format.target, now.round.report.verdicts)),
                }
            )
        )


class _Live(Screen):
    """A table on a terminal, of as many columns and rows as fit."""

    def __init__(self, schedule: Schedule, stop: Stop) -> None:
        super().__init__()
        self._schedule, self._size = schedule, (0, 0)
        stop.at_once = self.close_at_once

    def show(self, now: Standing) -> None:
        width, height = self._size = self.console.size
        rows, notes = now.rows, [*_reasons(now.rows), *_slow(now, self._schedule)]
        if len(rows) >= height - len(notes):
            rows = sorted(rows, key=lambda row: row[1].status, reverse=True)
        self.draw(*table.fitted(rows, table.LIVE, width, height, notes))

    def tick(self, now: Standing) -> None:
        check_reader()
        if self.console.size != self._size:
            self.show(now)


def summary(now: Standing, schedule: Schedule, console: "Console") -> str:
    """Return what there was, what changed first; it stays whole on the terminal."""
    width, height = console.size
    rows = sorted(now.rows, key=lambda row: (row[1].changes > 0, row[1].status), reverse=True)
    counted = f"{now.rounds} round{'' if now.rounds == 1 else 's'} in {span(now.seconds)}"
    first = shortened("; ".join([counted, *_slow(now, schedule)]), width)
    with console.capture() as drawn:
        # A line for the rounds, and one for the prompt.
        for part in table.fitted(rows, table.SUMMARY, width, height - 2, _reasons(rows)):
            console.print(part)
    return "\n".join([first, *(line.rstrip() for line in drawn.get().splitlines())])


def _reasons(rows: Rows) -> List[str]:
    """Return why checks failed, each reason once."""
    failed = dict.fromkeys(
        f"unknown: {printable(str(statistics.verdict.error))}"
        for _, statistics in rows
        if statistics.verdict and statistics.verdict.error
    )
    return list(failed)[:_MOST_REASONS]


def _slow(now: Standing, schedule: Schedule) -> List[str]:
    """Return what to say of rounds that take longer than the interval."""
    if now.round is None or now.round.seconds <= schedule.interval:
        return []
    taken, interval = span(now.round.seconds), span(schedule.interval)
    return [f"rounds take {taken}, longer than the interval of {interval}"]
