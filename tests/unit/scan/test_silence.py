"""What the kernel's answers say of a silence. The messages are recorded, from Linux 6.18."""

import time
from typing import Dict, List, Optional, Tuple

import pytest

from halfopen.errors import CheckError
from halfopen.model import Address, Observation, Outcome
from halfopen.scan import netlink, silence
from halfopen.scan.silence import Silence, explained

V4, V6 = Address("192.0.2.25", 4), Address("2001:db8::25", 6)
SERVICE, SERVICE_V6 = Address("192.0.2.200", 4), Address("2001:db8::200", 6)
BEHIND = Address("198.51.100.5", 4)
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
TRANSLATED_V6 = bytes.fromhex(
    "0a0000004c000180 2c0001801400030020010db8000000000000000000000001"
    "1400040020010db8000000000000000000000200 "
    "1c000280050001000600000006000200ef3200000600030000500000"
    "4c000280 2c0001801400030020010db8000000000000000000000025"
    "1400040020010db8000000000000000000000001"
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
        monkeypatch.setattr(silence, "_several_interfaces", lambda: False)

    def _ask(self, _protocol: int, kind: int, body: bytes) -> Optional[bytes]:
        self.asked.append((kind, body))
        return self.answers[kind]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def of(
    address: Address, port: int = 80, source_port: Optional[int] = SOURCE_PORT, took: float = 1.5
) -> Outcome:
    """Return what is made of a port that stayed silent for so many seconds."""
    silent = Observation("filtered", "no-response", address.text)
    return explained(silent, Silence(address, port, time.monotonic() - took, source_port))


def what(outcome: Outcome) -> Tuple[Optional[str], str]:
    assert isinstance(outcome, Observation)
    assert (outcome.state, outcome.reason) == ("filtered", "no-response")
    return outcome.silent_at, outcome.cause


# -- an answer that nmap did not see ------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "route", "entry", "named", "to"),
    [
        (SERVICE, ROUTE, TRANSLATED, "192.0.2.200:80", "192.0.2.25:8090"),
        (SERVICE_V6, ROUTE_V6, TRANSLATED_V6, "[2001:db8::200]:80", "[2001:db8::25]:8090"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_translated_target_that_answered_is_named_with_its_real_address(
    kernel: Kernel, address: Address, route: bytes, entry: bytes, named: str, to: str
) -> None:
    kernel.answers.update({26: route, 0x0101: entry})

    assert str(of(address)) == (
        f"{named} answered, but nmap could not see it: this machine translates it to {to}; check "
        "that address"
    )


def test_an_answer_to_another_port_of_ours_came_by_another_way(kernel: Kernel) -> None:
    kernel.answers[0x0101] = OTHER_PORT

    assert "its answer came in by another way" in str(of(V4))


@pytest.mark.parametrize(
    ("several", "said"),
    [(True, "its answer came in by another way"), (False, "answered too late or was missed")],
)
def test_an_answer_that_nothing_translated_came_late_where_there_is_one_interface(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, several: bool, said: str
) -> None:
    kernel.answers[0x0101] = ANSWERED
    monkeypatch.setattr(silence, "_several_interfaces", lambda: several)

    outcome = of(V4)

    assert isinstance(outcome, CheckError)
    assert said in str(outcome)


@pytest.mark.parametrize("entry", [None, UNANSWERED], ids=["no-entry", "unanswered"])
def test_a_probe_without_an_answer_stays_a_silence(kernel: Kernel, entry: Optional[bytes]) -> None:
    kernel.answers[0x0101] = entry

    assert what(of(V4)) == (None, "")


def test_the_entry_that_is_asked_for_is_that_of_this_checks_probe(kernel: Kernel) -> None:
    kernel.answers[0x0101] = UNANSWERED
    of(V4)

    (body,) = [body for kind, body in kernel.asked if kind == 0x0101]
    assert body == UNANSWERED[: 4 + 0x34]  # the original direction, as the kernel writes it


def test_without_a_known_source_port_no_entry_is_asked_for(kernel: Kernel) -> None:
    kernel.answers[0x0101] = ANSWERED

    assert what(of(V4, source_port=None)) == (None, "")


def test_without_the_right_to_ask_a_silence_is_as_it_was() -> None:
    assert what(of(V4)) == (None, "")


# -- who is silent ------------------------------------------------------------------------------

INCOMPLETE, REACHABLE, STALE, FAILED = 1, 2, 4, 32


@pytest.mark.parametrize("state", [INCOMPLETE, FAILED])
def test_a_host_without_an_answer_to_arp_is_silent(kernel: Kernel, state: int) -> None:
    kernel.answers[30] = neighbour(state, 100.0)

    assert what(of(V4)) == ("host", "host does not answer ARP")


def test_an_ipv6_host_is_sought_by_neighbour_discovery(kernel: Kernel) -> None:
    kernel.answers.update({26: ROUTE_V6, 30: neighbour(INCOMPLETE, 100.0)})

    assert what(of(V6)) == ("host", "host does not answer neighbour discovery")


def test_a_gateway_without_an_answer_to_arp_is_silent(kernel: Kernel) -> None:
    kernel.answers.update({26: ROUTE_BY_GATEWAY, 30: neighbour(FAILED, 100.0)})

    assert what(of(BEHIND)) == ("gateway", "gateway 192.0.2.25 does not answer ARP")


def test_a_host_that_answered_since_the_check_began_has_a_firewall(kernel: Kernel) -> None:
    kernel.answers[30] = neighbour(REACHABLE, 1.4)

    assert what(of(V4)) == ("firewall", "host answers ARP: a firewall drops it")


@pytest.mark.parametrize(
    ("route", "state", "confirmed"),
    [
        pytest.param(ROUTE, REACHABLE, 1.6, id="reachable-from-before"),
        pytest.param(ROUTE, STALE, 1.4, id="stale"),
        pytest.param(ROUTE_BY_GATEWAY, REACHABLE, 1.4, id="gateway-answers"),
    ],
)
def test_nothing_is_said_of_what_was_not_found_out_by_this_check(
    kernel: Kernel, route: bytes, state: int, confirmed: float
) -> None:
    kernel.answers.update({26: route, 30: neighbour(state, confirmed)})

    assert what(of(V4)) == (None, "")


def test_nothing_is_said_without_a_route(kernel: Kernel) -> None:
    kernel.answers.update({26: None, 30: neighbour(FAILED, 1.0)})

    assert what(of(V4)) == (None, "")


# -- the source port ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "asked"), [("0\n", False), ("12\n", True), ("", False)], ids=["none", "some", "odd"]
)
def test_a_source_port_is_given_where_the_kernel_tracks_connections(
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    count: str,
    asked: bool,
) -> None:
    file = tmp_path_factory.mktemp("proc") / "nf_conntrack_count"
    file.write_text(count)
    monkeypatch.setattr(silence, "_TRACKED", str(file))

    port = silence.source_port()

    assert (port is not None) == asked == bool(kernel.asked)
    assert port is None or 61000 < port < 65536


def test_no_source_port_is_given_without_the_right_to_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("proc") / "nf_conntrack_count"
    file.write_text("12\n")
    monkeypatch.setattr(silence, "_TRACKED", str(file))

    assert silence.source_port() is None


def test_no_source_port_is_given_without_connection_tracking(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "_TRACKED", "/nonexistent")

    assert silence.source_port() is None
    assert kernel.asked == []
