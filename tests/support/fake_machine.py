"""Stands in for what smoke does to a machine: ports in a known state, and an nmap asked about them.

All of it is fake. A test spoils an attribute, and sees what smoke finds.
"""

import contextlib
import itertools
import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

from halfopen.errors import CheckError
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

    def __init__(self, address: str, number: int) -> None:
        self.queue = 0
        self.getsockname = lambda: (address, number)
        self.settimeout = self.close = lambda *_: None

    def accept(self) -> Tuple["FakeSocket", None]:
        if self.queue <= 0:
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
        self.absent: Sequence[Tuple[str, int, int]] = ()
        """Ports that can't be made: state, IP version, number."""
        self.neighbour = True
        self.connects = False
        """Whether nmap makes a connection of each scan of an open port."""
        self.deaf = False
        """Whether listeners never accept a connection."""
        self.commands: List[Argv] = []
        self.told: List[str] = []
        self._ports: Dict[Tuple[str, int], Port] = {}
        self._numbers = itertools.count(40000)

    def examine(self) -> Examination:
        """Return what smoke finds here."""
        machine = Machine(self._run_all, self._make_port, self._connect, self._second_host)
        options = ScanOptions(self.nmap)
        return examine(options, time.monotonic() + self.time, self.told.append, machine)

    @contextlib.contextmanager
    def _make_port(self, state: str, version: int, number: int) -> Iterator[Port]:
        if (state, version, number) in self.absent:
            raise OSError(99, "Cannot assign requested address")
        yield self._port(state, version, LOOPBACK[version], number)

    def _port(self, state: str, version: int, address: str, number: int = 0, *via: str) -> Port:
        where = (address, number or next(self._numbers))
        sock: Any = FakeSocket(*where)
        self._ports[where] = Port(state, version, sock, via)
        return self._ports[where]

    def _connect(self, port: Port) -> str:
        found = self.connections.get((port.state, port.version), port.state)
        sock: Any = port.sock
        sock.queue += found == "open" and not self.deaf
        return found

    @contextlib.contextmanager
    def _second_host(self) -> Iterator[Port]:
        if not self.neighbour:
            raise CheckError("needs root")
        yield self._port("open", 4, targets.THERE, 0, "enter", "--net")

    def _run_all(self, commands: Sequence[Argv], *_: object) -> List[NmapRun]:
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
        ports = PORT.format(port=number, state=state, reason=reason)
        kind = "ipv6" if ":" in address else "ipv4"
        host = HOST.format(address=address, kind=kind, ports=ports, srtt=65)
        run = NmapRun(argv, 0, RUN.format(hosts=host, up=1).encode(), b"", 0.05)
        return self.gives(argv, port.state, run)


def late_7_70(argv: Argv, _true: str, run: NmapRun) -> NmapRun:
    """Return what nmap 7.70 with late delivery gives of the second host: its recordings."""
    if not apart(argv):
        return run
    case = "plus-one-direct" if not plain(argv) else "single" if alone(argv) else "plus-one"
    folder = RECORDED / "nmap-7.70-late-delivery" / f"v4-open-{case}"
    old = json.loads((folder / "run.json").read_text(encoding="utf-8"))["argv"]
    xml = (folder / "nmap.xml").read_text(encoding="utf-8").replace(f'"{old[-3]}"', f'"{argv[-1]}"')
    first = old[-4].partition("-")[0]
    xml = xml.replace(f'portid="{first}"', f'portid="{port_of(argv)}"')
    return run._replace(stdout=xml.encode())
