"""What the kernel knows of a target that stayed silent to nmap.

nmap sees packets on one interface, before the kernel translates addresses back. So an answer can
come that nmap does not see. Connection tracking sees it, wherever that is on.
"""

import os
import socket
import time
from typing import Optional

from halfopen.errors import CheckError
from halfopen.model import Address, Observation, Outcome, Target
from halfopen.scan import netlink

_TRACKED = "/proc/sys/net/netfilter/nf_conntrack_count"


def source_port() -> Optional[int]:
    """Return a source port for probes that the kernel is to track; None if it tracks nothing.

    nmap keeps it for all its probes (-g). Above 61000, where few systems have ephemeral ports.
    Needs CAP_NET_ADMIN.
    """
    try:
        with open(_TRACKED, "rb") as file:
            if int(file.read()) == 0:
                return None
        netlink.answered(("127.0.0.1", 1), ("127.0.0.1", 1))
    except (OSError, LookupError, ValueError):
        return None
    return 61001 + int.from_bytes(os.urandom(2), "big") % 4500


def explained(
    silent: Observation, address: Address, port: int, began: float, source_port: Optional[int]
) -> Outcome:
    """Return what the kernel knows of a silence.

    A CheckError if the target answered, so that nothing is said of its port; else the observation,
    with who is silent if the kernel has found that out since the check `began` (`time.monotonic`
    seconds). `source_port`: of probes whose answer the kernel would know, if there were any.
    """
    asked = Target(address.text.partition("%")[0], port)
    try:
        interface, gateway, source = netlink.route(asked.host)
        error = source_port and _unseen_answer(asked, (source, source_port))
        if error:
            return error
        state, confirmed = netlink.neighbour(gateway or asked.host, interface)
    except (OSError, LookupError, ValueError):
        return silent  # nothing more is known
    # Said only of what the kernel found out since this check began.
    protocol = "neighbour discovery" if address.version == 6 else "ARP"
    if state in (netlink.INCOMPLETE, netlink.FAILED):
        at, who = ("gateway", f"gateway {gateway}") if gateway else ("host", "host")
        return silent._replace(silent_at=at, cause=f"{who} does not answer {protocol}")
    fresh = confirmed < time.monotonic() - began
    if state == netlink.REACHABLE and fresh and not gateway:
        cause = f"host answers {protocol}: a firewall drops it"
        return silent._replace(silent_at="firewall", cause=cause)
    return silent


def _unseen_answer(asked: Target, origin: netlink.Place) -> Optional[CheckError]:
    try:
        found = netlink.answered(origin, asked[:2])
    except OSError:
        return None
    if found is None:
        return None
    answers_from, answers_to = found
    unseen = f"{asked} answered, but nmap could not see it: "
    if answers_from != asked[:2]:
        return CheckError(
            f"{unseen}this machine translates it to {Target(*answers_from)}; check that address"
        )
    several_interfaces = len([name for _, name in socket.if_nameindex() if name != "lo"]) > 1
    if answers_to != origin or several_interfaces:
        return CheckError(
            f"{unseen}its answer came in by another way (NAT that changes ports, or another "
            "interface); check from another machine"
        )
    return CheckError(f"{asked} answered too late or was missed; raise --timeout")
