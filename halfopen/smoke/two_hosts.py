"""An open port of another host: halfopen's own scan must find it, and plain ones should."""

import re
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
_NO_TIME = "no time left; raise --timeout"


def two_hosts(context: Context) -> Iterator[Finding]:
    """Scan an open port from one namespace to another."""
    try:
        with context.machine.second_host() as neighbour:
            options = context.options._replace(prefix=neighbour.via)
            yield from _between(context._replace(options=options), neighbour.port)
    except (HalfopenError, OSError) as error:
        yield Finding(_GROUP, "open port", Outcome.SKIPPED, str(error))


def _between(context: Context, port: Port) -> Iterator[Finding]:
    own = _own(context, port)
    yield own
    if own.outcome is Outcome.SKIPPED:
        return
    for alone in (True, False):
        plain = _plain(context, port, alone)
        yield plain
        if plain.outcome is Outcome.SKIPPED:
            return


def _own(context: Context, port: Port) -> Finding:
    """Scan as a check does, until it is wrong for the first time."""
    name, start, opens = "halfopen's own scan", time.monotonic(), 0
    trials: List[Trial] = []
    while opens < _REPEATS:
        began = time.monotonic()
        target = Target(port.address, port.number)
        given = check([target], context.until(3.0), context.options, run=context.machine.run)
        trials += [Trial("two-hosts-open-direct", port.number, "open", run) for run in given.runs]
        verdict = given.verdicts[0]
        if verdict.error is not None and context.unfinished(began) is Outcome.INCONCLUSIVE:
            break
        if verdict.state != "open":
            detail = verdict.state + ("" if verdict.error is None else f" ({verdict.error})")
            return _finding(name, Outcome.FAILED, detail, start, About.OWN_APART, trials)
        opens += 1
    if opens == 0:
        return _finding("open port", Outcome.SKIPPED, _NO_TIME, start, About.OTHER, trials)
    return _finding(name, Outcome.OK, f"{opens} of {opens} open", start, About.OWN_APART, trials)


def _plain(context: Context, port: Port, alone: bool) -> Finding:
    """Scan as a bash script would, with the port alone or with the next."""
    name = f"plain scan, {'port alone' if alone else 'with the next port'}"
    about = About.PLAIN_ALONE if alone else About.PLAIN_WITH_NEXT
    case = f"two-hosts-open-{'single' if alone else 'plus-one'}"
    start = time.monotonic()
    trials: List[Trial] = []
    while len(trials) < _REPEATS and time.monotonic() < context.deadline:
        trial = context.plain_scan(case, "-sS", port, alone=alone)
        if trial.had_no_time and time.monotonic() >= context.deadline:
            break  # our time ran out, which says nothing about nmap
        trials.append(trial)
    if not trials:
        return _finding(name, Outcome.SKIPPED, _NO_TIME, start, about, trials)
    opens = sum(trial.right for trial in trials)
    negative = sum(bool(re.search(rb'<times srtt="-', trial.run.stdout)) for trial in trials)
    detail = f"{opens} of {len(trials)} open"
    if negative:
        detail += f", {negative} with a negative round trip"
    outcome = Outcome.OK if opens == len(trials) else Outcome.FAILED
    return _finding(name, outcome, detail, start, about, trials)


def _finding(  # noqa: PLR0913  what a finding is made of
    name: str, outcome: Outcome, detail: str, start: float, about: About, trials: List[Trial]
) -> Finding:
    seconds = time.monotonic() - start
    return Finding(_GROUP, name, outcome, detail, seconds, about, tuple(trials))
