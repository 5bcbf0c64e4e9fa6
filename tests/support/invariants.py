"""What must hold for any words and any XML, and how to make odd ones of real ones.

Shared by the properties (test_properties.py, hypothesis) and the fuzz target (tests/fuzz, atheris).
A check raises AssertionError, and lets through every exception that is not documented.
"""

import ipaddress
import os
import re
import socket
import time
from pathlib import Path
from random import Random
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple
from unittest import mock
from xml.etree import ElementTree as ET
from xml.parsers import expat

import halfopen
from halfopen.check import check
from halfopen.cli import commands, options, values
from halfopen.errors import CheckError, UsageError
from halfopen.formats.registry import output
from halfopen.model import LATE, NmapRun, Outcome, ScanOptions, Target
from halfopen.replay import replay
from halfopen.scan.reader import read
from halfopen.targets.parse import (
    parse_balancer_words,
    parse_lines,
    parse_plugin_words,
    parse_targets,
)

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
XML_FILES = [
    *sorted(FIXTURES.glob("recorded/*/*/nmap.xml")),
    *sorted(FIXTURES.glob("synthetic/*/nmap.xml")),
]

# -- words --------------------------------------------------------------------------------------

NMAP = "/no/nmap"

Form = Callable[[Sequence[str], Optional[int]], List[Target]]


def _options(words: Sequence[str], family: Optional[int]) -> List[Target]:
    host, port = [*words, None, None][:2]
    return _read(family, arguments=words[2:], hostname=host, port=port)


def _read(family: Optional[int], **given: object) -> List[Target]:
    typed: Dict[str, object] = {option.key: option.untyped() for option in options.CHECK.options}
    typed.update({"arguments": (), "ipv4": family == 4, "ipv6": family == 6, **given})
    return commands.read_targets(values.read(options.CHECK, typed), parse_targets)


FORMS: Dict[str, Form] = {
    "HOST PORT": parse_plugin_words,
    "VIP VPORT RIP RPORT": parse_balancer_words,
    "-H HOST -p PORT": _options,
    "HOST:PORT...": parse_targets,
}
"""The ways to name targets in words."""


def check_words(form: str, words: Sequence[str], family: Optional[int], answer: str) -> None:
    """Check what becomes of words; `answer` is the address that the resolver gives for any name."""
    _check_targets(lambda: FORMS[form](words, family), family, answer)


def check_file(data: bytes, path: str, family: Optional[int], answer: str) -> None:
    """Check what becomes of a targets file, as check_words does; `path` is where to put it."""
    Path(path).write_bytes(data)
    _check_targets(lambda: _read(family, targets=path), family, answer)


def _check_targets(parse: Callable[[], List[Target]], family: Optional[int], answer: str) -> None:
    try:
        targets = parse()
    except UsageError as error:
        check_message(error)
        return
    assert targets
    for target in targets:
        _check_target(target, family)
    unlabelled = [target._replace(label="") for target in targets]
    assert parse_targets([str(target) for target in targets], family) == unlabelled
    lines = [f"{target.label} = {target}" if target.label else str(target) for target in targets]
    assert parse_lines(lines, "", family) == targets
    for command in _commands(targets, answer):
        _check_argv(command, {target.port for target in targets})


def check_message(error: Exception) -> None:
    """Check that it says something, in one line."""
    assert str(error)
    assert "\n" not in str(error)


def _check_target(target: Target, family: Optional[int]) -> None:
    assert type(target.port) is int
    assert 1 <= target.port <= 65535
    assert target.family == family
    assert re.match(r"([A-Za-z0-9][A-Za-z0-9 ._-]{0,39})?\Z", target.label), target
    if re.match(r"(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_.-]{0,253}\Z", target.host):
        return  # a name
    _check_address(target.host, family)


def _check_address(word: str, version: Optional[int]) -> None:
    """Check that it is one host's address as the C library writes it, with a zone if it needs one.

    ipaddress reads it; only the C library writes an IPv4-compatible one as nmap does.
    """
    bare, percent, zone = word.partition("%")
    address = ipaddress.ip_address(bare)
    packed = socket.AF_INET if address.version == 4 else socket.AF_INET6
    assert version in (None, address.version), word
    assert bare == socket.inet_ntop(packed, address.packed), word
    assert address.version == 6 or 0 < address.packed[0] < 224, word
    assert not address.is_multicast, word
    assert not address.is_unspecified, word
    if isinstance(address, ipaddress.IPv6Address):
        assert address.ipv4_mapped is None, word
        assert bool(percent) == address.is_link_local, word
    if percent:
        assert re.match(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}\Z", zone), word


