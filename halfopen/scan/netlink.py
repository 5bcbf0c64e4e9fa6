"""Questions to the Linux kernel by netlink: routes, neighbours, tracked connections.

Each raises OSError where the kernel can't be asked, or knows nothing.
Each is about one entry and costs some 0.05 ms. To read the whole of /proc/net/nf_conntrack takes
a second with 200,000 entries.
"""

import os
import socket
import struct
import sys
from typing import Dict, Optional, Tuple

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

INCOMPLETE, REACHABLE, FAILED = 1, 2, 32
"""What the kernel thinks of a neighbour (NUD_...)."""

Place = Tuple[str, int]
"""An address and a port."""


def route(address: str) -> Tuple[int, Optional[str], str]:
    """Return how packets to an address leave: interface, gateway if there is one, and source."""
    family, packed = _packed(address)
    header = bytes([family, 8 * len(packed)]) + bytes(10)
    answer = _ask(_ROUTING, _GET_ROUTE, header + _attribute(_ROUTE_DESTINATION, packed))
    found = _attributes(answer[12:])
    gateway = found.get(_ROUTE_GATEWAY)
    source = socket.inet_ntop(family, found.get(_ROUTE_SOURCE, bytes(len(packed))))
    interface = int.from_bytes(found.get(_ROUTE_INTERFACE, b""), sys.byteorder)
    return interface, socket.inet_ntop(family, gateway) if gateway else None, source


def neighbour(address: str, interface: int) -> Tuple[int, float]:
    """Return a neighbour's state, and how many seconds ago it last answered (from Linux 5.0 on)."""
    family, packed = _packed(address)
    header = struct.pack("=BxxxiHBB", family, interface, 0, 0, 0)
    answer = _ask(_ROUTING, _GET_NEIGHBOUR, header + _attribute(_NEIGHBOUR_ADDRESS, packed))
    (state,) = struct.unpack_from("=H", answer, 8)
    ticks = _attributes(answer[12:]).get(_NEIGHBOUR_CACHE_INFO, b"")[:4]
    return state, int.from_bytes(ticks, sys.byteorder) / os.sysconf("SC_CLK_TCK")


def answered(origin: Place, target: Place) -> Optional[Tuple[Place, Place]]:
    """Return from where and to where a tracked TCP connection was answered; None if it was not.

    From another place than the target where this machine translates that, and to another than the
    origin where it translates its own. Raises PermissionError without CAP_NET_ADMIN.
    """
    family, there = _packed(target[0])
    source, destination = (1, 2) if family == socket.AF_INET else (3, 4)  # CTA_IP_V4_SRC and on
    ip = _attribute(source, _packed(origin[0])[1]) + _attribute(destination, there)
    tcp = _attribute(1, bytes([socket.IPPROTO_TCP]))
    tcp += _attribute(2, struct.pack(">H", origin[1])) + _attribute(3, struct.pack(">H", target[1]))
    asked = _attribute(1 | _NESTED, ip) + _attribute(2 | _NESTED, tcp)
    body = struct.pack("=BBH", family, 0, 0) + _attribute(_ORIGINAL | _NESTED, asked)
    try:
        found = _attributes(_ask(_NETFILTER, _GET_CONNECTION, body)[4:])
    except FileNotFoundError:
        return None
    if not int.from_bytes(found.get(_STATUS, b""), "big") & _SEEN_REPLY:
        return None
    reply = _attributes(found[_REPLY])
    addresses, ports = _attributes(reply[1]), _attributes(reply[2])

    def place(end: int, port: int) -> Place:
        return socket.inet_ntop(family, addresses[end]), int.from_bytes(ports[port], "big")

    return place(source, 2), place(destination, 3)


def _ask(protocol: int, kind: int, body: bytes) -> bytes:
    """Return the payload of the answer; raise the kernel's OSError, as for what there is not."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.settimeout(_PATIENCE)
        sock.bind((0, 0))
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST, 1, 0) + body)
        answer = sock.recv(1 << 16)
    (kind_of_answer,) = struct.unpack_from("=H", answer, 4)
    if kind_of_answer == _ERROR:
        (number,) = struct.unpack_from("=i", answer, 16)
        raise OSError(-number, os.strerror(-number))
    return answer[16:]


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


def _packed(address: str) -> Tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address.partition("%")[0])
