"""What is written over on a terminal: a line, or the whole screen."""

import os
import select
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Optional, TextIO, cast

from halfopen.formats.registry import printable
from halfopen.runbook.reporter import Reporter, write

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def on_terminal() -> bool:
    """Return whether a line can be written over: not on a dumb terminal, nor in a file."""
    dumb = os.environ.get("TERM", "").lower() in ("", "dumb", "unknown")
    return sys.stdout is not None and sys.stdout.isatty() and not dumb


class LiveLine(Reporter):
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
        write((f"\033[{up}A" if up else "") + "\r\033[J" + shown, self._descriptor)


class _Output:
    """What rich writes to: standard output, by our rules for one that is full or has gone."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        write(text)
        return len(text)

    def flush(self) -> None:
        pass  # nothing is kept back


def new_console(width: Optional[int] = None, height: Optional[int] = None) -> "Console":
    """Return a console of rich's on standard output: a terminal, or a file if it has a size."""
    from rich.console import Console  # noqa: PLC0415  80 ms that only a table needs

    return Console(
        file=cast("TextIO", _Output()),  # rich needs no more of a file than that
        force_terminal=width is None,
        width=width,
        height=height,
        markup=False,
        highlight=False,
        emoji=False,
    )


class Screen(Reporter):
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

    def __enter__(self) -> Reporter:
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
