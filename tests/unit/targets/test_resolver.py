"""Names that are resolved round after round: what outlasts one, how old an answer may be."""

import socket
import threading
import time
from typing import Any, Dict, Iterator, List

import pytest

from halfopen.errors import CheckError
from halfopen.model import Address, Target
from halfopen.targets import resolve
from halfopen.targets.resolve import Resolver

WEB, MAIL = Target("web.example", 80), Target("mail.example", 25)
FIRST, SECOND = Address("192.0.2.1", 4), Address("192.0.2.2", 4)


class Names:
    """Stands in for the system's resolver: each question waits until it may be answered."""

    def __init__(self) -> None:
        self.answers: Dict[str, str] = {"web.example": FIRST.text, "mail.example": SECOND.text}
        self.asked: List[str] = []
        self.may_answer = {name: threading.Event() for name in self.answers}
        for event in self.may_answer.values():
            event.set()

    def __call__(self, host: str, *_: object) -> List[Any]:
        self.asked.append(host)
        assert self.may_answer[host].wait(30)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.answers[host], 0))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    for event in names.may_answer.values():
        event.set()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a round wait for half a second only, and an answer be old after as long."""
    monkeypatch.setattr(resolve, "_FRESH", 0.5)


def far() -> float:
    """Return a deadline that is not the point of a test."""
    return time.monotonic() + 10


@pytest.mark.usefixtures("_impatient")
def test_a_slow_name_costs_the_others_nothing_and_is_found_by_the_same_question(
    names: Names,
) -> None:
    late = threading.Event()
    resolver = Resolver(late.set)
    names.may_answer["web.example"].clear()

    for _ in range(3):
        began = time.monotonic()
        found = resolver.resolve([WEB, MAIL], far())
        assert time.monotonic() - began < 5
        assert found[MAIL] == SECOND
        assert "cannot resolve web.example yet: no answer for " in str(found[WEB])
        assert "--" not in str(found[WEB]), "no option gives a resolver more time"
    assert not late.is_set()
    names.may_answer["web.example"].set()
    assert late.wait(10), "who waits for the name is to know at once"

    assert resolver.resolve([WEB, MAIL], far())[WEB] == FIRST
    assert names.asked.count("web.example") == 1


def test_a_round_waits_for_a_look_up_only_once(names: Names) -> None:
    resolver = Resolver()
    names.may_answer["web.example"].clear()

    took = []
    for _ in range(2):
        began = time.monotonic()
        resolver.resolve([WEB], far())
        took.append(time.monotonic() - began)

    assert took[0] >= resolve._FRESH
    assert took[1] < resolve._FRESH


def test_a_quick_answer_is_no_late_one(names: Names) -> None:
    late = threading.Event()

    assert Resolver(late.set).resolve([WEB], far()) == {WEB: FIRST}
    assert not late.is_set()
    assert names.asked == ["web.example"]


def test_a_name_is_asked_for_once_a_second_however_many_rounds_there_are(names: Names) -> None:
    resolver = Resolver()

    for _ in range(20):
        assert resolver.resolve([WEB, WEB._replace(port=443)], far())[WEB] == FIRST

    assert names.asked == ["web.example"]


@pytest.mark.usefixtures("_impatient")
def test_another_address_is_noticed(names: Names) -> None:
    resolver = Resolver()
    assert resolver.resolve([WEB], far()) == {WEB: FIRST}
    names.answers["web.example"] = SECOND.text

    end = far()
    while resolver.resolve([WEB], far()) != {WEB: SECOND}:
        assert time.monotonic() < end


@pytest.mark.usefixtures("_impatient")
def test_the_last_answer_is_good_while_the_next_is_awaited_but_not_forever(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()
    monkeypatch.setattr(resolve, "_FRESH", 10.0)  # as long as a busy machine may take
    assert resolver.resolve([WEB], far()) == {WEB: FIRST}
    names.may_answer["web.example"].clear()
    monkeypatch.setattr(resolve, "_FRESH", 0.5)

    end = far()
    while len(names.asked) < 2:
        assert resolver.resolve([WEB], far()) == {WEB: FIRST}
        assert time.monotonic() < end
    assert resolver.resolve([WEB], far()) == {WEB: FIRST}
    monkeypatch.setattr(resolve, "_STALE", 0.0)

    assert isinstance(resolver.resolve([WEB], far())[WEB], CheckError)


def test_a_name_that_does_not_resolve_is_an_error_that_says_why(names: Names) -> None:
    del names.answers["web.example"]

    (error,) = Resolver().resolve([WEB], far()).values()

    assert str(error).startswith("cannot resolve web.example: Temporary failure")


def test_addresses_need_no_resolver(names: Names) -> None:
    target = Target("192.0.2.25", 25)

    assert Resolver().resolve([target], far()) == {target: Address("192.0.2.25", 4)}
    assert names.asked == []
