"""The only importer of python-nmap: what nmap printed to an Observation, or an error."""

import re
import sys
import types
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple
from xml.etree import ElementTree as ET

from halfopen.errors import CheckError, NotAllowedError, NoTimeError, RefusedError
from halfopen.model import FLOOD, LATE, PORT_STATES, UNSTARTED, NmapRun, Observation, Outcome
from halfopen.scan.diagnosis import SEE_README, why_not
from halfopen.targets.parse import canonical_ip

if "multiprocessing" in sys.modules:
    import nmap
else:
    # python-nmap 0.7.1 imports multiprocessing for its asynchronous scanner alone, which we have no
    # use for: 4 to 7% of a check's CPU time (pairs of 30 checks on Python 3.11).
    sys.modules["multiprocessing"] = types.SimpleNamespace(Process=None)  # type: ignore[assignment]
    import nmap

    del sys.modules["multiprocessing"]

# What nmap says on stderr or as errormsg (7.70 to 7.991) when it may not scan.
_NOT_ALLOWED = (
    "requires root privileges|open a raw socket|dnet: Failed to open|Operation not permitted|"
    "permission to capture"
)
# What sudo says on stderr (1.9), and what helps.
_SUDO_CAUSES = (
    ("sudo: .*no new privileges", f"sudo is barred by no_new_privs; run as root, or {SEE_README}"),
    (
        "sudo: .*(password|tty|askpass)",
        f"sudo wants a password; allow nmap with NOPASSWD, {SEE_README}",
    ),
    (
        "sudo: .*not allowed|is not allowed to execute",
        f"sudo does not allow this nmap; {SEE_README}",
    ),
)


_MOST_SAID = 10000
"""How much of nmap's messages is looked at: ten of them fit, and the patterns for them take a time
that grows with the square of it."""

# What the server itself can answer, and what that means; a connect scan says conn-refused.
_ANSWERS = {"syn-ack": "open", "reset": "closed", "conn-refused": "closed"}

_MAX_ROUND_TRIP = 3600.0  # seconds; a larger number is no round trip

_OPTIONS_WITH_ADDRESS = ("-S", "-D", "-sI", "--dns-servers", "--exclude", "--proxies")


class _Reader(nmap.PortScanner):  # type: ignore[misc]  # python-nmap has no types
    """python-nmap's XML reader; its own __init__ looks for nmap and runs it."""

    def __init__(self) -> None:  # pylint: disable=super-init-not-called
        pass


def library_version() -> str:
    """Return python-nmap's version."""
    return str(nmap.__version__)


def read(run: NmapRun, addresses: Sequence[str], port: int) -> Dict[str, Outcome]:
    """Return what the run says about `port` of each address; a CheckError where it says nothing."""
    try:
        scan = _scan(run)
    except CheckError as error:
        return dict.fromkeys(addresses, error)
    outcomes: Dict[str, Outcome] = {}
    for address in addresses:
        try:
            outcomes[address] = scan.observation(address, port)
        except CheckError as error:
            outcomes[address] = error
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
        address
        for before, address in zip(words, map(canonical_ip, words[1:]))
        if address and before not in _OPTIONS_WITH_ADDRESS
    ]
    for host in scan.root.findall("host"):
        names = {n.get("name") for n in host.findall("hostnames/hostname[@type='user']")}
        if _address(host) and names.intersection(words):
            asked.append(_address(host))
    unique = list(dict.fromkeys(asked))
    return Recorded(unique, port, "" if unique else scan.why_no_host("the asked host"))


