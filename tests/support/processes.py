"""Our commands as processes of their own, with fake nmaps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Mapping, NamedTuple

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
        **streams: IO[bytes] | int,
    ) -> None:
        """Prepare `entry` with `words`.

        nmap: what HALFOPEN_NMAP is; env: variables to set, or to unset (None); before: Python to
        run in the process first; via: a script that gets the command line as "$@".
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.streams = streams
        self.env = {k: v for k, v in os.environ.items() if k != "HALFOPEN_NMAP"}
        self.env[fakes.FOLDER] = str(folder)
        if nmap is not None:
            self.env["HALFOPEN_NMAP"] = str(nmap)
        for name, value in (env or {}).items():
            self.env.pop(name, None)
            if value is not None:
                self.env[name] = value
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
        self.argv = ["/bin/sh", "-c", via, "sh", *program, *mapped]

    def start(self) -> Running:
        """Start it."""
        return Running(self)

    def run(self, send: int = 0, at: float = 0.0) -> Ending:
        """Run it to its end; send it a signal so many seconds after its start."""
        return run_all({"": self}, {"": (send, at)} if send else {})[""]


class Running:
    """A command that runs."""

    def __init__(self, command: Command) -> None:
        self.folder = command.folder
        self.output: dict[str, IO[bytes]] = {}
        for name in ("stdout", "stderr"):
            self.output[name] = (self.folder / name).open("w+b")
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, **self.output, **command.streams}
        # Elsewhere than in the source tree: Python would take the package from there.
        streams["cwd"] = str(self.folder)
        self.begin = time.monotonic()
        self.process = subprocess.Popen(command.argv, env=command.env, **streams)

    def wait(self) -> Ending:
        """Wait for its end."""
        fakes.until(self.has_ended, HUNG)
        return self.ending()

    def send_once_started(self, number: int) -> None:
        """Send it a signal once a fake nmap and its child run."""
        assert fakes.until(lambda: len(fakes.started(self.folder)) >= 2), "no fake has started"
        self.process.send_signal(number)

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self.process.poll() is not None

    def ending(self) -> Ending:
        """Return how it ended; end it if it has not."""
        seconds = time.monotonic() - self.begin
        self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        said = {}
        for name, file in self.output.items():
            file.seek(0)
            said[name] = file.read().decode("utf-8")
            file.close()
        # A fake whose parent was killed outright lives on: no need to wait for its end.
        left = (fakes.alive if code == -signal.SIGKILL else fakes.left_behind)(self.folder)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        begun = len(fakes.started(self.folder))
        return Ending(code, said["stdout"], said["stderr"], seconds, left, begun)


def run_all(
    commands: dict[str, Command], signals: Mapping[str, tuple[int, float]] | None = None
) -> dict[str, Ending]:
    """Run the commands to their ends, several at a time; send those in `signals` theirs."""
    waiting, to_send = dict(commands), dict(signals or {})
    running: dict[str, Running] = {}
    endings: dict[str, Ending] = {}
    while waiting or running:
        while waiting and len(running) < SIDE_BY_SIDE:
            name = next(iter(waiting))
            running[name] = waiting.pop(name).start()
        time.sleep(0.001)
        for name, one in list(running.items()):
            lasted = time.monotonic() - one.begin
            if name in to_send and lasted >= to_send[name][1] and not one.has_ended():
                one.process.send_signal(to_send.pop(name)[0])
            if one.has_ended() or lasted > HUNG:
                endings[name] = running.pop(name).ending()
    return endings


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
