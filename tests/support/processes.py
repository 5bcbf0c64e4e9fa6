"""Our commands as processes of their own, with fake nmaps."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Mapping, NamedTuple

from support import fakes
from support.fakes import CLOSED_PORT, HOST, OPEN, OPEN_PORT, recording

FILES = Path(os.environ["HALFOPEN_FILES"]) if "HALFOPEN_FILES" in os.environ else None
"""The folder of the single files, if those are what is to be tested, and not the package."""

PLUGIN = "check_tcp_half_open"
HALFOPEN = "halfopen"
ENTRY_POINTS = (PLUGIN, HALFOPEN)

OK, CRITICAL, UNKNOWN = 0, 2, 3
TIMEOUT = 6.0 if FILES else 4.0
"""What --timeout is where nmap does not end. A single file's options are compiled at each start."""
SLACK = 20.0
"""Seconds of grace on a busy machine; a fake that hangs does so for longer."""
HUNG = 50.0
"""Seconds after which a command has failed to end."""
SIDE_BY_SIDE = 3

PLAIN = (HOST, OPEN_PORT)
WITHIN = ("--timeout", TIMEOUT, "-H", HOST, "-p", OPEN_PORT)
OPEN_LINE = f"TCP HALF-OPEN OK - {HOST}:{OPEN_PORT} open (syn-ack)"
CLOSED_LINE = f"TCP HALF-OPEN CRITICAL - {HOST}:{CLOSED_PORT} closed (reset)"

PRINTS_OPEN = recording(OPEN)
HANGS = 'sleep 60 & echo $! >>"$FAKE_NMAP_FOLDER/started"; wait'


class Ending(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    left: list[int]
    """Processes of its fake that still ran a moment after it."""
    started: int
    """Processes of its fake that had started."""


class Command:
    """A command to run, its folder, and the state of the world that it finds."""

    def __init__(
        self,
        folder: Path,
        *words: object,
        entry: str = PLUGIN,
        nmap: object | None = None,
        env: Mapping[str, str | None] | None = None,
        before: str = "",
        via: str = 'exec "$@"',
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        """Prepare `entry` with `words`.

        nmap: what HALFOPEN_NMAP is; env: variables to set, or to unset (None); before: Python to
        run in the process first; via: a script that gets the command line as "$@".
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._stdin = folder, stdin
        named = None if nmap is None else str(nmap)
        changes = {"HALFOPEN_NMAP": named, fakes.FOLDER: str(folder), **(env or {})}
        given = {**os.environ, **changes}
        self.env = {name: value for name, value in given.items() if value is not None}
        if FILES and not before:
            program = [sys.executable, "-IS", str(FILES / entry)]
        else:
            # A file, as the installed commands are: with -c, Python looks for modules in the
            # current folder, and 3.13.0 fails in it once that is gone.
            start = folder / "start.py"
            path = f"import sys; sys.path.insert(0, {str(FILES / entry)!r})" if FILES else ""
            start.write_text(f"{path}\n{before}\nfrom halfopen.main import {entry}\n{entry}()\n")
            program = [sys.executable, str(start)]
        mapped = [word if isinstance(word, bytes) else str(word) for word in words]
        self._argv = ["/bin/sh", "-c", via, "sh", *program, *mapped]

    def start(self) -> Command:
        """Start it, elsewhere than in the source tree: Python would take the package from there."""
        stdout, stderr = ((self.folder / name).open("wb") for name in ("stdout", "stderr"))
        with stdout, stderr:
            self._begin = time.monotonic()
            self._process = subprocess.Popen(
                self._argv,
                stdin=self._stdin,
                stdout=stdout,
                stderr=stderr,
                env=self.env,
                cwd=str(self.folder),
            )
        return self

    def send_once_started(self, number: int) -> None:
        """Send it a signal once a fake nmap and its child run."""
        assert fakes.until(lambda: len(fakes.started(self.folder)) >= 2), "no fake has started"
        self._process.send_signal(number)

    def wait(self) -> Ending:
        """Wait for its end, or end it; return how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(HUNG)
        seconds = time.monotonic() - self._begin
        self._process.kill()
        code = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        # A fake whose parent was killed outright lives on: no need to wait for its end.
        left = (fakes.alive if code == -signal.SIGKILL else fakes.left_behind)(self.folder)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        stdout, stderr = (
            (self.folder / name).read_bytes().decode("utf-8") for name in ("stdout", "stderr")
        )
        return Ending(code, stdout, stderr, seconds, left, len(fakes.started(self.folder)))

    def run(self, send: tuple[int, float] | None = None) -> Ending:
        """Run it to its end; send it a signal so many seconds after its start."""
        self.start()
        if send is not None:
            number, seconds = send
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.send_signal(number)
        return self.wait()


def run_all(
    commands: Mapping[str, Command], signals: Mapping[str, tuple[int, float]] | None = None
) -> dict[str, Ending]:
    """Run the commands to their ends, several at a time; send those in `signals` theirs."""
    to_send = signals or {}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        endings = pool.map(lambda name: commands[name].run(to_send.get(name)), commands)
        return dict(zip(commands, endings))


def assert_well(ending: Ending, code: int, line: str, timeout: float = 10.0) -> None:
    """Assert that a plugin printed one line only, ended by that code in time, and left nothing."""
    assert ending.stderr == ""
    assert line in ending.stdout
    assert ending.stdout.count("\n") == 1
    assert ending.stdout.endswith("\n")
    assert ending.code == code
    assert ending.seconds <= timeout + SLACK
    assert ending.left == []


def assert_unknown(ending: Ending, why: str, timeout: float = 10.0) -> None:
    """Assert that a plugin blamed the check, not the server."""
    assert_well(ending, UNKNOWN, why, timeout)
    assert ending.stdout.startswith("TCP HALF-OPEN UNKNOWN - ")
