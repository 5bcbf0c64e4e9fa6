"""`wait`: rounds until a condition is met, or there is no time left."""

import contextlib
import enum
import gc
import json
import time
from typing import Callable, NamedTuple, Optional, Sequence, Tuple

from halfopen.errors import HopelessError, NoTimeError
from halfopen.formats import json as json_format
from halfopen.formats.registry import Output, printable
from halfopen.model import ScanOptions, Target, Verdict
from halfopen.runbook.schedule import Ask, Schedule, Stop, asker, rounds
from halfopen.runbook.statistics import Change
from halfopen.runbook.terminal import (
    ClosedError,
    LiveLine,
    Reporter,
    change_line,
    described,
    hidden,
    on_terminal,
    say,
    span,
    state_name,
)
from halfopen.scan import process
from halfopen.targets.resolve import Resolver

_MOST_NAMES = 5
"""How many targets are named in one line."""


class Condition(NamedTuple):
    """What to wait for."""

    state: str = "open"
    """One of PORT_STATES, or not-open."""
    timeout: float = 60.0
    """Seconds."""
    interval: float = 1.0
    """Seconds from the start of a round to the start of the next."""
    successes: int = 1
    """How many rounds in a row have to agree."""
    any_target: bool = False
    """Whether one target is enough."""

    def met(self, verdict: Verdict) -> bool:
        """Return whether a round found what is waited for; a failed check never does."""
        if self.state == "not-open":
            return verdict.state in ("closed", "filtered")
        return verdict.state == self.state


class Result(enum.Enum):
    """How waiting ended."""

    REACHED = "reached"
    LATE = "timed out"
    HOPELESS = "cannot check"
    STOPPED = "stopped"


class Progress(NamedTuple):
    """How waiting stands, and at last how it ended."""

    result: Optional[Result]
    """None while it goes on."""
    condition: Condition
    seconds: float
    rounds: int
    targets: Tuple[Target, ...]
    verdicts: Tuple[Verdict, ...]
    """One for each target; none before the first round has ended."""
    streaks: Tuple[int, ...]
    """For each target, how many rounds in a row have found what is waited for."""
    time: float = 0.0
    """When the last round began, in Unix time."""

    @property
    def reached(self) -> Tuple[bool, ...]:
        """Whether enough rounds have, for each target."""
        return tuple(streak >= self.condition.successes for streak in self.streaks)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.condition.timeout - self.seconds)


def run(
    targets: Sequence[Target], condition: Condition, options: ScanOptions, format_name: str
) -> Output:
    """Wait until the condition is met; a signal ends us as it would have without."""
    gc.enable()  # main.py has turned it off: a check ends before its garbage could matter
    with Stop() as stop, _reporter(format_name) as reporter:
        ended = follow(targets, condition, stop, asker(options, Resolver(stop.wake)), reporter)
    text = reporter.end(ended)
    if ended.result is Result.STOPPED:
        with contextlib.suppress(ClosedError):
            say(text)
        process.end_by_signal(stop.number)
    return Output(printable(text), _exit_code(ended))


def follow(
    targets: Sequence[Target],
    condition: Condition,
    stop: Stop,
    ask: Ask,
    reporter: Reporter[Progress],
) -> Progress:
    """Check until the condition is met for all targets at once, or for one if that is enough."""
    start = time.monotonic()
    end = start + condition.timeout
    now = Progress(None, condition, 0.0, 0, tuple(targets), (), (0,) * len(targets))

    def tell(how: Callable[[Progress], None]) -> None:
        # A reader that goes away changes no outcome: the exit code may be all that is wanted.
        with contextlib.suppress(ClosedError):
            how(now._replace(seconds=time.monotonic() - start))

    tell(reporter.tick)
    schedule = Schedule(condition.interval, duration=condition.timeout)
    for found in rounds(
        targets,
        schedule,
        stop,
        lambda asked, deadline: ask(asked, min(end, deadline)),
        lambda: tell(reporter.tick),
    ):
        now = _after(now, found.verdicts)._replace(rounds=found.number, time=found.time)
        tell(reporter.show)
        enough = any if condition.any_target else all
        if enough(now.reached):
            return now._replace(result=Result.REACHED, seconds=time.monotonic() - start)
        if any(isinstance(verdict.error, HopelessError) for verdict in now.verdicts):
            return now._replace(result=Result.HOPELESS, seconds=time.monotonic() - start)
    result = Result.STOPPED if stop.number else Result.LATE
    return now._replace(result=result, seconds=time.monotonic() - start)


