"""Words from outside to a valid Target, or a clear error. Nothing else reaches nmap's argv."""

import os
import re
import socket
from typing import Callable, Iterable, List, Optional, Sequence, Tuple

from halfopen.errors import LineError, UsageError
from halfopen.model import Target

# Patterns are compiled where they are first used: an IP address and a number need none of them.
# RFC 1123 labels, with the underscore that container networks use in names.
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z"
_MAX_NAME = 253  # RFC 1035, 2.3.4, as written: 255 octets less the length of the first and last
_ZONE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z"  # an interface's name, IFNAMSIZ less one
_LABEL_OF_USER = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}\Z"
_SERVICE = r"[A-Za-z0-9][A-Za-z0-9_+.*/-]{0,62}\Z"
_SEVERAL_PORTS = r"\*\Z|[0-9]+([:,-][0-9]+)+\Z"
_MOST_BAD_LINES = 100  # a file that has as many is a log, or a program, and names no targets
_FAMILIES = ((4, socket.AF_INET), (6, socket.AF_INET6))


Parse = Callable[[Sequence[str], Optional[int]], List[Target]]
"""Words, and the family to insist on, to targets: parse_plugin_words, parse_targets, ..."""


def ip_version(host: str) -> Optional[int]:
    """Return 4 or 6 for an IP address, None for a name."""
    address = host.split("%", 1)[0]
    for version, family in _FAMILIES:
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):  # ValueError: a NUL or a character outside ASCII
            continue
        return version
    return None


def canonical_ip(word: str) -> Optional[str]:
    """Return an IP address in canonical form, with its zone if it has one; None for no address."""
    version = ip_version(word)
    if version == 6:
        address, percent, zone = word.partition("%")
        packed = socket.inet_pton(socket.AF_INET6, address)
        return socket.inet_ntop(socket.AF_INET6, packed) + percent + zone
    return word if version == 4 and "%" not in word else None


def parse_host(word: str) -> str:
    """Return a valid host name, or an IP address in canonical form.

    An IPv4-mapped IPv6 address (::ffff:192.0.2.25, as F5 passes) becomes the IPv4 address.
    Raises UsageError for everything else: ranges, networks, options, control characters.
    """
    address = canonical_ip(word)
    return _usable_name(word) if address is None else _usable_ip(word, address)


def _usable_ip(word: str, address: str) -> str:
    bare, percent, zone = address.partition("%")
    if bare.startswith("::ffff:") and "." in bare:
        if percent:
            raise UsageError(f"host {word!r}: an IPv4 address has no zone")
        return _one_host(word, bare[len("::ffff:") :])
    if percent and not re.match(_ZONE, zone):
        raise UsageError(f"host {word!r}: after '%' goes the name of an interface")
    link_local = bool(re.match("fe[89ab][0-9a-f]:", bare))  # fe80::/10
    if link_local and not percent:
        raise UsageError(f"host {word!r} is link-local; name the interface, as {bare}%eth0")
    if percent and not link_local:
        raise UsageError(f"host {word!r} is not link-local; leave out the zone, %{zone}")
    return _one_host(word, bare) + percent + zone


def _one_host(word: str, address: str) -> str:
    """Return the address; raise UsageError if no single host can have it."""
    first = address.partition(".")[0]
    several = first == "0" or int(first) >= 224 if first.isdigit() else address.startswith("ff")
    if several or address == "::":
        raise UsageError(f"host {word!r} is unspecified, multicast or broadcast; give one host's")
    return address


def _usable_name(word: str) -> str:
    shown = _shortened(word)
    if not word:
        raise UsageError("the host is empty; give a name or an IP address")
    if word.startswith("-"):
        raise UsageError(f"host {shown!r} begins with '-'; give a name or an IP address")
    if "/" in word:
        raise UsageError(f"host {shown!r} is a network; give one name or IP address")
    if not word.isascii():
        raise UsageError(f"host {shown!r} is not ASCII; write an international name as xn--...")
    labels = (word[:-1] if word.endswith(".") else word).split(".")
    if len(word.rstrip(".")) > _MAX_NAME or not all(re.match(_LABEL, label) for label in labels):
        raise UsageError(
            f"host {shown!r} is neither an IP address nor a name: letters, digits and '-', up to "
            "63 between dots and 253 in all"
        )
    # The C library reads such words as numbers (10.1, 0x7f000001); nmap reads ranges (10.0.0.1-9).
    if not re.search("[A-Za-z]", labels[-1]) or re.match("0[xX][0-9A-Fa-f]*$", labels[-1]):
        raise UsageError(
            f"host {shown!r} is not one IP address; an IPv4 address is four numbers from 0 to "
            "255, without leading zeros"
        )
    return word


def parse_port(word: str) -> int:
    """Return the port's number, 1 to 65535; a name is looked up for tcp in the system's services.

    Raises UsageError otherwise.
    """
    if word.isascii() and word.isdigit():
        number = int(word) if len(word) <= 5 else 65536
        if 1 <= number <= 65535:
            return number
        raise UsageError(f"port {_shortened(word)!r} is out of range; ports are 1 to 65535")
    if re.match(_SEVERAL_PORTS, word):
        raise UsageError(
            f"port {_shortened(word)!r} is not one port (Farmguardian passes this for a farm with "
            "several ports); write the one port to check in place of PORT"
        )
    if not word:
        raise UsageError("the port is empty; give a number from 1 to 65535")
    if re.match(_SERVICE, word):
        try:
            return socket.getservbyname(word, "tcp")
        except OSError:
            pass
    raise UsageError(
        f"port {_shortened(word)!r} is neither a number from 1 to 65535 nor a TCP service that "
        "this system knows"
    )


