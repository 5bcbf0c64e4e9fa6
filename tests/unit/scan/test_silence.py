"""What the kernel's answers say of a silence. The messages are recorded, from Linux 6.18."""

import socket
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import pytest

from halfopen.errors import CheckError
from halfopen.model import Address, Observation, Outcome
from halfopen.scan import netlink, silence
from halfopen.scan.silence import explained

V4, V6 = Address("192.0.2.25", 4), Address("2001:db8::25", 6)
SERVICE, BEHIND = Address("192.0.2.200", 4), Address("198.51.100.5", 4)
SOURCE_PORT = 61234

ROUTE = bytes.fromhex(
    "022000 00fe000001 00020000 08000f00fe000000 08000100c0000219 0800040002000000 08000700c0000201"
)
ROUTE_BY_GATEWAY = bytes.fromhex(
    "02200000fe00000100020000 08000f00fe000000 08000100c6336405 0800040002000000 08000700c0000201"
    "08000500c0000219"
)
ROUTE_V6 = bytes.fromhex(
    "0a808000fe02000100000000 08000f00fe000000 1400010020010db8000000000000000000000025"
    "1400070020010db8000000000000000000000001 0800040002000000"
)
TRANSLATED = bytes.fromhex(
    "0200000034000180 1400018008000100c000020108000200c00002c8 "
    "1c000280050001000600000006000200ef320000"
    "0600030000500000 34000280 1400018008000100c000021908000200c0000201"
    "1c0002800500010006000000060002001f9a000006000300ef320000 08000300000001aa"
)
UNANSWERED = bytes.fromhex(
    "0200000034000180 1400018008000100c000020108000200c0000219 "
    "1c000280050001000600000006000200ef320000"
    "0600030000500000 34000280 1400018008000100c000021908000200c0000201"
    "1c00028005000100060000000600020000500000 06000300ef320000 0800030000000188"
)
ANSWERED = UNANSWERED[:-4] + bytes.fromhex("0000018a")
OTHER_PORT = ANSWERED.replace(
    bytes.fromhex("06000300ef320000 0800"), bytes.fromhex("06000300ef330000 0800")
)


def neighbour(state: int, confirmed: float) -> bytes:
    """Return what the kernel says of a neighbour: its NUD state, and when it last answered."""
    ticks = int(100 * confirmed).to_bytes(4, "little")
    head = bytes.fromhex("0200000002000000") + state.to_bytes(2, "little") + b"\x00\x01"
    return head + bytes.fromhex("08000100c0000219 14000300") + ticks + ticks + ticks + b"\2\0\0\0"


