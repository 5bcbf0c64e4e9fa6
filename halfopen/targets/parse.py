"""Words from outside to a valid Target, or a clear error. Nothing else reaches nmap's argv."""

import os
import re
import socket
from typing import Callable, Iterable, List, Optional, Sequence, Tuple

from halfopen.errors import LineError, UsageError
from halfopen.model import Target

# Patterns are compiled where they are first used: an IP address and a number need none of them.
# RFC 1123 labels, with the underscore that container networks use in names.
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"({_LABEL}\.)*{_LABEL}\Z"
_MAX_NAME = 253  # RFC 1035, 2.3.4, as written: 255 octets less the length of the first and last
_ZONE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z"  # an interface's name, IFNAMSIZ less one
_LABEL_OF_USER = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}\Z"
_SERVICE = r"[A-Za-z0-9][A-Za-z0-9_+.*/-]{0,62}\Z"
_SEVERAL_PORTS = r"\*\Z|[0-9]+([:,-][0-9]+)+\Z"
_LIST_OF_PORTS = r"[0-9]{1,5}(,[0-9]{1,5})+\Z"
_FORMS = "HOST:PORT, [IPV6]:PORT or HOST PORT"
_EXAMPLE = "[2001:db8::25]:25"
_MOST_BAD_LINES = 100  # a file that has as many is a log, or a program, and names no targets


Parse = Callable[[Sequence[str], Optional[int]], List[Target]]
"""Words, and the family to insist on, to targets: parse_plugin_words, parse_targets, ..."""


def _refuse(wrong: object, text: str) -> None:
    """Raise UsageError with the text if something is wrong."""
    if wrong:
        raise UsageError(text)


def canonical_ip(word: str) -> Optional[str]:
    """Return an IP address in canonical form, with its zone if it has one; None for no address."""
    family = socket.AF_INET6 if ":" in word else socket.AF_INET
    address, percent, zone = word.partition("%") if ":" in word else (word, "", "")
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address)) + percent + zone
    except (OSError, ValueError):  # ValueError: a NUL or a character outside ASCII
        return None


def ip_version(host: str) -> Optional[int]:
    """Return 4 or 6 for an IP address, None for a name."""
    address = canonical_ip(host)
    return None if address is None else 6 if ":" in address else 4


def parse_host(word: str) -> str:
    """Return a valid host name, or an IP address in canonical form.

    An IPv4-mapped IPv6 address (::ffff:192.0.2.25, as F5 passes) becomes the IPv4 address.
    Raises UsageError for everything else: ranges, networks, options, control characters.
    """
    address = canonical_ip(word)
    return _usable_name(word) if address is None else _usable_ip(word, address)


def _usable_ip(word: str, address: str) -> str:
    host = f"host {word!r}"
    bare, percent, zone = address.partition("%")
    if bare.startswith("::ffff:") and "." in bare:
        _refuse(percent, f"{host}: an IPv4 address has no zone")
        bare = bare[len("::ffff:") :]
    bad_zone = percent and not re.match(_ZONE, zone)
    _refuse(bad_zone, f"{host}: after '%' goes the name of an interface")
    link_local = bool(re.match("fe[89ab][0-9a-f]:", bare))  # fe80::/10
    _refuse(link_local and not percent, f"{host} is link-local; name the interface, as {bare}%eth0")
    _refuse(percent and not link_local, f"{host} is not link-local; leave out the zone, %{zone}")
    first = bare.partition(".")[0]
    several = first == "0" or int(first) >= 224 if first.isdigit() else re.match(r"ff|::\Z", bare)
    _refuse(several, f"{host} is unspecified, multicast or broadcast; give one host's")
    return bare + percent + zone


def _usable_name(word: str) -> str:
    host = f"host {_shortened(word)!r}"
    _refuse(not word, "the host is empty; give a name or an IP address")
    _refuse(word.startswith("-"), f"{host} begins with '-'; give a name or an IP address")
    _refuse("/" in word, f"{host} is a network; give one name or IP address")
    _refuse(not word.isascii(), f"{host} is not ASCII; write an international name as xn--...")
    name = word[:-1] if word.endswith(".") else word
    _refuse(
        len(name) > _MAX_NAME or not re.match(_NAME, name),
        f"{host} is neither an IP address nor a name: letters, digits and '-', up to 63 between "
        "dots and 253 in all",
    )
    # The C library reads such words as numbers (10.1, 0x7f000001); nmap reads ranges (10.0.0.1-9).
    last = name.rpartition(".")[2]
    _refuse(
        not re.search("[A-Za-z]", last) or re.match("0[xX][0-9A-Fa-f]*$", last),
        f"{host} is not one IP address; an IPv4 address is four numbers from 0 to 255, without "
        "leading zeros",
    )
    return word


