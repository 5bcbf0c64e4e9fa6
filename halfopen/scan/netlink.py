"""Questions to the Linux kernel by netlink: routes, neighbours, tracked connections.

Each is about one entry and costs some 0.05 ms. To read the whole of /proc/net/nf_conntrack takes
a second with 200,000 entries.
"""

import errno
import os
import socket
import struct
import sys
from typing import Dict, NamedTuple, Optional, Tuple

from halfopen.model import Address

# linux/netlink.h, rtnetlink.h, neighbour.h, nfnetlink_conntrack.h, nf_conntrack_common.h
_ROUTING, _NETFILTER = 0, 12
_REQUEST, _ERROR, _NESTED = 0x1, 2, 0x8000
_GET_ROUTE, _GET_NEIGHBOUR = 26, 30
_ROUTE_DESTINATION, _ROUTE_INTERFACE, _ROUTE_GATEWAY, _ROUTE_SOURCE = 1, 4, 5, 7
_NEIGHBOUR_ADDRESS, _NEIGHBOUR_CACHE_INFO = 1, 3
_GET_CONNECTION = 0x0101  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_ORIGINAL, _REPLY, _STATUS = 1, 2, 3
_SEEN_REPLY = 1 << 1
_PATIENCE = 0.02
"""Seconds for one answer; the kernel gives it at once."""

INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED = 1, 2, 4, 8, 16, 32
"""What the kernel thinks of a neighbour (NUD_...)."""


class Route(NamedTuple):
    """How packets to an address leave this machine."""

    interface: int
    gateway: Optional[str]
    source: str


class Neighbour(NamedTuple):
    """What the kernel knows of a host on the link."""

    state: int
    confirmed: float
    """Seconds since it last answered."""


class Connection(NamedTuple):
    """A tracked TCP connection that this machine began."""

    answered: bool
    answers_from: Tuple[str, int]
    """Who answers it: another address and port where this machine translates the target's."""
    answers_to: Tuple[str, int]
    """Where the answers go: not where it began where this machine translates its own."""


def route(address: Address) -> Optional[Route]:
    """Return the route to an address; None if there is none, or the kernel does not say."""
    family, packed = _packed(address)
    header = bytes([family, 8 * len(packed)]) + bytes(10)
    answer = _ask(_ROUTING, _GET_ROUTE, header + _attribute(_ROUTE_DESTINATION, packed))
    if answer is None:
        return None
    found = _attributes(answer[12:])
    gateway = found.get(_ROUTE_GATEWAY)
    return Route(
        int.from_bytes(found.get(_ROUTE_INTERFACE, b""), sys.byteorder),
        socket.inet_ntop(family, gateway) if gateway else None,
        socket.inet_ntop(family, found.get(_ROUTE_SOURCE, bytes(len(packed)))),
    )


def neighbour(address: Address, interface: int) -> Optional[Neighbour]:
    """Return what the kernel knows of a neighbour; None for nothing. Linux 5.0 and later."""
    family, packed = _packed(address)
    header = struct.pack("=BxxxiHBB", family, interface, 0, 0, 0)
    answer = _ask(_ROUTING, _GET_NEIGHBOUR, header + _attribute(_NEIGHBOUR_ADDRESS, packed))
    if answer is None:
        return None
    (state,) = struct.unpack_from("=H", answer, 8)
    ticks = _attributes(answer[12:]).get(_NEIGHBOUR_CACHE_INFO, b"")[:4]
    return Neighbour(state, int.from_bytes(ticks, sys.byteorder) / os.sysconf("SC_CLK_TCK"))


def connection(address: Address, port: int, source: str, source_port: int) -> Optional[Connection]:
    """Return the tracked connection between two ports; None if the kernel tracks none.

    Raises PermissionError without CAP_NET_ADMIN, OSError where the kernel can't be asked.
    """
    family, packed = _packed(address)
    here, there = (1, 2) if family == socket.AF_INET else (3, 4)  # CTA_IP_V4_SRC ... CTA_IP_V6_DST
    ip = _attribute(here, socket.inet_pton(family, source)) + _attribute(there, packed)
    tcp = _attribute(1, bytes([socket.IPPROTO_TCP]))
    tcp += _attribute(2, struct.pack(">H", source_port)) + _attribute(3, struct.pack(">H", port))
    asked = _attribute(1 | _NESTED, ip) + _attribute(2 | _NESTED, tcp)
    body = struct.pack("=BBH", family, 0, 0) + _attribute(_ORIGINAL | _NESTED, asked)
    answer = _ask(_NETFILTER, _GET_CONNECTION, body)
    if answer is None:
        return None
    found = _attributes(answer[4:])
    status = int.from_bytes(found.get(_STATUS, b""), "big")
    reply = _attributes(found.get(_REPLY, b""))
    addresses, ports = _attributes(reply.get(1, b"")), _attributes(reply.get(2, b""))
    try:
        ends = [
            (socket.inet_ntop(family, addresses[end]), int.from_bytes(ports[number], "big"))
            for end, number in ((here, 2), (there, 3))
        ]
    except (KeyError, ValueError):
        return None
    return Connection(bool(status & _SEEN_REPLY), *ends)


def _ask(protocol: int, kind: int, body: bytes) -> Optional[bytes]:
    """Return the payload of the answer; None if there is no such thing. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.settimeout(_PATIENCE)
        sock.bind((0, 0))
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST, 1, 0) + body)
        answer = sock.recv(1 << 16)
    (kind_of_answer,) = struct.unpack_from("=H", answer, 4)
    if kind_of_answer != _ERROR:
        return answer[16:]
    (number,) = struct.unpack_from("=i", answer, 16)
    if -number in (errno.ENOENT, errno.ENETUNREACH, errno.EHOSTUNREACH):
        return None
    raise OSError(-number, os.strerror(-number))


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _attributes(data: bytes) -> Dict[int, bytes]:
    found: Dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[-(-length // 4) * 4 :]
    return found


def _packed(address: Address) -> Tuple[int, bytes]:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, socket.inet_pton(family, address.text.partition("%")[0])
