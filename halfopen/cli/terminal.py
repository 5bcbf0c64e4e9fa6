"""`halfopen check` on a terminal: a table, a summary, and a line that tells how far it is."""

import _thread
import contextlib
import os
import select
import signal
import threading
import time
from types import FrameType
from typing import List, Optional

from halfopen.formats import people
from halfopen.formats.registry import Output, printable
from halfopen.formats.wording import transcript
from halfopen.model import Report
from halfopen.runbook.table import COLOURS
from halfopen.runbook.terminal import ClosedError, LiveLine, new_console, on_terminal, rendered
from halfopen.runbook.wording import counted, span
from halfopen.scan import process

_NARROW = 60
"""Columns below which a terminal has no space for round-trip times."""

_MOST_ROWS = 1000
"""With more, drawing takes seconds (4,000: 8 s on a busy machine), and nobody reads them there."""

_FEW_ROWS, _EACH_ROW = 100, 0.002
"""So many rows are drawn even when no time is left (0.1 s); seconds that a row may take."""

_PAUSE, _PERIOD = 1.0, 0.5
"""Seconds until the progress line is first drawn, and from then on between two."""


def wants_table() -> bool:
    """Return whether standard output is a terminal, and one whose user wants colours."""
    return on_terminal() and not new_console().no_color


def with_table(plain: Output, report: Report, verbose: bool, deadline: float) -> Output:
    """Return the output with a table in place of plain rows, and a summary beside it.

    The rows stay plain where there are very many, or too many to draw by `deadline`
    (`time.monotonic` seconds).
    """
    if all(verdict.target is None for verdict in report.verdicts):
        return plain
    states = [verdict.state for verdict in report.verdicts]
    took = f" in {span(report.seconds)}" if report.seconds else ""
    text = plain.text
    in_time = time.monotonic() + len(states) * _EACH_ROW < deadline
    if len(states) <= (_MOST_ROWS if in_time else _FEW_ROWS):
        text = "\n".join([_table(report), *map(printable, transcript(report, verbose))])
    return plain._replace(text=text, note=counted(states) + took)


def _table(report: Report) -> str:
    from rich.table import Table  # noqa: PLC0415  60 ms that only a terminal needs
    from rich.text import Text  # noqa: PLC0415

    rows: List[List[Text]] = []
    told = ""
    for verdict in report.verdicts:
        target, state, said = people.row(verdict, report)
        text = ", ".join(said)
        if verdict.error is not None:  # what the last failed target had too is not said again
            text, told = "as above" if text == told else text, text
        cells = (printable(target), state, people.round_trip(verdict), printable(text))
        rows.append([Text(cell) for cell in cells])
        rows[-1][1].stylize(COLOURS[verdict.state])
    console = new_console()
    wide = console.width >= _NARROW
    longest, others = (max(len(row[column]) for row in rows) for column in (0, 3))
    # At least this much for the targets; more where the details leave it.
    least = console.width * 2 // 5 if wide else max(10, console.width - 22)
    width = max(least, console.width - others - 24)
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column("Target", overflow="fold", width=min(longest, width))
    drawn.add_column("State", no_wrap=True)
    if wide:
        drawn.add_column("RTT", no_wrap=True, justify="right")
    drawn.add_column("Details", overflow="fold")
    for row in rows:
        drawn.add_row(*(row if wide else [*row[:2], row[3]]))
    return rendered(console, drawn)


class Progress:
    """A line on stderr, once a check has taken a second, while a `with` lasts; then it is erased.

    A thread draws it: the check waits now for a resolver, now for nmap.
    """

    def __init__(self, total: int, deadline: float) -> None:
        """Draw nothing yet."""
        self._done, self._total, self._deadline = 0, total, deadline
        self._line = LiveLine(2)
        self._drawn = False
        # Not an Event: a signal may come while its lock is held, and its handler would wait for it.
        self._over = False
        self._drawing = threading.Lock()

    def __enter__(self) -> "Progress":
        """Begin."""
        if os.isatty(2):
            for number in process.ENDING_SIGNALS:
                if signal.getsignal(number) is process.end_by_signal:
                    signal.signal(number, self._end_by_signal)
            # threading's start() can wait for ever where memory is short; without a thread the
            # check goes on, and is not told of.
            with contextlib.suppress(RuntimeError):
                _thread.start_new_thread(self._draw, ())
        return self

    def __call__(self, done: int) -> None:
        """Note how many targets have their verdict."""
        self._done = done

    def __exit__(self, *_: object) -> None:
        """Erase the line. Wait for no terminal that takes nothing (Ctrl-S)."""
        self._over = True
        if self._drawing.acquire(timeout=0.2):
            if self._drawn and select.select([], [2], [], 0)[1]:
                with contextlib.suppress(ClosedError):
                    self._line.draw("")
            self._drawn = False
            self._drawing.release()

    def _end_by_signal(self, number: int, frame: Optional[FrameType]) -> None:
        self.__exit__()
        process.end_by_signal(number, frame)

    def _draw(self) -> None:
        time.sleep(_PAUSE)
        while not self._over:
            with self._drawing, contextlib.suppress(ClosedError):
                if not self._over:
                    left = span(max(0.0, self._deadline - time.monotonic()))
                    self._drawn = True
                    self._line.draw(f"{self._done} of {self._total} checked, {left} left")
            time.sleep(_PERIOD)
