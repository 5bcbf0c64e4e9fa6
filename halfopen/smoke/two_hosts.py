"""An open port of another host: halfopen's own scan must find it, and plain ones should."""

import contextlib
import functools
import time
from typing import Iterator, List

from halfopen.check import check, program
from halfopen.errors import HalfopenError
from halfopen.model import Target
from halfopen.scan.command import second_port
from halfopen.smoke.findings import About, Context, Finding, Outcome, Trial, had_no_time
from halfopen.smoke.targets import Port

_REPEATS = 5
"""How often each scan is made: late packets make some of them wrong, not always all."""

_GROUP = "two hosts"
_NO_TIME = Finding(_GROUP, "open port", Outcome.SKIPPED, "no time left; raise --timeout")


def two_hosts(context: Context) -> Iterator[Finding]:
    """Scan an open port from one namespace to another."""
    with contextlib.ExitStack() as stack:
        try:
            neighbour = stack.enter_context(context.machine.second_host())
        except (HalfopenError, OSError) as error:
            outcome = Outcome.INCONCLUSIVE if context.nmap.suspect else Outcome.SKIPPED
            yield Finding(_GROUP, "open port", outcome, str(error))
            return
        context = context._replace(options=context.options._replace(prefix=neighbour.via))
        for scan in (_own, functools.partial(_plain, alone=True), _plain):
            start = time.monotonic()
            finding = scan(context, neighbour.port)
            yield finding._replace(seconds=time.monotonic() - start)
            if finding.outcome is Outcome.SKIPPED:
                return


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
    name, about = "halfopen's own scan", About.OWN
    return Finding(_GROUP, name, outcome, detail, 0, about, tuple(trials))


def _plain(context: Context, port: Port, alone: bool = False) -> Finding:
    """Scan as a bash script would, with the port alone or with the next."""
    name = f"plain scan, {'port alone' if alone else 'with the next port'}"
    about = About.PLAIN_ALONE if alone else About.PLAIN_WITH_NEXT
    case = f"two-hosts-open-{'single' if alone else 'plus-one'}"
    asked = str(port.number) if alone else f"{port.number}-{second_port(port.number)}"
    argv = [*program(context.options), "-n", "-sS", "-p", asked, "-oX", "-", port.address]
    trials: List[Trial] = []
    while len(trials) < _REPEATS and time.monotonic() < context.deadline:
        run = context.machine.run([argv], context.until(2.0), None)[0]
        if had_no_time(run) and time.monotonic() >= context.deadline:
            break
        trials.append(Trial(case, port.number, "open", run))
    if not trials:
        return _NO_TIME._replace(name=name)
    opens = sum(trial.right for trial in trials)
    negative = sum(b'<times srtt="-' in trial.run.stdout for trial in trials)
    detail = f"{opens} of {len(trials)} open"
    if negative:
        detail += f", {negative} with a negative round trip"
    outcome = Outcome.OK if opens == len(trials) else Outcome.FAILED
    return Finding(_GROUP, name, outcome, detail, 0, about, tuple(trials))
