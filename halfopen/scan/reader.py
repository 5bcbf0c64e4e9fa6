"""The only importer of python-nmap: what nmap printed to an Observation, or an error."""

import itertools
import re
import sys
import types
from collections import Counter
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple
from xml.etree import ElementTree as ET

from halfopen.errors import CheckError, NoTimeError, RefusedError, UnnamedRefusalError
from halfopen.model import FLOOD, LATE, PORT_STATES, UNSTARTED, NmapRun, Observation, Outcome
from halfopen.scan import diagnosis
from halfopen.targets.parse import canonical_ip

# python-nmap 0.7.1 imports these for what we don't use: to run nmap, and to write tables. Loading
# the first two takes 4 to 7% and 5% of a check's CPU time (pairs of checks on Python 3.11).
_SLOW = ("multiprocessing", "subprocess", "csv", "shlex")
_UNUSED = [name for name in _SLOW if name not in sys.modules]
for _name in _UNUSED:
    sys.modules[_name] = types.SimpleNamespace(Process=None)  # type: ignore[assignment]
import nmap  # noqa: E402

for _name in _UNUSED:
    del sys.modules[_name]

# What the server itself can answer, and what that means; a connect scan says conn-refused.
_ANSWERS = {"syn-ack": "open", "reset": "closed", "conn-refused": "closed"}

_MAX_ROUND_TRIP = 3600.0  # seconds; a larger number is no round trip

_NO_DISCOVERY = (
    "nmap's host discovery had no answer from {}, so the port was never asked; scan with -Pn"
)

_NOT_SENT = re.compile(
    r"^sendto .*, (\S+), \d+\) => (?!No route to host$)(.*)"
    r"(?:\nOffending packet: TCP .*? > \[?(\S+?)\]?:(\d+) )?",
    re.MULTILINE,
)
"""What nmap says of a packet that the kernel did not take: where it was to go, why not, and, in a
second line, the address and port once more; 7.991 has IPv6 in brackets. Every packet to an address
counts, except where nmap names another port. No route to host: the kernel had no answer to ARP,
which is the target's silence."""

_OPTIONS_WITH_ADDRESS = ("-S", "-D", "-sI", "--dns-servers", "--exclude", "--proxies")


def library_version() -> str:
    """Return python-nmap's version."""
    return str(nmap.__version__)


def read(
    run: NmapRun, addresses: Sequence[str], ports: Sequence[int]
) -> Dict[Tuple[str, int], Outcome]:
    """Return what the run says of the ports of each address; a CheckError where it says nothing."""
    asked = list(itertools.product(addresses, ports))
    try:
        scan = _scan(run)
    except CheckError as error:
        return dict.fromkeys(asked, error)
    outcomes: Dict[Tuple[str, int], Outcome] = {}
    for address, port in asked:
        try:
            outcomes[address, port] = scan.observation(address, port)
        except CheckError as error:
            outcomes[address, port] = error
    return outcomes


class Recorded(NamedTuple):
    """What a recorded run was asked, by its command line."""

    addresses: Sequence[str]
    port: Optional[int]
    """The port first named in its -p, None if there is none."""
    why_none: str
    """What the run says of there being no address; "" if there are some."""


def recorded(run: NmapRun) -> Recorded:
    """Return what a recorded run was asked, from its XML; raise CheckError if that is no XML."""
    scan = _scan(run)
    args = scan.root.get("args", "")
    named = re.search(r"(?:^|\s)-p\s*(?:T:)?([0-9]{1,5})(?![0-9])", args)
    port = int(named.group(1)) if named and 1 <= int(named.group(1)) <= 65535 else None
    words = args.split()
    asked = [
        canonical_ip(word)
        for before, word in zip(words, words[1:])
        if before not in _OPTIONS_WITH_ADDRESS
    ]
    for host in scan.root.findall("host"):
        names = [name.get("name") for name in host.findall("hostnames/hostname[@type='user']")]
        asked += [_address(host) for name in names if name in words]
    unique = [address for address in dict.fromkeys(asked) if address]
    return Recorded(unique, port, "" if unique else scan.why_no_host("the asked host"))


