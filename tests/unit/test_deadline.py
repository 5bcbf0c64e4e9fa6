"""Calls that can block, bounded by a deadline."""

import _thread
import functools
import os
import subprocess
import sys
import threading
import time
from typing import List

import pytest

from halfopen import deadline
from halfopen.errors import CheckError, UsageError


def far() -> float:
    """Return a deadline that is not the point of a test."""
    return time.monotonic() + 10


def test_results_come_in_the_order_of_the_calls() -> None:
    first_may_go = threading.Event()

    def first() -> str:
        assert first_may_go.wait(10)
        return "first"

    def second() -> str:
        first_may_go.set()
        return "second"

    assert deadline.call_all_by([first, second], far(), "waiting") == ["first", "second"]


def test_no_calls_have_no_results() -> None:
    assert deadline.call_all_by([], far(), "nothing") == []


def test_a_failed_check_takes_the_place_of_its_result_alone() -> None:
    error = CheckError("no such name")

    def fail() -> str:
        raise error

    assert deadline.call_all_by([lambda: "one", fail, lambda: "three"], far(), "it") == [
        "one",
        error,
        "three",
    ]


@pytest.mark.parametrize("error", [UsageError("bad word"), ZeroDivisionError("a bug")])
def test_any_other_error_reaches_the_caller(error: Exception) -> None:
    def fail() -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        deadline.call_all_by([lambda: "one", fail], far(), "it")

    assert caught.value is error


def test_what_has_not_returned_at_the_deadline_is_left_behind() -> None:
    released = threading.Event()
    returned = threading.Event()

    def hang() -> str:
        released.wait(30)
        return "late"

    def answer() -> str:
        returned.set()
        return "in time"

    started = time.monotonic()
    try:
        late, result = deadline.call_all_by([hang, answer], started + 0.2, "asking the oracle")
    finally:
        released.set()

    assert time.monotonic() - started < 25
    assert returned.is_set()
    assert result == "in time"
    assert isinstance(late, CheckError)
    assert str(late) == "no time left for asking the oracle; raise --timeout"


def test_a_result_that_comes_late_changes_nothing_that_was_returned() -> None:
    released = threading.Event()
    done = threading.Event()

    def hang() -> str:
        released.wait(30)
        return "late"

    def note() -> str:
        released.wait(30)
        done.set()
        return "later"

    results = deadline.call_all_by([hang, note], time.monotonic() + 1, "it")
    released.set()

    assert done.wait(50)
    assert all(isinstance(result, CheckError) for result in results)


def test_threads_that_hang_do_not_keep_the_process_alive() -> None:
    daemons: List[bool] = []

    deadline.call_all_by([lambda: daemons.append(threading.current_thread().daemon)], far(), "it")

    assert daemons == [True]


def test_a_thousand_calls_that_hang_do_not_cost_a_thousand_threads() -> None:
    before = len(os.listdir("/proc/self/task"))
    released = threading.Event()
    try:
        deadline.call_all_by([lambda: released.wait(30)] * 1000, time.monotonic() + 0.1, "it")
        most = len(os.listdir("/proc/self/task")) - before
    finally:
        released.set()

    assert 1 < most <= deadline.MAX_THREADS


def test_a_thread_that_dies_before_its_first_word_costs_no_more_than_the_deadline() -> None:
    # As for lack of memory. In a process of its own: what waits for it would wait forever.
    code = (
        "import _thread, time; _thread.start_new_thread = lambda *_: 0\n"
        "import threading; from halfopen import deadline\n"
        "print(deadline.call_all_by([int], time.monotonic() + 0.1, 'it'))"
    )
    given = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )

    assert "no time left for it" in given.stdout


def test_a_system_that_gives_no_thread_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)

    with pytest.raises(CheckError) as caught:
        deadline.call_all_by([int], far(), "reading")

    assert str(caught.value).startswith(
        "no thread for reading (can't start new thread); raise the limit"
    )


def test_a_deadline_that_has_passed_is_not_waited_for() -> None:
    begin = time.monotonic()

    for _ in range(20):
        (late,) = deadline.call_all_by([lambda: time.sleep(30)], begin, "it")
        assert isinstance(late, CheckError)

    assert time.monotonic() - begin < 25


def test_more_calls_than_threads_are_all_made() -> None:
    numbers = range(3 * deadline.MAX_THREADS)

    results = deadline.call_all_by([functools.partial(int, n) for n in numbers], far(), "it")

    assert results == list(numbers)


def test_one_call_returns_its_result() -> None:
    assert deadline.call_by(lambda: 42, far(), "it") == 42


def test_one_call_raises_its_failed_check() -> None:
    def fail() -> int:
        raise CheckError("no such name")

    with pytest.raises(CheckError, match="no such name"):
        deadline.call_by(fail, far(), "it")


def test_one_call_that_is_late_is_a_failed_check() -> None:
    released = threading.Event()
    try:
        with pytest.raises(CheckError, match="no time left for waiting; raise --timeout"):
            deadline.call_by(lambda: released.wait(30), time.monotonic() + 0.02, "waiting")
    finally:
        released.set()