class _Scan:
    """One well-formed and completed scan."""

    def __init__(
        self, root: ET.Element, parsed: Dict[str, Any], stderr: str, seconds: float
    ) -> None:
        self.root = root
        self.seconds = seconds or _MAX_ROUND_TRIP  # a recording has none
        self.hosts = parsed["scan"]
        self.stderr = stderr

    def observation(self, address: str, port: int) -> Observation:
        """Return what was seen of a port; raise CheckError if the scan says nothing certain."""
        bare = address.split("%", 1)[0]  # nmap prints no zone
        elements = [
            host for host in self.root.findall("host") if host.findall(f"address[@addr='{bare}']")
        ]
        if len(elements) > 1:
            raise CheckError(f"nmap reported {bare} more than once; run it again")
        if not elements or _address(elements[0]) != bare:
            raise CheckError(self.why_no_host(address))
        element = elements[0]
        # python-nmap's key is the IPv4 address, or else whichever address came first.
        hosts = [host for host in self.hosts.values() if bare in host["addresses"].values()]
        host = hosts[0] if hosts else {}
        if {status.get("state") for status in element.findall("status")} != {"up"}:
            raise CheckError(self._discovery(address))
        if element.get("timedout") == "true" or not element.findall("ports"):
            # 7.93 says timedout; 7.70 and 7.80 leave out the ports without a word.
            raise NoTimeError(
                f"nmap gave up on {bare} before it had looked (--host-timeout); raise --timeout"
            )
        seen = host.get("tcp", {}).get(port)
        if seen is None:
            raise CheckError(
                f"nmap said nothing about TCP port {port} of {bare}; check that it is nmap"
            )
        # python-nmap takes the last of several ports, by number, and the first of several states.
        states = element.findall(f"ports/port[@protocol='tcp'][@portid='{port}']/state")
        if [(s.get("state"), s.get("reason")) for s in states] != [(seen["state"], seen["reason"])]:
            raise CheckError(f"nmap reported port {port} more than once; run it again")
        state, reason = _believed(seen, port)
        if reason == "no-response":
            self._check_that_it_was_asked(bare, port)
        rtt = _round_trip(element, self.seconds) if state != "filtered" else None
        return Observation(state, reason, address, rtt)

    def _check_that_it_was_asked(self, address: str, port: int) -> None:
        """Raise CheckError if nmap could not send its SYN: it says so on stderr, and goes on."""
        if len(self.stderr) >= _MOST_SAID - 2:  # decoded and stripped
            raise CheckError("nmap's messages have no end; run it by hand to see them")
        # Every refused packet to the address counts, except where nmap names another port; 7.991
        # puts IPv6 addresses in brackets. A form that is not known here counts, too.
        to = re.escape(address)
        other_port = rf"\nOffending packet: TCP \S+ > \[?{to}\]?:(?!{port} )[0-9]+ "
        failed = rf"^sendto .*, {to}, [0-9]+\) => (.+)$(?!{other_port})"
        causes = re.findall(failed, self.stderr, re.M)
        if "Omitting future" in self.stderr:  # after the tenth, whichever host it was about
            causes += re.findall(r"^sendto .*=> (.+)", self.stderr, re.M)
        # No route to host: the kernel had no answer to ARP, which is the target's silence.
        causes = [cause for cause in causes if cause != "No route to host"]
        if causes:
            raise RefusedError(
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
        totals = self.root.find("runstats/hosts")
        if totals is not None and totals.get("down", "0") != "0" and not self.hosts:
            return self._discovery(address)
        if self.hosts:
            return (
                f"nmap said nothing about {address}, but about another host; check that it is nmap"
            )
        return "nmap scanned no host{}".format(
            "; " + _first_line(self.stderr) if self.stderr else ""
        )

    @staticmethod
    def _discovery(address: str) -> str:
        return (
            f"nmap's host discovery had no answer from {address}, so the port was never asked; "
            "scan with -Pn"
        )


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
    stderr = run.stderr[:_MOST_SAID].decode("utf-8", "replace").strip()
    if run.cut == LATE:
        raise NoTimeError("nmap did not end within --timeout, and was killed; raise --timeout")
    if run.cut == UNSTARTED:
        raise NoTimeError("no time left to ask; raise --timeout, or give fewer targets")
    if run.cut == FLOOD:
        raise CheckError("nmap printed without end, and was killed; check that it is nmap")
    root = _parsed(run.stdout)
    ends = [] if root is None else root.findall("runstats/finished")
    errormsg = " ".join(end.get("errormsg", "") for end in ends)[:_MOST_SAID].strip()
    failed = run.exit_code != 0 or {end.get("exit") for end in ends} != {"success"}
    if failed or root is None or root.find("runstats/hosts") is None:
        cause = _known_cause(stderr, run.argv) or _known_cause(errormsg, run.argv)
        if cause is not None:
            raise NotAllowedError(cause)
        raise CheckError(_what_broke(run, _first_line(errormsg or stderr)))
    try:
        parsed = _Reader().analyse_nmap_xml_scan(run.stdout.decode("utf-8"))
    except Exception as error:  # whatever python-nmap meets in odd XML: it checks nothing
        raise CheckError(
            f"cannot make sense of nmap's XML ({type(error).__name__}); run nmap by hand to see it"
        ) from error
    return _Scan(root, parsed, stderr, run.seconds)


def _parsed(xml: bytes) -> Optional[ET.Element]:
    # nmap declares nothing but this. Declarations of others can eat memory, name files, and put
    # attributes where there are none.
    if re.search(rb"<!(?!--|DOCTYPE nmaprun>)", xml):
        return None
    try:
        root = ET.fromstring(xml.decode("utf-8"))  # noqa: S314  no entities: see above
    except (ET.ParseError, ValueError):  # ValueError: not UTF-8, or an encoding unknown
        return None
    return root if root.tag == "nmaprun" else None


def _what_broke(run: NmapRun, said: str) -> str:
    if run.exit_code < 0:
        what = f"nmap was killed by signal {-run.exit_code}"
    elif run.exit_code > 0:
        what = f"nmap failed with exit code {run.exit_code}"
    elif not run.stdout.strip():
        what = "nmap printed nothing"
    elif said:
        what = "nmap failed"
    else:
        what = "nmap printed no complete XML"
    return "{}{}; run it by hand to see why".format(what, f" ({said})" if said else "")


def _known_cause(text: str, argv: Sequence[str]) -> Optional[str]:
    if re.search(_NOT_ALLOWED, text):
        return why_not(argv)
    for pattern, advice in _SUDO_CAUSES:
        if re.search(pattern, text):
            return advice
    return None


def _first_line(text: str) -> str:
    lines: List[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else ""


def _address(host: ET.Element) -> str:
    addresses = [
        address.get("addr", "")
        for address in host.findall("address")
        if address.get("addrtype") in ("ipv4", "ipv6")
    ]
    return addresses[0] if len(addresses) == 1 else ""


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
