"""Calls that can block without limit, bounded by a deadline."""

import _thread
import threading
import time
from typing import Callable, List, Sequence, TypeVar, Union

from halfopen.errors import CheckError, NoTimeError

T = TypeVar("T")

# A resolver that hangs must not cost a thread for each of a thousand names.
MAX_THREADS = 32


def call_all_by(
    calls: Sequence[Callable[[], T]], deadline: float, doing: str
) -> List[Union[T, CheckError]]:
    """Make the calls side by side in threads and return their results in order.

    A call that raises CheckError, or that has not returned at `deadline` (`time.monotonic`
    seconds), has a CheckError (NoTimeError) in its place. The threads are nobody's: one that hangs
    in the C library, as getaddrinfo can for minutes, is left behind and dies with the process.
    Raises CheckError if the system gives no thread.
    """
    late = NoTimeError(f"no time left for {doing}; raise --timeout")
    results: List[Union[T, CheckError]] = [late] * len(calls)
    errors: List[BaseException] = []
    waiting = list(enumerate(calls))
    left = threading.Semaphore(0)

    def work() -> None:
        while time.monotonic() < deadline:  # one that comes back later has nothing more to do
            try:
                index, call = waiting.pop(0)
            except IndexError:
                return
            try:
                results[index] = call()
            except CheckError as error:
                results[index] = error
            except BaseException as error:  # noqa: BLE001  handed to the caller's thread below
                errors.append(error)
            left.release()

    for _ in range(min(len(calls), MAX_THREADS)):
        _start(work, doing)
    for _ in calls:
        if not left.acquire(timeout=max(0.0, deadline - time.monotonic())):
            break
        if errors:
            raise errors[0]
    return list(results)


def _start(work: Callable[[], None], doing: str) -> None:
    try:
        # Not threading.Thread: its start() waits for a sign of life, and forever where the thread
        # dies of too little memory first.
        _thread.start_new_thread(work, ())
    except RuntimeError as error:
        raise CheckError(
            f"no thread for {doing} ({error}); raise the limits (ulimit -u, -v)"
        ) from error


def call_by(function: Callable[[], T], deadline: float, doing: str) -> T:
    """Make one call; raise its CheckError, or a CheckError if `deadline` comes first."""
    result = call_all_by([function], deadline, doing)[0]
    if isinstance(result, CheckError):
        raise result
    return result
