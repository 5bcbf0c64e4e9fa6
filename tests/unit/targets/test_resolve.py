"""Names to addresses, once or round after round, and ports to service names."""

import re
import socket
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple, Union

import pytest

from halfopen.errors import CheckError
from halfopen.model import Address, Target
from halfopen.targets import resolve as module
from halfopen.targets.resolve import Resolver, resolve, service_names

WEB, MAIL = Target("web.example", 80), Target("mail.example", 25)
FIRST, SECOND = Address("192.0.2.1", 4), Address("192.0.2.2", 4)


class Names:
    """Stands in for the system's resolver: answers each name as told, once it may."""

    def __init__(self) -> None:
        self.answers: Dict[str, Union[Sequence[str], Exception]] = {
            "web.example": [FIRST.text],
            "mail.example": [SECOND.text],
        }
        self.asked: List[Tuple[str, int]] = []
        self.may_answer: Dict[str, threading.Event] = {}

    def __call__(self, host: str, _: None, family: int, *kind: int) -> List[Any]:
        assert kind == (socket.SOCK_STREAM, socket.IPPROTO_TCP)  # each address once
        self.asked.append((host, family))
        if host in self.may_answer:
            assert self.may_answer[host].wait(30)
        answer = self.answers.get(host, socket.gaierror(socket.EAI_NONAME, "Name not known"))
        if isinstance(answer, Exception):
            raise answer
        return [(family, 0, 0, "", (text, 0)) for text in answer]

    def hold(self, host: str) -> threading.Event:
        """Answer for this name once the event is set."""
        return self.may_answer.setdefault(host, threading.Event())

    def times_asked(self, host: str) -> int:
        return [asked for asked, _ in self.asked].count(host)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    for event in names.may_answer.values():
        event.set()


def far() -> float:
    """Return a deadline that is not the point of a test."""
    return time.monotonic() + 10


# A check asks once, a watch round after round: what they find is the same.
each_way = pytest.mark.parametrize(
    "resolving", [resolve, lambda *given: Resolver().resolve(*given)], ids=["check", "rounds"]
)
Resolving = Callable[[Sequence[Target], float], Dict[Target, Any]]


@each_way
def test_an_address_is_its_own_and_nobody_is_asked(
    names: Names, monkeypatch: pytest.MonkeyPatch, resolving: Resolving
) -> None:
    monkeypatch.setattr(socket, "if_nametoindex", {"eth0": 1}.__getitem__)
    addresses = {"192.0.2.25": 4, "2001:db8::25": 6, "fe80::25%eth0": 6}
    targets = {Target(host, 25): Address(host, version) for host, version in addresses.items()}

    assert resolving(list(targets), far()) == targets
    assert [address.zone for address in targets.values()] == ["", "", "eth0"]
    assert names.asked == []


@each_way
def test_an_interface_that_is_not_there_is_its_targets_error(resolving: Resolving) -> None:
    (error,) = resolving([Target("fe80::25%nosuch0", 25)], far()).values()

    assert isinstance(error, CheckError)
    assert str(error) == "there is no interface 'nosuch0' here; see ip link"


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (["192.0.2.25"], Address("192.0.2.25", 4, 1)),
        (["192.0.2.25", "192.0.2.25"], Address("192.0.2.25", 4, 1)),
        (["192.0.2.25", "192.0.2.26", "192.0.2.25", "2001:db8::25"], Address("192.0.2.25", 4, 3)),
        (["2001:db8::25", "192.0.2.25"], Address("2001:db8::25", 6, 2)),
        (["::ffff:192.0.2.25"], Address("192.0.2.25", 4, 1)),
        (["fe80::25%eth0"], Address("fe80::25%eth0", 6, 1)),
    ],
)
@each_way
def test_a_name_has_the_first_address_that_the_system_gives_and_the_others_are_counted(
    names: Names, resolving: Resolving, answer: List[str], address: Address
) -> None:
    names.answers["web.example"] = answer

    assert resolving([WEB], far()) == {WEB: address}


@each_way
def test_each_name_is_one_question_in_each_family(names: Names, resolving: Resolving) -> None:
    targets = [WEB, WEB._replace(port=443), WEB._replace(label="web"), WEB._replace(family=4), MAIL]
    targets.append(MAIL._replace(family=6))

    found = resolving(targets, far())

    assert found == {t: FIRST if t.host == WEB.host else SECOND for t in targets}
    unspecified = [(host, socket.AF_UNSPEC) for host in (WEB.host, MAIL.host)]
    insisted = [(WEB.host, socket.AF_INET), (MAIL.host, socket.AF_INET6)]
    assert sorted(names.asked) == sorted(unspecified + insisted)


