"""Names to addresses, and ports to service names: everything that asks the system's databases."""

import functools
import socket
import time
from typing import Callable, Dict, List, Sequence, Union

from halfopen.deadline import Call, Calls, call_all_by, call_by
from halfopen.errors import CheckError, UsageError
from halfopen.model import Address, Target
from halfopen.targets.parse import ip_version, parse_host

_AF = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


_FRESH = 1.0
"""Seconds after which a name is looked up again; as long does a round wait for a look-up."""

_STALE = 60.0
"""Seconds for which an answer is good while a newer one is on its way."""

Found = Dict[Target, Union[Address, CheckError]]


def resolve(targets: Sequence[Target], deadline: float) -> Found:
    """Return the address of each target: the first that the system gives, in RFC 6724's order.

    A name that does not resolve, or not by `deadline` (`time.monotonic` seconds), has a
    CheckError. An IP address is its own.
    """
    names = _names(targets)
    answers = call_all_by(
        [functools.partial(_look_up, name) for name in names], deadline, "resolving names"
    )
    return _answered(targets, dict(zip(names, answers)))


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
        names, now = _names(targets), time.monotonic()
        for name in names:
            newest = self._newest.get(name)
            if newest is None or (newest.ended is not None and now - newest.ended > _FRESH):
                self._newest[name] = self._calls.start(functools.partial(self._look_up, name, now))
        begun = [self._newest[name] for name in names]
        awaited = [call for call in begun if now - call.began < _FRESH]
        self._calls.wait(awaited, min(deadline, now + _FRESH))
        return _answered(targets, {name: self._answer(name) for name in names})

    def _look_up(self, name: Target, began: float) -> Address:
        address = _look_up(name)
        if time.monotonic() - began > _FRESH:
            self._on_late()
        return address

    def _answer(self, name: Target) -> Union[Address, CheckError]:
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


def _names(targets: Sequence[Target]) -> List[Target]:
    """Return what the resolver has to be asked, each once: two ports of one name are one."""
    named = [target for target in targets if ip_version(target.host) is None]
    return list({_question(target): None for target in named})


def _question(target: Target) -> Target:
    return target._replace(port=0, label="")


def _answered(targets: Sequence[Target], answers: Found) -> Found:
    found: Found = {}
    for target in targets:
        version = ip_version(target.host)
        if version is None:
            found[target] = answers[_question(target)]
        else:
            found[target] = _with_interface(Address(target.host, version))
    return found


def _with_interface(address: Address) -> Union[Address, CheckError]:
    try:
        if address.zone:
            socket.if_nametoindex(address.zone)
    except OSError:
        return CheckError(f"there is no interface {address.zone!r} here; see ip link")
    return address


def _look_up(target: Target) -> Address:
    try:
        info = socket.getaddrinfo(
            target.host, None, _AF[target.family], socket.SOCK_STREAM, socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a name"
        raise CheckError(
            "cannot resolve {}{}: {}; check the name and the resolver (getent hosts {})".format(
                target.host,
                "" if target.family is None else f" to IPv{target.family}",
                why,
                target.host,
            )
        ) from error
    try:
        text = parse_host(str(info[0][4][0]))
    except UsageError as error:  # a link-local address without its zone, from /etc/hosts say
        raise CheckError(f"{target.host} resolves to an unusable address: {error}") from error
    return Address(text, ip_version(text) or 4, len({each[4] for each in info}))


def service_names(ports: Sequence[int], deadline: float) -> Dict[int, str]:
    """Return the TCP service names that the system knows; a port without one is left out."""
    unique = sorted(set(ports))

    def look_up() -> Dict[int, str]:
        # One after the other: getservbyport's answer lies in memory that all threads share.
        return {port: name for port, name in ((p, _service_name(p)) for p in unique) if name}

    try:
        return call_by(look_up, deadline, "service names")
    except CheckError:
        return {}  # an ornament, not worth a verdict


def _service_name(port: int) -> str:
    try:
        return socket.getservbyport(port, "tcp")
    except OSError:
        return ""
