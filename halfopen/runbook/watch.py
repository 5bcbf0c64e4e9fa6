"""`watch`: rounds until a signal or a limit ends them, and what there was."""

import contextlib
import gc
import json
from typing import List, Sequence

from halfopen.formats import json as json_format
from halfopen.formats.registry import FORMATS, Output, printable
from halfopen.model import ScanOptions, Target
from halfopen.runbook import table, terminal
from halfopen.runbook.schedule import Schedule, Stop, asker, follow
from halfopen.runbook.statistics import Standing, Statistics
from halfopen.runbook.wording import changes, shortened, span, stamp
from halfopen.targets.resolve import Resolver

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
    now, size = Standing(()), () if terminal.on_terminal() else FILE
    live = format_name == "text" and not size and not verbose
    screen = terminal.Screen() if live else None
    try:
        with Stop() as stop, screen or contextlib.nullcontext():
            if screen:
                stop.at_once = screen.give_back_at_once
            for now in follow(targets, schedule, stop, asker(options, Resolver())):
                if not now.fresh:
                    terminal.check_reader()
                if screen:
                    show(screen, now, schedule)
                elif now.fresh and format_name == "json":
                    terminal.say(_object(now))
                elif now.fresh:
                    terminal.say(*lines(now, schedule, verbose))
                if now.rounds == 1 and len(now.hopeless) == len(targets):
                    break
    except terminal.ClosedError:  # as `head` does; nobody is there to be told
        format_name = ""
    text = summary(now, schedule, *size) if format_name == "text" else ""
    return Output(text, FORMATS["text"].codes[now.status])


# -- what is told -------------------------------------------------------------------------------


def _object(now: Standing) -> str:
    """Return a round as an object of JSON."""
    return json.dumps(
        {
            "version": 2,
            "time": stamp(now.time),
            "round": now.rounds,
            "seconds": round(now.took, 3),
            "targets": list(map(json_format.target, now.report.verdicts)),
        }
    )


def lines(now: Standing, schedule: Schedule, verbose: bool) -> List[str]:
    """Return a line for each change, and once for rounds that take too long."""
    slow = _slow(now, schedule) if now.slow == 1 else []
    return [*changes(now, verbose), *(f"{stamp(now.time)} {line}" for line in slow)]


def show(screen: terminal.Screen, now: Standing, schedule: Schedule) -> None:
    """Draw a table of as many columns and rows as fit, if there is news or another size."""
    console = terminal.new_console()
    size = console.size
    if not now.fresh and size == screen.size:
        return
    rows, notes = now.rows, [*_reasons(now.rows), *_slow(now, schedule)]
    if len(rows) >= size.height - len(notes):
        rows = sorted(rows, key=lambda row: row.verdict.status, reverse=True)
    screen.draw(table.fitted(console, rows, table.LIVE, size.height, notes), size)


def summary(now: Standing, schedule: Schedule, *size: int) -> str:
    """Return what there was, what changed first; it stays whole on the terminal.

    `size`: columns and lines, where there is no terminal.
    """
    console = terminal.new_console(*size)
    rows = sorted(now.rows, key=lambda row: (row.changes > 0, row.verdict.status), reverse=True)
    counted = f"{now.rounds} round{'' if now.rounds == 1 else 's'} in {span(now.seconds)}"
    first = shortened("; ".join([counted, *_slow(now, schedule)]), console.width)
    # A line for the rounds, and one for the prompt.
    height = console.height - 2
    return f"{first}\n{table.fitted(console, rows, table.SUMMARY, height, _reasons(rows))}"


def _reasons(rows: Sequence[Statistics]) -> List[str]:
    """Return why checks failed, each reason once."""
    failed = dict.fromkeys(
        f"unknown: {printable(str(row.verdict.error))}" for row in rows if row.verdict.error
    )
    return list(failed)[:_MOST_REASONS]


def _slow(now: Standing, schedule: Schedule) -> List[str]:
    """Return what to say of rounds that take longer than the interval."""
    if now.took <= schedule.interval:
        return []
    return [f"rounds take {span(now.took)}, longer than the interval of {span(schedule.interval)}"]