def _commands(targets: Sequence[Target], answer: str) -> List[Sequence[str]]:
    """Return the command lines that a check of the targets would run."""
    commands: List[Sequence[str]] = []

    def run(given: Sequence[Sequence[str]], *_: object) -> List[NmapRun]:
        commands.extend(given)
        return [NmapRun(argv, 0, b"", b"", 0.0, LATE) for argv in given]

    def resolver(_host: str, _port: None, family: int, *_: int) -> List[Tuple[object, ...]]:
        """Stand in for the system's resolver, which can't be made to give odd addresses."""
        kind = socket.AF_INET6 if ":" in answer else socket.AF_INET
        if family not in (socket.AF_UNSPEC, kind):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (answer, 0))]

    with mock.patch.object(socket, "getaddrinfo", resolver), mock.patch.object(
        socket, "if_nametoindex", return_value=1
    ):
        report = check(targets, time.monotonic() + 600, ScanOptions(NMAP), run=run)
    assert [verdict.target for verdict in report.verdicts] == list(targets)
    assert all(verdict.error is not None for verdict in report.verdicts)
    return commands


def is_address(word: str) -> bool:
    """Return whether a resolver could give this: an IP address, with any zone."""
    try:
        version = ipaddress.ip_address(word.partition("%")[0]).version
    except ValueError:
        return False
    return version == 6 or "%" not in word


_DATA_FOLDER = os.path.join(os.path.dirname(os.path.abspath(halfopen.__file__)), "nmap_data")
_ARGV = re.compile(
    rf"{NMAP}(\0--privileged)?(\0(-n|-sS|(?P<six>-6)|-Pn|--disable-arp-ping|--send-ip|-v5"
    rf"|--datadir\0{re.escape(_DATA_FOLDER)}|--min-rate\0[0-9]+|--max-retries\0001"
    r"|--max-scan-delay\0000|--((initial|min|max)-rtt|host)-timeout\0[0-9]+ms"
    r"|-p\0(?P<ports>[1-9][0-9]*([-,][1-9][0-9]*)+)))+\0-oX\0-\0(?P<addresses>.+)\Z"
)
"""The words with a NUL in between."""


def _check_argv(argv: Sequence[str], ports: Set[int]) -> None:
    """Check that it holds our own options, digits and addresses, and no word of another shape."""
    assert not any("\0" in word for word in argv), argv
    match = _ARGV.match("\0".join(argv))
    assert match, argv
    asked, *others = map(int, re.split("[-,]", match.group("ports")))
    assert asked in ports, argv
    assert len(others) == 1 or set(others) < ports, argv
    assert all(1 <= port <= 65535 for port in others), argv
    for address in match.group("addresses").split("\0"):
        _check_address(address, 6 if match.group("six") else 4)


# -- XML ----------------------------------------------------------------------------------------

ASKED = ("192.0.2.25", "2001:db8::25", "192.0.2.77", "fe80::25%eth0")
"""Addresses that each XML is asked about: those of the recordings, and two that few have."""

_IP = ("ipv4", "ipv6")
_MEANS = {"syn-ack": "open", "reset": "closed", "conn-refused": "closed"}
"""What the server's own answers mean; all else is silence or another's answer: filtered."""


def claims(xml: bytes, address: str, port: int) -> Optional[Set[Tuple[str, str]]]:
    """Return each state and reason that a completed scan's XML has for a port.

    The oracle: an independent judgement, and a strict one. None where nothing is certain: the XML
    is not whole, not nmap's, or not of a scan that succeeded; the host is not in it once, up,
    looked at, and without another address.
    """
    root = _whole(xml)
    if root is None or root.tag != "nmaprun":
        return None
    ends = {finished.get("exit") for finished in root.findall("runstats/finished")}
    bare = address.partition("%")[0]
    hosts = [
        host
        for host in root.findall("host")
        if bare in [element.get("addr") for element in host.findall("address")]
    ]
    if ends != {"success"} or len(hosts) != 1:
        return None
    its = [a.get("addr") for a in hosts[0].findall("address") if a.get("addrtype") in _IP]
    up = {status.get("state") for status in hosts[0].findall("status")} == {"up"}
    if its != [bare] or not up or hosts[0].get("timedout") == "true":
        return None
    found = set()
    for element in hosts[0].findall("ports/port"):
        if (element.get("protocol"), element.get("portid")) == ("tcp", str(port)):
            found |= {(s.get("state", ""), s.get("reason", "")) for s in element.findall("state")}
    return found


def _whole(xml: bytes) -> Optional[ET.Element]:
    """Return the root, None if it is not well-formed or declares anything of its own."""
    declared: List[object] = []
    parser = expat.ParserCreate()
    for declaration in ("EntityDecl", "AttlistDecl", "ElementDecl", "NotationDecl"):
        setattr(parser, declaration + "Handler", lambda *what: declared.append(what))
    try:
        text = xml.decode("utf-8")
        parser.Parse(text, True)
        return None if declared else ET.fromstring(text)  # noqa: S314
    except (expat.ExpatError, ET.ParseError, ValueError):
        return None


