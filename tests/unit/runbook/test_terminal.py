"""What reaches a reader: lines, their parts, and a line that is written over."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import pytest
from support.rounds import UNIX

from halfopen.runbook import terminal, wording


@pytest.mark.parametrize(
    ("said", "value", "text"),
    [
        (wording.stamp, UNIX, "2023-11-14T18:43:20-03:30"),
        (wording.clock, UNIX - 86399, "18:43:21"),
        (wording.clock, UNIX - 86401, "11-13 18:43"),
        (wording.span, 0, "0.0 s"),
        (wording.span, 0.54, "0.5 s"),
        (wording.span, 9.94, "9.9 s"),
        (wording.span, 9.96, "10 s"),
        (wording.span, 59.4, "59 s"),
        (wording.span, 59.6, "1 min 00 s"),
        (wording.span, 200, "3 min 20 s"),
        (wording.span, 3599, "59 min 59 s"),
        (wording.span, 3599.6, "1 h 00 min"),
        (wording.span, 7199, "2 h 00 min"),
        (wording.span, 7500, "2 h 05 min"),
        (wording.span, 360000, "100 h 00 min"),
        (wording.counted, ["closed", *["open"] * 275, "closed"], "275 open, 2 closed"),
        (wording.counted, ["", "error"], "1 unknown, 1 not checked yet"),
    ],
)
def test_times_and_numbers_are_told_as_people_do(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[object], str], value: object, text: str
) -> None:
    monkeypatch.setattr("halfopen.runbook.wording.time.time", lambda: UNIX)

    assert said(value) == text


WIDTHS = {15: "0123456789abcde", 14: "012345...abcde", 4: "0...", 3: "...", 2: "..", 0: "", -1: ""}


@pytest.mark.parametrize("width", list(WIDTHS))
def test_what_is_too_wide_is_cut_in_the_middle(width: int) -> None:
    assert wording.shortened("0123456789abcde", width) == WIDTHS[width]


@contextlib.contextmanager
def standard_output(name: str, folder: Path) -> Iterator[None]:
    """Let it be of another kind for a while."""
    kind, _, gone = name.partition(", ")
    if kind in ("pipe", "terminal"):
        *readers, ours = os.pipe() if kind == "pipe" else os.openpty()
    else:
        readers, ours = [], os.open(folder / kind, os.O_WRONLY | os.O_CREAT)
    before = os.dup(1)
    os.dup2(ours, 1)
    os.close(ours)
    while gone and readers:
        os.close(readers.pop())
    try:
        yield
    finally:
        os.dup2(before, 1)
        for each in (before, *readers):
            os.close(each)


@pytest.mark.parametrize(
    "name", ["pipe", "pipe, gone", "terminal", "terminal, gone", "file", "/dev/null", "/dev/full"]
)
def test_a_reader_that_has_gone_is_noticed_and_a_full_disk_ends_nothing(
    tmp_path: Path, name: str
) -> None:
    noticed = []
    with standard_output(name, tmp_path):
        for do in (
            terminal.check_reader,
            lambda: terminal.say("hello"),
            lambda: terminal.LiveLine().draw("hello"),
        ):
            try:
                do()
            except terminal.ClosedError:
                noticed.append(do)

    assert len(noticed) == (3 if name.endswith("gone") else 0)


def test_what_is_written_in_parts_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    written: List[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        assert descriptor == 1
        written.append(data[:3])
        return len(data[:3])

    monkeypatch.setattr(os, "write", write)
    terminal.say("0123456789")

    assert b"".join(written) == b"0123456789\n"


@pytest.mark.parametrize(
    ("tty", "term", "live"),
    [(True, "linux", True), (True, "Unknown", False), (False, "linux", False), (None, "x", False)],
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
    def drawn(text: str, columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        line.draw(text)
        return capfd.readouterr().out

    with terminal.LiveLine() as line:
        assert drawn("a" * 70, 80) == "\r\033[J" + "a" * 70
        assert drawn("b" * 70, 30) == "\033[2A\r\033[J" + "b" * 24 + "..."
        assert drawn("c", 30) == "\r\033[Jc"
        assert drawn("", 30) == "\r\033[J"
        assert drawn("d" * 9, 1) == "\r\033[J"
        assert drawn("e", 30) == "\r\033[Je"
    assert capfd.readouterr().out == "\r\033[J", "it is erased at the end"
    with terminal.LiveLine():
        pass
    assert capfd.readouterr().out == "", "there was nothing to erase"