def _after(before: Progress, found: Sequence[Verdict]) -> Progress:
    """Return how it stands after a round."""
    verdicts, streaks = list(found), list(before.streaks)
    for index, old in enumerate(before.verdicts):
        if isinstance(found[index].error, NoTimeError) and not before.condition.met(old):
            verdicts[index] = old  # no time was left to find out: what was found before is told
    for index, verdict in enumerate(found):
        streaks[index] = streaks[index] + 1 if before.condition.met(verdict) else 0
    return before._replace(verdicts=tuple(verdicts), streaks=tuple(streaks))


def _exit_code(ended: Progress) -> int:
    missing = [v for v, done in zip(ended.verdicts, ended.reached) if not done]
    if ended.result is Result.REACHED:
        return 0
    if ended.result is Result.HOPELESS or all(verdict.error is not None for verdict in missing):
        return 3  # nothing was found out, so nothing is said of the server
    return 2


# -- what is told -------------------------------------------------------------------------------


def _reporter(format_name: str) -> Reporter[Progress]:
    if format_name == "json":
        return _Json()
    return _Live() if on_terminal() else _Lines()


class _Lines(Reporter[Progress]):
    """A line for each change, and one at the end."""

    def __init__(self) -> None:
        self._before: Sequence[str] = ()

    def show(self, progress: Progress) -> None:
        before = self._before or [""] * len(progress.targets)
        self._before = [verdict.state for verdict in progress.verdicts]
        for target, verdict, state in zip(progress.targets, progress.verdicts, before):
            if verdict.state != state:
                say(change_line(target, Change(progress.time, state, verdict)))

    def end(self, progress: Progress) -> str:
        return outcome(progress)


class _Live(Reporter[Progress]):
    """A line on a terminal: what is missing, and the time left; its outcome in its place."""

    def __init__(self) -> None:
        self._line = LiveLine()

    def show(self, progress: Progress) -> None:
        self._line.draw(missing(progress))

    def tick(self, progress: Progress) -> None:
        self.show(progress)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ClosedError):
            self._line.draw("")

    def end(self, progress: Progress) -> str:
        return outcome(progress)


class _Json(Reporter[Progress]):
    """One object at the end."""

    def end(self, progress: Progress) -> str:
        return json.dumps(
            {
                "version": 2,
                "result": progress.result.value if progress.result else None,
                "for": progress.condition.state,
                "seconds": round(progress.seconds, 3),
                "rounds": progress.rounds,
                "targets": [
                    {**json_format.target(verdict), "reached": reached}
                    for verdict, reached in zip(progress.verdicts, progress.reached)
                ],
            }
        )


def missing(progress: Progress) -> str:
    """Return what is still missing, and the time left, as a line."""
    reached, count = sum(progress.reached), len(progress.targets)
    line = f"{progress.condition.state}: {reached} of {count}, {span(progress.left)} left"
    if not progress.verdicts:
        return line
    return f"{line}; {_not_yet(progress, lambda verdict: state_name(verdict.state))}"


def outcome(progress: Progress) -> str:
    """Return how waiting ended, as a line."""
    state, after = progress.condition.state, span(progress.seconds)
    if progress.result is Result.REACHED:
        done = [t.name for t, reached in zip(progress.targets, progress.reached) if reached]
        more = f" and {len(done) - _MOST_NAMES} more" if len(done) > _MOST_NAMES else ""
        names = ", ".join(done[:_MOST_NAMES]) + more
        everyone = len(done) == len(progress.targets) > 1
        return f"{state} after {after}: {f'all {len(done)}' if everyone else names}"
    if progress.result is Result.HOPELESS:
        causes = [v.error for v in progress.verdicts if isinstance(v.error, HopelessError)]
        return "cannot check: {}".format("; ".join(dict.fromkeys(map(str, causes))))
    how = "stopped" if progress.result is Result.STOPPED else "timed out"
    told = _not_yet(progress, described) if progress.verdicts else "no round has ended"
    return f"{how} after {after}, waiting for {state}: {told}"


def _not_yet(progress: Progress, told: Callable[[Verdict], str]) -> str:
    """Return the targets that are not as wanted, five at most, and how many more there are."""
    lacking = [
        (target, verdict, streak)
        for target, verdict, streak, reached in zip(
            progress.targets, progress.verdicts, progress.streaks, progress.reached
        )
        if not reached
    ]
    parts = [
        f"{target.name} {told(verdict)}"
        + (f" {streak} of {progress.condition.successes} times" if streak else "")
        for target, verdict, streak in lacking[:_MOST_NAMES]
    ]
    if len(lacking) > _MOST_NAMES:
        parts.append(hidden(verdict.state for _, verdict, _ in lacking[_MOST_NAMES:]))
    return ", ".join(parts)
