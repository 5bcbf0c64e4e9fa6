"""`wait`: what a condition makes of the rounds, and what is told of it."""

from typing import Iterable, List, Optional, Sequence, Tuple

import pytest
from support.rounds import A, B, Clock, FakeChecks, FakeStop, verdict

from halfopen.errors import HopelessError
from halfopen.model import Target, Verdict, failure
from halfopen.runbook import wait
from halfopen.runbook.terminal import ClosedError, Reporter
from halfopen.runbook.wait import Condition, Progress, Result
from halfopen.scan.head_start import TIMEOUT

LATE = Result.LATE


class Noted(Reporter[Progress]):
    """Notes what it is to tell; its reader may have gone."""

    def __init__(self, error: Optional[Exception] = None) -> None:
        self.progress: List[Progress] = []
        self._error = error

    def show(self, state: Progress) -> None:
        assert state.result is None
        self.progress.append(state)
        if self._error:
            raise self._error

    tick = show


def waited(
    clock: Clock,
    condition: Condition,
    *findings: str,
    takes: float = 0.2,
    stop: Optional[FakeStop] = None,
    reporter: Optional[Noted] = None,
) -> Tuple[Progress, FakeChecks]:
    """Wait for A, or A and B if a finding has two words; return the end, and what was asked."""
    stop = stop or FakeStop(clock)
    checks = FakeChecks(clock, *findings, takes=takes, stop=stop)
    targets = [A, B][: len(findings[0].split())]
    return wait.follow(targets, condition, stop, checks, reporter or Noted()), checks


@pytest.mark.parametrize(
    ("state", "met"),
    [
        ("open", {"open"}),
        ("closed", {"closed"}),
        ("filtered", {"filtered"}),
        ("not-open", {"closed", "filtered"}),
    ],
)
def test_a_condition_is_met_by_what_was_found_and_never_by_a_failed_check(
    state: str, met: Iterable[str]
) -> None:
    states = ("open", "closed", "filtered", "error")

    assert {each for each in states if Condition(state).met(verdict(each))} == met


REACHED = [
    # condition, what the rounds find, how many rounds there are, which targets are reached
    pytest.param(Condition(), ["open"], [True], id="at-once"),
    pytest.param(Condition(), ["closed", "filtered", "error", "open"], [True], id="later"),
    pytest.param(
        Condition(successes=3),
        ["open", "open", "closed", "open", "error", "open", "open", "open"],
        [True],
        id="so-many-in-a-row",
    ),
    pytest.param(
        Condition(), ["open closed", "closed open", "open open"], [True, True], id="all-at-once"
    ),
    pytest.param(
        Condition(), ["open error", "open error", "open open"], [True, True], id="a-name-later"
    ),
    pytest.param(
        Condition(any_target=True), ["closed filtered", "closed open"], [False, True], id="any"
    ),
    pytest.param(
        Condition(successes=2, any_target=True),
        ["open closed", "closed open", "open closed", "open closed"],
        [True, False],
        id="in-a-row-is-of-one-target",
    ),
    pytest.param(
        Condition(any_target=True), ["none open"], [False, True], id="any-before-what-is-hopeless"
    ),
]


@pytest.mark.parametrize(("condition", "findings", "reached"), REACHED)
def test_waiting_goes_on_until_the_condition_is_met(
    clock: Clock, condition: Condition, findings: List[str], reached: List[bool]
) -> None:
    condition = condition._replace(interval=5)

    ended, checks = waited(clock, condition, *findings, "closed closed")

    assert (ended.result, ended.rounds) == (Result.REACHED, len(findings))
    assert list(ended.reached) == reached
    assert checks.began == [5 * number for number in range(len(findings))]
    assert ended.seconds == pytest.approx(checks.began[-1] + 0.2)


@pytest.mark.parametrize("hopeless", ["none", "forbidden"])
@pytest.mark.parametrize(
    "condition", [Condition(), Condition("not-open"), Condition(any_target=True)]
)
def test_what_waiting_cannot_change_ends_it_at_once(
    clock: Clock, hopeless: str, condition: Condition
) -> None:
    ended, checks = waited(clock, condition, f"error {hopeless}")
    later, _ = waited(clock, condition, "error error", f"error {hopeless}")

    assert (ended.result, ended.rounds) == (Result.HOPELESS, 1)
    assert checks.began == [0]
    assert (later.result, later.rounds) == (Result.HOPELESS, 2)


