"""What `wait` and `watch` show: live on a terminal, a line a change elsewhere."""

import errno
import io
import os
import re
import select
import shutil
import sys
import time
from typing import TYPE_CHECKING, Callable, List, Optional, Sequence, Tuple

from halfopen.errors import HopelessError
from halfopen.formats.registry import printable
from halfopen.model import Status, Target, Verdict
from halfopen.runbook.schedule import Result, Seen, Waited
from halfopen.runbook.statistics import Change, Tally

if TYPE_CHECKING:
    from rich.table import Table


class ClosedError(Exception):
    """Nobody reads what we print any more."""


def on_terminal() -> bool:
    """Return whether a line can be written over: not on a dumb terminal, nor in a file."""
    dumb = os.environ.get("TERM", "").lower() in ("", "dumb", "unknown")
    return sys.stdout is not None and sys.stdout.isatty() and not dumb


def say(text: str) -> None:
    """Print a line, at once; raise ClosedError if nobody reads it."""
    _write(printable(text) + "\n")


def _write(text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError as error:
        # A full disk ends nothing: what is waited for, or watched, goes on.
        if error.errno in (errno.EPIPE, errno.EIO):
            raise ClosedError from None


def size() -> Tuple[int, int]:
    """Return the terminal's columns and lines."""
    columns, lines = shutil.get_terminal_size()
    return columns or 80, lines or 24  # 0 on a pseudo-terminal that nobody has given a size


def read_by_nobody() -> bool:
    """Return whether the reader of what we print has gone: no need to wait for a change."""
    poll = select.poll()
    poll.register(1, 0)
    return bool(poll.poll(0))


_COLOUR = re.compile("\033\\[[0-9;]*m")


class Area:
    """Lines on a terminal that are written over again and again, with the cursor below them.

    Not rich's Live: that hides the cursor, which a signal's end would not bring back, and does not
    see that a terminal made narrower has wrapped its lines.
    """

    def __init__(self) -> None:
        """Begin where the cursor is, at the start of a line."""
        self._widths: List[int] = []

    def draw(self, lines: Sequence[str]) -> None:
        """Write these over the ones before; none to take them away. They may be coloured."""
        columns, height = size()
        up = sum(-(-width // columns) or 1 for width in self._widths)
        shown = lines[: max(1, height - 1)]
        self._widths = [len(_COLOUR.sub("", line)) for line in shown]
        back = f"\033[{up}A\r" if up else "\r"
        _write(back + "".join(f"\033[2K{line}\n" for line in shown) + "\033[J")


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

    def __init__(self) -> None:
        """Take a line of the terminal's."""
        self._area = Area()

    def show(self, waited: Waited) -> None:
        """Write it over the one before."""
        self._area.draw([_fitted(missing(waited), size()[0])])

    def end(self) -> None:
        """Take it away."""
        self._area.draw([])


def missing(waited: Waited) -> str:
    """Return what is still missing, and the time left, as a line."""
    reached = sum(waited.reached)
    left = f"{span(waited.left)} left"
    wish = f"{waited.wish.state}: {reached} of {len(waited.streaks)}"
    if not waited.verdicts:
        return f"{wish}, {left}"
    return f"{wish}, {left}; {_not_yet(waited, _state)}"


def _not_yet(waited: Waited, told: Callable[[Verdict], str]) -> str:
    return ", ".join(
        f"{_name(verdict)} {told(verdict)}"
        + (f" {streak} of {waited.wish.times} times" if streak else "")
        for verdict, streak, done in zip(waited.verdicts, waited.streaks, waited.reached)
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
        causes = [v.error for v in waited.verdicts if isinstance(v.error, HopelessError)]
        return "cannot check: {}".format("; ".join(dict.fromkeys(map(str, causes))))
    missed = _not_yet(waited, described)
    return f"timed out after {span(waited.seconds)}, waiting for {state}: {missed}"


def _name(verdict: Verdict) -> str:
    return "-" if verdict.target is None else verdict.target.name


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else (text[: max(0, width - 3)] + "...")[:width]


# -- watch --------------------------------------------------------------------------------------

Rows = Sequence[Tuple[Target, Tally]]

_COLOURS = {"open": "green", "closed": "red", "filtered": "yellow", "error": "magenta"}


class LiveTable:
    """A live table on a terminal, of as many columns as fit."""

    def __init__(self) -> None:
        """Take lines of the terminal's."""
        self._area = Area()
        self._size = (0, 0)

    def show(self, rows: Rows) -> None:
        """Draw it over the one before."""
        self._size = size()
        self._area.draw(screen(rows, *self._size))

    def follow(self, rows: Rows) -> None:
        """Draw it again if the terminal has another size now."""
        if size() != self._size:
            self.show(rows)


def screen(rows: Rows, width: int, height: int) -> List[str]:
    """Return the lines of the live table, coloured if the terminal can, and why checks failed."""
    from rich.console import Console  # noqa: PLC0415  60 ms that only a terminal needs

    failed = dict.fromkeys(
        f"unknown: {printable(str(tally.verdict.error))}"
        for _, tally in rows
        if tally.verdict and tally.verdict.error
    )
    notes = [_fitted(note, width) for note in list(failed)[:_NOTES]]
    # The lines of the header and of the cursor stay free, and one for how many are left out.
    shown = _rows_that_fit(rows, height - 3 - len(notes))
    if len(shown) < len(rows):
        notes.insert(0, f"and {len(rows) - len(shown)} more")
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=width, height=height)
    console.print(table(shown, width))
    return [line.rstrip() for line in drawn.getvalue().splitlines()] + notes


_NOTES = 3
"""How many reasons for failed checks are shown below the table."""

_LEAST_STRIP = 10
"""How many of the last results are worth a column; there are more where there is space."""


class _Column:
    """A column, and how much it is worth where not all fit."""

    def __init__(self, title: str, cell: Callable[[Target, Tally], str], worth: int) -> None:
        self.title, self.cell, self.worth = title, cell, worth


def _since(_: Target, tally: Tally) -> str:
    if tally.verdict is None:
        return "-"
    form = "%H:%M:%S" if time.time() - tally.since < 86400 else "%m-%d %H:%M"
    return time.strftime(form, time.localtime(tally.since))


def _up(_: Target, tally: Tally) -> str:
    return "-" if tally.availability is None else f"{tally.availability:.1f}%"


def _rtts(_: Target, tally: Tally) -> str:
    if not tally.rtts:
        return "-"
    return "/".join(f"{1000 * rtt:.2f}" for rtt in (tally.rtt_min, tally.rtt_mean, tally.rtt_max))


_TARGET = _Column("Target", lambda target, _: target.name, 9)
_STATE = _Column("State", lambda _, tally: _state(tally.verdict), 8)
_STRIP = _Column("Last", lambda _, tally: "".join(tally.strip), 5)
_COLUMNS = (
    _TARGET,
    _STATE,
    _Column("Reason", lambda _, tally: _fitted(_reason(tally), 24), 4),
    _Column("Since", _since, 6),
    _Column("Up", _up, 7),
    _Column("RTT min/avg/max ms", _rtts, 3),
    _STRIP,
)


def _state(verdict: Optional[Verdict]) -> str:
    if verdict is None:
        return "-"
    return "unknown" if verdict.state == "error" else verdict.state


def _reason(tally: Tally) -> str:
    if tally.verdict is None or tally.verdict.observation is None:
        return "-"
    return tally.verdict.observation.reason


def table(rows: Rows, width: int) -> "Table":
    """Return the rows with the worthiest columns that fit."""
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    cells = {column: [printable(column.cell(*row)) for row in rows] for column in _COLUMNS}
    needs = {c: max(map(len, [c.title, *texts])) + 2 for c, texts in cells.items()}
    needs[_STRIP] = _LEAST_STRIP + 2
    columns = list(_COLUMNS)
    while len(columns) > 2 and sum(needs[column] for column in columns) - 2 > width:
        columns.remove(min(columns, key=lambda column: column.worth))
    spare = width + 2 - sum(needs[column] for column in columns)
    cells[_STRIP] = [strip[-_LEAST_STRIP - max(0, spare) :] for strip in cells[_STRIP]]
    # The state is told even where a target's name has no space.
    names = max(0, needs[_TARGET] - 2 + min(0, spare))
    cells[_TARGET] = [_fitted(name, names) for name in cells[_TARGET]]

    made = RichTable(box=None, pad_edge=False, padding=(0, 1), expand=False)
    for column in columns:
        title = _fitted(column.title, names) if column is _TARGET else column.title
        made.add_column(title, no_wrap=True)
    for number, (_, tally) in enumerate(rows):
        colour = "" if tally.verdict is None else _COLOURS[tally.verdict.state]
        made.add_row(
            *(Text(cells[column][number], colour if column is _STATE else "") for column in columns)
        )
    return made


def _rows_that_fit(rows: Rows, height: int) -> Rows:
    """Return all rows, or the worst where not all fit."""
    if len(rows) <= height:
        return rows
    worst_first = sorted(rows, key=lambda row: worst([row]), reverse=True)
    return worst_first[: max(1, height)]


def summary(rows: Rows, seconds: float) -> List[str]:
    """Return what there was, as ping does at its end: a line or two for each target."""
    lines: List[str] = []
    for target, tally in rows:
        up = "nothing known" if tally.availability is None else f"{tally.availability:.1f}% open"
        line = f"{target.name}: {_counted(tally.looks, 'look')} in {span(seconds)}, {up}"
        line += f", {_counted(tally.changes, 'change')}"
        if tally.failed:
            line += f", {_counted(tally.failed, 'failed check')}"
        if tally.longest_outage:
            line += f", longest outage {span(tally.longest_outage)}"
        lines.append(line)
        if tally.rtts:
            lines.append(f"{target.name}: round trip min/avg/max {_rtts(target, tally)} ms")
    return lines


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def worst(rows: Rows) -> Status:
    """Return the worst of the last states; UNKNOWN if there was no look."""
    return max(
        (tally.verdict.status if tally.verdict else Status.UNKNOWN for _, tally in rows),
        default=Status.UNKNOWN,
    )
