"""When rounds come, what ends them, and what signals do."""

import os
import signal
import threading
import time
from typing import Iterator, List

import pytest
from support.rounds import BEGIN, UNIX, A, B, Clock, FakeChecks, FakeStop

from halfopen.runbook import schedule
from halfopen.runbook.schedule import Schedule, Stop, rounds
from halfopen.scan import process
from halfopen.scan.head_start import TIMEOUT

OFTEN = Schedule(2.0, rounds=4)
PLANS = [
    # schedule, how long each round takes, when rounds begin
    pytest.param(OFTEN, 1.99, [0, 2, 4, 6], id="just-fits"),
    pytest.param(OFTEN, 2.0, [0, 2, 4, 6], id="a-whole-interval"),
    pytest.param(OFTEN, 2.01, [0, 4, 8, 12], id="a-little-longer"),
    pytest.param(OFTEN, 5.0, [0, 6, 12, 18], id="two-and-a-half"),
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
    found = list(rounds([A], plan, FakeStop(clock), checks))

    assert checks.began == began
    counted = len(found) == plan.rounds
    assert clock.passed == pytest.approx(began[-1] + takes if counted else plan.duration)


def test_a_thousand_rounds_of_any_length_do_not_drift(clock: Clock) -> None:
    began = []
    for each in rounds([A], Schedule(), FakeStop(clock), FakeChecks(clock, "open", takes=0.1)):
        began.append(each.began - BEGIN)
        clock.now += each.number % 20 / 11
        if each.number == 1000:
            break

    assert began == [2.0 * number for number in range(1000)]


def test_after_one_long_round_the_schedule_is_the_old_one(clock: Clock) -> None:
    began = []
    for each in rounds([A], Schedule(1.0, rounds=5), FakeStop(clock), FakeChecks(clock, "open")):
        began.append(each.began - BEGIN)
        clock.now += 2.3 if each.number == 2 else 0

    assert began == [0, 1, 4, 5, 6]


@pytest.mark.parametrize(
    "plan", [Schedule(0.1, 1), Schedule(600.0, 1), Schedule(2.0, 1, None, 0.3)]
)
def test_a_round_has_its_own_time_limit_however_short_the_interval(
    clock: Clock, plan: Schedule
) -> None:
    checks = FakeChecks(clock, "open")
    list(rounds([A], plan, FakeStop(clock), checks))

    assert checks.deadlines == [0.3 if plan.timeout == 0.3 else TIMEOUT]


def test_a_round_tells_when_it_began_how_long_it_took_and_what_it_found(clock: Clock) -> None:
    checks = FakeChecks(clock, "open closed", "closed open")

    found = list(rounds([A, B], Schedule(rounds=3), FakeStop(clock), checks))

    assert [each.number for each in found] == [1, 2, 3]
    assert [each.time - UNIX for each in found] == [0, 2, 4]
    assert [each.began - BEGIN for each in found] == [0, 2, 4]
    assert [each.seconds for each in found] == pytest.approx([0.2] * 3)
    states = [[verdict.state for verdict in each.report.verdicts] for each in found]
    assert states == [["open", "closed"], ["closed", "open"], ["closed", "open"]]


@pytest.mark.parametrize(
    ("at", "given", "ticks"),
    [
        pytest.param(0.0, 0, [], id="first"),
        pytest.param(3.1, 1, [1.5, 2.5, 3.0], id="in-a-round"),
        pytest.param(4.9, 2, [1.5, 2.5, 3.0, 4.5], id="between"),
        pytest.param(99.0, 2, [1.5, 2.5, 3.0, 4.5, 5.5], id="none"),
    ],
)
def test_there_is_a_tick_a_second_until_a_signal_ends_the_rounds_at_once(
    clock: Clock, at: float, given: int, ticks: List[float]
) -> None:
    stop = FakeStop(clock, at=at)
    stop.see()
    ticked: List[float] = []
    checks = FakeChecks(clock, "open", takes=0.5, stop=stop)

    plan = Schedule(3.0, duration=5.5)
    found = list(rounds([A], plan, stop, checks, lambda: ticked.append(clock.passed)))

    assert (len(found), ticked) == (given, ticks)
    assert clock.passed <= max(at, 3.5)


def test_a_round_that_is_woken_comes_early_and_the_others_stay_on_time(clock: Clock) -> None:
    checks = FakeChecks(clock, "open")
    list(rounds([A], Schedule(10.0, 4), FakeStop(clock, woken_at=5.3), checks))

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
    with Stop() as stop:
        assert not stop.wait(time.monotonic() + 0.01)
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        began = time.monotonic()
        assert stop.wait(began + 30)
        os.kill(os.getpid(), number)
        assert time.monotonic() - began < 10
    # `timeout` may be late with its second one, and the summary is not printed yet.
    os.kill(os.getpid(), number)

    assert (stop.number, ended_by) == (number, ["nmap killed"])


def test_signals_do_what_they_did_before_once_the_rounds_are_over() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Stop():
        assert before != [signal.getsignal(number) for number in SIGNALS]

    assert before == [signal.getsignal(number) for number in SIGNALS]


def test_a_signal_that_was_ignored_stays_ignored(ended_by: List[str]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(time.monotonic() + 0.05)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended_by == []


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
        assert not stop.wait(began + 30), "it is no signal"
        assert time.monotonic() - began < 10
        assert stop.woken
        began = time.monotonic()
        assert not stop.wait(began + 0.05)
        assert time.monotonic() - began >= 0.05