def make(host: str, port: str, family: Optional[int] = None) -> Target:
    """Return the Target of two words; raise UsageError if one is bad or not of `family`."""
    valid_host = parse_host(_unbracketed(host))
    version = ip_version(valid_host)
    if family is not None and version not in (None, family):
        raise UsageError(f"host {host!r} is an IPv{version} address, but -{family} was given")
    return Target(valid_host, parse_port(port), family)


def _unbracketed(host: str) -> str:
    """Return an IPv6 address without its brackets: ldirectord passes it with them."""
    bare = host[1:-1]
    return bare if host == f"[{bare}]" and ip_version(bare) == 6 else host


def parse_plugin_words(words: Sequence[str], family: Optional[int] = None) -> List[Target]:
    """Return the target of `HOST PORT`, or of `VIP VPORT RIP RPORT`.

    The four words are HAProxy's and ldirectord's; VIP and VPORT (NOT_USED in a HAProxy backend)
    say nothing about the server and are not looked at. Raises UsageError for any other number.
    """
    if len(words) not in (2, 4):
        # Farmguardian has a shell run the command; the shell makes file names of the port `*`.
        farm = "; or a farm's port is *: write one port in place of PORT" if len(words) > 4 else ""
        given = f"{len(words) or 'no'} argument" + "s" * (len(words) != 1)
        raise UsageError(
            f"{given} given; give HOST PORT, or VIP VPORT RIP RPORT, or -H HOST -p PORT{farm}"
        )
    return [make(words[-2], words[-1], family)]


def parse_balancer_words(words: Sequence[str], family: Optional[int] = None) -> List[Target]:
    """Return the target of a load balancer's words; raise UsageError as parse_plugin_words does."""
    return parse_plugin_words(balancer_words(words), family)


def balancer_words(words: Sequence[str]) -> Sequence[str]:
    """Return the words; without any, the two of HAProxy's environment if it has them."""
    address, port = (os.environ.get(f"HAPROXY_SERVER_{name}") for name in ("ADDR", "PORT"))
    return words if words or address is None or port is None else (address, port)


def parse_targets(words: Sequence[str], family: Optional[int] = None) -> List[Target]:
    """Return the targets: each HOST:PORT, [IPV6]:PORT, or the two arguments HOST PORT.

    Raises UsageError for a wrong one, a host without a port, or none at all.
    """
    targets: List[Target] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        host, port = _split(word)
        if port is None:
            if not rest:
                raise UsageError(
                    f"{_shortened(word)!r} has no port; write HOST:PORT, [IPV6]:PORT or HOST PORT"
                )
            port = rest.pop(0)
        if "," in port:
            _refuse_several(host, port)
        targets.append(make(host, port, family))
    if not targets:
        raise UsageError("no target given; write HOST:PORT, [IPV6]:PORT or HOST PORT")
    return targets


def _refuse_several(host: str, port: str) -> None:
    """Raise UsageError for a list of ports; say what to write."""
    ports = port.split(",")
    if all(each.isascii() and each.isdigit() and len(each) <= 5 for each in ports):
        valid = parse_host(host)
        shown = [str(Target(valid, int(each))) for each in ports[:8]] + ["..."][: len(ports) > 8]
        raise UsageError("one port a target: {}".format(" ".join(shown)))


class BadLinesError(UsageError):
    """A targets file has bad lines, but not too many; the text is the first one's."""

    def __init__(self, errors: Sequence[LineError], targets: Sequence[Target]) -> None:
        super().__init__(str(errors[0]))
        self.errors = errors
        self.targets = targets
        """What the good lines name."""


def parse_lines(lines: Iterable[str], source: str, family: Optional[int] = None) -> List[Target]:
    """Return the targets of a targets file: one a line, or LABEL = TARGET; `#` begins a comment.

    Raises BadLinesError, naming `source` and the line's number, if some lines are bad; UsageError
    for an empty file, or one that is none of targets.
    """
    targets: List[Target] = []
    errors: List[LineError] = []
    for number, line in enumerate(lines, 1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        label, equals, target = text.rpartition("=")
        try:
            valid_label = _parse_label(label.strip()) if equals else ""
            first, *others = parse_targets(target.split(), family)
            if others:
                raise UsageError("it has more than one target; write one a line")  # noqa: TRY301
            targets.append(first._replace(label=valid_label))
        except UsageError as error:
            # A byte that is not UTF-8.
            latin = "; the file looks like Latin-1: save it as UTF-8" * ("\\udc" in str(error))
            errors.append(LineError(source, number, f"{error}{latin}"))
            if len(errors) == _MOST_BAD_LINES:
                raise errors[0] from None
    if errors:
        raise BadLinesError(errors, targets)
    if not targets:
        raise UsageError(f"{source} names no target; write one a line, as HOST:PORT")
    return targets


def _parse_label(word: str) -> str:
    if not re.match(_LABEL_OF_USER, word):
        raise UsageError(
            f"label {_shortened(word)!r}: up to 40 letters, digits, spaces and ._- go before '='"
        )
    return word


def _split(word: str) -> Tuple[str, Optional[str]]:
    """Return host and port of HOST:PORT or [IPV6]:PORT; the port is None if the word has none."""
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ip_version(host) != 6:
            raise UsageError(
                f"{_shortened(word)!r}: square brackets go round an IPv6 address, as "
                "[2001:db8::25]:25"
            )
        return host, rest[1:] if rest else None
    if word.count(":") != 1:
        if word.count(":") > 1 and ip_version(word) is None:
            raise UsageError(f"{_shortened(word)!r} is neither HOST:PORT nor an IPv6 address")
        return word, None
    host, port = word.split(":")
    return host, port


def _shortened(word: str) -> str:
    return word if len(word) <= 60 else word[:57] + "..."
