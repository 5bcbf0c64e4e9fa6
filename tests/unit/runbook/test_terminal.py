"""What people are shown: lines, tables of every size, and summaries."""

import errno
import os
import re
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

import pytest
from test_formats import seen

from halfopen.errors import CheckError, HopelessError
from halfopen.model import Status, Target, Verdict, failure
from halfopen.runbook import terminal
from halfopen.runbook.schedule import Result, Seen, Waited, Wish
from halfopen.runbook.statistics import Change, Tally

BEGIN = 1700000000.0
A, B = Target("192.0.2.11", 443, label="web1"), Target("2001:db8::12", 443)
LONGEST_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
HOSTILE = "\x1b]0;title\x07\x1b[2J\rnmap\u202e\x9b31m\udcff"
NO_ROOT = HopelessError("nmap needs root or CAP_NET_RAW; run as root, or see the README")


@pytest.fixture(autouse=True)
def _time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX+03:30")  # in POSIX that is 3.5 hours behind UTC
        time.tzset()
        yield
    time.tzset()


def failed(text: str, target: Optional[Target] = None) -> Verdict:
    """Return the verdict on a check that failed with this text."""
    return failure(CheckError(text), target)


def row(
    *states: str, target: Target = B, rtt: Optional[float] = None, error: str = ""
) -> Tuple[Target, Tally]:
    """Return a target with the tally of these looks, a second apart."""
    tally = Tally()
    for number, state in enumerate(states):
        verdict = failed(error or "no route to it", target)
        if state != "error":
            verdict = seen(state, target.host, target.port, rtt)
        tally.add(verdict, BEGIN + number)
    return target, tally


def plain(lines: Sequence[str]) -> List[str]:
    """Return the lines without their colours."""
    return [re.sub("\033\\[[0-9;]*m", "", line) for line in lines]


# -- lines --------------------------------------------------------------------------------------


def test_a_stamp_is_iso_8601_with_the_distance_from_utc() -> None:
    assert terminal.stamp(BEGIN) == "2023-11-14T18:43:20-03:30"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.54, "0.5 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_a_time_span_is_told_as_people_do(seconds: float, text: str) -> None:
    assert terminal.span(seconds) == text


def test_a_change_tells_when_who_and_from_what_to_what() -> None:
    closed = Change(BEGIN, "open", seen("closed"))
    assert terminal.change_line(A, closed) == (
        "2023-11-14T18:43:20-03:30 web1 (192.0.2.11:443) open -> closed (reset)"
    )
    broken = Change(BEGIN, "closed", failed("no route to it"))
    assert terminal.change_line(B, broken).endswith(
        " [2001:db8::12]:443 closed -> unknown: no route to it"
    )
    mended = Change(BEGIN, "error", seen("open"))
    assert terminal.change_line(B, mended).endswith(" unknown -> open (syn-ack)")


def test_the_first_look_has_a_line_and_then_what_changes_has() -> None:
    rows = [(A, Tally()), (B, Tally())]

    def lines(*states: str) -> List[str]:
        told = terminal.change_lines(rows, Seen(BEGIN, tuple(map(seen, states))))
        return [line.split(" ", 1)[1] for line in told]

    assert lines("open", "closed") == [
        "web1 (192.0.2.11:443) open (syn-ack)",
        "[2001:db8::12]:443 closed (reset)",
    ]
    assert lines("open", "closed") == []
    assert lines("open", "open") == ["[2001:db8::12]:443 closed -> open (syn-ack)"]
    assert [tally.looks for _, tally in rows] == [3, 3]


def test_what_is_said_is_a_line_that_no_character_can_leave(
    capfd: pytest.CaptureFixture[str],
) -> None:
    terminal.say(HOSTILE)

    printed = capfd.readouterr().out
    assert printed.count("\n") == 1
    assert printed[:-1].isprintable()
    assert "\\x1b]0;title" in printed


@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO])
def test_nobody_reading_is_noticed(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "write", fails(code))

    with pytest.raises(terminal.ClosedError):
        terminal.say("hello")
    with pytest.raises(terminal.ClosedError):
        terminal.Area().draw(["hello"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EAGAIN, errno.EFBIG])
def test_a_full_disk_ends_nothing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "write", fails(code))

    terminal.say("hello")


