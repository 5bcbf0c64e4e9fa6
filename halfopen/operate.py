"""The operator's commands: `wait` and `watch`, from settings to what is shown and the exit code."""

import gc
import json
import math
import time
from typing import NamedTuple, Optional, Sequence

from halfopen import nmap_run, render, runbook, screens
from halfopen.check import Means
from halfopen.conventions import CONVENTIONS, Output, printable
from halfopen.runbook import Result, Stop, Waited, Wish
from halfopen.tally import Tally
from halfopen.target import Target

FORMS = ("text", "json")
_WAIT_CODES = {Result.REACHED: 0, Result.LATE: 2, Result.HOPELESS: 3}


def wait(targets: Sequence[Target], wish: Wish, means: Means, form: str) -> Output:
    """Wait until the wish comes true; a signal ends us as it would have without."""
    gc.enable()  # entry.py has turned it off: a check ends before its garbage could matter
    live = screens.WaitLine() if form == "text" and screens.on_terminal() else None
    rows = [(target, Tally()) for target in targets]

    def show(waited: Waited) -> None:
        if live is not None:
            live.show(waited)
        elif form == "text":
            seen = runbook.Seen(time.time(), waited.verdicts)
            for line in screens.change_lines(rows, seen):
                screens.say(line)

    with Stop() as stop:
        try:
            ended = runbook.wait(targets, wish, stop, runbook.asker(means), show)
            if form == "text":
                show(ended)
            if live is not None:
                live.end()
        except screens.ClosedError:  # nobody is there to be told of the end
            if stop.number:
                nmap_run.end_by_signal(stop.number)
            return Output("", 3)
    if ended.result is Result.STOPPED:
        nmap_run.end_by_signal(stop.number)
    text = _waited_json(ended) if form == "json" else printable(screens.outcome(ended))
    return Output(text, _WAIT_CODES[ended.result or Result.LATE])


def _waited_json(waited: Waited) -> str:
    return json.dumps(
        {
            "version": 1,
            "result": waited.result.value if waited.result else None,
            "for": waited.wish.state,
            "seconds": round(waited.seconds, 3),
            "looks": waited.looks,
            "targets": [
                {**render.json_target(verdict), "reached": reached}
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


def watch(targets: Sequence[Target], span: Span, means: Means, form: str) -> Output:
    """Show look after look until the span or a signal ends it; then what there was."""
    gc.enable()  # as wait() does
    rows = [(target, Tally()) for target in targets]
    start, number = time.monotonic(), 0
    table = screens.LiveTable() if form == "text" and screens.on_terminal() else None

    def follow() -> None:
        if screens.read_by_nobody():
            raise screens.ClosedError
        if table is not None:
            table.follow(rows)

    with Stop() as stop:
        try:
            follow()
            for seen in runbook.watch(
                targets,
                span.every,
                stop,
                runbook.asker(means),
                count=span.looks,
                lasting=math.inf if span.lasting is None else span.lasting,
                tick=follow,
            ):
                number += 1
                lines = screens.change_lines(rows, seen)
                if table is not None:
                    table.show(rows)
                elif form == "text":
                    for line in lines:
                        screens.say(line)
                else:
                    screens.say(_seen_json(number, seen))
            if table is not None:
                table.show(rows)  # over what the terminal shows of Ctrl-C
        except screens.ClosedError:  # as `head` does; nobody is there to be told
            return Output("", _watch_code(rows))
        seconds = time.monotonic() - start
    text = "\n".join(screens.summary(rows, seconds)) if form == "text" else ""
    return Output(text, _watch_code(rows))


def _watch_code(rows: screens.Rows) -> int:
    return CONVENTIONS["text"].codes[screens.worst(rows)]


def _seen_json(number: int, seen: runbook.Seen) -> str:
    return json.dumps(
        {
            "version": 1,
            "time": screens.stamp(seen.when),
            "look": number,
            "targets": [render.json_target(verdict) for verdict in seen.verdicts],
        }
    )
