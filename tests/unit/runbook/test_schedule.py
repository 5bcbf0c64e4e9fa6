"""Looks on a fixed schedule: when they come, what a wish makes of them, and what ends them."""

import os
import signal
import time
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple

import pytest
from test_formats import seen

from halfopen.errors import CheckError, HopelessError, NotAllowedError, NoTimeError
from halfopen.model import Report, ScanOptions, Target, Verdict, failure
from halfopen.runbook import schedule
from halfopen.runbook.schedule import Look, Result, Stop, Waited, Wish
from halfopen.scan import process
from halfopen.scan.head_start import TIMEOUT

A, B = Target("192.0.2.11", 443), Target("192.0.2.12", 443)
BEGIN = 1000.0
UNIX = 1600000000.0
"""The Unix time of BEGIN."""


class Clock:
    """Stands in for the module time: only what the tests do moves it."""

    def __init__(self) -> None:
        self.now = BEGIN

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self.now - BEGIN

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return UNIX + self.passed


class Hand(Stop):
    """A Stop that moves the clock instead of waiting; at `at` seconds there is a signal."""

    def __init__(self, clock: Clock, at: float = float("inf")) -> None:
        super().__init__()
        self._clock, self._at = clock, BEGIN + at
        self.waits: List[float] = []

    def wait(self, until: float) -> bool:
        self.waits.append(until - self._clock.now)
        self._clock.now = max(self._clock.now, min(until, self._at))
        self.see()
        return bool(self.number)

    def see(self) -> None:
        """Let the signal come if its time has."""
        if self._clock.now >= self._at:
            self.number = signal.SIGINT