class Kernel:
    """A fake of the kernel: gives recorded answers, by what is asked. None is "no such thing"."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: Dict[int, Optional[bytes]] = {26: ROUTE, 30: None, 0x0101: None}
        self.asked: List[Tuple[int, bytes]] = []
        monkeypatch.setattr(netlink, "_ask", self._ask)
        monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])

    def _ask(self, _protocol: int, kind: int, body: bytes) -> bytes:
        self.asked.append((kind, body))
        answer = self.answers[kind]
        if answer is None:
            raise FileNotFoundError
        return answer


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def of(
    address: Address, port: int = 80, source_port: Optional[int] = SOURCE_PORT, took: float = 1.5
) -> Outcome:
    """Return what is made of a port that stayed silent for so many seconds."""
    silent = Observation("filtered", "no-response", address.text)
    return explained(silent, address, port, time.monotonic() - took, source_port)


def what(outcome: Outcome) -> Tuple[Optional[str], str]:
    assert isinstance(outcome, Observation)
    assert (outcome.state, outcome.reason) == ("filtered", "no-response")
    return outcome.silent_at, outcome.cause


# -- an answer that nmap did not see ------------------------------------------------------------


def test_a_translated_target_that_answered_is_named_with_its_real_address(kernel: Kernel) -> None:
    kernel.answers[0x0101] = TRANSLATED

    assert str(of(SERVICE)) == (
        "192.0.2.200:80 answered, but nmap could not see it: this machine translates it to "
        "192.0.2.25:8090; check that address"
    )


BY_ANOTHER_WAY, LATE = "its answer came in by another way", "answered too late or was missed"


@pytest.mark.parametrize(
    ("entry", "several", "said"),
    [
        (OTHER_PORT, False, BY_ANOTHER_WAY),
        (ANSWERED, True, BY_ANOTHER_WAY),
        (ANSWERED, False, LATE),
        (UNANSWERED, True, ""),
        (None, True, ""),
    ],
)
def test_only_a_tracked_answer_is_one_that_nmap_did_not_see(
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    entry: Optional[bytes],
    several: bool,
    said: str,
) -> None:
    kernel.answers[0x0101] = entry
    if several:
        interfaces = [(1, "lo"), (2, "eth0"), (3, "eth1")]
        monkeypatch.setattr(socket, "if_nameindex", lambda: interfaces)

    outcome = of(V4)

    assert isinstance(outcome, CheckError) is bool(said)
    assert said in str(outcome)
    # Without a known source port no entry is asked for.
    assert what(of(V4, source_port=None)) == (None, "")


def test_the_entry_that_is_asked_for_is_that_of_this_checks_probe(kernel: Kernel) -> None:
    kernel.answers[0x0101] = UNANSWERED
    of(V4)

    (body,) = [body for kind, body in kernel.asked if kind == 0x0101]
    assert body == UNANSWERED[: 4 + 0x34]  # the original direction, as the kernel writes it


def test_without_the_right_to_ask_a_silence_is_as_it_was() -> None:
    assert what(of(V4)) == (None, "")


# -- who is silent ------------------------------------------------------------------------------

INCOMPLETE, REACHABLE, STALE, FAILED = 1, 2, 4, 32


NO_ARP = "host does not answer ARP"
NO_DISCOVERY = "host does not answer neighbour discovery"
NO_GATEWAY = "gateway 192.0.2.25 does not answer ARP"
DROPS = "host answers ARP: a firewall drops it"


@pytest.mark.parametrize(
    ("address", "route", "state", "confirmed", "told"),
    [
        (V4, ROUTE, INCOMPLETE, 100.0, ("host", NO_ARP)),
        (V4, ROUTE, FAILED, 100.0, ("host", NO_ARP)),
        (V6, ROUTE_V6, INCOMPLETE, 100.0, ("host", NO_DISCOVERY)),
        (BEHIND, ROUTE_BY_GATEWAY, FAILED, 100.0, ("gateway", NO_GATEWAY)),
        (V4, ROUTE, REACHABLE, 1.4, ("firewall", DROPS)),
        # What was not found out by this check is not told: it has taken 1.5 s.
        (V4, ROUTE, REACHABLE, 1.6, (None, "")),
        (V4, ROUTE, STALE, 1.4, (None, "")),
        (BEHIND, ROUTE_BY_GATEWAY, REACHABLE, 1.4, (None, "")),
        (V4, None, FAILED, 1.0, (None, "")),
    ],
)
def test_who_is_silent_is_told_by_what_the_kernel_has_found_out(
    kernel: Kernel,
    address: Address,
    route: Optional[bytes],
    state: int,
    confirmed: float,
    told: Tuple[Optional[str], str],
) -> None:
    kernel.answers.update({26: route, 30: neighbour(state, confirmed)})

    assert what(of(address)) == told


# -- the source port ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "allowed", "given"),
    [
        ("0\n", True, False),
        ("12\n", True, True),
        ("", True, False),
        (None, True, False),  # the kernel tracks no connections
        ("12\n", False, False),
    ],
)
def test_a_source_port_is_given_where_the_kernel_tracks_connections_and_may_be_asked(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    count: Optional[str],
    allowed: bool,
    given: bool,
) -> None:
    file = tmp_path / "nf_conntrack_count"
    monkeypatch.setattr(silence, "_TRACKED", str(file))
    if count is not None:
        file.write_text(count)
    if allowed:
        Kernel(monkeypatch)

    port = silence.source_port()

    assert given is (port is not None and 61000 < port < 65536)
