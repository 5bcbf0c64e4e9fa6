"""`check` on a terminal: a table, a summary, and a line that tells how far it is."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from support.fakes import FOLDER, FOREVER, HOST, OPEN, OPEN_PORT, fake, left_behind, recording

from halfopen.cli import terminal
from halfopen.errors import CheckError
from halfopen.formats.registry import Output
from halfopen.model import Expectation, NmapRun, Observation, Report, Status, Target, Verdict

TABLE = f"Target         State       RTT  Details\n{HOST}:{OPEN_PORT}  open   0.0"
NO_NAME = CheckError("cannot resolve web.example: check the name and the resolver")


def seen(state: str, reason: str, host: str, rtt: float | None = None) -> Verdict:
    status = Status.OK if state == "open" else Status.CRITICAL
    return Verdict(status, Target(host, 25), Observation(state, reason, host, rtt), service="smtp")


def failed(host: str, error: CheckError = NO_NAME) -> Verdict:
    return Verdict(Status.UNKNOWN, Target(host, 25), error=error)


REPORT = Report(
    (
        failed("web.example"),
        seen("filtered", "no-response", "2001:db8:0:1:2:3:4:5"),
        failed("www.example"),
        seen("open", "syn-ack", "192.0.2.25", 0.000065),
        seen("closed", "reset", "192.0.2.26", 1.5),
        failed("192.0.2.27", CheckError("no \x1b[31mroute")),
    ),
    Expectation(),
    (NmapRun((), 0, b"", b"", 0.1),),
    seconds=2.84,
)
AT_80 = r"""
Target                     State             RTT  Details
web.example:25             unknown                cannot resolve web.example:
                                                  check the name and the
                                                  resolver