class Looks:
    """Stands in for asking: finds what it is told, the last of it for ever, in `takes` seconds.

    A finding is a word for each target: a state, or "error".
    """

    def __init__(
        self, clock: Clock, *findings: str, takes: float = 0.2, hand: Optional[Hand] = None
    ) -> None:
        self._clock, self._findings, self._takes, self._hand = clock, findings, takes, hand
        self.began: List[float] = []
        self.budgets: List[float] = []
        self.deadlines: List[float] = []
        self.errors: Dict[str, CheckError] = {"error": CheckError("cannot resolve it")}

    def __call__(self, targets: Sequence[Target], deadline: float) -> Report:
        self.began.append(round(self._clock.passed, 6))
        self.deadlines.append(round(deadline - BEGIN, 6))
        self.budgets.append(round(deadline - self._clock.now, 6))
        words = self._findings[min(len(self.began), len(self._findings)) - 1].split()
        assert len(words) == len(targets)
        self._clock.now = min(self._clock.now + self._takes, deadline)
        if self._hand is not None:
            self._hand.see()
        return Report(tuple(map(self._verdict, words, targets)))

    def _verdict(self, word: str, target: Target) -> Verdict:
        if word in self.errors:
            return failure(self.errors[word], target)
        return seen(word, target.host, target.port)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that schedule.py goes by."""
    clock = Clock()
    monkeypatch.setattr(schedule, "time", clock)
    return clock


def times(
    clock: Clock, looks: Iterable[float], takes: Callable[[int], float], count: int
) -> List[float]:
    """Return when the first `count` looks began, each of which takes its time."""
    began = []
    for number, _ in enumerate(looks):
        began.append(round(clock.passed, 6))
        clock.now += takes(number)
        if number + 1 == count:
            break
    return began


# -- the schedule -------------------------------------------------------------------------------


def test_a_thousand_looks_of_any_length_do_not_drift(clock: Clock) -> None:
    looks = schedule.looks(2.0, Hand(clock))

    began = times(clock, looks, lambda number: 0.1 + number % 20 / 11, 1000)

    assert began == [2.0 * number for number in range(1000)]


def test_a_look_is_told_when_it_was_due(clock: Clock) -> None:
    due = []
    for when in schedule.looks(2.0, Hand(clock)):
        due.append(when)
        clock.now += 0.5
        if len(due) == 3:
            break

    assert due == [BEGIN, BEGIN + 2, BEGIN + 4]


@pytest.mark.parametrize(
    ("takes", "began"),
    [
        pytest.param(1.99, [0, 2, 4, 6], id="just-fits"),
        pytest.param(2.0, [0, 2, 4, 6], id="a-whole-interval"),
        pytest.param(2.01, [0, 4, 8, 12], id="a-little-longer"),
        pytest.param(5.0, [0, 6, 12, 18], id="two-and-a-half"),
    ],
)
def test_a_long_look_costs_the_ones_that_it_overlaps_and_the_rest_stay_on_time(
    clock: Clock, takes: float, began: List[float]
) -> None:
    assert times(clock, schedule.looks(2.0, Hand(clock)), lambda _: takes, 4) == began


def test_after_one_long_look_the_schedule_is_the_old_one(clock: Clock) -> None:
    looks = schedule.looks(1.0, Hand(clock))

    assert times(clock, looks, lambda n: 2.3 if n == 1 else 0.1, 5) == [0, 1, 4, 5, 6]


@pytest.mark.parametrize(
    ("every", "lasting", "began"),
    [
        pytest.param(2.0, 10.0, [0, 2, 4, 6, 8], id="none-at-the-very-end"),
        pytest.param(2.0, 10.1, [0, 2, 4, 6, 8, 10], id="one-just-before-the-end"),
        pytest.param(0.7, 2.1, [0, 0.7, 1.4], id="floating-point"),
        pytest.param(30.0, 5.0, [0], id="shorter-than-the-interval"),
    ],
)
@pytest.mark.parametrize("takes", [0.1, 0.6])
def test_a_limit_ends_the_looks_at_its_time_however_long_they_take(
    clock: Clock, every: float, lasting: float, began: List[float], takes: float
) -> None:
    looks = schedule.looks(every, Hand(clock), lasting=lasting)

    assert times(clock, looks, lambda _: takes, 99) == began
    assert clock.passed == pytest.approx(max(lasting, began[-1] + takes))


def test_each_second_in_between_there_is_a_tick_also_before_the_end(clock: Clock) -> None:
    ticks: List[float] = []
    looks = schedule.looks(3.0, Hand(clock), lambda: ticks.append(clock.passed), 5.5)

    times(clock, looks, lambda _: 0.5, 99)

    assert ticks == [1.5, 2.5, 3.0, 4.5, 5.5]


def test_a_signal_ends_the_schedule_at_once(clock: Clock) -> None:
    hand = Hand(clock, at=5.3)
    ticks: List[float] = []

    began = times(
        clock, schedule.looks(2.0, hand, lambda: ticks.append(clock.passed)), lambda _: 0.1, 9
    )

    assert began == [0, 2, 4]
    assert clock.passed == pytest.approx(5.3)
    assert max(ticks) < 5.3


def test_a_signal_before_the_first_look_spares_it(clock: Clock) -> None:
    hand = Hand(clock, at=0)
    hand.see()

    assert list(schedule.looks(2.0, hand)) == []


# -- what is wished for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wished", "met"),
    [
        ("open", {"open"}),
        ("closed", {"closed"}),
        ("filtered", {"filtered"}),
        ("not-open", {"closed", "filtered"}),
    ],
)
def test_a_wish_is_met_by_what_was_seen_and_never_by_a_failed_check(
    wished: str, met: Iterable[str]
) -> None:
    states = ("open", "closed", "filtered", "error")

    assert {state for state in states if Wish(wished).met(seen(state))} == met


def waited(
    clock: Clock,
    wish: Wish,
    *findings: str,
    takes: float = 0.2,
    hand: Optional[Hand] = None,
    show: Callable[[Waited], None] = lambda _: None,
) -> Tuple[Waited, Looks]:
    """Wait for A, or A and B if a finding has two words; return the end, and what was asked."""
    hand = hand or Hand(clock)
    looks = Looks(clock, *findings, takes=takes, hand=hand)
    looks.errors["none"] = HopelessError("nmap not found")
    looks.errors["forbidden"] = NotAllowedError("nmap needs root")
    targets = [A, B][: len(findings[0].split())]
    return schedule.wait(targets, wish, hand, looks, show), looks


def test_what_is_so_already_ends_waiting_at_the_first_look(clock: Clock) -> None:
    ended, looks = waited(clock, Wish(), "open")

    assert (ended.result, ended.looks, ended.reached) == (Result.REACHED, 1, (True,))
    assert ended.seconds == pytest.approx(0.2)
    assert looks.began == [0]


def test_waiting_goes_on_until_it_is_so(clock: Clock) -> None:
    ended, looks = waited(clock, Wish(every=5), "closed", "filtered", "error", "open")

    assert (ended.result, ended.looks) == (Result.REACHED, 4)
    assert looks.began == [0, 5, 10, 15]
    assert [verdict.state for verdict in ended.verdicts] == ["open"]


def test_so_many_looks_in_a_row_have_to_agree(clock: Clock) -> None:
    findings = ["open", "open", "closed", "open", "error", "open", "open", "open", "open"]

    ended, looks = waited(clock, Wish(times=3), *findings)

    assert (ended.result, ended.looks, ended.streaks) == (Result.REACHED, 8, (3,))
    assert looks.began == list(range(8))


def test_all_targets_have_to_be_so_at_the_same_time(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(), "open closed", "closed open", "open open")

    assert (ended.result, ended.looks) == (Result.REACHED, 3)


def test_one_target_may_be_enough(clock: Clock) -> None:
    wish = Wish(one_is_enough=True)

    ended, _ = waited(clock, wish, "closed filtered", "closed open")

    assert (ended.result, ended.looks) == (Result.REACHED, 2)
    assert ended.reached == (False, True)


def test_looks_in_a_row_are_those_of_one_target(clock: Clock) -> None:
    wish = Wish(times=2, one_is_enough=True)

    ended, _ = waited(clock, wish, "open closed", "closed open", "open closed", "open closed")

    assert (ended.looks, ended.streaks) == (4, (2, 0))


@pytest.mark.parametrize("hopeless", ["none", "forbidden"])
@pytest.mark.parametrize("wish", [Wish(), Wish("not-open"), Wish(one_is_enough=True)])
def test_what_waiting_cannot_mend_ends_it_at_once(clock: Clock, hopeless: str, wish: Wish) -> None:
    ended, looks = waited(clock, wish, f"error {hopeless}")

    assert (ended.result, ended.looks) == (Result.HOPELESS, 1)
    assert looks.began == [0]


def test_what_becomes_hopeless_later_ends_it_then(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(), "closed", "none")

    assert (ended.result, ended.looks) == (Result.HOPELESS, 2)


def test_one_that_is_enough_counts_before_what_is_hopeless(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(one_is_enough=True), "none open")

    assert ended.result is Result.REACHED


def test_a_name_that_does_not_resolve_yet_is_waited_for(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(), "open error", "open error", "open open")

    assert (ended.result, ended.looks) == (Result.REACHED, 3)


@pytest.mark.parametrize(
    ("wish", "takes", "began"),
    [
        pytest.param(Wish(within=5), 0.2, [0, 1, 2, 3, 4], id="every-second"),
        pytest.param(Wish(within=0.5), 0.2, [0], id="less-than-an-interval"),
        pytest.param(Wish(within=6, every=5), 1.6, [0, 5], id="a-long-look-before-the-last"),
        pytest.param(Wish(within=60, every=30), 0.2, [0, 30], id="none-at-the-very-end"),
    ],
)
def test_waiting_lasts_as_long_as_it_may_and_every_look_in_it_is_made(
    clock: Clock, wish: Wish, takes: float, began: List[float]
) -> None:
    ended, looks = waited(clock, wish, "closed", takes=takes)

    assert (ended.result, ended.looks, ended.left) == (Result.LATE, len(began), 0)
    assert looks.began == began
    assert clock.passed == pytest.approx(wish.within)


@pytest.mark.parametrize(
    ("every", "budget"), [(0.1, 1.0), (1.0, 1.0), (4.0, 4.0), (10.0, TIMEOUT), (600.0, TIMEOUT)]
)
def test_a_look_may_take_an_interval_but_a_second_at_least(
    clock: Clock, every: float, budget: float
) -> None:
    _, looks = waited(clock, Wish(every=every, within=3600), "closed", "open")

    assert looks.budgets == [budget, budget]


def test_no_look_takes_longer_than_waiting_may(clock: Clock) -> None:
    ended, looks = waited(clock, Wish(every=4, within=9.5), "filtered", takes=99)

    assert looks.deadlines == [4, 8, 9.5]
    assert (ended.result, ended.looks) == (Result.LATE, 3)
    assert clock.passed == 9.5


def test_a_last_look_that_had_no_time_hides_nothing_of_what_was_seen(clock: Clock) -> None:
    wish = Wish(every=1, within=3.1, times=9)

    ended, looks = waited(clock, wish, "closed open", "closed open", "closed open", "error error")

    assert looks.began == [0, 1, 2, 3]
    # The one that was open is no longer known to be: it is what is missing.
    assert [verdict.state for verdict in ended.verdicts] == ["closed", "error"]
    assert (ended.result, ended.streaks) == (Result.LATE, (0, 0))


def test_a_last_look_that_sees_something_counts_however_short(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(every=1, within=1.3), "closed error", "open open")

    assert (ended.result, ended.looks) == (Result.REACHED, 2)


def test_a_failed_check_before_the_end_is_told(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(every=1, within=3), "open closed", "error closed")

    assert [verdict.state for verdict in ended.verdicts] == ["error", "closed"]
    assert ended.streaks == (0, 0)


def test_an_only_look_tells_why_it_failed(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(within=0.1), "error")

    assert (ended.result, ended.looks) == (Result.LATE, 1)
    assert [verdict.state for verdict in ended.verdicts] == ["error"]


def test_it_is_shown_at_once_after_each_look_and_each_second(clock: Clock) -> None:
    shown: List[Tuple[float, int]] = []

    def show(waited: Waited) -> None:
        assert waited.result is None
        assert waited.left == pytest.approx(60 - waited.seconds)
        shown.append((round(waited.seconds, 6), waited.looks))

    waited(clock, Wish(every=2.5), "closed", "open", show=show)

    assert shown == [(0, 0), (0.2, 1), (1.2, 1), (2.2, 1), (2.5, 1)]


def test_a_signal_between_looks_stops_waiting(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(every=2), "closed", hand=Hand(clock, at=3))

    assert (ended.result, ended.looks) == (Result.STOPPED, 2)
    assert clock.passed == 3


def test_a_look_that_a_signal_cut_short_says_nothing(clock: Clock) -> None:
    hand = Hand(clock, at=1.1)

    ended, looks = waited(clock, Wish(), "closed", "none", hand=hand)

    assert len(looks.began) == 2
    assert (ended.result, ended.looks) == (Result.STOPPED, 1)
    assert [verdict.state for verdict in ended.verdicts] == ["closed"]


def test_a_signal_in_the_last_moment_is_no_timeout(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(within=2), "closed", hand=Hand(clock, at=1.9))

    assert ended.result is Result.STOPPED


# -- watching -----------------------------------------------------------------------------------


def test_a_watch_gives_each_look_with_its_time(clock: Clock) -> None:
    looks = Looks(clock, "open closed", "closed open")

    found = list(schedule.watch([A, B], 2.0, Hand(clock), looks, count=3))

    assert [look.when - UNIX for look in found] == [0, 2, 4]
    assert [[verdict.state for verdict in look.verdicts] for look in found] == [
        ["open", "closed"],
        ["closed", "open"],
        ["closed", "open"],
    ]
    assert looks.budgets == [2.0, 2.0, 2.0]


def test_a_counted_watch_ends_with_its_last_look(clock: Clock) -> None:
    looks = Looks(clock, "open")

    assert len(list(schedule.watch([A], 2.0, Hand(clock), looks, count=3))) == 3
    assert clock.passed == pytest.approx(4.2)


def test_a_watch_for_a_time_lasts_that_long(clock: Clock) -> None:
    looks = Looks(clock, "filtered", takes=1.6)

    found = list(schedule.watch([A], 3.0, Hand(clock), looks, lasting=10))

    assert looks.began == [0, 3, 6, 9]
    assert len(found) == 4
    assert clock.passed == pytest.approx(10.6)


def test_count_and_time_end_a_watch_by_whichever_comes_first(clock: Clock) -> None:
    looks = Looks(clock, "open")

    assert len(list(schedule.watch([A], 2.0, Hand(clock), looks, count=9, lasting=5))) == 3
    assert len(list(schedule.watch([A], 2.0, Hand(clock), looks, count=2, lasting=50))) == 2


@pytest.mark.parametrize(("at", "looks"), [(4.1, 2), (5.0, 3)], ids=["in-a-look", "between"])
def test_a_signal_ends_a_watch_and_a_look_cut_short_is_not_told(
    clock: Clock, at: float, looks: int
) -> None:
    hand = Hand(clock, at=at)

    found = list(schedule.watch([A], 2.0, hand, Looks(clock, "open", hand=hand)))

    assert len(found) == looks
    assert clock.passed <= 5


def test_a_watch_ticks_between_its_looks(clock: Clock) -> None:
    ticks: List[float] = []

    list(
        schedule.watch(
            [A],
            2.0,
            Hand(clock),
            Looks(clock, "open"),
            count=2,
            tick=lambda: ticks.append(round(clock.passed, 6)),
        )
    )

    assert ticks == [1.2, 2.0]


def test_the_means_reach_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[object] = []
    report = Report((seen("open"),))

    def check(*words: object) -> Report:
        asked.extend(words)
        return report

    monkeypatch.setattr(schedule, "check", check)

    assert schedule.asker(ScanOptions("/opt/nmap", sudo=True))([A], 5.0) is report
    assert asked == [[A], 5.0, ScanOptions("/opt/nmap", sudo=True)]


def test_a_lack_of_time_names_an_option_that_the_command_has() -> None:
    late = failure(NoTimeError("no time left to ask; raise --timeout, or give fewer targets"), A)
    look: Look = lambda *_: Report((late,))  # noqa: E731

    with Stop() as stop:
        (watched,) = schedule.watch([A], 2.0, stop, look, count=1)
        waited = schedule.wait([A], Wish(within=0.05), stop, look)

    assert str(watched.verdicts[0].error).startswith("no time left to ask; raise --interval, or")
    assert str(waited.verdicts[0].error).startswith("no time left to ask; raise --timeout, or")
    assert isinstance(watched.verdicts[0].error, NoTimeError)


# -- signals, real ones -------------------------------------------------------------------------

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
        assert time.monotonic() - began < 25

    assert stop.number == number
    assert ended_by == ["nmap killed"]


def test_the_signals_go_where_they_went_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    with Stop():
        during = [signal.getsignal(number) for number in SIGNALS]

    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert all(now != then for now, then in zip(during, before))


def test_no_descriptor_is_left_open() -> None:
    before = os.listdir("/proc/self/fd")

    with Stop():
        pass

    assert os.listdir("/proc/self/fd") == before


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


def test_a_second_signal_later_ends_us_at_once(
    ended_by: List[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_IMPATIENCE", 0.0)
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        stop.wait(time.monotonic() + 30)
        os.kill(os.getpid(), signal.SIGTERM)

    assert ended_by == ["nmap killed", f"died {signal.SIGTERM}"]
    assert stop.number == signal.SIGINT


def test_a_failed_check_in_the_last_look_decides_nothing(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(every=1, within=1.3), "open closed", "error open")

    assert ended.result is Result.LATE


def test_what_waiting_cannot_mend_is_told_in_the_last_look_too(clock: Clock) -> None:
    ended, _ = waited(clock, Wish(every=1, within=1.3), "closed", "none")

    assert ended.result is Result.HOPELESS


def test_many_ports_have_more_time(clock: Clock) -> None:
    hand = Hand(clock)
    looks = Looks(clock, " ".join(["closed"] * 40), hand=hand)
    targets = [Target("192.0.2.11", 2000 + number) for number in range(40)]
    schedule.wait(targets, Wish(within=5), hand, looks)

    assert looks.budgets[0] == pytest.approx(2.0)
