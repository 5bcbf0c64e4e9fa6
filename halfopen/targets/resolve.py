"""Names to addresses, and ports to service names: everything that asks the system's databases."""

import contextlib
import functools
import socket
import time
from typing import Callable, Dict, Sequence, Union

from halfopen.deadline import Call, Calls, call_all_by, call_by
from halfopen.errors import CheckError, UsageError
from halfopen.model import Address, Target
from halfopen.targets.parse import ip_version, parse_host

_AF = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


_FRESH = 1.0
"""Seconds after which a name is looked up again; as long does a round wait for a look-up."""

_STALE = 60.0
"""Seconds for which an answer is good while a newer one is on its way."""

Answer = Union[Address, CheckError]
Found = Dict[Target, Answer]


def resolve(targets: Sequence[Target], deadline: float) -> Found:
    """Return the address of each target: the first that the system gives, in RFC 6724's order.

    A name that does not resolve, or not by `deadline` (`time.monotonic` seconds), has a
    CheckError. An IP address is its own.
    """

    def ask(names: Sequence[Target]) -> Sequence[Answer]:
        calls = [functools.partial(_look_up, name) for name in names]
        return call_all_by(calls, deadline, "resolving names")

    return _found(targets, ask)


class Resolver:
    """Resolves names round after round: a look-up that takes long outlasts the round.

    `on_late` is called, in another thread, when one succeeds for which no round is waiting.
    """

    def __init__(self, on_late: Callable[[], None] = lambda: None) -> None:
        self._on_late = on_late
        self._calls = Calls("resolving names")
        self._newest: Dict[Target, Call[Address]] = {}
        self._answered: Dict[Target, Call[Address]] = {}

    def resolve(self, targets: Sequence[Target], deadline: float) -> Found:
        """Return what the function of this name does; wait for a look-up a second at most."""
        return _found(targets, lambda names: self._ask(names, deadline))

    def _ask(self, names: Sequence[Target], deadline: float) -> Sequence[Answer]:
        now = time.monotonic()
        for name in names:
            newest = self._newest.get(name)
            if newest is None or (newest.ended is not None and now - newest.ended > _FRESH):
                self._newest[name] = self._calls.start(functools.partial(self._look_up, name, now))
        begun = [self._newest[name] for name in names]
        awaited = [call for call in begun if now - call.began < _FRESH]
        self._calls.wait(awaited, min(deadline, now + _FRESH))
        return [self._answer(name) for name in names]

    def _look_up(self, name: Target, began: float) -> Address:
        address = _look_up(name)
        if time.monotonic() - began > _FRESH:
            self._on_late()
        return address

    def _answer(self, name: Target) -> Answer:
        newest, now = self._newest[name], time.monotonic()
        if newest.ended is not None:
            self._answered[name] = newest
        answered = self._answered.get(name)
        if answered is not None and now - (answered.ended or 0.0) < _STALE:
            return answered.result  # type: ignore[return-value]
        return CheckError(
            f"cannot resolve {name.host} yet: no answer for {now - newest.began:.0f} s; "
            f"check the resolver (getent hosts {name.host})"
        )


def _found(targets: Sequence[Target], ask: Callable[[Sequence[Target]], Sequence[Answer]]) -> Found:
    """Return each target's address; `ask` is given each name once, for two ports of it are one."""
    named = {t: t._replace(port=0, label="") for t in targets if ip_version(t.host) is None}
    names = list(dict.fromkeys(named.values()))
    answers = dict(zip(names, ask(names)))
    return {t: answers[named[t]] if t in named else _own_address(t.host) for t in targets}


def _own_address(host: str) -> Answer:
    address = Address(host, ip_version(host) or 4)
    try:
        if address.zone:
            socket.if_nametoindex(address.zone)
    except OSError:
        return CheckError(f"there is no interface {address.zone!r} here; see ip link")
    return address


def _look_up(target: Target) -> Address:
    host, family = target.host, target.family
    try:
        info = socket.getaddrinfo(host, None, _AF[family], socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        to = "" if family is None else f" to IPv{family}"
        why = error.strerror if isinstance(error, OSError) else "not a name"
        advice = f"check the name and the resolver (getent hosts {host})"
        raise CheckError(f"cannot resolve {host}{to}: {why}; {advice}") from error
    try:
        text = parse_host(str(info[0][4][0]))
    except UsageError as error:  # a link-local address without its zone, from /etc/hosts say
        raise CheckError(f"{host} resolves to an unusable address: {error}") from error
    return Address(text, ip_version(text) or 4, len({each[4] for each in info}))


def service_names(ports: Sequence[int], deadline: float) -> Dict[int, str]:
    """Return the TCP service names that the system knows; a port without one is left out."""

    def look_up() -> Dict[int, str]:
        # One after the other: getservbyport's answer lies in memory that all threads share.
        found: Dict[int, str] = {}
        for port in sorted(set(ports)):
            with contextlib.suppress(OSError):
                found[port] = socket.getservbyport(port, "tcp")
        return found

    try:
        return call_by(look_up, deadline, "service names")
    except CheckError:
        return {}  # an ornament, not worth a verdict
