"""Fake nmaps: shell scripts in nmap's place, and what they leave behind."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import pytest

from halfopen.scan import spawn

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
RECORDED = FIXTURES / "recorded" / "nmap-7.93"
OPEN = RECORDED / "v4-open-plus-one" / "nmap.xml"
CLOSED = RECORDED / "v4-closed-plus-one" / "nmap.xml"
HOST = "192.0.2.25"
OPEN_PORT, CLOSED_PORT = 25, 123
"""What the two recordings are about."""

FOLDER = "FAKE_NMAP_FOLDER"
"""The environment variable that every process of a fake has: its folder, by which it is known."""

FOREVER = 60
"""Seconds that a fake sleeps for: far longer than any test waits for it."""

_HEAD = f"""\
#!/bin/sh
# This is a fake nmap, for tests.
ulimit -c 0
echo $$ >>"${{{FOLDER}:?}}/started"
"""


def recording(path: Path) -> str:
    """Return a fake's line that prints a recorded run."""
    return f"cat '{path}'"


def fake(folder: Path, body: str) -> Path:
    """Write a fake nmap that does what the shell script `body` does; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fake-nmap"
    path.write_text(_HEAD + body + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def started(folder: Path) -> list[int]:
    """Return the numbers of the fakes that have started."""
    try:
        return [int(line) for line in (folder / "started").read_text().split()]
    except FileNotFoundError:
        return []


def alive(folder: Path) -> list[int]:
    """Return the numbers of the processes that have a fake's folder in their environment."""
    mark = os.fsencode(f"{FOLDER}={folder}")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def until(true: Callable[[], object], seconds: float = 50.0) -> bool:
    """Wait until it is so; return whether it came to be."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def left_behind(folder: Path) -> list[int]:
    """Return what still runs of a fake, after the moment that a killed process needs to vanish."""
    until(lambda: not alive(folder), 10.0)
    return alive(folder)


def without_posix_spawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let halfopen start programs by fork, as on Python 3.7.

    It alone: subprocess, from 3.13 on, keeps posix_spawn.
    """
    rest = {name: value for name, value in vars(os).items() if name != "posix_spawn"}
    monkeypatch.setattr(spawn, "os", SimpleNamespace(**rest))
