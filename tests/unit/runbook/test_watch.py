"""`watch`: what is drawn on terminals of every size and left at the end: tests/golden/watch."""

import re
from typing import Callable, List, Sequence

import pytest
from support.golden import assert_golden
from support.rounds import ERRORS, UNIX, A, row, standing

from halfopen.errors import CheckError
from halfopen.model import Target
from halfopen.runbook import terminal, watch
from halfopen.runbook.schedule import Schedule
from halfopen.runbook.statistics import Standing, Statistics

LONGEST_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
HOSTILE = "\x1b]0;title\x07\x1b[2J\rnmap\u202e\x9b31m\udcff"
ERRORS["hostile"] = CheckError(HOSTILE * 9)
ERRORS.update((name, CheckError(name)) for name in ("one", "two", "three", "four"))

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
FAILING = [row(name) for name in ("one", "two", "two", "three", "four")]
Draw = Callable[..., str]


def watched(rows: Sequence[Statistics], took: float = 0.1) -> Standing:
    """Return how it stands after a last round that took so long, of an interval of 2 s."""
    return standing(rows, 8.04, took)


ALL = [*FARM, *LONG, *MANY]
KINDS = {"farm": FARM, "long": LONG, "many": MANY, "all": ALL, "failing": FAILING, "slow": FARM}


def plain(text: str) -> List[str]:
    """Return the lines without their colours, nor the spaces at their ends."""
    text = re.sub("\033\\[[0-9;]*[mKH]", "", text)
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip().split("\n")


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfopen.runbook.wording.time.time", lambda: UNIX + 5)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Return what draws the live table, on a terminal of this size."""
    written: List[str] = []
    monkeypatch.setattr(terminal, "write", written.append)

    def draw(now: Standing, columns: int = 80, lines: int = 24) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        watch.show(terminal.Screen(), now, Schedule())
        return written.pop()

    return draw


@pytest.mark.parametrize(
    "size", ["120x50", "80x24", "80x9", "80x8", "40x12", "20x24", "14x24", "3x2", "1x1"]
)
def test_what_terminals_of_all_sizes_show(live: Draw, size: str) -> None:
    width, height = map(int, size.split("x"))
    text = ""
    for kind, rows in KINDS.items():
        now = watched(rows, 4.06 if kind == "slow" else 0.1)
        shown, left = plain(live(now, width, height)), plain(watch.summary(now, Schedule()))
        text += "\n".join([f"== {kind}, live", *shown, f"== {kind}, at the end", *left, ""])
        assert len(shown) <= height
        assert max(map(len, [*shown, *left])) <= width
        assert all(line.isprintable() for line in [*shown, *left])

    assert_golden(f"watch/{size}.txt", text)


def test_what_a_pipe_has_at_the_end() -> None:
    text = watch.summary(watched(ALL), Schedule(), *watch.FILE)

    assert_golden("watch/pipe.txt", f"== all, at the end\n{text}\n")
    assert text.count("\n") == 1 + len(ALL) + 2, "nothing is left out"


def test_a_narrower_terminal_has_the_worthier_columns_and_the_last_results_that_fit(
    live: Draw,
) -> None:
    one = [row(*["open"] * 70, *["closed"] * 5, target=Target("192.0.2.11", 443))]
    text = ""
    for width in range(20, 121):
        farm, last, long = (plain(live(watched(rows), width)) for rows in (FARM, one, LONG))
        titles = " ".join(farm[0].replace(" min/avg/max ms", "").split())
        text += f"{width:3} {titles}; {last[1].split()[-1]}\n"
        assert max(map(len, [*farm, *last, *long])) <= width

    assert_golden("watch/widths.txt", text)


def test_rounds_that_take_longer_than_the_interval_are_told_of_in_lines_once() -> None:
    first, second = (watched([row("open")], 4.06)._replace(slow=slow) for slow in (1, 2))
    later = first._replace(took=2.0)

    told = [watch.lines(now, Schedule(), verbose=False) for now in (first, second, later)]

    said = "2023-11-14T18:43:24-03:30 rounds take 4.1 s, longer than the interval of 2.0 s"
    assert [lines[1:] for lines in told] == [[said], [], []]


def test_states_are_coloured(live: Draw) -> None:
    drawn = [live(watched(FARM)), watch.summary(watched(FARM), Schedule())]

    colours = [" ".join(re.findall("\033\\[(3[0-9])m", each)) for each in drawn]
    assert colours == ["32 31 33 35 32 31", "31 31 35 32 33 32"]


def test_the_live_table_is_drawn_again_for_a_round_or_another_size(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    screen, now = terminal.Screen(), watched(FARM)
    drawn = []
    for columns, fresh in ((80, False), (80, False), (80, True), (60, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        watch.show(screen, now._replace(fresh=fresh), Schedule())
        drawn.append(capfd.readouterr().out.count("\033[H"))

    assert drawn == [1, 0, 1, 1]
