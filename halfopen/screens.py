"""What `wait` and `watch` show: live on a terminal, a line a change elsewhere."""

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Callable, List, Sequence, Tuple

from halfopen.check import Status, Verdict
from halfopen.conventions import printable
from halfopen.runbook import Result, Seen, Waited
from halfopen.tally import Change, Tally
from halfopen.target import Target

if TYPE_CHECKING:
    from rich.table import Table


class ClosedError(Exception):
    """Nobody reads what we print any more."""


def on_terminal() -> bool:
    """Return whether a line can be written over: not on a dumb terminal, nor in a file."""
    return (
        sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    )


def say(text: str, start: str = "", end: str = "\n") -> None:
    """Print, at once; raise ClosedError if nobody reads it."""
    data = (start + printable(text) + end).encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        raise ClosedError from None


def stamp(when: float) -> str:
    """Return Unix time as ISO 8601, local, with its distance from UTC."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))
    return text[:-2] + ":" + text[-2:]


def span(seconds: float) -> str:
    """Return a time span for people: 0.5 s, 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def described(verdict: Verdict) -> str:
    """Return a state with its reason, or why there is none."""
    seen = verdict.observation
    return f"unknown: {verdict.error}" if seen is None else f"{seen.state} ({seen.reason})"


def change_line(target: Target, change: Change) -> str:
    """Return the line that tells of a change."""
    before = (
        f"{'unknown' if change.before == 'error' else change.before} -> " if change.before else ""
    )
    return f"{stamp(change.when)} {target.name} {before}{described(change.verdict)}"


def change_lines(rows: "Rows", seen: Seen) -> List[str]:
    """Add a look to the tallies; return a line for each that changed."""
    changes = [
        (target, tally.add(verdict, seen.when))
        for (target, tally), verdict in zip(rows, seen.verdicts)
    ]
    return [change_line(target, change) for target, change in changes if change is not None]


# -- wait ---------------------------------------------------------------------------------------


class WaitLine:
    """A live line on a terminal: what is missing, and the time left."""

    def show(self, waited: Waited) -> None:
        """Write it over the one before."""
        width = shutil.get_terminal_size().columns
        # The last column stays free: some terminals wrap there. \\033[K clears what is longer.
        say(_fitted(missing(waited), width - 1), start="\r", end="\033[K")

    def end(self) -> None:
        """Take it away."""
        say("", start="\r", end="\033[K")


def missing(waited: Waited) -> str:
    """Return what is still missing, and the time left, as a line."""
    reached = sum(waited.reached)
    left = f"{span(waited.left)} left"
    wish = f"{waited.wish.state}: {reached} of {len(waited.streaks)}"
    if not waited.verdicts:
        return f"{wish}, {left}"
    return f"{wish}, {left}; {_not_yet(waited)}"


def _not_yet(waited: Waited) -> str:
    return ", ".join(
        f"{_name(verdict)} {'unknown' if verdict.state == 'error' else verdict.state}"
        for verdict, done in zip(waited.verdicts, waited.reached)
        if not done
    )


def outcome(waited: Waited) -> str:
    """Return how waiting ended, as a line."""
    state, count = waited.wish.state, len(waited.streaks)
    if waited.result is Result.REACHED:
        which = [_name(v) for v, done in zip(waited.verdicts, waited.reached) if done]
        who = ", ".join(which) if waited.wish.one_is_enough or count == 1 else f"all {count}"
        return f"{state} after {span(waited.seconds)}: {who}"
    if waited.result is Result.HOPELESS:
        errors = dict.fromkeys(str(v.error) for v in waited.verdicts if v.error is not None)
        return "cannot check: {}".format("; ".join(errors))
    return f"not {state} after {span(waited.seconds)}: " + ", ".join(
        f"{_name(verdict)} {described(verdict)}"
        for verdict, done in zip(waited.verdicts, waited.reached)
        if not done
    )


def _name(verdict: Verdict) -> str:
    return "-" if verdict.target is None else verdict.target.name


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


# -- watch --------------------------------------------------------------------------------------

Rows = Sequence[Tuple[Target, Tally]]

_COLOURS = {"open": "green", "closed": "red", "filtered": "yellow", "error": "magenta"}