def fails(code: int) -> Callable[..., int]:
    """Return what os.write is where it fails so."""

    def write(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return write


def test_what_is_written_in_parts_is_written_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    written: List[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        assert descriptor == 1
        written.append(data[:3])
        return len(data[:3])

    monkeypatch.setattr(os, "write", write)
    terminal.say("0123456789")

    assert b"".join(written) == b"0123456789\n"


def test_a_reader_that_has_gone_is_noticed_without_writing() -> None:
    reader, writer = os.pipe()
    output = os.dup(1)
    os.dup2(writer, 1)
    try:
        before = terminal.read_by_nobody()
        os.close(reader)
        after = terminal.read_by_nobody()
    finally:
        os.dup2(output, 1)
        os.close(output)
        os.close(writer)

    assert (before, after) == (False, True)


@pytest.mark.parametrize("name", [os.devnull, "file"])
def test_a_file_has_no_reader_that_could_go(tmp_path: Path, name: str) -> None:
    output = os.dup(1)
    with (tmp_path / name).open("w") as file:
        os.dup2(file.fileno(), 1)
        try:
            gone = terminal.read_by_nobody()
        finally:
            os.dup2(output, 1)
            os.close(output)

    assert not gone


# -- a terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tty", "term", "live"),
    [
        (True, "xterm-256color", True),
        (True, "linux", True),
        (True, "dumb", False),
        (True, "Unknown", False),
        (True, "", False),
        (True, None, False),
        (False, "xterm", False),
    ],
)
def test_lines_are_written_over_on_a_terminal_that_can(
    monkeypatch: pytest.MonkeyPatch, tty: bool, term: Optional[str], live: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: tty, raising=False)
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)

    assert terminal.on_terminal() is live


def test_without_standard_output_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", None)

    assert not terminal.on_terminal()


