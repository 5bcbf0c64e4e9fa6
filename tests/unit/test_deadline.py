"""Calls that can block, bounded by a deadline."""

import _thread
import functools
import os
import subprocess
import sys
import threading
import time
from typing import Callable, Iterator, List

import pytest

from halfopen import deadline
from halfopen.errors import CheckError, UsageError


def far() -> float:
    """Return a deadline that is not the point of a test."""
    return time.monotonic() + 10


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Return an event that calls hang on; the test's end lets them go."""
    event = threading.Event()
    yield event
    event.set()


def raising(error: Exception) -> str:
    raise error


def test_results_come_in_the_order_of_the_calls(released: threading.Event) -> None:
    def first() -> str:
        assert released.wait(10)
        return "first"

    def second() -> str:
        released.set()
        return "second"

    assert deadline.call_all_by([first, second], far(), "waiting") == ["first", "second"]
    assert deadline.call_all_by([], far(), "nothing") == []


def test_a_failed_check_takes_the_place_of_its_result_alone() -> None:
    error = CheckError("no such name")
    calls: List[Callable[[], str]] = [lambda: "one", lambda: raising(error), lambda: "three"]

    assert deadline.call_all_by(calls, far(), "it") == ["one", error, "three"]


@pytest.mark.parametrize("error", [UsageError("bad word"), ZeroDivisionError("a bug")])
def test_any_other_error_reaches_the_caller_at_once(
    released: threading.Event, error: Exception
) -> None:
    calls = [lambda: str(released.wait(30)), lambda: raising(error)]
    began = time.monotonic()

    with pytest.raises(type(error)) as caught:
        deadline.call_all_by(calls, began + 60, "it")

    assert caught.value is error
    assert time.monotonic() - began < 25


def test_what_has_not_returned_at_the_deadline_is_left_behind(released: threading.Event) -> None:
    done, started = threading.Event(), time.monotonic()

    def hang() -> str:
        released.wait(30)
        done.set()
        return "late"

    results = deadline.call_all_by([hang, lambda: "in time"], started + 0.2, "asking the oracle")
    assert time.monotonic() - started < 25
    released.set()
    assert done.wait(50), "the call goes on, and changes nothing that was returned"

    late, result = results
    assert result == "in time"
    assert isinstance(late, CheckError)
    assert str(late) == "no time left for asking the oracle; raise --timeout"


def test_a_thousand_calls_that_hang_are_not_a_thousand_threads_and_the_rest_is_not_made_later(
    released: threading.Event,
) -> None:
    begun: List[int] = []

    def hang(number: int) -> None:
        begun.append(number)
        released.wait(30)

    before = len(os.listdir("/proc/self/task"))
    calls = [functools.partial(hang, number) for number in range(1000)]
    deadline.call_all_by(calls, time.monotonic() + 0.5, "it")
    assert 1 < len(os.listdir("/proc/self/task")) - before <= deadline.MAX_THREADS
    released.set()
    deadline.call_all_by([lambda: time.sleep(0.2)], far(), "it")

    assert len(begun) <= deadline.MAX_THREADS


def test_more_calls_than_threads_are_all_made() -> None:
    numbers = range(3 * deadline.MAX_THREADS)

    results = deadline.call_all_by([functools.partial(int, n) for n in numbers], far(), "it")

    assert results == list(numbers)


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
    refusal = RuntimeError("can't start new thread")
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: raising(refusal))

    with pytest.raises(CheckError) as caught:
        deadline.call_all_by([int], far(), "reading")

    assert str(caught.value).startswith(f"no thread for reading ({refusal}); raise the limit")


def test_one_call_returns_its_result_or_raises_its_failed_check(released: threading.Event) -> None:
    assert deadline.call_by(lambda: 42, far(), "it") == 42
    with pytest.raises(CheckError, match="no such name"):
        deadline.call_by(functools.partial(raising, CheckError("no such name")), far(), "it")
    with pytest.raises(CheckError, match="no time left for waiting; raise --timeout"):
        deadline.call_by(lambda: released.wait(30), time.monotonic() + 0.02, "waiting")
