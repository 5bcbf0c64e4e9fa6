"""When rounds come, what ends them, and what signals do."""

import os
import signal
import threading
import time
from typing import List, Optional

import pytest
from support.rounds import BEGIN, UNIX, A, B, Clock, FakeChecks, FakeStop

from halfopen.model import Report, ScanOptions, failure
from halfopen.runbook import schedule
from halfopen.runbook.schedule import Round, Schedule, Stop, rounds
from halfopen.scan import process
from halfopen.scan.head_start import TIMEOUT
from halfopen.targets.resolve import Resolver


def begun(
    clock: Clock,
    plan: Schedule,
    takes: float = 0.2,
    stop: Optional[FakeStop] = None,
    most: int = 99,
) -> List[float]:
    """Return when the rounds began, of which there are so many at most."""
    stop = stop or FakeStop(clock)
    checks = FakeChecks(clock, "open", takes=takes, stop=stop)
    plan = plan._replace(rounds=min(most, plan.rounds or most))
    assert all(isinstance(each, Round) for each in rounds([A], plan, stop, checks))
    return checks.began


def test_a_thousand_rounds_of_any_length_do_not_drift(clock: Clock) -> None:
    began = []
    for each in rounds([A], Schedule(), FakeStop(clock), FakeChecks(clock, "open", takes=0.1)):
        began.append(each.began - BEGIN)
        clock.now += each.number % 20 / 11
        if each.number == 1000:
            break

    assert began == [2.0 * number for number in range(1000)]


@pytest.mark.parametrize(
    ("takes", "began"),
    [
        pytest.param(1.99, [0, 2, 4, 6], id="just-fits"),
        pytest.param(2.0, [0, 2, 4, 6], id="a-whole-interval"),
        pytest.param(2.01, [0, 4, 8, 12], id="a-little-longer"),
        pytest.param(5.0, [0, 6, 12, 18], id="two-and-a-half"),
    ],
)
def test_a_long_round_costs_those_that_it_overlaps_and_the_rest_stay_on_time(
    clock: Clock, takes: float, began: List[float]
) -> None:
    assert begun(clock, Schedule(), takes, most=4) == began


def test_after_one_long_round_the_schedule_is_the_old_one(clock: Clock) -> None:
    began = []
    for each in rounds([A], Schedule(1.0, rounds=5), FakeStop(clock), FakeChecks(clock, "open")):
        began.append(each.began - BEGIN)
        clock.now += 2.3 if each.number == 2 else 0

    assert began == [0, 1, 4, 5, 6]


@pytest.mark.parametrize(
    ("interval", "duration", "began"),
    [
        pytest.param(2.0, 10.0, [0, 2, 4, 6, 8], id="none-at-the-very-end"),
        pytest.param(2.0, 10.1, [0, 2, 4, 6, 8, 10], id="one-just-before-the-end"),
        pytest.param(0.7, 2.1, [0, 0.7, 1.4], id="floating-point"),
        pytest.param(30.0, 5.0, [0], id="shorter-than-the-interval"),
    ],
)
@pytest.mark.parametrize("takes", [0.1, 0.6])
def test_a_duration_ends_the_rounds_at_its_time_however_long_they_take(
    clock: Clock, interval: float, duration: float, began: List[float], takes: float
) -> None:
    assert begun(clock, Schedule(interval, duration=duration), takes) == began
    assert clock.passed == pytest.approx(max(duration, began[-1] + takes))


def test_a_count_ends_the_rounds_with_the_last_one(clock: Clock) -> None:
    assert begun(clock, Schedule(rounds=3)) == [0, 2, 4]
    assert clock.passed == pytest.approx(4.2)


@pytest.mark.parametrize(("count", "duration", "number"), [(9, 5.0, 3), (2, 50.0, 2)])
def test_count_and_duration_end_the_rounds_by_whichever_comes_first(
    clock: Clock, count: int, duration: float, number: int
) -> None:
    assert len(begun(clock, Schedule(2.0, count, duration))) == number