class LiveTable:
    """A live table on a terminal, of as many columns as fit."""

    def __init__(self) -> None:
        """Take the terminal's place."""
        from rich.console import Console  # noqa: PLC0415  60 ms that only a terminal needs
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(console=Console(), auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def show(self, rows: Rows) -> None:
        """Draw it again."""
        size = self._live.console.size
        try:
            self._live.update(table(rows, size.width, size.height - 1), refresh=True)
        except OSError:
            raise ClosedError from None

    def end(self) -> None:
        """Leave the last one standing."""
        try:
            self._live.stop()
        except OSError:
            raise ClosedError from None


class _Column:
    """A column, and how much it is worth where not all fit."""

    def __init__(self, title: str, cell: Callable[[Target, Tally], str], worth: int) -> None:
        self.title, self.cell, self.worth = title, cell, worth


def _since(_: Target, tally: Tally) -> str:
    return time.strftime("%H:%M:%S", time.localtime(tally.since))


def _up(_: Target, tally: Tally) -> str:
    return "-" if tally.availability is None else f"{tally.availability:.1f}%"


def _rtts(_: Target, tally: Tally) -> str:
    if not tally.rtts:
        return "-"
    return "/".join(f"{1000 * rtt:.2f}" for rtt in (tally.rtt_min, tally.rtt_mean, tally.rtt_max))


_COLUMNS = (
    _Column("Target", lambda target, _: target.name, 9),
    _Column("State", lambda _, tally: _state(tally), 8),
    _Column("Reason", lambda _, tally: _fitted(_reason(tally), 24), 4),
    _Column("Since", _since, 6),
    _Column("Up", _up, 7),
    _Column("RTT min/avg/max ms", _rtts, 3),
    _Column("Last", lambda _, tally: "".join(tally.strip), 5),
)


def _state(tally: Tally) -> str:
    if tally.verdict is None:
        return "-"
    return "unknown" if tally.verdict.state == "error" else tally.verdict.state


def _reason(tally: Tally) -> str:
    if tally.verdict is None:
        return "-"
    seen = tally.verdict.observation
    return str(tally.verdict.error) if seen is None else seen.reason


def table(rows: Rows, width: int, height: int) -> "Table":
    """Return the table: the worthiest columns that fit, the worst rows first where not all fit."""
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = _rows_that_fit(rows, height - 3)
    columns = list(_COLUMNS)
    while len(columns) > 2 and _width(columns, shown) > width:
        columns.remove(min(columns, key=lambda column: column.worth))
    made = RichTable(box=None, pad_edge=False, padding=(0, 1), expand=False)
    for column in columns:
        made.add_column(column.title, no_wrap=True, overflow="ellipsis")
    for target, tally in shown:
        cells = [
            Text(
                printable(column.cell(target, tally)),
                style=_COLOURS[tally.verdict.state]
                if tally.verdict and column.title == "State"
                else "",
            )
            for column in columns
        ]
        made.add_row(*cells)
    if len(shown) < len(rows):
        made.caption = f"and {len(rows) - len(shown)} more"
    return made


def _rows_that_fit(rows: Rows, height: int) -> Rows:
    if len(rows) <= height:
        return rows
    worst_first = sorted(rows, key=lambda row: row[1].verdict is not None and row[1].verdict.status)
    return worst_first[::-1][: max(1, height)]


def _width(columns: Sequence[_Column], rows: Rows) -> int:
    cells = [[column.title] + [column.cell(*row) for row in rows] for column in columns]
    return sum(max(map(len, column)) + 2 for column in cells)


def summary(rows: Rows, seconds: float) -> List[str]:
    """Return what there was, as ping does at its end: a line or two for each target."""
    lines: List[str] = []
    for target, tally in rows:
        up = "nothing known" if tally.availability is None else f"{tally.availability:.1f}% open"
        line = f"{target.name}: {tally.looks} looks in {span(seconds)}, {up}"
        line += f", {tally.changes} changes"
        if tally.failed:
            line += f", {tally.failed} failed checks"
        if tally.longest_outage:
            line += f", longest outage {span(tally.longest_outage)}"
        lines.append(line)
        if tally.rtts:
            lines.append(f"{target.name}: round trip min/avg/max {_rtts(target, tally)} ms")
    return lines


def worst(rows: Rows) -> Status:
    """Return the worst of the last states; UNKNOWN if there was no look."""
    return max(
        (tally.verdict.status if tally.verdict else Status.UNKNOWN for _, tally in rows),
        default=Status.UNKNOWN,
    )
