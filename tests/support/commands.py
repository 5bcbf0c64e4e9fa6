"""Our commands in this process, from the command line to what is printed, with a fake nmap."""

import functools
import gc
import os
import shlex
import signal
import socket
import sys
from typing import Callable, List, NamedTuple

import pytest

from halfopen import main
from halfopen.check import check
from halfopen.cli import commands
from support.fake_run import FakeNmap, addresses_of, port_of, service_port

PLUGIN, HALFOPEN = main.check_tcp_half_open, main.halfopen
BOTH = pytest.mark.parametrize("console", [PLUGIN, HALFOPEN], ids=["plugin", "halfopen"])


class Left(BaseException):
    """Raised where the process would end."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class Ended(NamedTuple):
    """What a command gave."""

    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """All that was printed."""
        return self.stdout + self.stderr


class Commands:
    """Runs our commands in this process, with a fake nmap."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self.nmap = FakeNmap()

    def __call__(self, console: Callable[[], object], *words: str) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["command", *words])
        self._monkeypatch.setattr(commands, "check", functools.partial(check, run=self.nmap))
        with pytest.raises(Left) as left:
            console()
        return Ended(left.value.code, *self._capfd.readouterr())

    def line(self, line: str) -> Ended:
        """Run a command line, as a shell splits it."""
        program, *words = shlex.split(line)
        return self(HALFOPEN if program == "halfopen" else PLUGIN, *words)

    def check(self, *words: str) -> Ended:
        """Run `halfopen check`."""
        return self(HALFOPEN, "check", *words)

    def plugin(self, *words: str) -> Ended:
        """Run `check_tcp_half_open`."""
        return self(PLUGIN, *words)

    def full(self, console: Callable[[], object], *words: str) -> Ended:
        """Run the check with options, by either command."""
        return self(console, *(["check"] if console is HALFOPEN else []), *words)

    @property
    def asked(self) -> List[str]:
        """All HOST:PORT that nmap was asked for."""
        return [f"{a}:{port_of(c)}" for c in self.nmap.commands for a in addresses_of(c)]


def refused(run: Commands, ended: Ended) -> None:
    """See that a mistake was told in one line, with exit code 3, and that nmap never started."""
    assert ended.code == 3
    assert ended.said.count("\n") == 1
    assert ended.said.isascii()
    assert run.nmap.looks == []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Commands:
    """Run commands, on a system that knows smtp."""

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr("halfopen.scan.process.start_early", lambda *_: None)  # no other process
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr(socket, "getservbyname", service_port)
    monkeypatch.setattr(socket, "getservbyport", lambda *_: "smtp")
    monkeypatch.setattr("halfopen.scan.diagnosis.nmap_needs_telling", lambda _: False)
    monkeypatch.setenv("HALFOPEN_NMAP", "/opt/nmap")
    return Commands(monkeypatch, capfd)
