"""`wait`: what a condition makes of the rounds, and what is told of it."""

from typing import Callable, List, NamedTuple, Optional, Sequence

import pytest
from support.rounds import A, B, Clock, FakeChecks, FakeStop, row, standing

from halfopen.model import Target
from halfopen.runbook import wait
from halfopen.runbook.statistics import Standing, Statistics
from halfopen.runbook.terminal import ClosedError
from halfopen.runbook.wait import Condition, Result
from halfopen.scan.head_start import TIMEOUT

LATE = Result.LATE


class Waited(NamedTuple):
    """How waiting ended, and what was asked for it."""

    result: Result
    now: Standing
    checks: FakeChecks

    @property
    def states(self) -> List[str]:
        return [row.state for row in self.now.rows]


def waited(
    clock: Clock,
    condition: Condition,
    *findings: str,
    takes: float = 0.2,
    stop: Optional[FakeStop] = None,
    tell: Callable[[Standing], None] = lambda _: None,
) -> Waited:
    """Wait for A, or A and B if a finding has two words."""
    stop = stop or FakeStop(clock)
    checks = FakeChecks(clock, *findings, takes=takes, stop=stop)
    targets = [A, B][: len(findings[0].split())]
    return Waited(*wait.wait(targets, condition, stop, checks, tell), checks)


def test_a_condition_is_met_by_what_was_found_and_never_by_a_failed_check(clock: Clock) -> None:
    states = ("open", "closed", "filtered", "error")

    def met_by(state: str) -> List[str]:
        condition = Condition(state, timeout=0.5)
        return [s for s in states if waited(clock, condition, s).result is Result.REACHED]

    assert [met_by(state) for state in states[:3]] == [["open"], ["closed"], ["filtered"]]
    assert met_by("not-open") == ["closed", "filtered"]


REACHED = [
    # condition, what the rounds find, which targets are reached in the last
    (Condition(), "open", [True]),
    (Condition(), "closed, filtered, error, open", [True]),
    (Condition(successes=3), "open, open, closed, open, error, open, open, open", [True]),
    (Condition(), "open closed, closed open, open open", [True, True]),
    (Condition(), "open error, open error, open open", [True, True]),  # a name resolves later
    (Condition(any_target=True), "closed filtered, closed open", [False, True]),
    # What is counted in a row is of one target.
    (Condition(successes=2, any_target=True), "open closed, closed open, open closed, open closed",
     [True, False]),
    (Condition(any_target=True), "none open", [False, True]),  # before what is hopeless
]  # fmt: skip


@pytest.mark.parametrize(("condition", "findings", "reached"), REACHED)
def test_waiting_goes_on_until_the_condition_is_met(
    clock: Clock, condition: Condition, findings: str, reached: List[bool]
) -> None:
    condition, found = condition._replace(interval=5), findings.split(", ")

    ended = waited(clock, condition, *found, "closed closed")

    assert (ended.result, ended.now.rounds) == (Result.REACHED, len(found))
    assert [condition.reached(row) for row in ended.now.rows] == reached
    assert ended.checks.began == [5 * number for number in range(len(found))]
    assert ended.now.seconds == pytest.approx(ended.checks.began[-1] + 0.2)


@pytest.mark.parametrize("hopeless", ["none", "forbidden"])
@pytest.mark.parametrize("condition", [Condition(), Condition("not-open", any_target=True)])
def test_what_waiting_cannot_change_ends_it_at_once(
    clock: Clock, hopeless: str, condition: Condition
) -> None:
    for findings in ([f"error {hopeless}"], ["error error", f"error {hopeless}"]):
        ended = waited(clock, condition, *findings)
        assert (ended.result, len(ended.checks.began)) == (Result.HOPELESS, len(findings))


LASTS = [
    # condition, how long a round would take, when rounds begin
    (Condition(timeout=5), 0.2, [0, 1, 2, 3, 4]),
    (Condition(timeout=0.5), 0.2, [0]),
    (Condition(timeout=6, interval=5), 1.6, [0, 5]),
    (Condition(timeout=60, interval=30), 0.2, [0, 30]),  # none at the very end
    (Condition(timeout=9.5, interval=4), 99.0, [0]),
    (Condition(timeout=35, interval=30), 99.0, [0, 30]),
]


@pytest.mark.parametrize(("condition", "takes", "began"), LASTS)
def test_waiting_lasts_as_long_as_it_may_and_no_longer(
    clock: Clock, condition: Condition, takes: float, began: List[float]
) -> None:
    ended = waited(clock, condition, "closed", takes=takes)

    assert (ended.result, ended.now.rounds) == (LATE, len(began))
    assert ended.now.seconds == pytest.approx(condition.timeout)
    assert ended.checks.began == began
    assert ended.checks.deadlines == [min(begin + TIMEOUT, condition.timeout) for begin in began]
    assert clock.passed == pytest.approx(condition.timeout)


