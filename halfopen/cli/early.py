"""Which checks start nmap before all else is loaded: those of addresses with one port.

Loading Python's modules takes half as long as the scan; loaded while it runs, they cost nothing.
check.py builds its command as ever, and runner.py takes each early run that has the very same
arguments; if one has others, they are killed, and others started.
"""

import os
import time

from halfopen.errors import HalfopenError
from halfopen.scan import command as nmap
from halfopen.scan import head_start, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Sequence, Tuple

    from halfopen.cli.values import Values
    from halfopen.targets.parse import Parse

LEAST_TIMEOUT = 1.2
"""Seconds for each run. With less, how long nmap waits for an answer depends on the time that is
left (attempts.py), and that is not known before everything is loaded."""

_MOST_RUNS = 8
"""How many start early: beyond that, the cores have enough to do."""


def start_plain(program: str, typed: "Sequence[str]") -> None:
    """Start nmap for a check without options, before options.py is loaded: that takes 2 ms."""
    plugin = program != "halfopen"
    if (plugin or typed[:1] == ["check"]) and not any(word[:1] == "-" for word in typed):
        arguments = typed if plugin else typed[1:]
        start({"arguments": arguments, "nmap": os.environ.get("HALFOPEN_NMAP")}, plugin=plugin)


def start(values: "Values", *, plugin: bool) -> None:
    """Start the nmaps that check.py will ask for first, if that can be foreseen.

    An option that is not among the values has not been typed. An nmap, or sudo, that is not there
    is left for the check to meet.
    """
    parse, timeout = None, head_start.TIMEOUT
    if values.get("format") is not None:
        from halfopen.formats.registry import FORMATS  # noqa: PLC0415  loaded to read the name

        parse, timeout = FORMATS[values["format"]].parse, FORMATS[values["format"]].timeout
    timeout = values.get("timeout") or timeout
    hosts, port = _asked(values, parse, plugin=plugin)
    if not hosts or not _is_number(port, 1, 65535):
        return
    most = nmap.max_hosts([int(port)])
    if timeout < LEAST_TIMEOUT * -(-len(hosts) // most):  # as many runs, rounded up
        return
    addresses = dict.fromkeys(map(_address, hosts))
    versions = {version for _, version in addresses}
    if len(versions) > 1 or 0 in versions or values.get("family") not in (None, *versions):
        return
    texts = [text for text, _ in addresses]
    groups = [texts[begin : begin + most] for begin in range(0, len(texts), most)][:_MOST_RUNS]
    now = time.monotonic()
    time_left, plus_one = head_start.began + timeout - now, not values.get("no_plus_one")
    limits: Dict[str, Any] = {"time_left": time_left, "plus_one": plus_one}
    try:
        caller = process.calling(values["nmap"] or "nmap", values.get("sudo", False))
    except HalfopenError:
        return
    commands = [[*caller, *nmap.argv(group, [int(port)], **limits)] for group in groups]
    process.start_early(commands, now)


def _asked(
    values: "Values", parse: "Optional[Parse]", *, plugin: bool
) -> "Tuple[Sequence[str], str]":
    """Return the hosts, and the port that they are asked about; none if that cannot be foreseen."""
    if values.get("targets") is not None:
        return [], ""
    if values.get("hostname") is not None:
        return [values["hostname"]], values["port"]
    arguments = values["arguments"]
    if parse is not None:
        from halfopen.targets.parse import balancer_words, parse_balancer_words  # noqa: PLC0415

        plugin = True
        arguments = balancer_words(arguments) if parse is parse_balancer_words else arguments
    if plugin:
        return arguments[-2:-1] * (len(arguments) in (2, 4)), arguments[-1] if arguments else ""
    if len(arguments) == 2 and ":" not in arguments[1] and arguments[0][:1] != "[":
        return arguments[:1], arguments[1]
    pairs = [argument.rpartition(":")[::2] for argument in arguments]
    known = {port for _, port in pairs}
    bad = len(known) != 1 or any(host[:1] != "[" and ":" in host for host, _ in pairs)
    return ([], "") if bad else ([host for host, _ in pairs], known.pop())


def _address(host: str) -> "Tuple[str, int]":
    """Return the address that the host is, as targets/parse.py has it, and its version; else 0."""
    if host[:1] + host[-1:] == "[]" and ":" in host:
        host = host[1:-1]
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
    if len(numbers) != 4 or not _is_number(numbers[0], 1, 223):
        return False
    return all(_is_number(number, 0, 255) for number in numbers)


def _is_number(text: str, least: int, most: int) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) <= 5
    return digits and str(int(text)) == text and least <= int(text) <= most