def parse_port(word: str) -> int:
    """Return the port's number, 1 to 65535; a name is looked up for tcp in the system's services.

    Raises UsageError otherwise.
    """
    port = f"port {_shortened(word)!r}"
    if word.isascii() and word.isdigit():
        number = int(word) if len(word) <= 5 else 65536
        _refuse(not 1 <= number <= 65535, f"{port} is out of range; ports are 1 to 65535")
        return number
    _refuse(not word, "the port is empty; give a number from 1 to 65535")
    _refuse(
        re.match(_SEVERAL_PORTS, word),
        f"{port} is not one port (Farmguardian passes this for a farm with several ports); write "
        "the one port to check in place of PORT",
    )
    unknown = f"{port} is neither a number from 1 to 65535 nor a TCP service that this system knows"
    _refuse(not re.match(_SERVICE, word), unknown)
    try:
        return socket.getservbyname(word, "tcp")
    except OSError:
        raise UsageError(unknown) from None


def make(host: str, port: str, family: Optional[int] = None) -> Target:
    """Return the Target of two words; raise UsageError if one is bad or not of `family`."""
    valid_host = parse_host(_unbracketed(host))
    version = ip_version(valid_host) or family
    wrong = family not in (None, version)
    _refuse(wrong, f"host {host!r} is an IPv{version} address, but -{family} was given")
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
        forms = "HOST and PORT as two arguments, or VIP VPORT RIP RPORT, or -H HOST -p PORT"
        raise UsageError(f"{given} given; give {forms}{farm}")
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
    _refuse(not words, f"no target given; write {_FORMS}")
    targets: List[Target] = []
    rest = iter(words)
    for word in rest:
        host, port = _split(word)
        port = next(rest, None) if port is None else port
        if port is None:
            raise UsageError(f"{_shortened(word)!r} has no port; write {_FORMS}")
        if "," in port and re.match(_LIST_OF_PORTS, port):
            first, more = port.split(",")[:8], " ..." if port.count(",") > 7 else ""
            shown = " ".join(str(Target(parse_host(host), int(each))) for each in first)
            raise UsageError(f"one port a target: {shown}{more}")
        targets.append(make(host, port, family))
    return targets


def _split(word: str) -> Tuple[str, Optional[str]]:
    """Return host and port of HOST:PORT or [IPV6]:PORT; the port is None if the word has none."""
    end = word.find("]") + 1 if word.startswith("[") else 0
    host, colon, port = word[end:].partition(":")
    has_port = bool(colon) and ip_version(_unbracketed(word)) != 6
    host = word[:end] + host if has_port else word
    bare, shown = _unbracketed(host), repr(_shortened(word))
    if bare == host and word.startswith("["):
        raise UsageError(f"{shown}: square brackets go round an IPv6 address, as {_EXAMPLE}")
    if bare == host and has_port and ":" in port:
        raise UsageError(f"{shown} is neither HOST:PORT nor an IPv6 address")
    return bare, port if has_port else None


class BadLinesError(UsageError):
    """A targets file has bad lines, but not too many; the text is the first one's.

    `targets` are what the good lines name.
    """

    def __init__(self, errors: Sequence[LineError], targets: Sequence[Target]) -> None:
        super().__init__(str(errors[0]))
        self.errors, self.targets = errors, targets


def parse_lines(lines: Iterable[str], source: str, family: Optional[int] = None) -> List[Target]:
    """Return the targets of a targets file: one a line, or LABEL = TARGET; `#` begins a comment.

    Raises BadLinesError, naming `source` and the line's number, if some lines are bad; UsageError
    for an empty file, or one that is none of targets.
    """
    targets: List[Target] = []
    errors: List[LineError] = []
    for number, line in enumerate(lines, 1):
        label, equals, target = map(str.strip, line.partition("#")[0].rpartition("="))
        if not equals and not target:
            continue
        named = f"label {_shortened(label)!r}"
        bad = equals and not re.match(_LABEL_OF_USER, label)
        try:
            _refuse(bad, f"{named}: up to 40 letters, digits, spaces and ._- go before '='")
            first, *others = parse_targets(target.split(), family)
            _refuse(others, "it has more than one target; write one a line")
            targets.append(first._replace(label=label))
        except UsageError as error:
            # A byte that is not UTF-8.
            latin = "; the file looks like Latin-1: save it as UTF-8" * ("\\udc" in str(error))
            errors.append(LineError(source, number, f"{error}{latin}"))
            if len(errors) == _MOST_BAD_LINES:
                raise errors[0] from None
    if errors:
        raise BadLinesError(errors, targets)
    _refuse(not targets, f"{source} names no target; write one a line, as HOST:PORT")
    return targets


def _shortened(word: str) -> str:
    return word if len(word) <= 60 else word[:57] + "..."
