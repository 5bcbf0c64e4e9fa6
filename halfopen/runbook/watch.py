"""`watch`: rounds until a signal or a limit ends them, and what there was."""

import gc
import json
import time
from typing import List, NamedTuple, Optional, Sequence, Tuple

from halfopen.formats import json as json_format
from halfopen.formats.registry import FORMATS, Output, printable
from halfopen.model import ScanOptions, Target
from halfopen.runbook.schedule import Round, Schedule, Stop, asker, rounds
from halfopen.runbook.statistics import Change, Rows, Statistics, worst
from halfopen.runbook.terminal import (
    HISTORY,
    STATE,
    TARGET,
    ClosedError,
    Column,
    Reporter,
    Screen,
    aligned,
    change_line,
    check_reader,
    clock,
    hidden,
    new_console,
    on_terminal,
    say,
    shortened,
    span,
    stamp,
    table,
)
from halfopen.targets.resolve import Resolver

_MOST_REASONS = 3
"""How many reasons for failed checks are shown below a table."""


class Watched(NamedTuple):
    """What was found so far."""

    rows: Rows
    interval: float
    seconds: float
    """Since the beginning."""
    round: Optional[Round] = None
    """The last one."""
    changes: Sequence[Tuple[Target, Change]] = ()
    """What is not as it was in the round before."""

    @property
    def slow(self) -> str:
        """What to say of rounds that take longer than the interval; empty if they do not."""
        if self.round is None or self.round.seconds <= self.interval:
            return ""
        taken, interval = span(self.round.seconds), span(self.interval)
        return f"rounds take {taken}, longer than the interval of {interval}"


def run(
    targets: Sequence[Target], schedule: Schedule, options: ScanOptions, format_name: str
) -> Output:
    """Show round after round until the schedule or a signal ends it; then what there was."""
    gc.enable()  # main.py has turned it off: a check ends before its garbage could matter
    start = time.monotonic()
    now = Watched([(target, Statistics()) for target in targets], schedule.interval, 0.0)
    with Stop() as stop:
        reporter = _reporter(format_name, stop)

        def tick() -> None:
            reporter.tick(now)

        try:
            with reporter:
                tick()
                for found in rounds(targets, schedule, stop, asker(options, Resolver()), tick):
                    now = now._replace(round=found, changes=_changes(now.rows, found))
                    reporter.show(now)
                    if found.number == 1 and found.hopeless:
                        break
        except ClosedError:  # as `head` does; nobody is there to be told
            return Output("", _exit_code(now))
    now = now._replace(seconds=time.monotonic() - start)
    return Output(reporter.end(now), _exit_code(now))


def _changes(rows: Rows, found: Round) -> List[Tuple[Target, Change]]:
    """Add a round to the statistics; return what changed."""
    changes = [
        (target, statistics.add(verdict, found.time, found.began))
        for (target, statistics), verdict in zip(rows, found.verdicts)
    ]
    return [(target, change) for target, change in changes if change is not None]


def _exit_code(watched: Watched) -> int:
    return FORMATS["text"].codes[worst(watched.rows)]


# -- what is told -------------------------------------------------------------------------------


def _reporter(format_name: str, stop: Stop) -> Reporter[Watched]:
    if format_name == "json":
        return _Json()
    return _Live(stop) if on_terminal() else _Lines()


class _Lines(Reporter[Watched]):
    """A line for each change, and a table at the end."""

    def __init__(self) -> None:
        self._said_slow = False

    def show(self, watched: Watched) -> None:
        for target, change in watched.changes:
            say(change_line(target, change))
        if watched.slow and watched.round and not self._said_slow:
            self._said_slow = True
            say(f"{stamp(watched.round.time)} {watched.slow}")

    def tick(self, _: Watched) -> None:
        check_reader()

    def end(self, watched: Watched) -> str:
        return "\n".join(
            [_counted(watched), *aligned(_changed_first(watched.rows), _SUMMARY_COLUMNS)]
        )


class _Json(Reporter[Watched]):
    """An object for each round."""

    def show(self, watched: Watched) -> None:
        assert watched.round is not None  # noqa: S101  for mypy: a round has ended
        say(
            json.dumps(
                {
                    "version": 2,
                    "time": stamp(watched.round.time),
                    "round": watched.round.number,
                    "seconds": round(watched.round.seconds, 3),
                    "targets": [json_format.target(each) for each in watched.round.verdicts],
                }
            )
        )

    def tick(self, _: Watched) -> None:
        check_reader()


