"""Stands in for what smoke does to a machine: ports in a known state, and an nmap asked about them.

All of it is fake. A test spoils an attribute, and sees what smoke finds.
"""

import contextlib
import itertools
import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

from halfopen.model import NmapRun, ScanOptions
from halfopen.smoke import targets
from halfopen.smoke.findings import Examination, Machine
from halfopen.smoke.probes import examine
from halfopen.smoke.targets import LOOPBACK, Port
from support.fake_run import HOST, PORT, RUN, SAYS, port_of

NMAP, SYSTEM = "/opt/nmap", "libpcap-1.10.3"
RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "recorded"
_VERSION = "Nmap version {} ( https://nmap.org )\nCompiled with: liblua-5.3.6 {} ipv6\n"

Argv = Sequence[str]


def alone(argv: Argv) -> bool:
    """Return whether a command asks about one port."""
    return argv[argv.index("-p") + 1].isdigit()


def apart(argv: Argv) -> bool:
    """Return whether a command asks the second host."""
    return argv[-1] == targets.THERE


def plain(argv: Argv) -> bool:
    """Return whether a command is not halfopen's own, but as a script would have it."""
    return "-Pn" not in argv


class FakeSocket:
    """A listener's, which counts the connections that wait for accept()."""

    def __init__(self, address: str, number: int, deaf: bool) -> None:
        self.queue, self._deaf = 0, deaf
        self.getsockname = lambda: (address, number)
        self.settimeout = self.close = lambda *_: None

    def accept(self) -> Tuple["FakeSocket", None]:
        if not self.queue or self._deaf:
            raise BlockingIOError
        self.queue -= 1
        return self, None


class FakeMachine:
    """All is well here, until a test changes one of the public attributes."""

    def __init__(self) -> None:
        self.nmap, self.version, self.library = NMAP, "7.93", SYSTEM
        self.time = 60.0
        self.version_run: Dict[str, Any] = {}
        """What differs in the run of --version."""
        self.says: Callable[[Argv, str], str] = lambda _, true: true
        """A command and the true state to the state that nmap says."""
        self.gives: Callable[[Argv, str, NmapRun], NmapRun] = lambda _argv, _true, run: run
        """A command, the true state and what a good nmap gives, to what this one gives."""
        self.connections: Mapping[Tuple[str, int], str] = {}
        """What a plain connection finds of a state in an IP version, where not the truth."""
        self.absent: Mapping[Tuple[str, int, bool], OSError] = {}
        """Ports that can't be made: state, IP version, whether 65535."""
        self.no_neighbour: Sequence[Exception] = ()
        self.connects = False
        """Whether nmap makes a connection of each scan of an open port."""
        self.deaf = False
        """Whether listeners never accept a connection."""
        self.commands: List[Argv] = []
        self.told: List[str] = []
        self._ports: Dict[Tuple[str, int], Port] = {}
        self._numbers = itertools.count(40000)

    def examine(self, **options: Any) -> Examination:
        """Return what smoke finds here."""
        machine = Machine(self._run_all, self._make_port, self._connect, self._second_host)
        asked = ScanOptions(self.nmap)._replace(**options)
        return examine(asked, time.monotonic() + self.time, self.told.append, machine)

    @contextlib.contextmanager
    def _make_port(self, state: str, version: int, number: int = 0) -> Iterator[Port]:
        if (state, version, bool(number)) in self.absent:
            raise self.absent[state, version, bool(number)]
        yield self._port(state, version, number, LOOPBACK[version])

    def _port(
        self, state: str, version: int, number: int, address: str, via: Tuple[str, ...] = ()
    ) -> Port:
        where = (address, number or next(self._numbers))
        sock: Any = FakeSocket(*where, self.deaf)
        self._ports[where] = Port(state, version, sock, via)
        return self._ports[where]

    def _connect(self, port: Port) -> str:
        found = self.connections.get((port.state, port.version), port.state)
        sock: Any = port.sock
        sock.queue += found == "open"
        return found

    @contextlib.contextmanager
    def _second_host(self) -> Iterator[Port]:
        for error in self.no_neighbour:
            raise error
        yield self._port("open", 4, 0, targets.THERE, ("enter", "--net"))

    def _run_all(
        self, commands: Sequence[Argv], _deadline: float, _meanwhile: object
    ) -> List[NmapRun]:
        self.commands += commands
        return [self._run(command) for command in commands]

    def _run(self, argv: Argv) -> NmapRun:
        if argv[-1] == "--version":
            text = _VERSION.format(self.version, self.library)
            return NmapRun(argv, 0, text.encode(), b"", 0.005)._replace(**self.version_run)
        address, number = argv[-1], port_of(argv)
        port = self._ports[address, number]
        says = self.says(argv, port.state)
        if self.connects:
            self._connect(port)
        state, reason = SAYS["silent" if says == "filtered" else says]
        host = HOST.format(
            address=address,
            kind="ipv6" if ":" in address else "ipv4",
            ports=PORT.format(port=number, state=state, reason=reason),
            srtt=65,
        )
        run = NmapRun(argv, 0, RUN.format(hosts=host, up=1).encode(), b"", 0.05)
        return self.gives(argv, port.state, run)


def late_7_70(argv: Argv, true: str, run: NmapRun) -> NmapRun:
    """Return what nmap 7.70 with late delivery gives: its recordings, for this address and port."""
    case = "filtered-no-response" if true == "filtered" else f"{true}-plus-one"
    version = "v6" if ":" in argv[-1] else "v4"
    if true == "open" and version == "v4":
        case = "open-plus-one-direct"
        if plain(argv) and apart(argv):
            case = "open-single" if alone(argv) else "open-plus-one"
    folder = RECORDED / "nmap-7.70-late-delivery" / f"{version}-{case}"
    if not folder.exists():
        folder = RECORDED / "nmap-7.70" / folder.name
    xml = (folder / "nmap.xml").read_text(encoding="utf-8")
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    old, first = facts["argv"][-3], facts["argv"][-4].partition("-")[0]
    xml = xml.replace(f'"{old}"', f'"{argv[-1]}"')
    xml = xml.replace(f'portid="{first}"', f'portid="{port_of(argv)}"')
    return run._replace(stdout=xml.encode())
