"""Where we print: lines for a reader who may go away, and what is written over on a terminal."""

import contextlib
import errno
import io
import os
import select
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Optional, Tuple

from halfopen.formats.registry import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class ClosedError(Exception):
    """Nobody reads what we print any more."""


def say(*lines: str) -> None:
    """Print lines, at once; raise ClosedError if nobody reads them."""
    write("".join(f"{printable(line)}\n" for line in lines))


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


def on_terminal() -> bool:
    """Return whether a line can be written over: not on a dumb terminal, nor in a file."""
    dumb = os.environ.get("TERM", "").lower() in ("", "dumb", "unknown")
    return sys.stdout is not None and sys.stdout.isatty() and not dumb


def new_console(width: Optional[int] = None, height: Optional[int] = None) -> "Console":
    """Return a console of rich's to draw with: a terminal's, or a file's if it has a size."""
    from rich.console import Console  # noqa: PLC0415  80 ms that only a table needs

    return Console(
        file=io.StringIO(),  # nothing is written there: rendered() captures it all
        force_terminal=width is None,
        width=width,
        height=height,
        markup=False,
        highlight=False,
        emoji=False,
    )


def rendered(console: "Console", *parts: "RenderableType") -> str:
    """Return what rich draws, below one another."""
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


class LiveLine:
    """A line of the terminal that is written over again and again, and erased after a `with`.

    Not rich's Live: that hides the cursor, which a SIGKILL would not bring back, and does not see
    that a terminal made narrower has wrapped the line.
    """

    def __init__(self, descriptor: int = 1) -> None:
        """Begin where the cursor is, at the start of a line."""
        self._descriptor, self._width = descriptor, 0

    def __enter__(self) -> "LiveLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            with contextlib.suppress(ClosedError):
                self.draw("")

    def draw(self, text: str) -> None:
        """Write this over what was there."""
        columns = shutil.get_terminal_size().columns or 80  # 0 where nobody has given it a size
        up = max(0, -(-self._width // columns) - 1)
        room = max(0, columns - 3)  # for `^C`, which the terminal adds, and the cursor
        shown = printable(text)
        shown = shown if len(shown) <= room else (shown[: max(0, room - 3)] + "...")[:room]
        self._width = len(shown)
        write((f"\033[{up}A" if up else "") + "\r\033[J" + shown, self._descriptor)


class Screen:
    """The whole terminal, drawn over again and again while a `with` lasts; then it is as before.

    It is the alternate screen: a terminal made narrower wraps the lines that stand on the other.
    Not rich's Live: that does not give the terminal back while Ctrl-Z stops us.
    """

    def __init__(self) -> None:
        """Draw nothing yet."""
        self.size = 0, 0
        """Columns and lines of what was drawn last."""
        self._drawn = ""

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
            signal.signal(signal.SIGTSTP, self._suspend)
        self._take()

    def __exit__(self, *_: object) -> None:
        if signal.getsignal(signal.SIGTSTP) == self._suspend:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        self._give_back()

    def _take(self) -> None:
        write("\033[?1049h\033[?25l" + self._drawn)

    def _give_back(self) -> None:
        write("\033[?25h\033[?1049l")

    def give_back_at_once(self) -> None:
        """Give the terminal back if it takes that; do not wait for one that hangs."""
        if select.select([], [1], [], 0)[1]:
            self._give_back()

    def draw(self, text: str, size: Tuple[int, int]) -> None:
        """Write the text over what was there; `size`: columns and lines of the terminal."""
        self.size = size
        lines = [*text.split("\n"), *[""] * size[1]][: size[1]]
        # Each is erased first: behind a line as long as the terminal is wide, its end would be.
        self._drawn = "\033[H" + "\n".join(f"\033[K{line}" for line in lines)
        write(self._drawn)

    def _suspend(self, number: int, _frame: object) -> None:
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # we stand here until the shell lets us go on
        signal.signal(number, self._suspend)
        self._take()