@pytest.mark.parametrize(
    ("condition", "takes", "began"),
    [
        pytest.param(Condition(timeout=5), 0.2, [0, 1, 2, 3, 4], id="every-second"),
        pytest.param(Condition(timeout=0.5), 0.2, [0], id="less-than-an-interval"),
        pytest.param(Condition(timeout=6, interval=5), 1.6, [0, 5], id="a-long-round-before"),
        pytest.param(Condition(timeout=60, interval=30), 0.2, [0, 30], id="none-at-the-very-end"),
        pytest.param(Condition(timeout=9.5, interval=4), 99.0, [0], id="a-round-takes-it-all"),
    ],
)
def test_waiting_lasts_as_long_as_it_may_and_no_longer(
    clock: Clock, condition: Condition, takes: float, began: List[float]
) -> None:
    ended, checks = waited(clock, condition, "closed", takes=takes)

    assert (ended.result, ended.rounds, ended.left) == (LATE, len(began), 0)
    assert checks.began == began
    assert clock.passed == pytest.approx(condition.timeout)


@pytest.mark.parametrize("interval", [0.1, 30.0])
def test_a_round_may_take_as_long_as_a_check_but_not_longer_than_waiting(
    clock: Clock, interval: float
) -> None:
    _, checks = waited(clock, Condition(timeout=TIMEOUT + 25, interval=interval), "closed")

    assert checks.deadlines[0] == TIMEOUT
    assert max(checks.deadlines) == TIMEOUT + 25


def test_a_round_that_had_no_time_hides_nothing_of_what_was_found(clock: Clock) -> None:
    condition = Condition(timeout=3.1, successes=9)

    ended, _ = waited(clock, condition, "closed open", "closed open", "closed open", "late late")

    # The one that was open is no longer known to be: it is what is missing.
    assert [each.state for each in ended.verdicts] == ["closed", "error"]
    assert (ended.result, ended.streaks) == (LATE, (0, 0))


@pytest.mark.parametrize(
    ("findings", "result", "states"),
    [
        pytest.param(["closed late", "open open"], Result.REACHED, "open open", id="seen"),
        pytest.param(["open closed", "error closed"], LATE, "error closed", id="failed"),
        pytest.param(["error closed", "error open"], LATE, "error open", id="failed-again"),
        pytest.param(["closed closed", "closed none"], Result.HOPELESS, "closed error", id="none"),
    ],
)
def test_what_the_last_round_finds_counts_however_short(
    clock: Clock, findings: List[str], result: Result, states: str
) -> None:
    ended, _ = waited(clock, Condition(timeout=1.3), *findings)

    assert ended.result is result
    assert [each.state for each in ended.verdicts] == states.split()


def test_it_is_told_at_once_after_each_round_and_each_second(clock: Clock) -> None:
    noted = Noted()

    waited(clock, Condition(interval=2.5), "closed", "open", reporter=noted)

    assert [(round(each.seconds, 6), each.rounds) for each in noted.progress] == [
        (0, 0), (0.2, 1), (1.2, 1), (2.2, 1), (2.5, 1), (2.7, 2),
    ]  # fmt: skip
    assert all(each.left == pytest.approx(60 - each.seconds) for each in noted.progress)


def test_a_reader_that_goes_away_changes_no_outcome(clock: Clock) -> None:
    ended, _ = waited(clock, Condition(), "closed", "open", reporter=Noted(ClosedError()))

    assert ended.result is Result.REACHED


@pytest.mark.parametrize(
    ("at", "rounds"), [(1.1, 1), (1.9, 2), (0.1, 0)], ids=["in-a-round", "between", "in-the-first"]
)
def test_a_signal_stops_waiting_and_a_round_cut_short_says_nothing(
    clock: Clock, at: float, rounds: int
) -> None:
    condition = Condition(timeout=2)

    ended, _ = waited(clock, condition, "closed", "closed", stop=FakeStop(clock, at=at))

    assert (ended.result, ended.rounds) == (Result.STOPPED, rounds)
    assert [each.state for each in ended.verdicts] == ["closed"] * min(1, rounds)


# -- what is told -------------------------------------------------------------------------------

OPEN, CLOSED = verdict("open", A), verdict("closed", B)
UNKNOWN = verdict("error", Target("b.example", 443))
NO_ROOT = HopelessError("nmap needs root or CAP_NET_RAW; run as root, or see the README")
OPEN_SOON = Condition()
MANY = [verdict(word, Target(f"h{n}", 1)) for n, word in enumerate(["closed", "filtered"] * 4)]