class Screen:
    """A terminal of some size, and what was written to it since last asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.columns, self.lines = 80, 24
        monkeypatch.setattr(
            shutil, "get_terminal_size", lambda: os.terminal_size((self.columns, self.lines))
        )

    @property
    def written(self) -> str:
        """What was written since."""
        return self._capfd.readouterr().out

    @property
    def shown(self) -> List[str]:
        """The lines that were drawn since, without what moves the cursor."""
        _, *lines = self.written.split("\033[2K")
        if not lines:
            return []
        last, end = lines[-1].split("\n")
        assert end == "\033[J"
        return plain([line.rstrip("\n") for line in lines[:-1]] + [last])


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Screen:
    return Screen(monkeypatch, capfd)


def test_an_area_is_written_over_from_its_first_line_on(screen: Screen) -> None:
    area = terminal.Area()
    area.draw(["one", "two", "three"])
    assert screen.written == "\r\033[2Kone\n\033[2Ktwo\n\033[2Kthree\n\033[J"
    area.draw(["four", "five"])
    assert screen.written == "\033[3A\r\033[2Kfour\n\033[2Kfive\n\033[J"
    area.draw([])
    assert screen.written == "\033[2A\r\033[J"
    area.draw(["six"])
    assert screen.written == "\r\033[2Ksix\n\033[J"


def test_lines_that_a_narrower_terminal_has_wrapped_are_all_written_over(
    screen: Screen,
) -> None:
    area = terminal.Area()
    area.draw(["a" * 80, "", "\033[1m\033[31m" + "b" * 40 + "\033[0m", "c"])
    screen.columns = 40
    assert screen.written

    area.draw(["d"])

    assert screen.written.startswith("\033[5A\r")  # 2, 1, 1 and 1 lines


def test_an_area_leaves_the_cursor_a_line_of_the_terminal(screen: Screen) -> None:
    screen.lines = 4
    area = terminal.Area()

    area.draw(["1", "2", "3", "4", "5"])
    assert screen.shown == ["1", "2", "3"]
    area.draw(["1"])
    assert screen.written.startswith("\033[3A")


@pytest.mark.parametrize(("columns", "lines"), [(0, 0), (1, 1), (2, 1), (3, 2)])
def test_no_size_is_too_small(screen: Screen, columns: int, lines: int) -> None:
    screen.columns, screen.lines = columns, lines
    rows = [row("open", target=A), row("error"), row()]
    table = terminal.LiveTable()
    line = terminal.WaitLine()

    for _ in range(2):
        table.show(rows)
        assert 1 <= len(screen.shown) <= max(1, (lines or 24) - 1)
        line.show(waiting(None, seen("closed")))
        assert all(len(shown) <= (columns or 80) for shown in screen.shown)


# -- wait ---------------------------------------------------------------------------------------


OPEN_SOON = Wish()


def waiting(
    result: Optional[Result],
    *verdicts: Verdict,
    wish: Wish = OPEN_SOON,
    streaks: Optional[Sequence[int]] = None,
    seconds: float = 18.0,
) -> Waited:
    """Return how waiting stands; what is not open has no streak."""
    counted = [int(verdict.state == "open") for verdict in verdicts]
    return Waited(result, wish, seconds, 3, tuple(verdicts), tuple(streaks or counted))


OPEN = seen("open", A.host, A.port)._replace(target=A)
CLOSED = seen("closed", B.host, B.port)
UNKNOWN = failed("cannot resolve b.example", Target("b.example", 443))


def test_a_live_line_tells_what_is_missing_and_the_time_left() -> None:
    assert terminal.missing(waiting(None, OPEN, CLOSED, UNKNOWN)) == (
        "open: 1 of 3, 42 s left; [2001:db8::12]:443 closed, b.example:443 unknown"
    )


def test_a_live_line_counts_the_looks_in_a_row() -> None:
    wish = Wish("not-open", times=3)

    assert terminal.missing(waiting(None, OPEN, CLOSED, wish=wish, streaks=[0, 2])) == (
        "not-open: 0 of 2, 42 s left; "
        "web1 (192.0.2.11:443) open, [2001:db8::12]:443 closed 2 of 3 times"
    )


def test_before_the_first_look_a_live_line_tells_the_time_left() -> None:
    waited = Waited(None, Wish("closed"), 0.0, 0, (), (0, 0))

    assert terminal.missing(waited) == "closed: 0 of 2, 1 min 00 s left"


def test_a_live_line_fits_the_terminal_and_is_taken_away_at_the_end(screen: Screen) -> None:
    screen.columns = 30
    line = terminal.WaitLine()

    line.show(waiting(None, OPEN, CLOSED))
    assert screen.shown == ["open: 1 of 2, 42 s left; [2..."]
    line.show(waiting(None, OPEN, CLOSED))
    assert screen.written.startswith("\033[1A\r\033[2K")
    line.end()
    assert screen.written == "\033[1A\r\033[J"


@pytest.mark.parametrize(
    ("waited", "line"),
    [
        pytest.param(
            waiting(Result.REACHED, OPEN, seconds=3.21),
            "open after 3.2 s: web1 (192.0.2.11:443)",
            id="one",
        ),
        pytest.param(waiting(Result.REACHED, OPEN, OPEN, OPEN), "open after 18 s: all 3", id="all"),
        pytest.param(
            waiting(Result.REACHED, CLOSED, OPEN, CLOSED, wish=Wish(one_is_enough=True)),
            "open after 18 s: web1 (192.0.2.11:443)",
            id="any",
        ),
        pytest.param(
            waiting(Result.LATE, OPEN, CLOSED, UNKNOWN, seconds=60.002),
            "timed out after 1 min 00 s, waiting for open: [2001:db8::12]:443 closed (reset), "
            "b.example:443 unknown: cannot resolve b.example",
            id="late",
        ),
        pytest.param(
            waiting(Result.LATE, OPEN, CLOSED, wish=Wish(times=3), streaks=[2, 0]),
            "timed out after 18 s, waiting for open: "
            "web1 (192.0.2.11:443) open (syn-ack) 2 of 3 times, [2001:db8::12]:443 closed (reset)",
            id="late-in-a-row",
        ),
        pytest.param(
            waiting(Result.LATE, OPEN, wish=Wish("not-open"), streaks=[0]),
            "timed out after 18 s, waiting for not-open: web1 (192.0.2.11:443) open (syn-ack)",
            id="late-for-not-open",
        ),
        pytest.param(
            waiting(Result.HOPELESS, OPEN, failure(NO_ROOT, A), UNKNOWN, failure(NO_ROOT, B)),
            f"cannot check: {NO_ROOT}",
            id="hopeless",
        ),
    ],
)
def test_the_end_of_waiting_is_a_line(waited: Waited, line: str) -> None:
    assert terminal.outcome(waited) == line


# -- the table ----------------------------------------------------------------------------------

FARM = [
    row("open", "open", target=A, rtt=0.00007),
    row("open", "closed", rtt=0.0012),
    row("filtered", "filtered", target=Target("web3.example", 443)),
    row("open", "error", target=Target("web4.example", 443), error="cannot resolve web4.example"),
]
LONG = [
    row("open", target=Target(LONGEST_NAME, 65535, label="l" * 40), rtt=3599.0),
    row("error", target=Target("a.example", 1), error=HOSTILE * 9),
]


def set_clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Set the clock of what is shown, and not that of all."""
    clock = SimpleNamespace(time=lambda: now, strftime=time.strftime, localtime=time.localtime)
    monkeypatch.setattr(terminal, "time", clock)