class _Scan:
    """One well-formed and completed scan."""

    def __init__(self, root: ET.Element, run: NmapRun) -> None:
        self.root = root
        self.stderr = run.stderr.decode("utf-8", "replace").strip()
        self.seconds = run.seconds or _MAX_ROUND_TRIP  # a recording has none
        # Its own __init__ looks for nmap and runs it.
        library = object.__new__(nmap.PortScanner)
        parsed: Dict[str, Any] = library.analyse_nmap_xml_scan(run.stdout.decode("utf-8"))
        # python-nmap's key is the IPv4 address, or else whichever address came first.
        self.tcp: Dict[str, Dict[int, Dict[str, str]]] = {
            address: host.get("tcp", {})
            for host in parsed["scan"].values()
            for address in host["addresses"].values()
            if isinstance(address, str)  # a protocol of that name puts ports there
        }
        self.elements: Dict[str, ET.Element] = {}
        # python-nmap takes the last of several hosts or ports, and the first of several states.
        self.count: Dict[Tuple[str, Optional[int]], int] = Counter()
        for host in root.findall("host"):
            found = host.findall("ports/port[@protocol='tcp']")
            ports = [_number(port) for port in found for _ in port.findall("state")]
            for address in {each.get("addr", "") for each in host.findall("address")}:
                self.elements[address] = host
                self.count.update([(address, None), *((address, port) for port in ports)])

    def observation(self, address: str, port: int) -> Observation:
        """Return what was seen of a port; raise CheckError if the scan says nothing certain."""
        bare = address.partition("%")[0]  # nmap prints no zone
        for what, key in ((bare, None), (f"port {port}", port)):
            if self.count[bare, key] > 1:
                raise CheckError(f"nmap reported {what} more than once; run it again")
        element = self.elements.get(bare)
        if element is None or _address(element) != bare:
            raise CheckError(self.why_no_host(address))
        if {status.get("state") for status in element.findall("status")} != {"up"}:
            raise CheckError(_NO_DISCOVERY.format(address))
        if element.get("timedout") == "true" or not element.findall("ports"):
            # 7.93 says timedout; 7.70 and 7.80 leave out the ports without a word.
            raise NoTimeError(
                f"nmap gave up on {bare} before it had looked (--host-timeout); raise --timeout"
            )
        seen = self.tcp.get(bare, {}).get(port)
        if seen is None:
            raise CheckError(
                f"nmap said nothing about TCP port {port} of {bare}; check that it is nmap"
            )
        state, reason = _believed(seen, port)
        if reason == "no-response":
            self._check_that_it_was_asked(bare, port)
        rtt = _round_trip(element, self.seconds) if state != "filtered" else None
        return Observation(state, reason, address, rtt)

    def _check_that_it_was_asked(self, address: str, port: int) -> None:
        """Raise CheckError if nmap could not send its SYN: it says so on stderr, and goes on."""
        own: List[str] = []
        others: List[str] = []
        for to, cause, named, number in _NOT_SENT.findall(self.stderr):
            of_another_port = named == address and number != str(port)
            (own if to == address and not of_another_port else others).append(cause)
        # After the tenth message nmap omits them, whichever host they are about.
        omitted = re.search("^Omitting future", self.stderr, re.M)
        kind, causes = (RefusedError, own) if own else (UnnamedRefusalError, others)
        if own or (others and omitted):
            raise kind(
                f"this machine refused to send to {address} ({causes[0]}); look at its own "
                "firewall (nft list ruleset)"
            )

    def why_no_host(self, address: str) -> str:
        """Return why the scan says nothing about an address."""
        skipped = {target.get("specification") for target in self.root.findall("target")}
        if address in skipped and ":" in address and "-6" not in self.root.get("args", "").split():
            return f"nmap skipped {address}: an IPv6 address needs -6"
        if address in skipped:
            return f"no route to {address}; see ip route get {address}"
        if self.tcp:
            return (
                f"nmap said nothing about {address}, but about another host; check that it is nmap"
            )
        if any(total.get("down", "0") != "0" for total in self.root.findall("runstats/hosts")):
            return _NO_DISCOVERY.format(address)
        said = self.stderr.partition("\n")[0][:200]
        return f"nmap scanned no host; {said}" if said else "nmap scanned no host"


