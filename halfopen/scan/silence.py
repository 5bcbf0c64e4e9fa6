"""What the kernel knows of a target that stayed silent to nmap.

nmap sees packets on one interface, before the kernel translates addresses back. So an answer can
come that nmap does not see. Connection tracking sees it, wherever that is on.
"""

import os
import socket
import time
from typing import Optional, Tuple

from halfopen.errors import CheckError
from halfopen.model import Address, Observation, Outcome, Target
from halfopen.scan import netlink

_TRACKED = "/proc/sys/net/netfilter/nf_conntrack_count"
_LOOPBACK = Address("127.0.0.1", 4)


def source_port() -> Optional[int]:
    """Return a source port for probes that the kernel is to track; None if it tracks nothing.

    nmap keeps it for all its probes (-g). Above 61000, where few systems have ephemeral ports.
    Needs CAP_NET_ADMIN.
    """
    try:
        with open(_TRACKED, "rb") as file:
            if int(file.read()) == 0:
                return None
        netlink.connection(_LOOPBACK, 1, _LOOPBACK.text, 1)
    except (OSError, ValueError):
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
    try:
        route = netlink.route(address)
        if route is None:
            return silent
        error = source_port and _unseen_answer(address, port, (route.source, source_port))
        return error or _who_is_silent(silent, address, began, route)
    except OSError:
        return silent  # the kernel can't be asked: nothing more is known


def _unseen_answer(address: Address, port: int, origin: Tuple[str, int]) -> Optional[CheckError]:
    asked = Target(address.text.partition("%")[0], port)
    try:
        found = netlink.connection(address, port, *origin)
    except OSError:
        return None
    if found is None or not found.answered:
        return None
    if found.answers_from != (asked.host, port):
        return CheckError(
            f"{asked} answered, but nmap could not see it: this machine translates it to "
            f"{Target(*found.answers_from)}; check that address"
        )
    if found.answers_to != origin or _several_interfaces():
        return CheckError(
            f"{asked} answered, but nmap could not see it: its answer came in by another way (NAT "
            "that changes ports, or another interface); check from another machine"
        )
    return CheckError(f"{asked} answered too late or was missed; raise --timeout")


def _several_interfaces() -> bool:
    """Return whether an answer can come in by another interface than nmap listens on."""
    return len([name for _, name in socket.if_nameindex() if name != "lo"]) > 1


def _who_is_silent(
    silent: Observation, address: Address, began: float, route: netlink.Route
) -> Observation:
    """Name the silent one, from what the kernel found out since this check began."""
    via = route.gateway or address.text.partition("%")[0]
    known = netlink.neighbour(Address(via, address.version), route.interface)
    if known is None:
        return silent
    protocol = "ARP" if address.version == 4 else "neighbour discovery"
    who = f"gateway {route.gateway}" if route.gateway else "host"
    if known.state in (netlink.INCOMPLETE, netlink.FAILED):
        at = "gateway" if route.gateway else "host"
        return silent._replace(silent_at=at, cause=f"{who} does not answer {protocol}")
    fresh = known.confirmed < time.monotonic() - began
    if known.state == netlink.REACHABLE and fresh and not route.gateway:
        cause = f"host answers {protocol}: a firewall drops it"
        return silent._replace(silent_at="firewall", cause=cause)
    return silent