@pytest.mark.parametrize("interval", [0.1, 2.0, 600.0])
def test_a_round_has_its_own_time_limit_however_short_the_interval(
    clock: Clock, interval: float
) -> None:
    usual, own = FakeChecks(clock, "open"), FakeChecks(clock, "open")

    list(rounds([A], Schedule(interval, rounds=1), FakeStop(clock), usual))
    list(rounds([A], Schedule(interval, rounds=1, timeout=0.3), FakeStop(clock), own))

    assert usual.deadlines == [TIMEOUT]
    assert own.deadlines == [0.2 + 0.3]


def test_a_round_tells_when_it_began_how_long_it_took_and_what_it_found(clock: Clock) -> None:
    checks = FakeChecks(clock, "open closed", "closed open")

    found = list(rounds([A, B], Schedule(rounds=3), FakeStop(clock), checks))

    assert [each.number for each in found] == [1, 2, 3]
    assert [each.time - UNIX for each in found] == [0, 2, 4]
    assert [each.began - BEGIN for each in found] == [0, 2, 4]
    assert [each.seconds for each in found] == pytest.approx([0.2] * 3)
    assert [[verdict.state for verdict in each.report.verdicts] for each in found] == [
        ["open", "closed"],
        ["closed", "open"],
        ["closed", "open"],
    ]


def test_each_second_in_between_there_is_a_tick_also_before_the_end(clock: Clock) -> None:
    ticks: List[float] = []
    checks = FakeChecks(clock, "open", takes=0.5)

    list(
        rounds(
            [A],
            Schedule(3.0, duration=5.5),
            FakeStop(clock),
            checks,
            lambda: ticks.append(clock.passed),
        )
    )

    assert ticks == [1.5, 2.5, 3.0, 4.5, 5.5]


@pytest.mark.parametrize(
    ("at", "given"), [(0.0, 0), (4.1, 2), (5.3, 3)], ids=["first", "in-a-round", "between"]
)
def test_a_signal_ends_the_rounds_at_once_and_one_cut_short_is_not_told(
    clock: Clock, at: float, given: int
) -> None:
    stop = FakeStop(clock, at=at)
    stop.see()
    ticks: List[float] = []

    found = list(
        rounds(
            [A],
            Schedule(),
            stop,
            FakeChecks(clock, "open", stop=stop),
            lambda: ticks.append(clock.passed),
        )
    )

    assert len(found) == given
    assert clock.passed <= max(at, 4.2)
    assert max(ticks, default=0) <= at


def test_a_round_that_is_woken_comes_early_and_the_others_stay_on_time(clock: Clock) -> None:
    assert begun(clock, Schedule(10.0), stop=FakeStop(clock, woken_at=5.3), most=4) == [
        0,
        5.3,
        10,
        20,
    ]


def test_the_options_and_the_resolver_reach_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[object] = []
    report = Report((failure(RuntimeError("nothing")),))  # type: ignore[arg-type]

    def check(*values: object, **named: object) -> Report:
        asked.extend([*values, named])
        return report

    monkeypatch.setattr(schedule, "check", check)
    options, resolver = ScanOptions("/opt/nmap", sudo=True), Resolver()

    assert schedule.asker(options, resolver)([A], 5.0) is report
    assert asked == [[A], 5.0, options, {"resolver": resolver.resolve}]


# -- signals, real ones -------------------------------------------------------------------------

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture
def ended_by(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Note what would be done to nmap and to us, and do none of it."""
    done: List[str] = []
    monkeypatch.setattr(process, "interrupt", lambda: done.append("nmap killed"))
    monkeypatch.setattr(process, "end_by_signal", lambda number, _: done.append(f"died {number}"))
    return done


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_waiting_and_the_nmap_that_runs(
    ended_by: List[str], number: signal.Signals
) -> None:
    with Stop() as stop:
        assert not stop.wait(time.monotonic() + 0.01)
        os.kill(os.getpid(), number)
        began = time.monotonic()
        assert stop.wait(began + 30)
        assert time.monotonic() - began < 10

    assert stop.number == number
    assert ended_by == ["nmap killed"]


def test_the_signals_go_where_they_went_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    with Stop():
        during = [signal.getsignal(number) for number in SIGNALS]

    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert all(now != then for now, then in zip(during, before))


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


def test_two_signals_at_once_are_one(ended_by: List[str]) -> None:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(time.monotonic() + 30)

    assert ended_by == ["nmap killed"]


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
    stop.wake()  # the descriptors may be somebody else's by now
