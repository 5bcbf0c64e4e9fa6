"""What reaches a reader: lines, their parts, and a line that is written over."""

import contextlib
import errno
import os
import shutil
import sys
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import pytest
from support.rounds import UNIX

from halfopen.runbook import terminal, wording

HOSTILE = "\x1b]0;title\x07\x1b[2J\rnmap\u202e\x9b31m\udcff"


def test_a_stamp_is_iso_8601_with_the_distance_from_utc() -> None:
    assert wording.stamp(UNIX) == "2023-11-14T18:43:20-03:30"


@pytest.mark.parametrize(
    ("later", "shown"), [(86399, "18:43:20"), (86401, "11-14 18:43")], ids=["a-day", "more"]
)
def test_a_time_has_its_date_after_a_day(
    monkeypatch: pytest.MonkeyPatch, later: int, shown: str
) -> None:
    monkeypatch.setattr("halfopen.runbook.wording.time.time", lambda: UNIX + later)

    assert wording.clock(UNIX) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.54, "0.5 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7199, "2 h 00 min"),
        (7500, "2 h 05 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_a_length_of_time_is_told_as_people_do(seconds: float, text: str) -> None:
    assert wording.span(seconds) == text


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (15, "0123456789abcde"),
        (14, "012345...abcde"),
        (4, "0..."),
        (3, "..."),
        (2, ".."),
        (0, ""),
        (-1, ""),
    ],
)
def test_what_is_too_wide_is_cut_in_the_middle(width: int, text: str) -> None:
    assert wording.shortened("0123456789abcde", width) == text


def test_what_is_hidden_is_counted_by_state() -> None:
    assert wording.counted(["closed", *["open"] * 275, "closed"]) == "275 open, 2 closed"
    assert wording.counted(["", "error"]) == "1 unknown, 1 not checked yet"


def test_what_is_said_is_a_line_that_no_character_can_leave(
    capfd: pytest.CaptureFixture[str],
) -> None:
    terminal.say(HOSTILE)

    printed = capfd.readouterr().out
    assert printed.count("\n") == 1
    assert printed[:-1].isprintable()
    assert "\\x1b]0;title" in printed


def fails(code: int) -> Callable[..., int]:
    """Return what os.write is where it fails so."""

    def write(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return write


@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO])
def test_nobody_reading_is_noticed(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "write", fails(code))

    with pytest.raises(terminal.ClosedError):
        terminal.say("hello")
    with pytest.raises(terminal.ClosedError):
        terminal.LiveLine().draw("hello")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EAGAIN, errno.EFBIG])
def test_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "write", fails(code))

    terminal.say("hello")


def test_what_is_written_in_parts_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    written: List[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        assert descriptor == 1
        written.append(data[:3])
        return len(data[:3])

    monkeypatch.setattr(os, "write", write)
    terminal.say("0123456789")

    assert b"".join(written) == b"0123456789\n"


@contextlib.contextmanager
def standard_output(descriptor: int) -> Iterator[None]:
    """Let it be another descriptor's for a while."""
    before = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(descriptor)


def test_a_reader_that_has_gone_is_noticed_without_writing() -> None:
    reading, writing = os.pipe()
    with standard_output(writing):
        terminal.check_reader()
        os.close(reading)
        with pytest.raises(terminal.ClosedError):
            terminal.check_reader()


@pytest.mark.parametrize("name", [os.devnull, "file"])
def test_a_file_has_no_reader_that_could_go(tmp_path: Path, name: str) -> None:
    with standard_output(os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT)):
        terminal.check_reader()


@pytest.mark.parametrize(
    ("tty", "term", "live"),
    [
        (True, "xterm-256color", True),
        (True, "linux", True),
        (True, "dumb", False),
        (True, "Unknown", False),
        (True, "", False),
        (False, "xterm", False),
        (None, "xterm", False),
    ],
)
def test_lines_are_written_over_on_a_terminal_that_can(
    monkeypatch: pytest.MonkeyPatch, tty: Optional[bool], term: str, live: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: tty, raising=False)
    if tty is None:
        monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setenv("TERM", term)

    assert terminal.on_terminal() is live


def test_a_line_is_written_over_also_where_a_narrower_terminal_has_wrapped_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = terminal.LiveLine()

    def drawn(text: str, columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        line.draw(text)
        return capfd.readouterr().out

    assert drawn("a" * 70, 80) == "\r\033[J" + "a" * 70
    assert drawn("b" * 70, 30) == "\033[2A\r\033[J" + "b" * 24 + "..."
    assert drawn("c", 30) == "\r\033[Jc"
    assert drawn("", 30) == "\r\033[J"
    assert len(drawn("d" * 9, 1)) == len("\r\033[J")
    assert shutil.get_terminal_size().columns == 1
