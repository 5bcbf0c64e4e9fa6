"""A row a target: what the columns are, and which of them a terminal has space for."""

from typing import TYPE_CHECKING, Callable, List, NamedTuple, Sequence

from halfopen.formats.registry import printable
from halfopen.model import Target
from halfopen.runbook.statistics import Rows, Statistics
from halfopen.runbook.wording import clock, hidden, shortened, span, state_name

if TYPE_CHECKING:
    from rich.console import RenderableType
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
    cell: Callable[[Target, Statistics], str]


def _reason(_: Target, statistics: Statistics) -> str:
    seen = statistics.verdict.observation if statistics.verdict else None
    return "-" if seen is None else shortened(seen.reason, 24)


def _since(_: Target, statistics: Statistics) -> str:
    return clock(statistics.since) if statistics.state else "-"


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


_ALWAYS = 9
_TARGET = Column("Target", _ALWAYS, lambda target, _: target.name)
_STATE = Column("State", _ALWAYS, lambda _, s: state_name(s.state) if s.state else "-")
_HISTORY = Column("Last", 5, lambda _, statistics: "".join(statistics.history))
_RTT = Column("RTT min/avg/max ms", 3, _rtt)

LIVE = (
    _TARGET,
    _STATE,
    Column("Reason", 4, _reason),
    Column("Since", 6, _since),
    Column("Up", 7, _up),
    _RTT,
    _HISTORY,
)
SUMMARY = (
    _TARGET,
    _STATE,
    Column("Since", 4, _since),
    Column("Up", 6, _up),
    Column("Changes", 5, lambda _, statistics: str(statistics.changes)),
    Column("Longest outage", 7, _outage),
    _RTT,
)


def fitted(
    rows: Rows, columns: Sequence[Column], width: int, height: int, notes: Sequence[str]
) -> "Sequence[RenderableType]":
    """Return a table of what fits, and below it what is hidden and the notes, as rich draws it."""
    from rich.text import Text  # noqa: PLC0415  it costs 80 ms

    space = height - 1 - len(notes)  # a line for the columns' titles
    if len(rows) > space:
        most = max(1, space - 1)
        notes = [hidden([statistics.state for _, statistics in rows[most:]]), *notes]
        rows = rows[:most]
    return [_table(rows, columns, width), *(Text(shortened(note, width)) for note in notes)]


def _table(rows: Rows, columns: Sequence[Column], width: int) -> "Table":
    """Return the rows as a table of rich's, with the worthiest columns that fit."""
    from rich.table import Table as RichTable  # noqa: PLC0415  as above
    from rich.text import Text  # noqa: PLC0415  as above

    cells = {column: [printable(column.cell(*row)) for row in rows] for column in columns}
    needs = {c: max(map(len, [c.title, *texts])) + 2 for c, texts in cells.items()}
    longest = needs[_TARGET]
    needs[_TARGET] = min(longest, max(_LEAST_NAME, width * 2 // 5) + 2)
    needs[_HISTORY] = _LEAST_HISTORY + 2
    chosen: List[Column] = []
    spare = width + 2
    for column in sorted(columns, key=lambda column: -column.worth):
        if column.worth == _ALWAYS or needs[column] <= spare:
            chosen.append(column)
            spare -= needs[column]
    # The state is told even where a target's name has no space.
    more = min(spare, longest - needs[_TARGET])
    names = max(0, needs[_TARGET] - 2 + more)
    cells[_TARGET] = [shortened(name, names) for name in cells[_TARGET]]
    if _HISTORY in cells:
        marks = _LEAST_HISTORY + max(0, spare - more)
        cells[_HISTORY] = [history[-marks:] for history in cells[_HISTORY]]

    made = RichTable(box=None, pad_edge=False, padding=(0, 1))
    chosen.sort(key=columns.index)
    for column in chosen:
        title = shortened(column.title, names if column is _TARGET else width)
        made.add_column(title, no_wrap=True)
    for texts, (_, statistics) in zip(zip(*(cells[column] for column in chosen)), rows):
        name, state, *others = texts
        made.add_row(name, Text(state, COLOURS.get(statistics.state, "")), *map(Text, others))
    return made
