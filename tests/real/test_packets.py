"""Half-open on the wire: SYN, SYN/ACK, RST, and the server never has a connection to accept."""

from __future__ import annotations

import socket
from typing import Iterator

import pytest
from lab import SCANNER, TARGET, Capture, Lab

from .commands import plugin

BOTH_FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
PORT = 2525


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Return a network without late packets of other tests' checks."""
    with Lab() as lab:
        yield lab


@pytest.fixture
def server(lab: Lab) -> Iterator[socket.socket]:
    """Return a listener of the target, to see what arrives there."""
    with lab.listen(PORT) as sock:
        sock.setblocking(False)
        yield sock


def connect(lab: Lab, version: int) -> None:
    """Do what a check must not: connect in full."""
    with lab.within("scanner", lambda: socket.socket(FAMILY[version])) as sock:
        sock.settimeout(10)
        sock.connect((TARGET[version], PORT))


def was_connected(server: socket.socket) -> bool:
    """Return whether a connection waits to be accepted."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def flags(packets: Capture, source: str) -> list[str]:
    """Return the flags of the packets from there, in order."""
    return [packet.flags for packet in packets if packet.src == source]


@BOTH_FAMILIES
@pytest.mark.parametrize(
    ("options", "ports", "answers"),
    [
        # The second port's answer tells us that the capture was complete.
        ([], {PORT, PORT + 1}, {"SA", "RA"}),
        (["--no-plus-one"], {PORT}, {"SA"}),
    ],
    ids=["plus-one", "alone"],
)
def test_check_sends_syn_and_rst_and_never_an_ack(
    lab: Lab,
    server: socket.socket,
    version: int,
    options: list[str],
    ports: set[int],
    answers: set[str],
) -> None:
    with lab.capture() as packets:
        done = lab.run(plugin(*options, "-H", TARGET[version], "-p", PORT))
    assert done.returncode == 0
    assert set(flags(packets, SCANNER[version])) == {"S", "R"}
    assert set(flags(packets, TARGET[version])) == answers
    assert {packet.dport for packet in packets if packet.src == SCANNER[version]} == ports
    assert not was_connected(server)


@BOTH_FAMILIES
def test_full_connect_is_seen_as_one_by_the_same_means(
    lab: Lab, server: socket.socket, version: int
) -> None:
    with lab.capture() as packets:
        connect(lab, version)
    assert flags(packets, SCANNER[version])[:2] == ["S", "A"]
    assert was_connected(server)