@pytest.mark.parametrize(
    ("findings", "result", "states"),
    [
        # Each round but the last takes a second; of that one little time is left.
        pytest.param(["closed late", "open open"], Result.REACHED, "open open", id="seen"),
        pytest.param(["open closed", "error closed"], LATE, "error closed", id="failed"),
        pytest.param(["error closed", "error open"], LATE, "error open", id="failed-again"),
        pytest.param(["closed closed", "closed none"], Result.HOPELESS, "closed error", id="none"),
        # The one that was open is no longer known to be: it is what is missing.
        pytest.param(["closed open", "late late"], LATE, "closed error", id="no-time"),
    ],
)
def test_what_the_last_round_finds_counts_however_short(
    clock: Clock, findings: List[str], result: Result, states: str
) -> None:
    ended = waited(clock, Condition(timeout=1.3), *findings)

    assert (ended.result, ended.states) == (result, states.split())
    assert [row.in_a_row > 0 for row in ended.now.rows] == [s == "open" for s in ended.states]


def test_a_reader_that_goes_away_changes_no_outcome(clock: Clock) -> None:
    def tell(_: Standing) -> None:
        raise ClosedError

    assert waited(clock, Condition(), "closed", "open", tell=tell).result is Result.REACHED


@pytest.mark.parametrize(("at", "states"), [(1.9, ["closed"]), (0.1, [""])])
def test_a_signal_stops_waiting_and_a_round_cut_short_says_nothing(
    clock: Clock, at: float, states: List[str]
) -> None:
    ended = waited(clock, Condition(timeout=2), "closed", stop=FakeStop(clock, at=at))

    assert (ended.result, ended.states) == (Result.STOPPED, states)


# -- what is told -------------------------------------------------------------------------------

OPEN, CLOSED = row("open", target=A), row("closed", target=B)
UNKNOWN = row("error", target=Target("b.example", 443))
NO_ROOT, NOT_ASKED = row("forbidden", target=A), row(target=B)
MANY = [row(word, target=Target(f"h{n}", 1)) for n, word in enumerate(["closed", "filtered"] * 4)]
NOT_OPEN = Condition("not-open", successes=3)
DOWN = [
    row("open", target=A, wanted=NOT_OPEN.wanted),
    row("closed", "filtered", target=B, wanted=NOT_OPEN.wanted),
]
TOLD = [
    # condition, how it ended if it has, rows, seconds, what is told
    (Condition(), None, [OPEN, CLOSED, UNKNOWN], 18,
     "open: 1 of 3, 42 s left; [2001:db8::12]:443 closed, b.example:443 unknown"),
    (Condition("closed"), None, [NOT_ASKED], 0, "closed: 0 of 1, 1 min 00 s left"),
    (Condition(), None, [OPEN, *MANY], 18,
     "open: 1 of 9, 42 s left; h0:1 closed, h1:1 filtered, h2:1 closed, h3:1 filtered, "
     "h4:1 closed, and 3 more: 1 closed, 2 filtered"),
    (NOT_OPEN, None, DOWN, 18, "not-open: 0 of 2, 42 s left; "
     "web1 (192.0.2.11:443) open, [2001:db8::12]:443 filtered 2 of 3 times"),
    (Condition(), Result.REACHED, [OPEN], 3.21, "open after 3.2 s: web1 (192.0.2.11:443)"),
    (Condition(), Result.REACHED, [OPEN, OPEN, OPEN], 18, "open after 18 s: all 3"),
    (Condition(any_target=True), Result.REACHED, [CLOSED, OPEN, CLOSED], 18,
     "open after 18 s: web1 (192.0.2.11:443)"),
    (Condition(), LATE, [OPEN, CLOSED, UNKNOWN], 60.002,
     "timed out after 1 min 00 s, waiting for open: [2001:db8::12]:443 closed (reset), "
     "b.example:443 unknown: no route to it"),
    (Condition(successes=3), LATE, [OPEN, CLOSED], 18,
     "timed out after 18 s, waiting for open: "
     "web1 (192.0.2.11:443) open (syn-ack) 1 of 3 times, [2001:db8::12]:443 closed (reset)"),
    (Condition(), LATE, MANY, 18,
     "timed out after 18 s, waiting for open: h0:1 closed (reset), "
     "h1:1 filtered (no-response), h2:1 closed (reset), h3:1 filtered (no-response), "
     "h4:1 closed (reset), and 3 more: 1 closed, 2 filtered"),
    (Condition(), Result.STOPPED, [OPEN, CLOSED], 18,
     "stopped after 18 s, waiting for open: [2001:db8::12]:443 closed (reset)"),
    (Condition(), Result.STOPPED, [NOT_ASKED], 0.4,
     "stopped after 0.4 s, waiting for open: no round has ended"),
    (Condition(), Result.HOPELESS, [OPEN, NO_ROOT, UNKNOWN, NO_ROOT], 1,
     "cannot check: nmap needs root"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "result", "rows", "seconds", "told"), TOLD)
def test_what_is_missing_and_how_it_ended_is_a_line(
    condition: Condition,
    result: Optional[Result],
    rows: Sequence[Statistics],
    seconds: float,
    told: str,
) -> None:
    now = standing(rows, seconds, rounds=0 if rows == [NOT_ASKED] else 3)

    line = wait.outcome(condition, result, now) if result else wait.missing(condition, now)
    assert line == told
