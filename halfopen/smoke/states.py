"""Ports of our own, on loopback: their state must be found, and without a connection."""

import contextlib
import os
import re
import time
from typing import Iterable, Iterator, List, NamedTuple, Sequence, Tuple, Union

from halfopen.check import check
from halfopen.errors import CheckError, NotAllowedError, NoTimeError, RefusedError
from halfopen.model import PORT_STATES, NmapRun, ScanOptions, Target, Verdict
from halfopen.smoke.findings import ALL, About, Context, Finding, Outcome, Trial
from halfopen.smoke.targets import Port

_FIREWALL = "does a firewall meddle? nft list ruleset"


def states(context: Context) -> Iterator[Finding]:
    """Scan open, closed and filtered ports with the next and alone, and look for connections."""
    with contextlib.ExitStack() as stack:
        ports, notes = _true_ports(context, stack)
        if not ports:
            yield from notes
            yield Finding("half-open", ALL, Outcome.SKIPPED, "no port to ask")
            return
        scans = [_scan(context, ports, plus_one) for plus_one in (True, False)]
        verdicts = [verdict for scan in scans for verdict in scan.verdicts]
        refused = [v.error for v in verdicts if isinstance(v.error, NotAllowedError)]
        answered = any(verdict.error is None for verdict in verdicts)
        if refused:
            trials = tuple(trial for scan in scans for trial in scan.refused)
            yield Finding(
                "means", "raw sockets", Outcome.INCONCLUSIVE, str(refused[0]), trials=trials
            )
        elif answered:
            yield Finding("means", "raw sockets", Outcome.OK, _by_what(context.options))
        yield from notes
        for scan in scans:
            yield from scan.findings
        if refused:
            yield Finding("states", "SYN scan", Outcome.INCONCLUSIVE, "not allowed")
            yield from _connect_scan(context, ports)
        if refused or not answered:
            yield Finding("half-open", ALL, Outcome.SKIPPED, "no SYN scan to judge")
            return
        yield from _half_open(context, [port for port in ports if port.state == "open"])


def _by_what(options: ScanOptions) -> str:
    return "by sudo" if options.sudo else "as root" if os.geteuid() == 0 else "by CAP_NET_RAW"


# -- the ports ------------------------------------------------------------------------------------


def _true_ports(
    context: Context, stack: contextlib.ExitStack
) -> Tuple[List[Port], Sequence[Finding]]:
    """Return ports that a plain connection finds in their state, too; and why others are not."""
    ports: List[Port] = []
    notes: List[Finding] = []
    for version in (4, 6):
        for state, number in (*((state, 0) for state in PORT_STATES), ("open", 65535)):
            made = _true_port(context, state, version, number)
            if isinstance(made, Finding):
                notes.append(made)
            else:
                stack.callback(made.close)
                ports.append(made)
    # Where an open port is out of reach, a filtered one proves nothing.
    reached = {port.version for port in ports if port.state == "open"}
    return [port for port in ports if port.version in reached], notes


def _true_port(context: Context, state: str, version: int, number: int) -> Union[Port, Finding]:
    name = f"{state} port{' 65535' if number else ''}, IPv{version}"
    try:
        port = context.machine.make_port(state, version, number)
    except OSError as error:
        needed = version == 4 and not number
        outcome = Outcome.INCONCLUSIVE if needed else Outcome.SKIPPED
        return Finding("states", name, outcome, f"no such port here: {error.strerror}")
    try:
        found = context.machine.connect(port)
    except OSError as error:
        found = str(error.strerror)
    if state == "open":
        port.connected(wait=found == state)
    if found == state:
        return port
    port.close()
    detail = f"a plain connection finds it {found}; {_FIREWALL}"
    return Finding("states", name, Outcome.INCONCLUSIVE, detail)


# -- halfopen's own scan of them ------------------------------------------------------------------


class _Scan(NamedTuple):
    """What one check of all ports gave."""

    verdicts: Sequence[Verdict]
    findings: Sequence[Finding]
    refused: Sequence[Trial]
    """The runs that were not allowed: the refusal is told once, for all ports."""


