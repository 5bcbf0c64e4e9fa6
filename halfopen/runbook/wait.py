"""`wait`: rounds until a condition is met, or there is no time left."""

import contextlib
import enum
import gc
import json
import time
from typing import Callable, Dict, NamedTuple, Sequence, Tuple

from halfopen.errors import NoTimeError
from halfopen.formats import json as json_format
from halfopen.formats.registry import Output, printable
from halfopen.model import Report, ScanOptions, Target, Verdict
from halfopen.runbook.schedule import Ask, Schedule, Stop, asker, follow
from halfopen.runbook.statistics import Standing, Statistics
from halfopen.runbook.terminal import ClosedError, LiveLine, on_terminal, say
from halfopen.runbook.wording import changes, described, hidden, span, state_name
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

    @property
    def wanted(self) -> Sequence[str]:
        """The states that meet it; a failed check never does."""
        return ("closed", "filtered") if self.state == "not-open" else (self.state,)

    def reached(self, statistics: Statistics) -> bool:
        """Return whether enough rounds have found what is waited for."""
        return statistics.in_a_row >= self.successes


class Result(enum.Enum):
    """How waiting ended."""

    REACHED = "reached"
    LATE = "timed out"
    HOPELESS = "cannot check"
    STOPPED = "stopped"


def run(
    targets: Sequence[Target],
    condition: Condition,
    options: ScanOptions,
    format_name: str,
    verbose: bool = False,
) -> Output:
    """Wait until the condition is met; a signal ends us as it would have without."""
    gc.enable()  # main.py has turned it off: a check ends before its garbage could matter
    as_json, live = format_name == "json", on_terminal() and not verbose
    with Stop() as stop, LiveLine() as line:

        def tell(now: Standing) -> None:
            if live and not as_json:
                line.draw(missing(condition, now))
            elif now.fresh and not as_json:
                say(*changes(now, verbose))

        result, ended = wait(targets, condition, stop, asker(options, Resolver(stop.wake)), tell)
    text = printable((_object if as_json else outcome)(condition, result, ended))
    if result is Result.STOPPED:
        with contextlib.suppress(ClosedError):
            say(text)
        process.end_by_signal(stop.number)
    return Output(text, _exit_code(condition, result, ended))


def wait(
    targets: Sequence[Target],
    condition: Condition,
    stop: Stop,
    ask: Ask,
    tell: Callable[[Standing], None],
) -> Tuple[Result, Standing]:
    """Check until the condition is met for all targets at once, or for one if that is enough."""
    end = time.monotonic() + condition.timeout
    known: Dict[Target, Verdict] = {}

    def in_time(asked: Sequence[Target], deadline: float) -> Report:
        # Where no time was left to find out, what was found before is told.
        report = ask(asked, min(end, deadline))
        for target, verdict in zip(asked, report.verdicts):
            late = isinstance(verdict.error, NoTimeError) and target in known
            if not late or known[target].state in condition.wanted:
                known[target] = verdict
        return report._replace(verdicts=tuple(known[target] for target in asked))

    schedule = Schedule(condition.interval, duration=condition.timeout)
    enough = any if condition.any_target else all
    now = Standing(())
    for now in follow(targets, schedule, stop, in_time, condition.wanted):
        # A reader that goes away changes no outcome: the exit code may be all that is wanted.
        with contextlib.suppress(ClosedError):
            tell(now)
        if enough(map(condition.reached, now.rows)):
            return Result.REACHED, now
        if now.hopeless:
            return Result.HOPELESS, now
    return Result.STOPPED if stop.number else Result.LATE, now


def _exit_code(condition: Condition, result: Result, ended: Standing) -> int:
    if result is Result.REACHED:
        return 0
    states = {row.state for row in ended.rows if not condition.reached(row)}
    # Where nothing was found out, nothing is said of the server.
    return 2 if result is not Result.HOPELESS and states - {"error", ""} else 3


# -- what is told -------------------------------------------------------------------------------


def _object(condition: Condition, result: Result, ended: Standing) -> str:
    """Return one object of JSON."""
    return json.dumps(
        {
            "version": 2,
            "result": result.value,
            "for": condition.state,
            "seconds": round(ended.seconds, 3),
            "rounds": ended.rounds,
            "targets": [
                {**json_format.target(row.verdict), "reached": condition.reached(row)}
                for row in ended.rows
                if row.state
            ],
        }
    )


def missing(condition: Condition, now: Standing) -> str:
    """Return what is still missing, and the time left, as a line."""
    reached = sum(map(condition.reached, now.rows))
    left = span(max(0.0, condition.timeout - now.seconds))
    told = _not_yet(condition, now, lambda verdict: state_name(verdict.state))
    line = f"{condition.state}: {reached} of {len(now.rows)}, {left} left"
    return f"{line}; {told}" if now.rounds else line


def outcome(condition: Condition, result: Result, ended: Standing) -> str:
    """Return how waiting ended, as a line."""
    state, after = condition.state, span(ended.seconds)
    if result is Result.REACHED:
        done = [row.target.name for row in ended.rows if condition.reached(row)]
        more = f" and {len(done) - _MOST_NAMES} more" if len(done) > _MOST_NAMES else ""
        everyone = len(done) == len(ended.rows) > 1
        names = f"all {len(done)}" if everyone else ", ".join(done[:_MOST_NAMES]) + more
        return f"{state} after {after}: {names}"
    if result is Result.HOPELESS:
        return f"cannot check: {'; '.join(dict.fromkeys(map(str, ended.hopeless)))}"
    told = _not_yet(condition, ended, described) if ended.rounds else "no round has ended"
    return f"{result.value} after {after}, waiting for {state}: {told}"


def _not_yet(condition: Condition, now: Standing, told: Callable[[Verdict], str]) -> str:
    """Return the targets that are not as wanted, five at most, and how many more there are."""
    lacking = [row for row in now.rows if not condition.reached(row)]
    parts = [
        f"{row.target.name} {told(row.verdict)}"
        + (f" {row.in_a_row} of {condition.successes} times" if row.in_a_row else "")
        for row in lacking[:_MOST_NAMES]
    ]
    if len(lacking) > _MOST_NAMES:
        parts.append(hidden(lacking[_MOST_NAMES:]))
    return ", ".join(parts)