[2001:db8:0:1:2:3:4:5]:25  filtered               no-response, smtp
www.example:25             unknown                as above
192.0.2.25:25              open         0.065 ms  syn-ack, smtp
192.0.2.26:25              closed    1500.000 ms  reset, smtp
192.0.2.27:25              unknown                no \x1b[31mroute
"""
AT_40 = r"""
Target              State     Details
web.example:25      unknown   cannot
                              resolve
                              web.exampl
                              e: check
                              the name
                              and the
                              resolver
[2001:db8:0:1:2:3:  filtered  no-respons
4:5]:25                       e, smtp
www.example:25      unknown   as above
192.0.2.25:25       open      syn-ack,
                              smtp
192.0.2.26:25       closed    reset,
                              smtp
192.0.2.27:25       unknown   no
                              \x1b[31mro
                              ute
"""


def drawn(
    report: Report, monkeypatch: pytest.MonkeyPatch, columns: int = 80, time_left: float = 60.0
) -> Output:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    deadline = time.monotonic() + time_left
    return terminal.with_table(Output("plain", 2), report, False, deadline)


def plain(text: str) -> str:
    """Return what is seen of it, without colours."""
    return re.sub(" +(?=\n)", "", re.sub("\033\\[[0-9]*m", "", text))


@pytest.mark.parametrize(("columns", "table"), [(80, AT_80), (40, AT_40)])
def test_rows_stay_in_order_and_texts_wrap_under_their_column(
    monkeypatch: pytest.MonkeyPatch, columns: int, table: str
) -> None:
    assert plain(drawn(REPORT, monkeypatch, columns).text) == table.strip("\n")


def test_each_state_has_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(REPORT, monkeypatch).text

    assert dict(re.findall("\033\\[([0-9]+)m([a-z]+) *\033", text)) == {
        "32": "open",
        "31": "closed",
        "33": "filtered",
        "35": "unknown",
    }


def test_the_summary_counts_the_states_and_the_exit_code_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = drawn(REPORT, monkeypatch)

    assert output.note == "1 open, 1 closed, 1 filtered, 3 unknown in 2.8 s"
    assert output.code == 2


def test_what_failed_before_there_was_a_target_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report((Verdict(Status.UNKNOWN, None, error=NO_NAME),), Expectation())

    assert drawn(report, monkeypatch) == Output("plain", 2)


@pytest.mark.parametrize(("rows", "time_left"), [(1001, 60.0), (101, 0.0)])
def test_rows_that_take_too_long_to_draw_stay_plain_and_are_counted(
    monkeypatch: pytest.MonkeyPatch, rows: int, time_left: float
) -> None:
    many = Report((seen("open", "syn-ack", "192.0.2.25"),) * rows, Expectation())

    output = drawn(many, monkeypatch, time_left=time_left)

    assert output == Output("plain", 2, note=f"{rows} open")


def test_a_system_that_gives_no_thread_costs_the_progress_line_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    monkeypatch.setattr("os.isatty", lambda _: True)

    with terminal.Progress(1, time.monotonic() + 60) as progress:
        progress(1)


# -- the command on a real terminal -------------------------------------------------------------


class Shown:
    """`halfopen check` on a terminal of its own, with a fake nmap."""

    def __init__(self, folder: Path, body: str, *words: str, **env: str) -> None:
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [sys.executable, "-m", "halfopen", "check", f"{HOST}:{OPEN_PORT}", *words]
        base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        base.update({"TERM": "xterm", FOLDER: str(folder)})
        base.update({"HALFOPEN_NMAP": str(fake(folder, body)), **env})
        self.text = ""
        self.process = subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env=base)
        os.close(there)

    def read_until(self, wanted: str) -> None:
        """Read until this was shown; to the end if it never is."""
        while wanted not in self.text or not wanted:
            try:
                self.text += os.read(self._here, 65536).decode().replace("\r\n", "\n")
            except OSError:  # the terminal's other end is closed
                return

    def end(self) -> int:
        """Read the rest; return the exit code."""
        self.read_until("")
        os.close(self._here)
        return self.process.wait(50)


def test_a_terminal_gets_a_table_and_a_summary(tmp_path: Path) -> None:
    shown = Shown(tmp_path, recording(OPEN))

    assert shown.end() == 0
    assert plain(shown.text).startswith(TABLE)
    assert re.search(r"\n1 open in [0-9.]+ s\n$", shown.text)
    assert "\033[32mopen" in shown.text


@pytest.mark.parametrize(
    ("words", "env"),
    [
        ("", {"NO_COLOR": "1"}),
        ("", {"TERM": "dumb"}),
        ("--format nagios", {}),
        ("--format json", {}),
        ("--output {}/result", {}),
    ],
)
def test_it_is_as_in_a_pipe_for_those_who_want_it_plain_and_for_programs(
    tmp_path: Path, words: str, env: dict[str, str]
) -> None:
    shown = Shown(tmp_path, recording(OPEN), *words.format(tmp_path).split(), **env)

    assert shown.end() == 0
    written = tmp_path / "result"
    plain_text = written.read_text() if "--output" in words else shown.text
    assert re.fullmatch(r"[ -~]+\n", plain_text)
    assert "Target" not in plain_text
    assert shown.text == "" or not written.exists()


def test_after_a_second_a_line_tells_how_far_it_is_and_is_erased_before_the_table(
    tmp_path: Path,
) -> None:
    answered = tmp_path / "answered"
    shown = Shown(tmp_path, f"until [ -e '{answered}' ]; do sleep 0.1; done\n{recording(OPEN)}")
    shown.read_until("0 of 1 checked")
    answered.touch()

    assert shown.end() == 0
    assert re.match(r"\r\033\[J0 of 1 checked, [0-9.]+ s left", shown.text)
    assert plain(shown.text.rpartition("\r\033[J")[2]).startswith(TABLE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_erases_the_line_and_ends_the_check(tmp_path: Path, number: int) -> None:
    shown = Shown(tmp_path, f"sleep {FOREVER}")
    shown.read_until("0 of 1 checked")
    shown.process.send_signal(number)

    assert shown.end() == -number
    assert shown.text.endswith("\r\033[J")
    assert "\033[?25l" not in shown.text, "a hidden cursor would stay hidden after SIGKILL"
    assert left_behind(tmp_path) == []
