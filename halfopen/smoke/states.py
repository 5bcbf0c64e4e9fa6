"""Ports of our own, on loopback: their state must be found, and without a connection."""

import contextlib
import itertools
import os
from typing import Dict, Iterator, List, Sequence, Tuple

from halfopen.errors import NotAllowedError, NoTimeError
from halfopen.model import PORT_STATES
from halfopen.smoke.asking import ask
from halfopen.smoke.findings import ALL, About, Context, Finding, Outcome
from halfopen.smoke.targets import Port

_FIREWALL = "does a firewall meddle? nft list ruleset"
_PORTS = (*((state, 0) for state in PORT_STATES), ("open", 65535))
"""States and numbers, 0 for any number."""


def states(context: Context) -> Iterator[Finding]:
    """Scan open, closed and filtered ports with the next and alone, and see if they connect."""
    with contextlib.ExitStack() as stack:
        ports, notes = _true_ports(context, stack)
        found = list(_scans(context, ports))
        refused = [each for each in found if isinstance(each.error, NotAllowedError)]
        answered = any(each.error is None for each in found)
        if refused:  # told once, for all ports
            yield refused[0]._replace(group="means", name="raw sockets")
        elif answered:
            sudo, root = context.options.sudo, os.geteuid() == 0
            how = "by sudo" if sudo else "as root" if root else "by CAP_NET_RAW"
            yield Finding("means", "raw sockets", Outcome.OK, how)
        yield from notes
        yield from (each for each in found if each not in refused)
        if refused:
            yield Finding("states", "SYN scan", Outcome.INCONCLUSIVE, "not allowed")
        if refused or not answered:
            yield Finding("half-open", ALL, Outcome.SKIPPED, "no SYN scan to judge")
            return
        yield from _half_open(context, [port for port in ports.values() if port.state == "open"])


def _true_ports(
    context: Context, stack: contextlib.ExitStack
) -> Tuple[Dict[str, Port], Sequence[Finding]]:
    """Return ports that a plain connection finds in their state, too; and why others are not."""
    ports: Dict[str, Port] = {}
    notes: List[Finding] = []
    for (state, number), version in itertools.product(_PORTS, (4, 6)):
        name = f"{state} port{f' {number}' if number else ''}, IPv{version}"
        outcome = Outcome.INCONCLUSIVE
        try:
            port = stack.enter_context(context.machine.make_port(state, version, number))
        except OSError as error:
            detail = f"no such port here: {error.strerror or error}"
            if version == 6 or number:
                outcome = Outcome.SKIPPED
        else:
            found = context.machine.connect(port)
            if state == "open":
                port.connected(wait=found == state)
            if found == state:
                ports[name] = port
                continue
            detail = f"a plain connection finds it {found}; {_FIREWALL}"
        notes.append(Finding("states", name, outcome, detail))
    # Where an open port is out of reach, something meddles, and the others prove nothing.
    reached = {port.version for port in ports.values() if port.state == "open"}
    return {name: port for name, port in ports.items() if port.version in reached}, notes


def _scans(context: Context, ports: Dict[str, Port]) -> Iterator[Finding]:
    """Check all ports as halfopen does, with the next and alone, until nmap hangs or may not scan.

    One port of each host at a time: else they share a run.
    """
    for plus_one, about in ((True, About.WITH_NEXT), (False, About.OWN_ALONE)):
        for kind, names in itertools.groupby(ports, lambda name: name.partition(",")[0]):
            second = "65534" if "65535" in kind else "the next"
            how = f"with {second}" if plus_one else "alone"
            asked = list(names)
            found = ask(context, [ports[name] for name in asked], plus_one)
            for name, each in zip(asked, found):
                evidence = about if kind.startswith("open") else About.OTHER
                yield each._replace(group="states", name=f"{name}, {how}", about=evidence)
            hangs = isinstance(found[-1].error, NoTimeError) and found[-1].outcome is Outcome.FAILED
            if hangs or isinstance(found[-1].error, NotAllowedError):
                return  # as it would for the others


def _half_open(context: Context, ports: Sequence[Port]) -> Iterator[Finding]:
    """See that no listener had a connection from nmap, and that it would notice one."""
    for version in sorted({port.version for port in ports}):
        listeners = [port for port in ports if port.version == version]
        outcome = Outcome.INCONCLUSIVE
        if any(port.connected() for port in listeners):
            outcome = Outcome.FAILED
            detail = "the server accepted a connection from nmap: this is no half-open scan"
        elif any(port.waiting() for port in listeners):
            detail = f"the RST after nmap's scan never came; {_FIREWALL}"
        elif context.machine.connect(listeners[0]) == "open" and listeners[0].connected(wait=True):
            outcome = Outcome.OK
            detail = "accept never returned for nmap, and did for a full connection"
        else:
            detail = f"not even a full connection was accepted; {_FIREWALL}"
        yield Finding("half-open", f"no connection, IPv{version}", outcome, detail)
