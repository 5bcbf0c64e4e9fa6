"""Which checks start nmap before all else is loaded: those of one address, known at once.

Loading Python's modules takes half as long as the scan; loaded while it runs, they cost nothing.
check.py builds its command as ever, and runner.py takes the early run if it has the very same
arguments; if not, it is killed, and another started.
"""

import os
import time

from halfopen.errors import HalfopenError
from halfopen.scan import command as nmap
from halfopen.scan import head_start, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

    from halfopen.cli.options import Command
    from halfopen.cli.values import Values
    from halfopen.targets.parse import Parse

LEAST_TIMEOUT = 1.2
"""Seconds. With less, how long nmap waits for an answer depends on the time that is left
(attempts.py), and that is not known before everything is loaded."""


def start_plain(program: str, typed: "Sequence[str]") -> bool:
    """Start nmap if the command line is but an IPv4 address and a number; return whether it is.

    Before options.py is loaded, which takes 2 ms: it is the commonest check.
    """
    words = typed[1:] if program == "halfopen" and typed[:1] == ["check"] else typed
    counts = (2,) if words is not typed else (2, 4) if program != "halfopen" else ()
    if len(words) not in counts or any(word[:1] == "-" for word in words):
        return False
    host, port = words[-2:]
    if not _is_ipv4(host) or not _is_number(port, 1, 65535):
        return False
    now = time.monotonic()
    time_left = head_start.began + head_start.TIMEOUT - now
    try:
        caller = process.calling(os.environ.get("HALFOPEN_NMAP") or "nmap", False)
    except HalfopenError:
        return False  # the check comes upon it again, and says so
    process.start_early([*caller, *nmap.argv([host], [int(port)], time_left=time_left)], now)
    return True


def argv(command: "Command", values: "Values", began: float, now: float) -> "List[str]":
    """Return the nmap command that check.py will build first; empty if that can't be foreseen.

    `began`, `now`: when the time limit began, and that of which the rest is reckoned
    (`time.monotonic` seconds). Raises HopelessError if there is no nmap, or no sudo.
    """
    form = None
    if values["format"] is not None:
        from halfopen.formats.registry import FORMATS  # noqa: PLC0415  loaded to read the name

        form = FORMATS[values["format"]]
    timeout = values["timeout"] or (form.timeout if form else head_start.TIMEOUT)
    asked = _asked(values, form and form.parse, plugin=command.name != "check")
    if asked is None or timeout < LEAST_TIMEOUT:
        return []
    host, port = asked
    address, version = _address(host)
    if not version or not _is_number(port, 1, 65535) or values["family"] not in (None, version):
        return []
    time_left, plus_one = began + timeout - now, values["plus_one"]
    return [
        *process.calling(values["nmap"] or "nmap", values["sudo"]),
        *nmap.argv([address], [int(port)], time_left=time_left, plus_one=plus_one),
    ]


def _asked(
    values: "Values", parse: "Optional[Parse]", *, plugin: bool
) -> "Optional[Tuple[str, str]]":
    """Return the host and the port that are asked about, if it is one target."""
    host, port, arguments = values["hostname"], values["port"], values["arguments"]
    if values["targets"] is not None:
        return None
    if host is not None or port is not None:
        return None if arguments or None in (host, port) else (host, port)
    if parse is not None:
        from halfopen.targets.parse import balancer_words, parse_balancer_words  # noqa: PLC0415

        plugin = True
        arguments = balancer_words(arguments) if parse is parse_balancer_words else arguments
    if plugin:
        return arguments[-2:] if len(arguments) in (2, 4) else None
    if len(arguments) == 1:
        host, _, port = arguments[0].rpartition(":")
        return (host, port) if host[:1] == "[" or ":" not in host else None
    return arguments if len(arguments) == 2 and arguments[0][:1] != "[" else None


def _address(host: str) -> "Tuple[str, int]":
    """Return the address that the host is, as targets/parse.py has it, and its version; else 0."""
    if host[:1] == "[" and host[-1:] == "]":
        host = host[1:-1]
        if ":" not in host:
            return "", 0
    if ":" not in host:
        return host, 4 if _is_ipv4(host) else 0
    import _socket  # noqa: PLC0415  socket itself takes 4 ms

    try:
        text = _socket.inet_ntop(_socket.AF_INET6, _socket.inet_pton(_socket.AF_INET6, host))
    except (OSError, ValueError):
        return "", 0
    if text.startswith("::ffff:") and "." in text:  # F5's form of IPv4
        return text[7:], 4 if _is_ipv4(text[7:]) else 0
    several = text == "::" or text.startswith(("ff", "fe8", "fe9", "fea", "feb"))
    return text, 0 if several else 6


def _is_ipv4(text: str) -> bool:
    """Return whether the text is an address in canonical form that one host can have."""
    numbers = text.split(".")
    return (
        len(numbers) == 4
        and _is_number(numbers[0], 1, 223)
        and all(_is_number(number, 0, 255) for number in numbers)
    )


def _is_number(text: str, least: int, most: int) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) <= 5
    return digits and str(int(text)) == text and least <= int(text) <= most