@pytest.fixture
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, BEGIN + 5)


@pytest.mark.usefixtures("_now")
def test_a_wide_terminal_has_it_all() -> None:
    assert plain(terminal.screen(FARM, 100, 24)) == [
        "Target                 State     Reason       Since     Up      RTT min/avg/max ms  Last",
        "web1 (192.0.2.11:443)  open      syn-ack      18:43:20  100.0%  0.07/0.07/0.07      oo",
        "[2001:db8::12]:443     closed    reset        18:43:21  50.0%   1.20/1.20/1.20      ox",
        "web3.example:443       filtered  no-response  18:43:20  0.0%    -                   ..",
        "web4.example:443       unknown   -            18:43:21  100.0%  -                   o?",
        "unknown: cannot resolve web4.example",
    ]


def test_before_the_first_look_nothing_is_told() -> None:
    assert plain(terminal.screen([row(target=A)], 100, 24)) == [
        "Target                 State  Reason  Since  Up  RTT min/avg/max ms  Last",
        "web1 (192.0.2.11:443)  -      -       -      -   -",
    ]


@pytest.mark.parametrize(
    ("later", "since"), [(86399, "18:43:20"), (86401, "11-14 18:43")], ids=["a-day", "more"]
)
def test_since_when_has_the_date_after_a_day(
    monkeypatch: pytest.MonkeyPatch, later: int, since: str
) -> None:
    set_clock(monkeypatch, BEGIN + later)

    assert f" {since} " in plain(terminal.screen([row("open")], 100, 24))[1]


def titles(width: int, rows: terminal.Rows = FARM) -> str:
    """Return the first words of the columns' titles."""
    header = plain(terminal.screen(rows, width, 24))[0]
    return " ".join(re.sub(" min/avg/max ms", "", header).split())


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (100, "Target State Reason Since Up RTT Last"),
        (94, "Target State Reason Since Up RTT Last"),
        (93, "Target State Reason Since Up Last"),
        (74, "Target State Reason Since Up Last"),
        (73, "Target State Since Up Last"),
        (61, "Target State Since Up Last"),
        (60, "Target State Since Up"),
        (49, "Target State Since Up"),
        (48, "Target State Up"),
        (39, "Target State Up"),
        (38, "Target State"),
        (20, "Target State"),
    ],
)
@pytest.mark.usefixtures("_now")
def test_a_narrower_terminal_has_the_worthier_columns(width: int, columns: str) -> None:
    assert titles(width) == columns


@pytest.mark.parametrize("width", [50, 80, 100, 120])
@pytest.mark.parametrize("state", ["open", "error"])
def test_the_columns_stay_as_the_looks_become_more(width: int, state: str) -> None:
    few = [row(*[state] * 10, rtt=0.001)]
    many = [row(*[state] * 100, rtt=0.001)]

    assert titles(width, few) == titles(width, many)


@pytest.mark.parametrize("rows", [FARM, LONG, FARM + LONG], ids=["farm", "long", "both"])
def test_no_line_is_ever_wider_than_the_terminal(rows: terminal.Rows) -> None:
    for width in range(1, 131):
        lines = plain(terminal.screen(rows, width, 24))
        assert [line for line in lines if len(line) > width] == []
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("width", [14, 20, 40, 80])
def test_the_state_is_whole_however_long_the_names(width: int) -> None:
    lines = plain(terminal.screen(FARM + LONG, width, 24))

    shown = [word for line in lines for word in line.split() if word in PORT_STATES]
    assert shown == ["open", "closed", "filtered", "unknown", "open", "unknown"]


PORT_STATES = ("open", "closed", "filtered", "unknown")