def progress(
    result: Optional[Result],
    *verdicts: Verdict,
    condition: Condition = OPEN_SOON,
    streaks: Optional[Sequence[int]] = None,
    seconds: float = 18.0,
) -> Progress:
    """Return how waiting stands; what is not open has no streak."""
    counted = [int(each.state == "open") for each in verdicts]
    targets = tuple(each.target for each in verdicts if each.target)
    return Progress(
        result, condition, seconds, 3, targets, tuple(verdicts), tuple(streaks or counted)
    )


@pytest.mark.parametrize(
    ("state", "line"),
    [
        pytest.param(
            progress(None, OPEN, CLOSED, UNKNOWN),
            "open: 1 of 3, 42 s left; [2001:db8::12]:443 closed, b.example:443 unknown",
            id="missing",
        ),
        pytest.param(
            progress(
                None, OPEN, CLOSED, condition=Condition("not-open", successes=3), streaks=[0, 2]
            ),
            "not-open: 0 of 2, 42 s left; "
            "web1 (192.0.2.11:443) open, [2001:db8::12]:443 closed 2 of 3 times",
            id="in-a-row",
        ),
        pytest.param(
            Progress(None, Condition("closed"), 0.0, 0, (A, B), (), (0, 0)),
            "closed: 0 of 2, 1 min 00 s left",
            id="before-the-first-round",
        ),
        pytest.param(
            progress(None, OPEN, *MANY),
            "open: 1 of 9, 42 s left; h0:1 closed, h1:1 filtered, h2:1 closed, h3:1 filtered, "
            "h4:1 closed, and 3 more: 1 closed, 2 filtered",
            id="many",
        ),
    ],
)
def test_a_live_line_tells_what_is_missing_and_the_time_left(state: Progress, line: str) -> None:
    assert wait.missing(state) == line


ENDS = [
    pytest.param(
        progress(Result.REACHED, OPEN, seconds=3.21),
        "open after 3.2 s: web1 (192.0.2.11:443)",
        id="one",
    ),
    pytest.param(progress(Result.REACHED, OPEN, OPEN, OPEN), "open after 18 s: all 3", id="all"),
    pytest.param(
        progress(Result.REACHED, CLOSED, OPEN, CLOSED, condition=Condition(any_target=True)),
        "open after 18 s: web1 (192.0.2.11:443)",
        id="any",
    ),
    pytest.param(
        progress(LATE, OPEN, CLOSED, UNKNOWN, seconds=60.002),
        "timed out after 1 min 00 s, waiting for open: [2001:db8::12]:443 closed (reset), "
        "b.example:443 unknown: no route to it",
        id="late",
    ),
    pytest.param(
        progress(LATE, OPEN, CLOSED, condition=Condition(successes=3), streaks=[2, 0]),
        "timed out after 18 s, waiting for open: "
        "web1 (192.0.2.11:443) open (syn-ack) 2 of 3 times, [2001:db8::12]:443 closed (reset)",
        id="late-in-a-row",
    ),
    pytest.param(
        progress(LATE, OPEN, condition=Condition("not-open"), streaks=[0]),
        "timed out after 18 s, waiting for not-open: web1 (192.0.2.11:443) open (syn-ack)",
        id="late-for-not-open",
    ),
    pytest.param(
        progress(LATE, *MANY),
        "timed out after 18 s, waiting for open: h0:1 closed (reset), "
        "h1:1 filtered (no-response), h2:1 closed (reset), h3:1 filtered (no-response), "
        "h4:1 closed (reset), and 3 more: 1 closed, 2 filtered",
        id="late-many",
    ),
    pytest.param(
        progress(Result.STOPPED, OPEN, CLOSED),
        "stopped after 18 s, waiting for open: [2001:db8::12]:443 closed (reset)",
        id="stopped",
    ),
    pytest.param(
        Progress(Result.STOPPED, Condition(), 0.4, 0, (A,), (), (0,)),
        "stopped after 0.4 s, waiting for open: no round has ended",
        id="stopped-in-the-first-round",
    ),
    pytest.param(
        progress(Result.HOPELESS, OPEN, failure(NO_ROOT, A), UNKNOWN, failure(NO_ROOT, B)),
        f"cannot check: {NO_ROOT}",
        id="hopeless",
    ),
]


@pytest.mark.parametrize(("state", "line"), ENDS)
def test_the_end_of_waiting_is_a_line(state: Progress, line: str) -> None:
    assert wait.outcome(state) == line
