"""The values that travel from the command line to what is printed. All are frozen."""

import enum
from typing import NamedTuple, Optional, Sequence, Tuple, Union

from halfopen.errors import CheckError, HalfopenError

PORT_STATES = ("open", "closed", "filtered")
"""What a SYN scan can find a port to be."""

ON_TIME, LATE, FLOOD, UNSTARTED = "", "late", "flood", "unstarted"


class Target(NamedTuple):
    """One TCP port of one host, as asked for: validated, not yet resolved."""

    host: str
    """A host name, or an IP address in its canonical text form (RFC 5952), with a zone if given."""
    port: int
    family: Optional[int] = None
    """4 or 6 to insist on IPv4 or IPv6; None takes what the name resolves to first."""
    label: str = ""
    """What the user calls it, if a targets file says so."""

    @property
    def name(self) -> str:
        """HOST:PORT, with its label if it has one."""
        return f"{self.label} ({self})" if self.label else str(self)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Address(NamedTuple):
    """The one IP address that a target is checked at."""

    text: str
    """Canonical, with a zone if it needs one; IPv4-mapped IPv6 addresses are IPv4 here."""
    version: int
    """4 or 6."""
    total: int = 1
    """How many addresses the name has, this one included."""

    @property
    def zone(self) -> str:
        """The interface of a link-local address, or ""."""
        return self.text.partition("%")[2]


class ScanOptions(NamedTuple):
    """How to run nmap."""

    nmap: str = "nmap"
    sudo: bool = False
    plus_one: bool = True
    prefix: Tuple[str, ...] = ()
    """Arguments to put before all others, as those of nsenter."""


class NmapRun(NamedTuple):
    """One run of nmap: how it was called and what it printed."""

    argv: Sequence[str]
    exit_code: int
    """-N if signal N ended the run."""
    stdout: bytes
    stderr: bytes
    seconds: float
    cut: str = ON_TIME
    """LATE if we killed it at the deadline, FLOOD because it printed without end, UNSTARTED if the
    deadline came before its turn, else ON_TIME."""


class Observation(NamedTuple):
    """What nmap saw of one port."""

    state: str
    """One of PORT_STATES."""
    reason: str
    """nmap's word for why: syn-ack, reset, no-response, or an ICMP answer as admin-prohibited."""
    address: str
    """The IP address that was scanned, with its zone if it had one."""
    rtt: Optional[float] = None
    """Smoothed round-trip time in seconds (nmap's srtt, over all ports of the run); None if it is
    unknown, or if this port sent no TCP answer, for then it is the other ports' alone."""
    silent_at: Optional[str] = None
    """Who drops the packets, if the kernel knows: "host", "gateway" or "firewall"."""
    cause: str = ""
    """The same in words."""
    addresses: int = 1
    """How many addresses the target's name has; this is about the first."""

    @property
    def silent(self) -> bool:
        """Whether nothing at all came back: the one state that more patience could change."""
        return self.reason == "no-response"


Outcome = Union[Observation, CheckError]


class Expectation(NamedTuple):
    """What counts as good."""

    state: str = "open"
    warning: Optional[float] = None
    """Seconds of round trip above which an expected state is WARNING."""
    critical: Optional[float] = None


class Status(enum.IntEnum):
    """How bad a verdict is, in the order in which the worst of several decides."""

    OK = 0
    WARNING = 1
    UNKNOWN = 2
    CRITICAL = 3


class Verdict(NamedTuple):
    """What a target is judged to be; either an observation or an error is there."""

    status: Status
    target: Optional[Target] = None
    """None where the check failed before there was a target."""
    observation: Optional[Observation] = None
    error: Optional[HalfopenError] = None
    service: str = ""
    slow: bool = False
    """Whether the state is as expected, but the round trip is over a limit."""

    @property
    def state(self) -> str:
        """The port's state, or "error"."""
        return "error" if self.observation is None else self.observation.state


class Report(NamedTuple):
    """All that a check gave."""

    verdicts: Tuple[Verdict, ...]
    expectation: Expectation = Expectation()
    runs: Tuple[NmapRun, ...] = ()
    began: Optional[float] = None
    """Unix time; None for a recording, or where nothing began."""
    seconds: float = 0.0
    """How long the check took."""


def failure(error: HalfopenError, target: Optional[Target] = None) -> Verdict:
    """Return the verdict on a check that failed."""
    return Verdict(Status.UNKNOWN, target, error=error)
