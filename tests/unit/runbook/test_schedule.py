"""When rounds come, what ends them, and what signals do."""

import os
import signal
import threading
import time
from typing import Callable, Iterator, List

import pytest
from support.rounds import UNIX, A, B, Clock, FakeChecks, FakeStop

from halfopen.runbook import schedule
from halfopen.runbook.schedule import Schedule, Stop, follow
from halfopen.scan import process

OFTEN = Schedule(2.0, rounds=4)
PLANS = [
    # schedule, how long each round takes, when rounds begin
    pytest.param(OFTEN, 1.99, [0, 2, 4, 6], id="just-fits"),
    pytest.param(OFTEN, 2.0, [0, 2, 4, 6], id="a-whole-interval"),
    pytest.param(OFTEN, 2.01, [0, 4, 8, 12], id="a-little-longer"),
    pytest.param(OFTEN, 5.0, [0, 6, 12, 18], id="two-and-a-half"),
    pytest.param(Schedule(2.0, 2, None, 0.3), 0.3, [0, 2], id="a-time-limit-for-rounds"),
    pytest.param(Schedule(2.0, 2, 50.0), 0.2, [0, 2], id="the-count-comes-first"),
    pytest.param(Schedule(2.0, 9, 5.0), 0.2, [0, 2, 4], id="the-duration-comes-first"),
    pytest.param(Schedule(2.0, duration=10.0), 0.6, [0, 2, 4, 6, 8], id="none-at-the-very-end"),
    pytest.param(Schedule(2.0, duration=6.1), 0.1, [0, 2, 4, 6], id="one-just-before-the-end"),
    pytest.param(Schedule(0.7, duration=2.1), 0.6, [0, 0.7, 1.4], id="floating-point"),
    pytest.param(Schedule(30.0, duration=5.0), 0.1, [0], id="shorter-than-the-interval"),
]


@pytest.mark.parametrize(("plan", "takes", "began"), PLANS)
def test_rounds_begin_on_time_and_end_with_the_count_or_the_duration(
    clock: Clock, plan: Schedule, takes: float, began: List[float]
) -> None:
    checks = FakeChecks(clock, "open", takes=takes)
    *_, last = follow([A], plan, FakeStop(clock), checks)

    assert checks.began == began
    assert checks.deadlines == [begin + plan.timeout for begin in began]
    assert last.slow == (len(began) if takes > plan.interval else 0)
    counted = last.rounds == plan.rounds
    assert last.seconds == pytest.approx(began[-1] + takes if counted else plan.duration)


@pytest.mark.parametrize(
    ("plan", "pause", "began"),
    [
        (Schedule(2.0, 1000), lambda number: number % 20 / 11, [2.0 * n for n in range(1000)]),
        (Schedule(1.0, 5), lambda number: 2.3 * (number == 2), [0, 1, 4, 5, 6]),
    ],
    ids=["a-thousand-of-any-length", "after-a-long-one"],
)
def test_rounds_do_not_drift(
    clock: Clock, plan: Schedule, pause: Callable[[int], float], began: List[float]
) -> None:
    checks = FakeChecks(clock, "open", takes=0.1)
    for now in follow([A], plan, FakeStop(clock), checks):
        clock.now += pause(now.rounds) if now.fresh else 0

    assert checks.began == began


@pytest.mark.parametrize(
    ("at", "given"),
    [
        pytest.param(0.0, [0, 0], id="first"),
        pytest.param(0.3, [0, 0.5], id="in-the-first-round"),
        pytest.param(3.1, [0, "0.5", 1.5, 2.5, 3.0, 3.5], id="in-a-round"),
        pytest.param(4.9, [0, "0.5", 1.5, 2.5, 3.0, "3.5", 4.5, 4.9], id="between"),
        pytest.param(99.0, [0, "0.5", 1.5, 2.5, 3.0, "3.5", 4.5, 5.5], id="none"),
    ],
)
def test_it_is_given_first_each_second_after_each_round_and_when_a_signal_ends_them(
    clock: Clock, at: float, given: List[object]
) -> None:
    stop = FakeStop(clock, at=at)
    stop.see()
    checks = FakeChecks(clock, "open", takes=0.5, stop=stop)

    found = list(follow([A], Schedule(3.0, duration=5.5), stop, checks))

    told = [round(now.seconds, 6) for now in found]
    assert [str(each) if now.fresh else each for now, each in zip(found, told)] == given
    rounds = [isinstance(each, str) for each in given]
    assert [now.rounds for now in found] == [sum(rounds[:n]) for n in range(1, len(rounds) + 1)]