def _scan(context: Context, ports: Sequence[Port], plus_one: bool) -> _Scan:
    start = time.monotonic()
    given = check(
        [Target(port.address, port.number) for port in ports],
        context.until(),
        context.options._replace(plus_one=plus_one),
        run=context.machine.run,
    )
    seconds = time.monotonic() - start
    unfinished = context.unfinished(start)
    findings: List[Finding] = []
    refused: List[Trial] = []
    for port, verdict in zip(ports, given.verdicts):
        trials = _trials(port, plus_one, given.runs)
        if isinstance(verdict.error, NotAllowedError):
            refused += trials
            continue
        outcome, detail = _judged(port, verdict, unfinished)
        about = About.OTHER
        if port.state == "open":
            about = About.OWN if plus_one else About.OWN_ALONE
        name = _name(port, plus_one)
        findings.append(Finding("states", name, outcome, detail, seconds, about, trials))
    return _Scan(given.verdicts, findings, refused)


def _judged(port: Port, verdict: Verdict, unfinished: Outcome) -> Tuple[Outcome, str]:
    if verdict.observation is None:
        outcome = Outcome.FAILED
        if isinstance(verdict.error, NoTimeError):
            outcome = unfinished
        elif isinstance(verdict.error, RefusedError):
            outcome = Outcome.INCONCLUSIVE
        return outcome, str(verdict.error)
    seen = f"{verdict.state} ({verdict.observation.reason})"
    if verdict.state == port.state:
        return Outcome.OK, seen
    return Outcome.FAILED, f"nmap says {seen}"


def _name(port: Port, plus_one: bool) -> str:
    if port.number == 65535:
        return f"open port 65535, IPv{port.version}, {'with 65534' if plus_one else 'alone'}"
    return f"{port.state} port, IPv{port.version}, {'with the next' if plus_one else 'alone'}"


def _trials(port: Port, plus_one: bool, runs: Iterable[NmapRun]) -> Tuple[Trial, ...]:
    """Return the runs that asked about this port."""
    what = "65535" if port.number == 65535 else port.state
    case = f"loopback-v{port.version}-{what}-{'plus-one' if plus_one else 'single'}"
    return tuple(
        Trial(case, port.number, port.state, run)
        for run in runs
        if run.argv[-1] == port.address
        and re.split("[-,]", run.argv[run.argv.index("-p") + 1])[0] == str(port.number)
    )


def _connect_scan(context: Context, ports: Sequence[Port]) -> Iterator[Finding]:
    """Test what needs no raw sockets: nmap runs, and what it prints can be read."""
    options = context.options._replace(sudo=False)
    for port in ports:
        if port.state == "filtered" or port.number == 65535:
            continue  # nmap is in no hurry there; and the number makes no difference here
        case = f"loopback-v{port.version}-{port.state}-connect"
        trial = context.plain_scan(case, "-sT", port, alone=True, options=options)
        seen = trial.seen
        if isinstance(seen, CheckError):
            outcome, detail = Outcome.INCONCLUSIVE, str(seen)
        elif trial.right:
            outcome, detail = Outcome.OK, f"{seen.state} ({seen.reason})"
        else:
            outcome, detail = Outcome.FAILED, f"nmap says {seen.state}"
        name = f"{port.state} port, IPv{port.version}, connect scan"
        yield Finding("states", name, outcome, detail, trial.run.seconds, trials=(trial,))


# -- no connection --------------------------------------------------------------------------------


def _half_open(context: Context, ports: Sequence[Port]) -> Iterator[Finding]:
    """See that no listener had a connection from nmap, and that it would notice one."""
    for version in sorted({port.version for port in ports}):
        listeners = [port for port in ports if port.version == version]
        outcome, detail = _connection(context, listeners)
        yield Finding("half-open", f"no connection, IPv{version}", outcome, detail)


def _connection(context: Context, listeners: Sequence[Port]) -> Tuple[Outcome, str]:
    if any(port.connected() for port in listeners):
        detail = "the server accepted a connection from nmap: this is no half-open scan"
        return Outcome.FAILED, detail
    if any(port.waiting() for port in listeners):
        detail = "the RST after nmap's scan never came; does a firewall drop it? nft list ruleset"
        return Outcome.INCONCLUSIVE, detail
    context.machine.connect(listeners[0])
    if not listeners[0].connected(wait=True):
        detail = "not even a full connection was accepted; does a firewall meddle?"
        return Outcome.INCONCLUSIVE, detail
    return Outcome.OK, "accept never returned for nmap, and did for a full connection"
