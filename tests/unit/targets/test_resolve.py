"""Names to addresses, and ports to service names, from a resolver of our own."""

import socket
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

import pytest

from halfopen.errors import CheckError
from halfopen.model import Address, Target
from halfopen.targets.resolve import Resolver, resolve, service_names

Asked = List[Tuple[str, int]]


def far() -> float:
    """Return a deadline that is not the point of a test."""
    return time.monotonic() + 10


def answer(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[str], str]) -> Asked:
    """Put a resolver in the system's place; return the list in which it notes its questions."""
    asked: Asked = []

    def getaddrinfo(host: str, port: object, family: int, *_: int) -> List[Any]:
        assert port is None
        asked.append((host, family))
        address = look_up(host)
        return [(family, 0, 0, "", (address, 0)), (family, 0, 0, "", ("203.0.113.99", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def refuse(host: str) -> str:
    """Know no name."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known: " + host)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.25", Address("192.0.2.25", 4)),
        ("2001:db8::25", Address("2001:db8::25", 6)),
        ("fe80::25%eth0", Address("fe80::25%eth0", 6)),
    ],
)
def test_an_address_is_its_own_and_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, host: str, address: Address
) -> None:
    asked = answer(monkeypatch, refuse)

    assert resolve([Target(host, 25)], far()) == {Target(host, 25): address}
    assert asked == []


@pytest.mark.parametrize(
    ("text", "address", "zone"),
    [
        pytest.param("192.0.2.25", Address("192.0.2.25", 4, 2), "", id="ipv4"),
        pytest.param("2001:db8::25", Address("2001:db8::25", 6, 2), "", id="ipv6"),
        pytest.param("::ffff:192.0.2.25", Address("192.0.2.25", 4, 2), "", id="ipv4-mapped"),
        pytest.param("fe80::25%eth0", Address("fe80::25%eth0", 6, 2), "eth0", id="link-local"),
    ],
)
def test_a_name_has_the_first_address_that_the_system_gives(
    monkeypatch: pytest.MonkeyPatch, text: str, address: Address, zone: str
) -> None:
    answer(monkeypatch, lambda _: text)
    target = Target("mail.example", 25)

    assert resolve([target], far()) == {target: address}
    assert address.zone == zone


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (["192.0.2.25"], 1),
        (["192.0.2.25", "192.0.2.25"], 1),
        (["192.0.2.25", "192.0.2.26", "192.0.2.25", "2001:db8::25"], 3),
    ],
    ids=["one", "one-twice", "three"],
)
@pytest.mark.parametrize("resolving", [resolve, Resolver().resolve], ids=["check", "rounds"])
def test_a_names_different_addresses_are_counted(
    monkeypatch: pytest.MonkeyPatch,
    resolving: Callable[..., Dict[Target, Any]],
    lines: List[str],
    count: int,
) -> None:
    def getaddrinfo(*_: object) -> List[Any]:
        return [(0, 0, 0, "", (line, 0)) for line in lines]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    target = Target(f"{count}.{len(lines)}.example", 25)

    assert resolving([target], far()) == {target: Address("192.0.2.25", 4, count)}


@pytest.mark.parametrize(
    ("family", "asked_for"),
    [(None, socket.AF_UNSPEC), (4, socket.AF_INET), (6, socket.AF_INET6)],
    ids=["any", "-4", "-6"],
)
def test_a_family_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, family: int, asked_for: int
) -> None:
    asked = answer(monkeypatch, lambda _: "192.0.2.25")

    resolve([Target("mail.example", 25, family)], far())

    assert asked == [("mail.example", asked_for)]


def test_two_ports_of_one_name_are_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, lambda _: "192.0.2.25")
    targets = [Target("mail.example", 25), Target("mail.example", 110), Target("mail.example", 25)]

    found = resolve(targets, far())

    assert found == dict.fromkeys(targets, Address("192.0.2.25", 4, 2))
    assert asked == [("mail.example", socket.AF_UNSPEC)]


def test_one_name_in_two_families_is_two_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, lambda _: "192.0.2.25")

    resolve([Target("mail.example", 25, 4), Target("mail.example", 25, 6)], far())

    assert sorted(family for _, family in asked) == sorted([socket.AF_INET, socket.AF_INET6])


def test_each_name_has_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {f"host{n}.example": f"192.0.2.{n}" for n in range(100)}
    answer(monkeypatch, names.__getitem__)

    found = resolve([Target(name, 25) for name in names], far())

    assert found == {Target(name, 25): Address(text, 4, 2) for name, text in names.items()}


@pytest.mark.parametrize(
    ("family", "said"),
    [(None, "cannot resolve nosuch.example: "), (6, "cannot resolve nosuch.example to IPv6: ")],
    ids=["any", "-6"],
)
def test_a_name_that_does_not_resolve_is_its_targets_error_alone(
    monkeypatch: pytest.MonkeyPatch, family: int, said: str
) -> None:
    answer(monkeypatch, lambda host: "192.0.2.25" if host == "mail.example" else refuse(host))
    good, bad = Target("mail.example", 25), Target("nosuch.example", 25, family)

    found = resolve([bad, good], far())

    assert found[good] == Address("192.0.2.25", 4, 2)
    assert isinstance(found[bad], CheckError)
    assert str(found[bad]).startswith(said + "Name or service not known")
    assert "getent hosts nosuch.example" in str(found[bad])


def test_a_name_that_python_cannot_encode_is_its_targets_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_up(host: str) -> str:
        raise UnicodeError("label too long: " + host)

    answer(monkeypatch, look_up)
    target = Target("mail.example", 25)

    assert "cannot resolve mail.example: not a name" in str(resolve([target], far())[target])


def test_a_resolver_that_hangs_costs_no_more_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def look_up(host: str) -> str:
        if host == "slow.example":
            released.wait(30)
        return "192.0.2.25"

    answer(monkeypatch, look_up)
    slow, quick, address = (Target(h, 25) for h in ("slow.example", "quick.example", "192.0.2.26"))
    started = time.monotonic()
    try:
        found = resolve([slow, quick, address], started + 0.2)
    finally:
        released.set()

    assert time.monotonic() - started < 25
    assert "no time left for resolving names; raise --timeout" in str(found[slow])
    assert found[quick] == Address("192.0.2.25", 4, 2)
    assert found[address] == Address("192.0.2.26", 4)


SERVICES = {25: "smtp", 80: "http"}


def service(port: int, protocol: str) -> str:
    """Stand in for socket.getservbyport: not every system has a services file."""
    assert protocol == "tcp"
    if port not in SERVICES:
        raise OSError("port/proto not found")
    return SERVICES[port]


def test_ports_have_the_names_that_the_system_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getservbyport", service)
    expected: Dict[int, str] = {25: "smtp", 80: "http"}

    assert service_names([25, 80, 25, 4711], far()) == expected


def test_a_services_database_that_hangs_only_costs_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def hang(*_: object) -> str:
        released.wait(30)
        return "late"

    monkeypatch.setattr(socket, "getservbyport", hang)
    started = time.monotonic()
    try:
        assert service_names([25], started + 0.05) == {}
    finally:
        released.set()
    assert time.monotonic() - started < 25