@pytest.mark.usefixtures("_now")
@pytest.mark.parametrize(("width", "marks"), [(51, 10), (53, 12), (120, 30)])
def test_the_strip_has_the_last_results_that_fit(width: int, marks: int) -> None:
    rows = [row(*["open"] * 70, *["closed"] * 5, target=Target("192.0.2.11", 443))]  # 14 long

    strip = plain(terminal.screen(rows, width, 24))[1].split()[-1]

    assert strip == "o" * (marks - 5) + "xxxxx"


def test_a_low_terminal_has_the_worst_first_and_says_how_many_there_are() -> None:
    rows = [row("open", target=Target(f"host{number}", 25)) for number in range(30)]
    rows += [row("closed", target=Target(f"down{number}", 25)) for number in range(3)]
    rows += [row("error", target=Target(f"lost{number}", 25)) for number in range(2)]

    lines = plain(terminal.screen(rows, 80, 12))

    assert len(lines) == 11
    names = [line.split(":")[0] for line in lines[1:]]
    assert names[:8] == [
        "down0", "down1", "down2", "lost0", "lost1", "host0", "host1", "host2",
    ]  # fmt: skip
    assert lines[9:] == ["and 27 more", "unknown: no route to it"]


@pytest.mark.parametrize(("count", "height"), [(4, 6), (21, 23), (21, 60)])
def test_rows_that_just_fit_are_all_shown_in_their_order(count: int, height: int) -> None:
    rows = [
        row("open" if number % 2 else "closed", target=Target(f"h{number}", 25))
        for number in range(count)
    ]

    lines = plain(terminal.screen(rows, 80, height + 1))

    assert [line.split(":")[0] for line in lines[1:]] == [f"h{number}" for number in range(count)]


def test_why_checks_failed_is_told_below_the_table_once_each() -> None:
    errors = ["one", "two", "two", "three", "four"]
    rows = [row("error", error=error) for error in errors]

    lines = plain(terminal.screen(rows, 80, 24))

    assert lines[-4:] == [
        plain(terminal.screen(rows, 80, 24))[5],
        "unknown: one",
        "unknown: two",
        "unknown: three",
    ]


@pytest.mark.parametrize("no_color", [False, True])
def test_states_are_coloured_unless_no_color_is_set(
    monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")

    colours = [re.findall("\033\\[(3[0-9])m", line) for line in terminal.screen(FARM, 100, 24)[1:]]

    assert colours == ([[]] * 5 if no_color else [["32"], ["31"], ["33"], ["35"], []])


def test_a_table_is_drawn_again_when_the_terminal_has_another_size(screen: Screen) -> None:
    table = terminal.LiveTable()
    table.follow(FARM)
    assert len(screen.shown) == 6
    table.follow(FARM)
    assert screen.written == ""
    screen.columns = 40
    table.follow(FARM)
    assert screen.shown[0].split() == ["Target", "State", "Up"]
    screen.lines = 5
    table.follow(FARM)
    assert len(screen.shown) == 4


# -- the end of a watch -------------------------------------------------------------------------


def test_the_summary_has_what_there_was_of_each_target() -> None:
    rows = [
        row("open", "closed", "closed", "open", target=A, rtt=0.0005),
        row("error", "filtered", "error"),
        row("open", target=Target("web3.example", 443)),
        row("error", target=Target("web4.example", 443)),
        row(target=Target("web5.example", 443)),
    ]

    assert terminal.summary(rows, 8.04) == [
        "web1 (192.0.2.11:443): 4 looks in 8.0 s, 50.0% open, 2 changes, longest outage 2.0 s",
        "web1 (192.0.2.11:443): round trip min/avg/max 0.50/0.50/0.50 ms",
        "[2001:db8::12]:443: 3 looks in 8.0 s, 0.0% open, 2 changes, 2 failed checks",
        "web3.example:443: 1 look in 8.0 s, 100.0% open, 0 changes",
        "web4.example:443: 1 look in 8.0 s, nothing known, 0 changes, 1 failed check",
        "web5.example:443: 0 looks in 8.0 s, nothing known, 0 changes",
    ]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["open", "open"], Status.OK),
        (["open", "error"], Status.UNKNOWN),
        (["error", "closed"], Status.CRITICAL),
        (["filtered", "open"], Status.CRITICAL),
        (["", "open"], Status.UNKNOWN),
        ([], Status.UNKNOWN),
    ],
)
def test_the_worst_of_the_last_states_counts(states: List[str], status: Status) -> None:
    rows = [row("closed", state) if state else row() for state in states]

    assert terminal.worst(rows) is status
