"""What `make pictures` does: runs the commands on a real terminal, and writes docs/pictures/*.svg.

The terminal is a pty in the lab's network, where a backend comes back or goes away while `wait` and
`watch` run. Needs root, and for the proof Postfix and Squid.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

from lab import IP, Lab
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from support.machine import ROOT, WEB1, WEB2, Farm

FOLDER = ROOT / "docs" / "pictures"
ROWS, LONGEST_S = 30, 180.0
# A page's own background may be light or dark: a picture brings its own, and no fonts from the web.
FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
SVG = re.sub(r"(?s)@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT).replace("Fira Code", FONTS)
RED, GREEN, YELLOW, MAGENTA = (255, 110, 110), (120, 210, 120), (240, 200, 90), (220, 140, 240)
GREY, BLUE, CYAN, WHITE = (96, 100, 110), (120, 170, 255), (90, 210, 220), (222, 224, 228)
COLOURS = [GREY, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE]
DARK = TerminalTheme((30, 32, 38), WHITE, COLOURS)
# What terminals are told by Screen and LiveLine of halfopen/runbook/terminal.py.
HOME, LEAVES_SCREEN, OVER = "\x1b[H", "\x1b[?1049l", "\r\x1b[J"
OTHER_THAN_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-ln-~]")


class Picture(NamedTuple):
    """A command line, as it is shown and run, and what happens meanwhile."""

    name: str
    command: str
    columns: int = 96
    later: Sequence[tuple[float, Sequence[str]]] = ()
    """After so many seconds, the backends that are then open."""


PICTURES = (
    Picture("check", f"halfopen check {WEB1}:443 {WEB2}:443 192.0.2.25:80 '[2001:db8::25]:25'"),
    Picture(
        "wait",
        f"halfopen wait {WEB1}:443 {WEB2}:443 && echo enable",
        later=[(2.5, [WEB1, WEB2])],
    ),
    Picture(
        "watch",
        f"halfopen watch {WEB1}:443 {WEB2}:443 '[2001:db8::25]:25' -i 1s --count 14",
        later=[(5.5, [WEB2]), (9.5, [WEB1, WEB2])],
    ),
    Picture("smoke", "halfopen smoke"),
    Picture("proof", "make proof", columns=106),
)
"""Backend 192.0.2.11 is open at first, and 192.0.2.12 closed."""


def recorded(lab: Lab, picture: Picture) -> str:
    """Run the command on a terminal in the lab, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, picture.columns, 0, 0))
    command = picture.command.replace("make proof", f"{sys.executable} {ROOT}/tests/proof.py")
    inside = [] if picture.name == "proof" else [IP, "netns", "exec", lab.netns("scanner")]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {"PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    argv = [*inside, "sh", "-c", command]
    written, until = b"", time.monotonic() + LONGEST_S
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # EIO: the last writer has gone
            while select.select([ours], [], [], max(0.0, until - time.monotonic()))[0]:
                written += os.read(ours, 65536)
        process.kill()
    os.close(ours)
    return written.decode()


def shown(written: str, live: bool) -> str:
    """Return what was to be read, with colours.

    Of a table on the whole screen that is the last one, and what came after; of a line that was
    written over also an earlier one, where `live`.
    """
    text = written.replace("\r\n", "\n")
    screen, leaves, after = text.rpartition(LEAVES_SCREEN)
    if leaves:
        lines = _plain(screen.rsplit(HOME, 1)[1]).splitlines()
        return "\n".join([*filter(str.strip, lines), "", _plain(after).strip()])
    drawn = text.split(OVER)
    return _plain("\n".join((drawn[-4:-3] if live else []) + drawn[-1:]))


def _plain(text: str) -> str:
    return OTHER_THAN_COLOURS.sub("", text)


def draw(picture: Picture, text: str) -> None:
    """Write the picture: the prompt with the command, and below it what came."""
    console = Console(
        record=True, file=io.StringIO(), width=picture.columns, force_terminal=True, highlight=False
    )
    console.print(Text("$ ", "green"), Text(picture.command, "bold"), sep="")
    console.print(Text.from_ansi(text.rstrip()))
    title = " ".join(picture.command.split()[:2])
    svg = console.export_svg(title=title, theme=DARK, code_format=SVG, unique_id=picture.name)
    FOLDER.joinpath(f"{picture.name}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for picture in PICTURES:
        with Lab() as lab, Farm(lab) as farm:
            farm.only(WEB1)
            change: Callable[..., None] = farm.only
            timers = [threading.Timer(at, change, webs) for at, webs in picture.later]
            for timer in timers:
                timer.start()
            written = recorded(lab, picture)
            for timer in timers:
                timer.join()
        draw(picture, shown(written, bool(picture.later)))
        print(f"docs/pictures/{picture.name}.svg")


if __name__ == "__main__":
    main()
