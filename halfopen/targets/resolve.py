"""Names to addresses, and ports to service names: everything that asks the system's databases."""

import socket
from typing import Dict, List, Sequence, Union

from halfopen.deadline import call_all_by, call_by
from halfopen.errors import CheckError, UsageError
from halfopen.model import Address, Target
from halfopen.targets.parse import ip_version, parse_host

_AF = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


def resolve(targets: Sequence[Target], deadline: float) -> Dict[Target, Union[Address, CheckError]]:
    """Return the address of each target: the first that the system gives, in RFC 6724's order.

    A name that does not resolve, or not by `deadline` (`time.monotonic` seconds), has a
    CheckError. An IP address is its own.
    """
    found: Dict[Target, Union[Address, CheckError]] = {}
    named: List[Target] = []
    for target in targets:
        version = ip_version(target.host)
        if version is None:
            named.append(target)
        else:
            found[target] = _with_interface(Address(target.host, version))
    # Two ports of one name are one question.
    questions = list({target._replace(port=0, label="") for target in named})
    answers = dict(
        zip(
            questions,
            call_all_by(
                [lambda target=question: _look_up(target) for question in questions],  # type: ignore[misc]
                deadline,
                "resolving names",
            ),
        )
    )
    found.update({target: answers[target._replace(port=0, label="")] for target in named})
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
    return Address(text, ip_version(text) or 4)


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
