"""`watch`: what is drawn on terminals of every size, and what there was at the end.

What is drawn is compared with the files in golden/; HALFOPEN_WRITE_GOLDEN=1 writes them anew.
"""

import os
import re
from pathlib import Path
from typing import List, Sequence

import pytest
from support.rounds import ERRORS, UNIX, A, row, standing

from halfopen.errors import CheckError
from halfopen.model import Target
from halfopen.runbook import watch
from halfopen.runbook.schedule import Schedule
from halfopen.runbook.statistics import Standing, Statistics
from halfopen.runbook.terminal import Screen

GOLDEN = Path(__file__).parent / "golden"
LONGEST_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
HOSTILE = "\x1b]0;title\x07\x1b[2J\rnmap\u202e\x9b31m\udcff"
ERRORS["hostile"] = CheckError(HOSTILE * 9)

FARM = [
    row("open", "open", target=A, rtt=0.00007),
    row("open", "closed", rtt=0.0012),
    row("filtered", "filtered", target=Target("web3.example", 443)),
    row("open", "error", target=Target("web4.example", 443)),
    row("open", "closed", "closed", "open", target=Target("web5.example", 443), rtt=0.0005),
    row(target=Target("web6.example", 443)),
    row("closed", "closed", "open", "closed", target=Target("web7.example", 443)),
]
LONG = [
    row("open", target=Target(LONGEST_NAME, 65535, label="l" * 40), rtt=3599.0),
    row("hostile", target=Target("a.example", 1)),
]
MANY = [
    *(row("open", target=Target(f"host{number}", 25)) for number in range(30)),
    *(row("open", "closed", "open", target=Target(f"back{number}", 25)) for number in range(2)),
    *(row("closed", target=Target(f"down{number}", 25)) for number in range(3)),
    *(row("error", target=Target(f"lost{number}", 25)) for number in range(2)),
]
KINDS = {"farm": FARM, "long": LONG, "many": MANY, "all": [*FARM, *LONG, *MANY]}


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfopen.runbook.wording.time.time", lambda: UNIX + 5)


def watched(rows: Sequence[Statistics], took: float = 0.1) -> Standing:
    """Return how it stands after a last round that took so long, of an interval of 2 s."""
    return standing(rows, 8.04, took)


def plain(text: str) -> List[str]:
    """Return the lines without their colours, nor the spaces at their ends."""
    return [line.rstrip() for line in re.sub("\033\\[[0-9;]*m", "", text).split("\n")]


class Terminal:
    """Standard output as rich takes it for a terminal of some size; what is drawn on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd
        self.resize(80, 24)

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size."""
        self._monkeypatch.setenv("COLUMNS", str(columns))
        self._monkeypatch.setenv("LINES", str(lines))

    @property
    def written(self) -> str:
        """What was written since last asked."""
        return self._capfd.readouterr().out

    def live(self, state: Standing) -> List[str]:
        """Return the lines of the live table."""
        return plain(self.coloured(state).rstrip())

    def coloured(self, state: Standing) -> str:
        """Return the live table as it is written: the last one is left to be seen."""
        watch.show(Screen(), state, Schedule())
        return self.written.rpartition("\033[H")[2].replace("\033[K", "")

    def summary(self, state: Standing) -> List[str]:
        """Return the lines at the end."""
        return plain(self.coloured_summary(state))

    def coloured_summary(self, state: Standing) -> str:
        """Return the text at the end."""
        return watch.summary(state, Schedule())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capfd)


def compare(name: str, lines: Sequence[str]) -> None:
    """Compare the lines with those of a golden file."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("HALFOPEN_WRITE_GOLDEN") == "1":
        file.write_text("".join(f"{line}\n" for line in lines))
    assert list(lines) == file.read_text().splitlines()


@pytest.mark.parametrize(("columns", "lines"), [(120, 50), (80, 24), (40, 12)])
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_terminals_of_common_sizes_show(
    terminal: Terminal, kind: str, columns: int, lines: int
) -> None:
    terminal.resize(columns, lines)
    state = watched(KINDS[kind])

    compare(f"live-{kind}-{columns}", terminal.live(state))
    compare(f"summary-{kind}-{columns}", terminal.summary(state))


def test_what_a_pipe_has_at_the_end() -> None:
    state = watched(KINDS["all"])
    lines = watch.summary(state, Schedule(), *watch.FILE).split("\n")

    compare("summary-all-pipe", lines)
    assert len(lines) == 2 + len(KINDS["all"]) + 2, "nothing is left out"


def titles(terminal: Terminal, width: int, rows: Sequence[Statistics] = FARM) -> str:
    """Return the first words of the columns' titles."""
    terminal.resize(width, 24)
    header = terminal.live(watched(rows))[0]
    return " ".join(header.replace(" min/avg/max ms", "").split())