def check_xml(xml: bytes, path: str) -> Set[str]:
    """Check what a replay and the reader make of XML; return the states that the replay saw.

    `path` is where to put the recording.
    """
    Path(path).write_bytes(xml)
    report = replay([path], time.monotonic() + 600)
    states = {verdict.state for verdict in report.verdicts}
    assert states
    for verdict in report.verdicts:
        if verdict.target is None:
            assert isinstance(verdict.error, CheckError)
        elif verdict.observation is not None:
            _check_outcome(xml, verdict.target.host, verdict.target.port, verdict.observation)
    printed = output("nagios", report, {}, verbose=False)
    worst = 2 if states & {"closed", "filtered"} else 3 if "error" in states else 0
    assert printed.code == worst
    assert all(line.isprintable() for line in printed.text.split("\n"))
    outcomes = read(NmapRun(("nmap",), 0, xml, b"", 0.0), ASKED, (25, 80))
    assert list(outcomes) == [(address, port) for address in ASKED for port in (25, 80)]
    for (address, port), outcome in outcomes.items():
        _check_outcome(xml, address, port, outcome)
    return states


def _check_outcome(xml: bytes, address: str, port: int, outcome: Outcome) -> None:
    if isinstance(outcome, CheckError):
        check_message(outcome)
        return
    found = claims(xml, address, port)
    assert found == {(outcome.state, outcome.reason)}, (address, port, outcome, found)
    assert outcome.state == _MEANS.get(outcome.reason, "filtered"), outcome
    assert outcome.reason
    assert outcome.address == address
    assert outcome.rtt is None or 0 < outcome.rtt < 3600


_WORDS = {
    "state": ["open", "closed", "filtered", "open|filtered", "unfiltered", "up", "down", "Open"],
    "reason": ["syn-ack", "reset", "no-response", "conn-refused", "admin-prohibited", ""],
    "portid": ["25", "26", "025", "80", "65535", "x", "9" * 5000],
    "protocol": ["tcp", "udp", "status", "addresses"],
    "addr": [*ASKED[:3], "2001:DB8::25", "fe80::25", ""],
    "addrtype": ["ipv4", "ipv6", "mac"],
    "exit": ["success", "error", ""],
    "srtt": ["-1", "nan", "1e999", "65", ""],
    "timedout": ["true", "false"],
    "args": ["nmap -p 25-26 192.0.2.25", "nmap -6 -p 25 2001:db8::25 192.0.2.25", "nmap -p 025"],
}


def mutated(xml: bytes, other: bytes, random: Random) -> bytes:
    """Return XML with one to four changes: bytes, elements, attributes, parts of another."""
    for _ in range(random.randint(1, 4)):
        change = random.choice([_bytes_changed, _element_changed, _attribute_changed])
        xml = change(xml, other, random)
    return xml


def _bytes_changed(xml: bytes, other: bytes, random: Random) -> bytes:
    begin = random.randrange(len(xml) + 1)
    if not random.randrange(3):
        return xml[:begin] + other[random.randrange(len(other) + 1) :]
    end = min(len(xml), begin + random.choice([0, 1, 1, 2, 40]))
    new = random.choice([b"", xml[begin:end] * 2, bytes([random.randrange(256)]), b"\0", b"<"])
    return xml[:begin] + new + xml[end:]


def _element_changed(xml: bytes, other: bytes, random: Random) -> bytes:
    """Delete, double, or move an element, or put another's in its place or beside it."""
    root, foreign = _whole(xml), _whole(other)
    if root is None or foreign is None or not len(root):
        return _bytes_changed(xml, other, random)
    parent = random.choice([element for element in root.iter() if len(element)])
    place = random.randrange(len(parent))
    element = parent[place]
    its = random.choice(list(foreign.iter(element.tag)) or [element])
    new = random.choice([[], [element, element], [its], [its, element], [element, its]])
    parent[place : place + 1] = new
    if not new and random.randrange(2):
        random.choice(list(root.iter())).append(element)
    return ET.tostring(root)


def _attribute_changed(xml: bytes, other: bytes, random: Random) -> bytes:
    """Swap the values of two attributes, or give one another value."""
    root = _whole(xml)
    elements = [] if root is None else list(root.iter())
    found = [(element, key) for element in elements for key in element.attrib if key in _WORDS]
    if root is None or not found:
        return _bytes_changed(xml, other, random)
    first, key = random.choice(found)
    second = random.choice([element for element, its in found if its == key])
    if random.randrange(2):
        first.set(key, random.choice(_WORDS[key]))
    else:
        value = first.get(key, "")
        first.set(key, second.get(key, ""))
        second.set(key, value)
    return ET.tostring(root)
