"""Calls that can block without limit, bounded by a deadline."""

import _thread
import threading
import time
from typing import Any, Callable, Generic, List, Optional, Sequence, TypeVar, Union

from halfopen.errors import CheckError, NoTimeError

T = TypeVar("T")

# A resolver that hangs must not cost a thread for each of a thousand names.
MAX_THREADS = 32


class Call(Generic[T]):
    """A call that waits for a thread, runs, or has ended with a result."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.began = time.monotonic()
        self.ended: Optional[float] = None
        """`time.monotonic` seconds; None until then."""
        self.result: Union[T, CheckError, None] = None


class Calls:
    """Makes calls side by side in threads, and leaves those behind that do not return.

    The threads are nobody's: one that hangs in the C library, as getaddrinfo can for minutes, dies
    with the process.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._waiting: List[Call[Any]] = []
        self._threads = 0
        self._errors: List[BaseException] = []
        self._changed = threading.Condition()

    def start(self, function: Callable[[], T]) -> Call[T]:
        """Make the call as soon as a thread is free; raise CheckError if the system gives none."""
        call = Call(function)
        with self._changed:
            if self._threads < MAX_THREADS:
                # Not threading.Thread: its start() waits for a sign of life, and forever where the
                # thread dies of too little memory first.
                try:
                    _thread.start_new_thread(self._work, ())
                except RuntimeError as error:
                    raise CheckError(
                        f"no thread for {self._doing} ({error}); raise the limits (ulimit -u, -v)"
                    ) from error
                self._threads += 1
            self._waiting.append(call)
        return call

    def wait(self, calls: Sequence[Call[Any]], until: float) -> None:
        """Wait for the calls to end, or until then (`time.monotonic` seconds).

        Raises what a call raised, unless that is its result: a CheckError.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._errors or all(call.ended is not None for call in calls),
                max(0.0, until - time.monotonic()),
            )
            if self._errors:
                raise self._errors[0]

    def cancel(self) -> None:
        """Make no call that has not begun."""
        with self._changed:
            self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._threads -= 1
                    return
                call = self._waiting.pop(0)
            try:
                call.result = call.function()
            except CheckError as error:
                call.result = error
            except BaseException as error:  # noqa: BLE001  handed to the caller's thread by wait()
                self._errors.append(error)
            with self._changed:
                call.ended = time.monotonic()
                self._changed.notify_all()


def call_all_by(
    functions: Sequence[Callable[[], T]], deadline: float, doing: str
) -> List[Union[T, CheckError]]:
    """Call the functions side by side in threads and return their results in order.

    A call that raises CheckError, or that has not returned at `deadline` (`time.monotonic`
    seconds), has a CheckError (NoTimeError) in its place. Raises CheckError if the system gives no
    thread.
    """
    late = NoTimeError(f"no time left for {doing}; raise --timeout")
    calls = Calls(doing)
    made = [calls.start(function) for function in functions]
    calls.wait(made, deadline)
    calls.cancel()
    return [late if call.ended is None else call.result for call in made]  # type: ignore[misc]


def call_by(function: Callable[[], T], deadline: float, doing: str) -> T:
    """Make one call; raise its CheckError, or a CheckError if `deadline` comes first."""
    result = call_all_by([function], deadline, doing)[0]
    if isinstance(result, CheckError):
        raise result
    return result