@pytest.mark.parametrize(
    ("widths", "columns"),
    [
        ((100, 94), "Target State Reason Since Up RTT Last"),
        ((93, 74), "Target State Reason Since Up Last"),
        ((73, 61), "Target State Since Up Last"),
        ((60, 49), "Target State Since Up"),
        ((48, 39), "Target State Up"),
        ((38, 20), "Target State"),
    ],
)
def test_a_narrower_terminal_has_the_worthier_columns(
    terminal: Terminal, widths: Sequence[int], columns: str
) -> None:
    assert [titles(terminal, width) for width in widths] == [columns] * 2


@pytest.mark.parametrize("rows", [FARM, LONG, FARM + LONG], ids=["farm", "long", "both"])
def test_no_line_is_ever_wider_than_the_terminal(
    terminal: Terminal, rows: Sequence[Statistics]
) -> None:
    for width in (*range(1, 20, 3), *range(20, 131, 11)):
        terminal.resize(width, 24)
        lines = [*terminal.live(watched(rows)), *terminal.summary(watched(rows))]
        assert [line for line in lines if len(line) > width] == []
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("width", [14, 20, 40, 80])
def test_the_state_is_whole_however_long_the_names(terminal: Terminal, width: int) -> None:
    terminal.resize(width, 24)

    lines = terminal.live(watched(FARM + LONG))

    shown = [word for line in lines for word in line.split() if word in STATES]
    assert shown == ["open", "closed", "filtered", "unknown", "open", "closed", "open", "unknown"]


STATES = ("open", "closed", "filtered", "unknown")


@pytest.mark.parametrize(("width", "marks"), [(51, 10), (53, 12), (120, 30)])
def test_the_history_has_the_last_results_that_fit(
    terminal: Terminal, width: int, marks: int
) -> None:
    rows = [row(*["open"] * 70, *["closed"] * 5, target=Target("192.0.2.11", 443))]  # 14 long
    terminal.resize(width, 24)

    assert terminal.live(watched(rows))[1].split()[-1] == "o" * (marks - 5) + "xxxxx"


@pytest.mark.parametrize(("count", "height"), [(4, 5), (21, 22), (21, 60)])
def test_rows_that_just_fit_are_all_shown_in_their_order(
    terminal: Terminal, count: int, height: int
) -> None:
    rows = [
        row("open" if number % 2 else "closed", target=Target(f"h{number}", 25))
        for number in range(count)
    ]
    terminal.resize(80, height)

    lines = terminal.live(watched(rows))

    assert [line.split(":")[0] for line in lines[1:]] == [f"h{number}" for number in range(count)]


def test_why_checks_failed_is_told_below_the_table_once_each(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three", "four"):
        monkeypatch.setitem(ERRORS, name, CheckError(name))
    state = watched([row(name) for name in ("one", "two", "two", "three", "four")])

    for lines in (terminal.live(state), terminal.summary(state)):
        assert lines[-3:] == ["unknown: one", "unknown: two", "unknown: three"]


@pytest.mark.parametrize(
    ("took", "said"),
    [(2.0, ""), (4.06, "rounds take 4.1 s, longer than the interval of 2.0 s")],
)
def test_rounds_that_take_longer_than_the_interval_are_told_of(
    terminal: Terminal, took: float, said: str
) -> None:
    state = watched(FARM, took)
    lines = watch.lines(state, Schedule(), verbose=False)
    stamped = [line for line in lines if " rounds take " in line]
    assert stamped == ([f"2023-11-14T18:43:24-03:30 {said}"] if said else [])

    assert terminal.live(state)[-1] == (said or "unknown: no route to it")
    assert terminal.summary(state)[0] == "4 rounds in 8.0 s" + (f"; {said}" if said else "")


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_states_are_coloured_unless_no_color_is_set(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, variables: "dict[str, str]"
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    drawn = [terminal.coloured(watched(FARM)), terminal.coloured_summary(watched(FARM))]

    colours = [re.findall("\033\\[(3[0-9])m", each) for each in drawn]
    live, at_the_end = ["32", "31", "33", "35", "32", "31"], ["31", "31", "35", "32", "33", "32"]
    assert colours == ([[], []] if variables else [live, at_the_end])


@pytest.mark.parametrize(("columns", "lines"), [(1, 1), (2, 1), (3, 2)])
def test_no_size_is_too_small(terminal: Terminal, columns: int, lines: int) -> None:
    terminal.resize(columns, lines)

    assert len(terminal.live(watched(FARM))) <= lines
    assert terminal.summary(watched(FARM))
