"""What `wait` and `watch` print: lines; on a terminal one that changes, or a table."""

import errno
import os
import select
import shutil
import signal
import sys
import time
from typing import (
    TYPE_CHECKING,
    Callable,
    Dict,
    Generic,
    Iterable,
    List,
    NamedTuple,
    Sequence,
    TextIO,
    TypeVar,
    cast,
)

from halfopen.formats.registry import printable
from halfopen.model import PORT_STATES, Target, Verdict
from halfopen.runbook.statistics import Change, Rows, Statistics

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

State = TypeVar("State")


class Reporter(Generic[State]):
    """Tells of the rounds, for one format, while its `with` lasts. This one tells nothing."""

    def __enter__(self) -> "Reporter[State]":
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def show(self, state: State) -> None:
        """Tell what a round found."""

    def tick(self, state: State) -> None:
        """Note that a second has passed, or that the first round begins."""

    def end(self, state: State) -> str:  # noqa: ARG002  what the others need
        """Return what to print at the end, after the `with`."""
        return ""


class ClosedError(Exception):
    """Nobody reads what we print any more."""


def on_terminal() -> bool:
    """Return whether a line can be written over: not on a dumb terminal, nor in a file."""
    dumb = os.environ.get("TERM", "").lower() in ("", "dumb", "unknown")
    return sys.stdout is not None and sys.stdout.isatty() and not dumb


def say(text: str) -> None:
    """Print a line, at once; raise ClosedError if nobody reads it."""
    _write(printable(text) + "\n")


def _write(text: str, descriptor: int = 1) -> None:
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


# -- text ---------------------------------------------------------------------------------------