@pytest.mark.parametrize(
    ("answer", "family", "said"),
    [
        (socket.gaierror(-2, "Not known"), None, "cannot resolve web.example: Not known; check "),
        (socket.gaierror(-2, "No"), 6, "cannot resolve web.example to IPv6: No; check the name"),
        (UnicodeError("too long"), None, "cannot resolve web.example: not a name; check the name"),
        (["fe80::1"], None, "web.example resolves to an unusable address: host 'fe80::1' is link"),
    ],
    ids=["unknown", "unknown-in-a-family", "not-a-name", "unusable"],
)
@each_way
def test_a_name_that_does_not_resolve_is_its_targets_error_alone(
    names: Names, resolving: Resolving, answer: Any, family: int, said: str
) -> None:
    names.answers["web.example"] = answer
    bad = WEB._replace(family=family)

    found = resolving([bad, MAIL], far())

    assert found[MAIL] == SECOND
    assert isinstance(found[bad], CheckError)
    assert str(found[bad]).startswith(said)


def test_a_resolver_that_hangs_costs_no_more_than_the_deadline(names: Names) -> None:
    names.hold("web.example")
    address, started = Target("192.0.2.26", 25), time.monotonic()

    found = resolve([WEB, MAIL, address], started + 0.2)

    assert time.monotonic() - started < 25
    assert "no time left for resolving names; raise --timeout" in str(found[WEB])
    assert (found[MAIL], found[address]) == (SECOND, Address("192.0.2.26", 4))


# -- round after round --------------------------------------------------------------------------


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a round wait for half a second only, and an answer be old after as long."""
    monkeypatch.setattr(module, "_FRESH", 0.5)


@pytest.mark.usefixtures("_impatient")
def test_a_slow_name_costs_the_others_nothing_and_is_found_by_the_same_question(
    names: Names,
) -> None:
    late, may_answer = threading.Event(), names.hold("web.example")
    resolver = Resolver(late.set)

    for _ in range(3):
        began = time.monotonic()
        found = resolver.resolve([WEB, MAIL], far())
        assert time.monotonic() - began < 5
        assert found[MAIL] == SECOND
        assert re.search(
            r"cannot resolve web\.example yet: no answer for [0-9] s;", str(found[WEB])
        )
        assert "--" not in str(found[WEB]), "no option gives a resolver more time"
    assert not late.is_set()
    may_answer.set()
    assert late.wait(10), "who waits for the name is to know at once"

    assert resolver.resolve([WEB, MAIL], far())[WEB] == FIRST
    assert names.times_asked("web.example") == 1


def test_a_round_waits_for_a_look_up_only_once(names: Names) -> None:
    resolver = Resolver()
    names.hold("web.example")

    began = time.monotonic()
    resolver.resolve([WEB], far())
    middle = time.monotonic()
    resolver.resolve([WEB], far())

    assert middle - began >= module._FRESH > time.monotonic() - middle


def test_a_name_is_asked_for_once_a_second_however_many_rounds_there_are(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FRESH", 10.0)  # as long as a busy machine may take
    late = threading.Event()
    resolver = Resolver(late.set)

    for _ in range(20):
        assert resolver.resolve([WEB, WEB._replace(port=443)], far())[WEB] == FIRST

    assert names.times_asked("web.example") == 1
    assert not late.is_set(), "a quick answer is no late one"


@pytest.mark.usefixtures("_impatient")
def test_another_address_is_noticed(names: Names) -> None:
    resolver = Resolver()
    assert resolver.resolve([WEB], far()) == {WEB: FIRST}
    names.answers["web.example"] = [SECOND.text]

    end = far()
    while resolver.resolve([WEB], far()) != {WEB: SECOND}:
        assert time.monotonic() < end


def test_the_last_answer_is_good_while_the_next_is_awaited_but_not_forever(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()
    monkeypatch.setattr(module, "_FRESH", 10.0)  # as long as a busy machine may take
    assert resolver.resolve([WEB], far()) == {WEB: FIRST}
    names.hold("web.example")
    monkeypatch.setattr(module, "_FRESH", 0.5)

    end = far()
    while names.times_asked("web.example") < 2:
        assert resolver.resolve([WEB], far()) == {WEB: FIRST}
        assert time.monotonic() < end
    assert resolver.resolve([WEB], far()) == {WEB: FIRST}
    monkeypatch.setattr(module, "_STALE", 0.0)

    assert isinstance(resolver.resolve([WEB], far())[WEB], CheckError)


# -- service names ------------------------------------------------------------------------------


def test_ports_have_the_names_that_the_system_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def service(port: int, protocol: str) -> str:
        """Stand in for socket.getservbyport: not every system has a services file."""
        if (port, protocol) == (4711, "tcp"):
            raise OSError("port/proto not found")
        return {(25, "tcp"): "smtp", (80, "tcp"): "http"}[port, protocol]

    monkeypatch.setattr(socket, "getservbyport", service)

    assert service_names([25, 80, 25, 4711], far()) == {25: "smtp", 80: "http"}


def test_a_services_database_that_hangs_only_costs_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getservbyport", lambda *_: str(released.wait(30)))
    try:
        assert service_names([25], time.monotonic() + 0.05) == {}
    finally:
        released.set()
