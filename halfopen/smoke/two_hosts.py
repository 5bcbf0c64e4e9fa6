"""An open port of another host: halfopen's own scan must find it, and plain ones should."""

import functools
import time
from typing import Iterator, List

from halfopen.check import check
from halfopen.errors import HalfopenError
from halfopen.model import Target
from halfopen.smoke.findings import About, Context, Finding, Outcome, Trial
from halfopen.smoke.targets import Port

_REPEATS = 5
"""How often each scan is made: late packets make some of them wrong, not always all."""

_GROUP = "two hosts"
_NO_TIME = Finding(_GROUP, "open port", Outcome.SKIPPED, "no time left; raise --timeout")


def two_hosts(context: Context) -> Iterator[Finding]:
    """Scan an open port from one namespace to another."""
    try:
        with context.machine.second_host() as neighbour:
            context = context._replace(options=context.options._replace(prefix=neighbour.via))
            for scan in (
                _own,
                functools.partial(_plain, alone=True),
                functools.partial(_plain, alone=False),
            ):
                start = time.monotonic()
                finding = scan(context, neighbour.port)
                yield finding._replace(seconds=time.monotonic() - start)
                if finding.outcome is Outcome.SKIPPED:
                    return
    except (HalfopenError, OSError) as error:
        yield Finding(_GROUP, "open port", Outcome.SKIPPED, str(error))


def _own(context: Context, port: Port) -> Finding:
    """Scan as a check does, until it is wrong for the first time."""
    trials: List[Trial] = []
    outcome, opens, detail = Outcome.OK, 0, ""
    while opens < _REPEATS and outcome is Outcome.OK:
        began = time.monotonic()
        target = Target(port.address, port.number)
        given = check([target], context.until(3.0), context.options, run=context.machine.run)
        trials += [Trial("two-hosts-open-direct", port.number, "open", run) for run in given.runs]
        verdict = given.verdicts[0]
        if verdict.error is not None and context.unfinished(began) is Outcome.INCONCLUSIVE:
            break  # our time ran out, which says nothing about nmap
        if verdict.state == "open":
            opens += 1
        else:
            outcome = Outcome.FAILED
            detail = verdict.state + ("" if verdict.error is None else f" ({verdict.error})")
    if outcome is Outcome.OK and not opens:
        return _NO_TIME._replace(trials=tuple(trials))
    detail = detail or f"{opens} of {opens} open"
    about = About.OWN_APART
    return Finding(_GROUP, "halfopen's own scan", outcome, detail, 0, about, tuple(trials))


def _plain(context: Context, port: Port, alone: bool) -> Finding:
    """Scan as a bash script would, with the port alone or with the next."""
    name = f"plain scan, {'port alone' if alone else 'with the next port'}"
    about = About.PLAIN_ALONE if alone else About.PLAIN_WITH_NEXT
    case = f"two-hosts-open-{'single' if alone else 'plus-one'}"
    trials: List[Trial] = []
    while len(trials) < _REPEATS and time.monotonic() < context.deadline:
        trial = context.plain_scan(case, "-sS", port, alone=alone)
        if trial.had_no_time and time.monotonic() >= context.deadline:
            break
        trials.append(trial)
    if not trials:
        return _NO_TIME._replace(name=name)
    opens = sum(trial.right for trial in trials)
    negative = sum(b'<times srtt="-' in trial.run.stdout for trial in trials)
    detail = f"{opens} of {len(trials)} open"
    if negative:
        detail += f", {negative} with a negative round trip"
    outcome = Outcome.OK if opens == len(trials) else Outcome.FAILED
    return Finding(_GROUP, name, outcome, detail, 0, about, tuple(trials))