def _believed(seen: Dict[str, str], port: int) -> Tuple[str, str]:
    """Return state and reason as nmap has them, if a SYN scan can really have found them."""
    state, reason = seen["state"], seen["reason"]
    if state not in PORT_STATES:
        raise CheckError(f"nmap called port {port} {state!r}, not open, closed or filtered")
    if not re.match(r"[a-z0-9-]+\Z", reason or ""):
        raise CheckError(f"nmap does not say why port {port} is {state}; use 7.70 or later")
    if state != _ANSWERS.get(reason, "filtered"):
        raise CheckError(
            f"nmap called port {port} {state} for {reason!r}; only a SYN/ACK means open, and only "
            "a RST closed"
        )
    return state, reason


def _scan(run: NmapRun) -> _Scan:
    """Return the completed scan of a run; raise CheckError if it is anything less."""
    if run.cut == LATE:
        raise NoTimeError("nmap did not end within --timeout, and was killed; raise --timeout")
    if run.cut == UNSTARTED:
        raise NoTimeError("no time left to ask; raise --timeout, or give fewer targets")
    if run.cut == FLOOD:
        raise CheckError("nmap printed without end, and was killed; check that it is nmap")
    root = _parsed(run.stdout)
    scanner = root.get("scanner", "nmap") if root.tag == "nmaprun" else root.tag
    if run.exit_code == 0 and scanner != "nmap":  # masscan's report has nmap's elements
        raise CheckError(
            f"the XML is complete, but not nmap's ({scanner[:40]}); give what nmap -oX prints"
        )
    ends = root.findall("runstats/finished")
    whole = {end.get("exit") for end in ends} == {"success"} and root.findall("runstats/hosts")
    if run.exit_code != 0 or not whole:
        raise diagnosis.failure(run, "\n".join(end.get("errormsg", "") for end in ends))
    try:
        return _Scan(root, run)
    except Exception as error:  # whatever python-nmap meets in odd XML: it checks nothing
        raise CheckError(
            f"cannot make sense of nmap's XML ({type(error).__name__}); run nmap by hand to see it"
        ) from error


def _parsed(xml: bytes) -> ET.Element:
    """Return the report; an empty one for what is no XML, or not nmap's alone.

    nmap declares nothing but its DOCTYPE. Declarations of others can eat memory, name files, and
    put attributes where there are none.
    """
    try:
        if not re.search(rb"<!(?!--|DOCTYPE nmaprun>)", xml):
            return ET.fromstring(xml.decode("utf-8"))  # noqa: S314  no entities: see above
    except (ET.ParseError, ValueError):  # ValueError: not UTF-8, or an encoding unknown
        pass
    return ET.Element("nmaprun")


def _number(port: ET.Element) -> int:
    """Return a port's number; raise ValueError for one that nmap does not write so, as 025."""
    text = port.attrib["portid"]  # python-nmap has read it
    if text != str(int(text)):
        raise ValueError(text)
    return int(text)


def _address(host: ET.Element) -> str:
    found = [each for each in host.findall("address") if each.get("addrtype") in ("ipv4", "ipv6")]
    return found[0].get("addr", "") if len(found) == 1 else ""


def _round_trip(host: ET.Element, longest: float) -> Optional[float]:
    """Return <times srtt> (microseconds), which python-nmap drops, in seconds.

    None for none (-1), for the negative ones of nmap before 7.80 with late delivery, and for one
    longer than the run: the clock was set meanwhile, and nmap goes by that.
    """
    times = host.find("times")
    try:
        seconds = float(times.get("srtt", "")) / 1e6 if times is not None else 0.0
    except ValueError:
        return None
    return seconds if 0 < seconds < longest else None
