"""Ports of our own, on loopback: their state must be found, and without a connection."""

import contextlib
import os
import time
from typing import Iterator, List, Sequence, Tuple, Union

from halfopen.check import check
from halfopen.errors import NotAllowedError, NoTimeError, RefusedError
from halfopen.model import PORT_STATES, Target, Verdict
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
        verdicts, found = _scan(context, ports, plus_one=True)
        refused = [v.error for v in verdicts if isinstance(v.error, NotAllowedError)]
        if refused:  # told once, for all ports
            trials = tuple(trial for finding in found for trial in finding.trials)
            detail = str(refused[0])
            yield Finding("means", "raw sockets", Outcome.INCONCLUSIVE, detail, trials=trials)
            yield from notes
            yield from (finding for finding in found if finding.outcome is Outcome.FAILED)
            yield Finding("states", "SYN scan", Outcome.INCONCLUSIVE, "not allowed")
        else:
            more: Sequence[Verdict] = ()
            found_alone: Sequence[Finding] = ()
            if not _hangs(verdicts, found):
                more, found_alone = _scan(context, ports, plus_one=False)
            answered = any(verdict.error is None for verdict in (*verdicts, *more))
            if answered:
                by_right = "as root" if os.geteuid() == 0 else "by CAP_NET_RAW"
                detail = "by sudo" if context.options.sudo else by_right
                yield Finding("means", "raw sockets", Outcome.OK, detail)
            yield from (*notes, *found, *found_alone)
            if answered:
                yield from _half_open(context, [port for port in ports if port.state == "open"])
                return
        yield Finding("half-open", ALL, Outcome.SKIPPED, "no SYN scan to judge")


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
    name = f"{_name(state, number)}, IPv{version}"
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


def _scan(
    context: Context, ports: Sequence[Port], plus_one: bool
) -> Tuple[Sequence[Verdict], Sequence[Finding]]:
    """Check all ports as halfopen does, one of each host at a time: else they share a run."""
    verdicts: List[Verdict] = []
    findings: List[Finding] = []
    for kind in dict.fromkeys(map(_kind, ports)):
        asked = [port for port in ports if _kind(port) == kind]
        start = time.monotonic()
        given = check(
            [Target(port.address, port.number) for port in asked],
            context.until(),
            context.options._replace(plus_one=plus_one),
            run=context.machine.run,
        )
        seconds = time.monotonic() - start
        verdicts += given.verdicts
        for port, verdict in zip(asked, given.verdicts):
            outcome, detail = _judged(port, verdict, context.unfinished(start))
            how = ("with 65534" if kind == "65535" else "with the next") if plus_one else "alone"
            name = f"{_name(port.state, port.number)}, IPv{port.version}, {how}"
            about = About.OWN if plus_one else About.OWN_ALONE
            about = about if port.state == "open" else About.OTHER
            case = f"loopback-v{port.version}-{kind}-{'plus-one' if plus_one else 'single'}"
            trials = tuple(
                Trial(case, port.number, port.state, run)
                for run in given.runs
                if run.argv[-1] == port.address
            )
            findings.append(Finding("states", name, outcome, detail, seconds, about, trials))
        if _hangs(verdicts, findings):
            break
    return verdicts, findings


def _hangs(verdicts: Sequence[Verdict], findings: Sequence[Finding]) -> bool:
    """Return whether nmap hung on the last port that it was asked about: so would it on others."""
    return isinstance(verdicts[-1].error, NoTimeError) and findings[-1].outcome is Outcome.FAILED


def _kind(port: Port) -> str:
    return "65535" if port.number == 65535 else port.state


def _name(state: str, number: int) -> str:
    return f"{state} port 65535" if number == 65535 else f"{state} port"


def _judged(port: Port, verdict: Verdict, unfinished: Outcome) -> Tuple[Outcome, str]:
    if verdict.observation is None:
        outcome = Outcome.FAILED
        if isinstance(verdict.error, NoTimeError):
            outcome = unfinished
        elif isinstance(verdict.error, (RefusedError, NotAllowedError)):
            outcome = Outcome.INCONCLUSIVE
        return outcome, str(verdict.error)
    seen = f"{verdict.state} ({verdict.observation.reason})"
    right = verdict.state == port.state
    return (Outcome.OK, seen) if right else (Outcome.FAILED, f"nmap says {seen}")


def _half_open(context: Context, ports: Sequence[Port]) -> Iterator[Finding]:
    """See that no listener had a connection from nmap, and that it would notice one."""
    for version in sorted({port.version for port in ports}):
        listeners = [port for port in ports if port.version == version]
        outcome, detail = Outcome.INCONCLUSIVE, ""
        if any(port.connected() for port in listeners):
            outcome = Outcome.FAILED
            detail = "the server accepted a connection from nmap: this is no half-open scan"
        elif any(port.waiting() for port in listeners):
            detail = "the RST after nmap's scan never came; does a firewall drop it? "
            detail += "nft list ruleset"
        else:
            context.machine.connect(listeners[0])
            if listeners[0].connected(wait=True):
                outcome = Outcome.OK
                detail = "accept never returned for nmap, and did for a full connection"
            else:
                detail = "not even a full connection was accepted; does a firewall meddle?"
        yield Finding("half-open", f"no connection, IPv{version}", outcome, detail)