class _Live(Reporter[Watched]):
    """A table on a terminal, of as many columns and rows as fit, and another at the end."""

    def __init__(self, stop: Stop) -> None:
        self._screen = Screen()
        self._size = (0, 0)
        stop.at_once = self._screen.close_at_once

    def __enter__(self) -> "_Live":
        self._screen.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._screen.__exit__(*exc)

    def show(self, watched: Watched) -> None:
        from rich.text import Text  # noqa: PLC0415  it costs 80 ms

        width, height = self._size = self._screen.console.size
        notes = _reasons(watched.rows) + list(filter(None, [watched.slow]))
        # A line for the columns' titles, and one for how many are not shown.
        space = height - 1 - len(notes)
        shown, more = _that_fit(watched.rows, space)
        self._screen.draw(
            table(shown, _COLUMNS, width),
            *(Text(shortened(note, width)) for note in more + notes),
        )

    def tick(self, watched: Watched) -> None:
        check_reader()
        if self._screen.console.size != self._size:
            self.show(watched)

    def end(self, watched: Watched) -> str:
        console = new_console()
        width, height = console.size
        notes = _reasons(watched.rows)
        # It stays whole on the terminal, with a line for the prompt.
        shown, more = _cut(_changed_first(watched.rows), max(1, height - 4 - len(notes)))
        with console.capture() as drawn:
            console.print(table(shown, _SUMMARY_COLUMNS, width))
        lines = [line.rstrip() for line in drawn.get().splitlines()]
        below = [shortened(printable(note), width) for note in more + notes]
        return "\n".join([shortened(_counted(watched), width), *lines, *below])


def _that_fit(rows: Rows, space: int) -> Tuple[Rows, List[str]]:
    """Return the rows in their order if all fit, else the worst; and what to say of the rest."""
    if len(rows) <= space:
        return rows, []
    return _cut(sorted(rows, key=lambda row: row[1].status, reverse=True), max(1, space - 1))


def _changed_first(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: (row[1].changes > 0, row[1].status), reverse=True)


def _cut(rows: Rows, most: int) -> Tuple[Rows, List[str]]:
    if len(rows) <= most:
        return rows, []
    states = [s.verdict.state if s.verdict else "" for _, s in rows[most:]]
    return rows[:most], [hidden(states)]


def _reasons(rows: Rows) -> List[str]:
    """Return why checks failed, each reason once."""
    failed = dict.fromkeys(
        f"unknown: {printable(str(statistics.verdict.error))}"
        for _, statistics in rows
        if statistics.verdict and statistics.verdict.error
    )
    return list(failed)[:_MOST_REASONS]


def _counted(watched: Watched) -> str:
    number = 0 if watched.round is None else watched.round.number
    line = f"{number} round{'' if number == 1 else 's'} in {span(watched.seconds)}"
    return "; ".join(filter(None, [line, watched.slow]))


# -- columns ------------------------------------------------------------------------------------


def _reason(_: Target, statistics: Statistics) -> str:
    seen = statistics.verdict.observation if statistics.verdict else None
    return "-" if seen is None else shortened(seen.reason, 24)


def _since(_: Target, statistics: Statistics) -> str:
    return "-" if statistics.verdict is None else clock(statistics.since)


def _up(_: Target, statistics: Statistics) -> str:
    return "-" if statistics.availability is None else f"{statistics.availability:.1f}%"


def _rtt(_: Target, statistics: Statistics) -> str:
    if not statistics.rtts:
        return "-"
    times = (statistics.rtt_min, statistics.rtt_mean, statistics.rtt_max)
    return "/".join(f"{1000 * each:.2f}" for each in times)


def _outage(_: Target, statistics: Statistics) -> str:
    longest = span(statistics.longest_outage) if statistics.longest_outage else "-"
    if statistics.down_since is None:
        return longest
    before = f"{longest}; " if statistics.longest_outage > statistics.outage else ""
    return f"{before}down since {clock(statistics.down_since)} (still down)"


_SINCE = Column("Since", 6, _since)
_UP = Column("Up", 7, _up)
_RTT = Column("RTT min/avg/max ms", 3, _rtt)
_COLUMNS = (TARGET, STATE, Column("Reason", 4, _reason), _SINCE, _UP, _RTT, HISTORY)
_SUMMARY_COLUMNS = (
    TARGET,
    STATE,
    _SINCE._replace(worth=4),
    _UP._replace(worth=6),
    Column("Changes", 5, lambda _, statistics: str(statistics.changes)),
    Column("Longest outage", 7, _outage),
    _RTT,
)
