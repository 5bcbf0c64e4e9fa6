"""Asks nmap about ports of our own, and compares what halfopen makes of it with the truth."""

import time
from typing import List, Sequence

from halfopen.check import check, judge, program
from halfopen.errors import NotAllowedError, NoTimeError, RefusedError
from halfopen.model import Expectation, NmapRun, Target, Verdict
from halfopen.scan import reader
from halfopen.scan.command import second_port
from halfopen.smoke.findings import Context, Finding, Outcome
from halfopen.smoke.targets import Port


def ask(context: Context, ports: Sequence[Port], plus_one: bool = True) -> List[Finding]:
    """Check ports of different hosts, as halfopen does; return a finding a port, yet unnamed."""
    start = time.monotonic()
    options = context.options._replace(plus_one=plus_one, prefix=ports[0].via)
    asked = [Target(port.address, port.number) for port in ports]
    given = check(asked, context.until(), options, run=context.machine.run)
    return [
        _judged(context, port, verdict, start, given.runs)
        for port, verdict in zip(ports, given.verdicts)
    ]


def ask_plainly(context: Context, ports: Sequence[Port], plus_one: bool = True) -> List[Finding]:
    """Do the same as a bash script would, for one port."""
    (port,) = ports
    start = time.monotonic()
    how_to_call = program(context.options._replace(prefix=port.via))
    asked = f"{port.number}-{second_port(port.number)}" if plus_one else f"{port.number}"
    argv = [*how_to_call, "-n", "-sS", "-p", asked, "-oX", "-", port.address]
    run = context.machine.run([argv], context.until(), None)[0]
    seen = reader.read(run, [port.address], [port.number])[port.address, port.number]
    verdict = judge(Target(port.address, port.number), seen, Expectation())
    return [_judged(context, port, verdict, start, [run])]


def _judged(
    context: Context, port: Port, verdict: Verdict, began: float, runs: Sequence[NmapRun]
) -> Finding:
    outcome, detail = Outcome.FAILED, str(verdict.error)
    if verdict.observation is not None:
        detail = f"{verdict.state} ({verdict.observation.reason})"
        if verdict.state == port.state:
            outcome = Outcome.OK
        else:
            detail = f"nmap says {detail}"
    elif isinstance(verdict.error, NoTimeError):
        outcome = context.unfinished(began)
    elif isinstance(verdict.error, (RefusedError, NotAllowedError)):
        outcome = Outcome.INCONCLUSIVE
    seconds, truth = time.monotonic() - began, f"{port.number} {port.state}"
    of_port = tuple(run for run in runs if run.argv[-1] == port.address)
    return Finding("", "", outcome, detail, seconds, verdict.error, truth, of_port)