def test_a_round_tells_when_it_began_how_long_it_took_and_what_it_found(clock: Clock) -> None:
    checks = FakeChecks(clock, "open closed", "closed open")

    found = [n for n in follow([A, B], Schedule(rounds=3), FakeStop(clock), checks) if n.fresh]

    assert [(now.rounds, now.time - UNIX) for now in found] == [(1, 0), (2, 2), (3, 4)]
    assert [now.took for now in found] == pytest.approx([0.2] * 3)
    states = [[verdict.state for verdict in now.report.verdicts] for now in found]
    assert states == [["open", "closed"], ["closed", "open"], ["closed", "open"]]
    assert [(row.target, row.found, row.changes) for row in found[-1].rows] == [
        (A, 3, 1),
        (B, 3, 1),
    ]


def test_a_round_that_is_woken_comes_early_and_the_others_stay_on_time(clock: Clock) -> None:
    checks = FakeChecks(clock, "open")
    list(follow([A], Schedule(10.0, 4), FakeStop(clock, woken_at=5.3), checks))

    assert checks.began == [0, 5.3, 10, 20]


# -- signals, real ones -------------------------------------------------------------------------

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture
def ended_by(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[str]]:
    """Note what would be done to nmap and to us, and do none of it."""
    done: List[str] = []
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGCONT)}
    monkeypatch.setattr(process, "interrupt", lambda: done.append("nmap killed"))
    monkeypatch.setattr(process, "end_by_signal", lambda number, _: done.append(f"died {number}"))
    yield done
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_or_two_at_once_end_waiting_and_the_nmap_that_runs(
    ended_by: List[str], number: signal.Signals
) -> None:
    began = time.monotonic()
    with Stop() as stop:
        stop.wait(began + 0.01)
        assert not stop.number
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        stop.wait(began + 30)
        os.kill(os.getpid(), number)
    # `timeout` may be late with its second one, and the summary is not printed yet.
    os.kill(os.getpid(), number)

    assert (stop.number, ended_by) == (number, ["nmap killed"])
    assert time.monotonic() - began < 10


def test_signals_do_what_they_did_before_and_one_that_was_ignored_stays_ignored(
    ended_by: List[str],
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = [signal.getsignal(number) for number in SIGNALS]
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        stop.wait(time.monotonic() + 0.05)
        within = [signal.getsignal(number) for number in SIGNALS]

    assert (stop.number, ended_by) == (0, [])
    assert [a == b for a, b in zip(before, within)] == [False, False, True, False]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_signal_later_ends_us_at_once_and_the_terminal_is_put_right_first(
    ended_by: List[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_PAUSE", 0.0)
    with Stop() as stop:
        stop.at_once = lambda: ended_by.append("terminal put right")
        os.kill(os.getpid(), signal.SIGINT)
        stop.wait(time.monotonic() + 30)
        os.kill(os.getpid(), signal.SIGTERM)

    assert ended_by == ["nmap killed", "terminal put right", f"died {signal.SIGTERM}"]
    assert stop.number == signal.SIGINT


def test_another_thread_can_end_a_wait_once_and_none_that_is_over() -> None:
    with Stop() as stop:
        threading.Timer(0.05, stop.wake).start()
        began = time.monotonic()
        stop.wait(began + 30)
        assert (stop.number, stop.woken) == (0, True), "it is no signal"
        assert time.monotonic() - began < 10
        began = time.monotonic()
        stop.wait(began + 0.05)
        assert time.monotonic() - began >= 0.05
