"""A row a target: what the columns are, and which of them a terminal has space for."""

from typing import TYPE_CHECKING, Callable, NamedTuple, Sequence

from halfopen.formats.registry import printable
from halfopen.runbook.statistics import Statistics
from halfopen.runbook.terminal import rendered
from halfopen.runbook.wording import clock, hidden, shortened, span, state_name

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLOURS = {"open": "green", "closed": "red", "filtered": "yellow", "error": "magenta"}

_LEAST_NAME = 24
"""How much of a target's name is shown before other columns are; more on a wide terminal."""

_LEAST_HISTORY = 10
"""How many of the last results are worth a column; there are more where there is space."""


class Column(NamedTuple):
    """A column, and how much it is worth where not all fit."""

    title: str
    worth: int
    cell: Callable[[Statistics], str]


def _reason(row: Statistics) -> str:
    seen = row.verdict.observation
    return "-" if seen is None else shortened(seen.reason, 24)


def _up(row: Statistics) -> str:
    """Return the share of the rounds that found it open, of those that found anything."""
    return f"{100 * row.open / row.found:.1f}%" if row.found else "-"


def _rtt(row: Statistics) -> str:
    if not row.rtts:
        return "-"
    times = (row.rtt_min, row.rtt_sum / row.rtts, row.rtt_max)
    return "/".join(f"{1000 * each:.2f}" for each in times)


def _outage(row: Statistics) -> str:
    longest = span(row.longest_outage) if row.longest_outage else "-"
    if row.down_since is None:
        return longest
    before = f"{longest}; " if row.longest_outage > row.outage else ""
    return f"{before}down since {clock(row.down_since)} (still down)"


_ALWAYS = 9
_TARGET = Column("Target", _ALWAYS, lambda row: row.target.name)
_STATE = Column("State", _ALWAYS, lambda row: state_name(row.state) if row.state else "-")
_REASON = Column("Reason", 3, _reason)
_SINCE = Column("Since", 5, lambda row: clock(row.since) if row.state else "-")
_UP = Column("Up", 7, _up)
_CHANGES = Column("Changes", 6, lambda row: str(row.changes))
_OUTAGE = Column("Longest outage", 8, _outage)
_RTT = Column("RTT min/avg/max ms", 2, _rtt)
_HISTORY = Column("Last", 4, lambda row: "".join(row.history))

LIVE = (_TARGET, _STATE, _REASON, _SINCE, _UP, _RTT, _HISTORY)
SUMMARY = (_TARGET, _STATE, _SINCE, _UP, _CHANGES, _OUTAGE, _RTT)


def fitted(
    console: "Console",
    rows: Sequence[Statistics],
    columns: Sequence[Column],
    height: int,
    notes: Sequence[str],
) -> str:
    """Return a table of what fits, and below it what is hidden and the notes."""
    space = height - 1 - len(notes)  # a line for the columns' titles
    if len(rows) > space:
        most = max(1, space - 1)
        notes = [hidden(rows[most:]), *notes]
        rows = rows[:most]
    below = [shortened(note, console.width) for note in notes]
    return rendered(console, _table(rows, columns, console.width), *below)


def _table(rows: Sequence[Statistics], columns: Sequence[Column], width: int) -> "Table":
    """Return the rows as a table of rich's, with the worthiest columns that fit."""
    from rich.table import Table  # noqa: PLC0415  80 ms that only a table needs
    from rich.text import Text  # noqa: PLC0415  as above

    cells = {column: [printable(column.cell(row)) for row in rows] for column in columns}
    needs = {c: max(map(len, [c.title, *texts])) + 2 for c, texts in cells.items()}
    longest = needs[_TARGET]
    needs[_TARGET] = min(longest, max(_LEAST_NAME, width * 2 // 5) + 2)
    needs[_HISTORY] = _LEAST_HISTORY + 2
    spare = width + 2
    for column in sorted(columns, key=lambda column: -column.worth):
        # The state is told even where a target's name has no space.
        if column.worth == _ALWAYS or needs[column] <= spare:
            spare -= needs[column]
        else:
            del cells[column]
    more = min(spare, longest - needs[_TARGET])
    names = max(0, needs[_TARGET] - 2 + more)
    if _HISTORY in cells:
        marks = _LEAST_HISTORY + max(0, spare - more)
        cells[_HISTORY] = [history[-marks:] for history in cells[_HISTORY]]

    made = Table(box=None, pad_edge=False, padding=(0, 1))
    for column in cells:
        room = names if column is _TARGET else width
        made.add_column(shortened(column.title, room), no_wrap=True)
    for row, (name, state, *others) in zip(rows, zip(*cells.values())):
        coloured = Text(state, COLOURS.get(row.state, ""))
        made.add_row(shortened(name, names), coloured, *others)
    return made