def stamp(when: float) -> str:
    """Return Unix time as ISO 8601, local, with its distance from UTC."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))
    return text[:-2] + ":" + text[-2:]


def clock(when: float) -> str:
    """Return Unix time as people read it; with the date after a day."""
    form = "%H:%M:%S" if abs(time.time() - when) < 86400 else "%m-%d %H:%M"
    return time.strftime(form, time.localtime(when))


def span(seconds: float) -> str:
    """Return a length of time for people: 0.5 s, 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def shortened(text: str, width: int) -> str:
    """Return the text; cut in the middle if it is too wide, for its end tells as much."""
    if len(text) <= width:
        return text
    kept = max(0, width - 3)
    return (text[: kept - kept // 2] + "..." + text[len(text) - kept // 2 :])[: max(0, width)]


def state_name(state: str) -> str:
    """Return a verdict's state as people are told it."""
    return "unknown" if state == "error" else state


def described(verdict: Verdict) -> str:
    """Return a state with its reason, or why there is none."""
    seen = verdict.observation
    return f"unknown: {verdict.error}" if seen is None else f"{seen.state} ({seen.reason})"


def hidden(states: Iterable[str]) -> str:
    """Return how many more there are, and in which states: `and 280 more: 275 open, 5 closed`."""
    listed = list(states)
    counts = {state: listed.count(state) for state in (*PORT_STATES, "error", "")}
    parts = [
        f"{count} {state_name(state) or 'not checked yet'}"
        for state, count in counts.items()
        if count
    ]
    return "and {} more: {}".format(len(listed), ", ".join(parts))


def change_line(target: Target, change: Change) -> str:
    """Return the line that tells of a change."""
    before = f"{state_name(change.before)} -> " if change.before else ""
    return f"{stamp(change.time)} {target.name} {before}{described(change.verdict)}"


# -- a line -------------------------------------------------------------------------------------


class LiveLine:
    """A line of the terminal that is written over again and again.

    Not rich's Live: that hides the cursor, which a SIGKILL would not bring back, and does not see
    that a terminal made narrower has wrapped the line.
    """

    def __init__(self, descriptor: int = 1) -> None:
        """Begin where the cursor is, at the start of a line."""
        self._descriptor, self._width = descriptor, 0

    def draw(self, text: str) -> None:
        """Write this over what was there."""
        columns = shutil.get_terminal_size().columns or 80  # 0 where nobody has given it a size
        up = max(0, -(-self._width // columns) - 1)
        room = max(0, columns - 3)  # for `^C`, which the terminal adds, and the cursor
        shown = printable(text)
        shown = shown if len(shown) <= room else (shown[: max(0, room - 3)] + "...")[:room]
        self._width = len(shown)
        _write((f"\033[{up}A" if up else "") + "\r\033[J" + shown, self._descriptor)


# -- a table ------------------------------------------------------------------------------------

COLOURS = {"open": "green", "closed": "red", "filtered": "yellow", "error": "magenta"}

_LEAST_NAME = 24
"""How much of a target's name is shown before other columns are; more on a wide terminal."""

_MOST_NAME = 60
"""How much of it is shown in a file."""

_LEAST_HISTORY = 10
"""How many of the last results are worth a column; there are more where there is space."""


class Column(NamedTuple):
    """A column, and how much it is worth where not all fit."""

    title: str
    worth: int
    cell: Callable[[Target, Statistics], str]


TARGET = Column("Target", 9, lambda target, _: target.name)
STATE = Column("State", 8, lambda _, s: state_name(s.verdict.state) if s.verdict else "-")
HISTORY = Column("Last", 5, lambda _, statistics: "".join(statistics.history))

Cells = Dict[Column, List[str]]


def cells(rows: Rows, columns: Sequence[Column]) -> Cells:
    """Return what stands in each column."""
    return {column: [printable(column.cell(*row)) for row in rows] for column in columns}


def aligned(rows: Rows, columns: Sequence[Column]) -> List[str]:
    """Return a table as lines of plain text."""
    filled = cells(rows, columns)
    filled[TARGET] = [shortened(name, _MOST_NAME) for name in filled[TARGET]]
    lines = zip(
        *(
            [text.ljust(max(map(len, [column.title, *texts]))) for text in [column.title, *texts]]
            for column, texts in filled.items()
        )
    )
    return ["  ".join(line).rstrip() for line in lines]


def table(rows: Rows, columns: Sequence[Column], width: int) -> "Table":
    """Return the rows as a table of rich's, with the worthiest columns that fit."""
    from rich.table import Table as RichTable  # noqa: PLC0415  80 ms that only a terminal needs
    from rich.text import Text  # noqa: PLC0415

    filled = cells(rows, columns)
    needs = {c: max(map(len, [c.title, *texts])) + 2 for c, texts in filled.items()}
    longest, needs[TARGET] = needs[TARGET], min(needs[TARGET], max(_LEAST_NAME, width * 2 // 5) + 2)
    needs[HISTORY] = _LEAST_HISTORY + 2
    chosen, spare = [TARGET, STATE], width + 2 - needs[TARGET] - needs[STATE]
    for column in sorted(columns, key=lambda column: -column.worth):
        if column not in chosen and needs[column] <= spare:
            chosen.append(column)
            spare -= needs[column]
    # The state is told even where a target's name has no space.
    more = min(spare, longest - needs[TARGET])
    names, spare = max(0, needs[TARGET] - 2 + more), spare - more
    filled[TARGET] = [shortened(name, names) for name in filled[TARGET]]
    if HISTORY in filled:
        marks = _LEAST_HISTORY + max(0, spare)
        filled[HISTORY] = [history[-marks:] for history in filled[HISTORY]]

    made = RichTable(box=None, pad_edge=False, padding=(0, 1), expand=False)
    chosen.sort(key=columns.index)
    for column in chosen:
        made.add_column(shortened(column.title, names if column is TARGET else width), no_wrap=True)
    for number, (_, statistics) in enumerate(rows):
        colour = "" if statistics.verdict is None else COLOURS[statistics.verdict.state]
        made.add_row(
            *(Text(filled[column][number], colour if column is STATE else "") for column in chosen)
        )
    return made


class _Output:
    """What rich writes to: standard output, by our rules for one that is full or has gone."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        _write(text)
        return len(text)

    def flush(self) -> None:
        pass  # nothing is kept back

    def isatty(self) -> bool:
        return True


def new_console() -> "Console":
    """Return a console of rich's on standard output, which is a terminal."""
    from rich.console import Console  # noqa: PLC0415

    output = cast("TextIO", _Output())  # rich needs no more of a file than that
    return Console(file=output, force_terminal=True, markup=False, highlight=False, emoji=False)


class Screen:
    """The whole terminal, drawn over again and again while a `with` lasts; then it is as before.

    rich's Live on the alternate screen: one that draws below the prompt does not see that a
    terminal made narrower has wrapped its lines.
    """

    def __init__(self) -> None:
        """Draw nothing yet."""
        from rich.live import Live  # noqa: PLC0415

        self.console = new_console()
        self._live = Live(
            console=self.console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._before: object = None

    def __enter__(self) -> "Screen":
        """Take the terminal."""
        self._before = signal.getsignal(signal.SIGTSTP)
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGTSTP, self._suspend)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self.close()
        signal.signal(signal.SIGTSTP, self._before)  # type: ignore[arg-type]

    def close(self) -> None:
        """Show the cursor, and what was there before."""
        self._live.stop()

    def close_at_once(self) -> None:
        """Do so if the terminal takes it; do not wait for one that hangs."""
        if select.select([], [1], [], 0)[1]:
            self.close()

    def draw(self, *parts: "RenderableType") -> None:
        """Draw these below one another, over what was there."""
        from rich.console import Group  # noqa: PLC0415

        self._live.update(Group(*parts), refresh=True)

    def _suspend(self, number: int, _frame: object) -> None:
        """Give the terminal back while Ctrl-Z stops us: rich's Live does not."""
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # we stand here until the shell lets us go on
        signal.signal(number, self._suspend)
        self._live.start(refresh=True)
