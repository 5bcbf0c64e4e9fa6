"""The operator's commands: `wait` and `watch`, from settings to what is shown and the exit code."""

import contextlib
import gc
import json
import math
import time
from typing import NamedTuple, Optional, Sequence

from halfopen.errors import HopelessError
from halfopen.formats import json as json_format
from halfopen.formats.registry import FORMATS, Output, printable
from halfopen.model import ScanOptions, Target
from halfopen.runbook import schedule, terminal
from halfopen.runbook.schedule import Result, Stop, Waited, Wish
from halfopen.runbook.statistics import Tally
from halfopen.scan import process

FORMS = ("text", "json")
_WAIT_CODES = {Result.REACHED: 0, Result.LATE: 2, Result.HOPELESS: 3}


def wait(targets: Sequence[Target], wish: Wish, means: ScanOptions, form: str) -> Output:
    """Wait until the wish comes true; a signal ends us as it would have without."""
    gc.enable()  # main.py has turned it off: a check ends before its garbage could matter
    live = terminal.WaitLine() if form == "text" and terminal.on_terminal() else None
    rows = [(target, Tally()) for target in targets]

    def show(waited: Waited) -> None:
        # A reader that goes away changes no outcome: the exit code may be all that is wanted.
        with contextlib.suppress(terminal.ClosedError):
            if live is not None:
                live.show(waited)
            elif form == "text":
                seen = schedule.Seen(time.time(), waited.verdicts)
                for line in terminal.change_lines(rows, seen):
                    terminal.say(line)

    with Stop() as stop:
        ended = schedule.wait(targets, wish, stop, schedule.asker(means), show)
        show(ended)
        if live is not None:
            with contextlib.suppress(terminal.ClosedError):
                live.end()
    if ended.result is Result.STOPPED:
        process.end_by_signal(stop.number)
    text = _waited_json(ended) if form == "json" else printable(terminal.outcome(ended))
    return Output(text, _wait_code(ended))


def _wait_code(ended: Waited) -> int:
    missing = [v for v, done in zip(ended.verdicts, ended.reached) if not done]
    if ended.result is Result.LATE and all(verdict.error is not None for verdict in missing):
        return 3  # nothing was found out, so nothing is said of the server
    return _WAIT_CODES[ended.result or Result.LATE]


def _waited_json(waited: Waited) -> str:
    return json.dumps(
        {
            "version": 1,
            "result": waited.result.value if waited.result else None,
            "for": waited.wish.state,
            "seconds": round(waited.seconds, 3),
            "looks": waited.looks,
            "targets": [
                {**json_format.target(verdict), "reached": reached}
                for verdict, reached in zip(waited.verdicts, waited.reached)
            ],
        }
    )


class Span(NamedTuple):
    """How often to look, and until when."""

    every: float = 2.0
    """Seconds from the start of a look to the next."""
    looks: Optional[int] = None
    """How many; None for no limit."""
    lasting: Optional[float] = None
    """Seconds; None for no limit."""


def watch(targets: Sequence[Target], span: Span, means: ScanOptions, form: str) -> Output:
    """Show look after look until the span or a signal ends it; then what there was."""
    gc.enable()  # as wait() does
    rows = [(target, Tally()) for target in targets]
    start, number = time.monotonic(), 0
    table = terminal.LiveTable() if form == "text" and terminal.on_terminal() else None

    def follow() -> None:
        if terminal.read_by_nobody():
            raise terminal.ClosedError
        if table is not None:
            table.follow(rows)

    with Stop() as stop:
        try:
            follow()
            for seen in schedule.watch(
                targets,
                span.every,
                stop,
                schedule.asker(means),
                count=span.looks,
                lasting=math.inf if span.lasting is None else span.lasting,
                tick=follow,
            ):
                number += 1
                lines = terminal.change_lines(rows, seen)
                if table is not None:
                    table.show(rows)
                else:
                    for line in lines if form == "text" else [_seen_json(number, seen)]:
                        terminal.say(line)
                if number == 1 and _hopeless(seen):
                    break
            if table is not None:
                table.show(rows)  # over what the terminal shows of Ctrl-C
        except terminal.ClosedError:  # as `head` does; nobody is there to be told
            return Output("", _watch_code(rows))
        seconds = time.monotonic() - start
    text = "\n".join(terminal.summary(rows, seconds)) if form == "text" else ""
    return Output(text, _watch_code(rows))


def _hopeless(seen: schedule.Seen) -> bool:
    """Return whether nothing can be checked: no nmap, not allowed. Further looks can't mend it."""
    return all(isinstance(verdict.error, HopelessError) for verdict in seen.verdicts)


def _watch_code(rows: terminal.Rows) -> int:
    return FORMATS["text"].codes[terminal.worst(rows)]


def _seen_json(number: int, seen: schedule.Seen) -> str:
    return json.dumps(
        {
            "version": 1,
            "time": terminal.stamp(seen.when),
            "look": number,
            "targets": [json_format.target(verdict) for verdict in seen.verdicts],
        }
    )
