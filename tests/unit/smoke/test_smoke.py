"""What `halfopen smoke` makes of what nmap prints, without nmap, root or a network."""

import contextlib
import functools
import itertools
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple
from xml.etree import ElementTree as ET

import pytest
from support.fake_run import HOST, PORT, RUN, SAYS, addresses_of, port_of
from test_app import HALFOPEN, Commands
from test_app import run as run  # noqa: PLC0414  the fixture

from halfopen import check, model
from halfopen.errors import CheckError, UsageError
from halfopen.formats.registry import FORMATS
from halfopen.model import LATE, NmapRun
from halfopen.replay import replay
from halfopen.scan import runner
from halfopen.smoke import probes, report, targets
from halfopen.smoke.probes import Examination, Finding, Outcome, Trial
from halfopen.smoke.targets import LOOPBACK, Neighbour, Port

NMAP = "/opt/nmap"
SYSTEM, BUNDLED = "libpcap-1.10.3", "nmap-libpcap-1.10.3"
VERSION_TEXT = """Nmap version {} ( https://nmap.org )
Platform: x86_64-pc-linux-gnu
Compiled with: liblua-5.3.6 openssl-3.0.8 libz-1.2.13 libpcre-8.39 {} nmap-libdnet-1.12 ipv6
Compiled without:
"""
SILENT = b'state="filtered" reason="no-response"'
NOT_ROOT = b"You requested a scan type which requires root privileges.\nQUITTING!\n"


class Sock:
    """A stand-in for a listener's socket."""

    def __init__(self, address: str, number: int) -> None:
        self.name = (address, number)
        self.queue = 0

    def getsockname(self) -> Tuple[str, int]:
        """Return what was given."""
        return self.name

    def accept(self) -> Tuple["Sock", None]:
        """Take a connection that waits."""
        if not self.queue:
            raise BlockingIOError
        self.queue -= 1
        return self, None

    def settimeout(self, _seconds: float) -> None:
        """Nobody waits here."""

    def close(self) -> None:
        """Nothing is open."""


class World:
    """Ports whose state is known, and an nmap that is asked about them; a test spoils either."""

    def __init__(self) -> None:
        self.ports: Dict[Tuple[str, int], Port] = {}
        self.numbers = itertools.count(40000)
        self.version = VERSION_TEXT.format("7.93", SYSTEM)
        self.version_run: Dict[str, Any] = {}
        """What differs in the run of --version."""
        self.scan: Callable[[Sequence[str], str, NmapRun], NmapRun] = lambda _words, _true, run: run
        """Words, true state and the run that an nmap without a fault gives, to what this gives."""
        self.says: Callable[[Sequence[str], str], str] = lambda _, state: state
        """Words and true state to what nmap says, a key of SAYS, or "connects"."""
        self.seconds = {"-sS": [0.08], "-sT": [0.03], "python": [0.011]}
        self.plain: Dict[Tuple[str, int], str] = {}
        """What a plain connection finds of a state in an IP version, where not the truth."""
        self.absent: Dict[Tuple[str, int, bool], OSError] = {}
        """Ports that can't be made: state, IP version, whether 65535."""
        self.neighbour: Optional[CheckError] = None
        """Why there is no second host."""
        self.waiting = False
        self.commands: List[Sequence[str]] = []
        self.told: List[str] = []

    def make_port(self, state: str, version: int, address: str = "", number: int = 0) -> Port:
        """Stand in for targets.make_port."""
        error = self.absent.get((state, version, bool(number)))
        if error is not None:
            raise error
        where = (address or LOOPBACK[version], number or next(self.numbers))
        sock: Any = Sock(*where)
        self.ports[where] = Port(state, version, sock)
        return self.ports[where]

    def connect(self, port: Port) -> str:
        """Stand in for targets.connect."""
        found = self.plain.get((port.state, port.version), port.state)
        if found == "open":
            self._connected(port)
        return found

    @staticmethod
    def _connected(port: Port) -> None:
        sock: Any = port.sock
        sock.queue += 1

    @contextlib.contextmanager
    def second_host(self) -> Iterator[Neighbour]:
        """Stand in for targets.second_host."""
        if self.neighbour is not None:
            raise self.neighbour
        yield Neighbour(self.make_port("open", 4, targets.THERE), ("enter", "--net"))

    def run_all(
        self,
        commands: Sequence[Sequence[str]],
        _deadline: float,
        meanwhile: Optional[Callable[[], None]] = None,
    ) -> List[NmapRun]:
        """Stand in for runner.run_all."""
        if meanwhile is not None:
            meanwhile()
        self.commands += commands
        return [self._run(command) for command in commands]

    def _run(self, words: Sequence[str]) -> NmapRun:
        if words[-1] == "--version":
            run = NmapRun(words, 0, self.version.encode(), b"", 0.005)
            return run._replace(**self.version_run)
        if words[-2:] == ["-c", ""]:
            return NmapRun(words, 0, b"", b"", self._seconds("python"))
        (address,), number = addresses_of(words), port_of(words)
        port = self.ports[address, number]
        says = self.says(words, port.state)
        if says == "connects" or "-sT" in words:
            self._connected(port)
            says = port.state
        state, reason = SAYS["silent" if says == "filtered" else says]
        xml = RUN.format(
            hosts=HOST.format(
                address=address,
                kind="ipv6" if ":" in address else "ipv4",
                ports=PORT.format(port=number, state=state, reason=reason),
                srtt=65,
            ),
            up=1,
        ).replace('args="nmap"', 'args="{}"'.format(" ".join(words).replace('"', "")))
        scan = next(word for word in words if word in ("-sS", "-sT"))
        seconds = self._seconds(scan) if "-Pn" not in words else 0.05
        return self.scan(words, port.state, NmapRun(words, 0, xml.encode(), b"", seconds))

    def _seconds(self, what: str) -> float:
        times = self.seconds[what]
        return times.pop(0) if len(times) > 1 else times[0]

    def examine(self, seconds: float = 60.0, **means: Any) -> Examination:
        """Return what was found."""
        asked = model.ScanOptions(NMAP)._replace(**means)
        return probes.examine(asked, time.monotonic() + seconds, self.told.append)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world where all is well."""
    made = World()
    for name in ("make_port", "connect", "second_host"):
        monkeypatch.setattr(targets, name, getattr(made, name))
    monkeypatch.setattr(Port, "waiting", lambda _: made.waiting)
    monkeypatch.setattr(runner, "run_all", made.run_all)
    monkeypatch.setattr(probes, "check", functools.partial(check.check, run=made.run_all))
    monkeypatch.setattr("halfopen.check.nmap_needs_telling", lambda _: False)
    monkeypatch.setattr(socket, "getservbyport", lambda *_: "")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return made


def named(found: Examination, *outcomes: Outcome) -> Dict[str, str]:
    """Return the findings of these outcomes, "group: name" to detail."""
    return {f"{f.group}: {f.name}": f.detail for f in found.findings if f.outcome in outcomes}


def not_ok(found: Examination) -> Dict[str, str]:
    """Return all findings but the good ones."""
    return named(found, Outcome.FAILED, Outcome.UNSURE, Outcome.SKIPPED)


def said(found: Examination) -> str:
    """Return the conclusion as one line."""
    return " ".join(report.conclusion(found))


# -- an nmap without a fault --------------------------------------------------------------------


def test_an_nmap_without_a_fault_is_fit(world: World) -> None:
    found = world.examine()

    assert found.verdict is Outcome.OK
    assert not_ok(found) == {}
    assert (found.nmap, found.version, found.second_port) == (NMAP, "7.93", False)
    assert said(found) == ("nmap 7.93: fit for half-open checks. A second port is not needed here.")


def test_each_step_is_told_before_it_is_taken(world: World) -> None:
    world.examine()

    assert len(world.told) == len(set(world.told)) == 5
    assert world.told[-2:] == ["two hosts", "XML"]


def test_each_port_is_asked_alone_and_with_the_next(world: World) -> None:
    world.examine()
    asked = [words[words.index("-p") + 1] for words in world.commands if "-Pn" in words]

    assert {"65535", "65535,65534"} < set(asked)
    assert len([one for one in asked if "," in one]) >= 6
    assert len([one for one in asked if one.isdigit()]) >= 6


def test_between_two_hosts_every_run_is_made_on_the_first(world: World) -> None:
    world.examine()

    between = [words for words in world.commands if words[-1] == targets.THERE]
    assert len(between) >= 11
    assert {tuple(words[:3]) for words in between} == {("enter", "--net", NMAP)}


# -- nmap --version -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "library", "detail", "suspected"),
    [
        ("7.93", SYSTEM, "7.93, libpcap-1.10.3 (the system's)", False),
        ("7.93", BUNDLED, "7.93, nmap-libpcap-1.10.3 (bundled)", False),
        ("7.94SVN", "libpcap-1.10.4", "7.94SVN, libpcap-1.10.4 (the system's)", False),
        ("7.70", "libpcap-1.8.1", "7.70, libpcap-1.8.1 (the system's)", True),
        ("7.70", "nmap-libpcap-1.8.1", "7.70, nmap-libpcap-1.8.1 (bundled)", False),
        ("7.70SVN", "libpcap-1.10.0", "7.70SVN, libpcap-1.10.0 (the system's)", True),
        ("7.80", "libpcap-1.9.1", "7.80, libpcap-1.9.1 (the system's)", False),
        ("7.80SVN", "libpcap-1.9.1", "7.80SVN, libpcap-1.9.1 (the system's)", False),
        ("7.60", "libpcap-1.5.3", "7.60, libpcap-1.5.3 (the system's)", True),
        ("6.40", "libpcap-1.4.0", "6.40, libpcap-1.4.0 (the system's)", False),
        ("6.49BETA4", "libpcap-1.7.4", "6.49BETA4, libpcap-1.7.4 (the system's)", True),
        ("7.93", "no-packet-library", "7.93, libpcap unknown", False),
        ("7.70", "no-packet-library", "7.70, libpcap unknown", False),
        ("10.1", SYSTEM, "10.1, libpcap-1.10.3 (the system's)", False),
    ],
)
def test_what_nmap_says_of_itself(
    world: World, version: str, library: str, detail: str, suspected: bool
) -> None:
    world.version = VERSION_TEXT.format(version, library)
    found = world.examine()

    assert named(found, Outcome.OK)["means: nmap"] == f"{NMAP}, {detail}"
    assert found.version == version
    assert ("means: suspicion" in named(found, Outcome.SKIPPED)) is suspected
    assert found.verdict is Outcome.OK, "what is measured counts"


@pytest.mark.parametrize(
    ("run", "detail"),
    [
        ({"stdout": b""}, "names no version; is it nmap?"),
        ({"stdout": b"hello\n"}, "names no version; is it nmap?"),
        ({"stdout": b"Nmap version x ( \xff"}, "names no version; is it nmap?"),
        ({"exit_code": 1}, "names no version; is it nmap?"),
        ({"exit_code": -11}, "names no version; is it nmap?"),
        (
            {"cut": LATE, "exit_code": -9, "stdout": b""},
            "did not end, and was killed",
        ),
    ],
)
def test_what_is_not_nmap_is_not_fit_and_not_asked(
    world: World, run: Dict[str, Any], detail: str
) -> None:
    world.version_run = run
    found = world.examine()

    assert found.verdict is Outcome.FAILED
    assert named(found, Outcome.FAILED) == {"means: nmap": f"{NMAP} --version {detail}"}
    assert len(world.commands) == 1
    groups = [f.group for f in found.findings if f.outcome is Outcome.SKIPPED]
    assert groups == ["states", "late delivery", "two hosts", "XML"]


def test_an_nmap_that_is_not_there_can_not_be_judged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_: str) -> str:
        raise CheckError("nmap not found on PATH; install nmap, or name it with --nmap")

    monkeypatch.setattr("halfopen.scan.process.find_program", absent)
    found = world.examine(nmap="nmap")

    assert (found.verdict, found.nmap, found.version) == (Outcome.UNSURE, "nmap", "")
    assert said(found).startswith(
        "nmap: could not tell whether it is fit for half-open checks (means: nmap: nmap not found "
    )
    assert "install nmap, or name it with --nmap" in said(found)


# -- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["open", "closed", "filtered"])
@pytest.mark.parametrize("instead", ["open", "closed", "filtered"])
def test_a_wrong_state_is_not_fit(world: World, state: str, instead: str) -> None:
    world.says = lambda words, true: (
        instead if true == state and "::1" in words and "65535" not in " ".join(words) else true
    )
    found = world.examine()

    failed = set(named(found, Outcome.FAILED))
    hows = ("with the next", "alone")
    wanted = {f"states: {state} port, IPv6, {how}" for how in hows}
    assert failed == (set() if state == instead else wanted)
    assert found.verdict is (Outcome.OK if state == instead else Outcome.FAILED)


def test_a_port_that_is_wrong_alone_needs_the_second(world: World) -> None:
    def says(words: Sequence[str], true: str) -> str:
        alone = words[words.index("-p") + 1].isdigit()
        return "filtered" if alone and words[-1] == targets.THERE else true

    world.says = says
    found = world.examine()

    assert set(named(found, Outcome.FAILED)) == {"two hosts: plain scan, port alone"}
    assert found.second_port is True
    assert "A second port is needed here: leave --plus-one on." in said(found)


def test_a_port_that_is_never_open_is_not_helped_by_a_second(world: World) -> None:
    world.says = lambda _, true: "filtered" if true == "open" else true
    found = world.examine()

    assert found.verdict is Outcome.FAILED
    assert found.second_port is None


@pytest.mark.parametrize("wrong", ["halfopen's own scan", "plain scan, with the next port"])
def test_a_wrong_answer_between_two_hosts_is_not_fit(world: World, wrong: str) -> None:
    own = wrong == "halfopen's own scan"

    def says(words: Sequence[str], true: str) -> str:
        there, alone = words[-1] == targets.THERE, words[words.index("-p") + 1].isdigit()
        return "closed" if there and not alone and own == ("-Pn" in words) else true

    world.says = says
    found = world.examine()

    assert set(named(found, Outcome.FAILED)) == {f"two hosts: {wrong}"}


def test_one_wrong_answer_of_five_is_not_fit(world: World) -> None:
    asked: List[Sequence[str]] = []

    def says(words: Sequence[str], true: str) -> str:
        if words[-1] != targets.THERE or "-Pn" in words:
            return true
        asked.append(words)
        return "filtered" if len(asked) == 3 else true

    world.says = says
    found = world.examine()

    failed = named(found, Outcome.FAILED)
    assert failed == {"two hosts: plain scan, port alone": "4 of 5 open"}
    assert found.second_port is True


def test_a_negative_round_trip_is_counted(world: World) -> None:
    def late(words: Sequence[str], _: str, run: NmapRun) -> NmapRun:
        there = words[-1] == targets.THERE
        stdout = run.stdout.replace(b'srtt="65"', b'srtt="-200291"')
        return run._replace(stdout=stdout) if there else run

    world.scan = late
    found = world.examine()

    ok = named(found, Outcome.OK)
    assert ok["two hosts: plain scan, port alone"] == "5 of 5 open, 5 with a negative round trip"


@pytest.mark.parametrize(
    ("run", "detail"),
    [
        ({"stdout": b"", "exit_code": -11}, "nmap was killed by signal 11"),
        ({"stdout": b"<nmaprun>"}, "nmap printed no complete XML"),
        ({"stdout": b"", "exit_code": -9, "cut": LATE}, "nmap did not end within --timeout"),
    ],
)
def test_an_nmap_that_gives_no_sense_is_not_fit_and_asked_no_more(
    world: World, run: Dict[str, Any], detail: str
) -> None:
    world.scan = lambda _words, _true, whole: whole._replace(**run)
    found = world.examine()

    failed = named(found, Outcome.FAILED)
    assert len(failed) == 16
    assert {name.partition(":")[0] for name in failed} == {"states"}
    assert all(why.startswith(detail) for why in failed.values())
    assert "means: raw sockets" not in named(found, Outcome.OK)
    assert "half-open: all" in named(found, Outcome.SKIPPED)
    assert not [words for words in world.commands if "-sT" in words]
    assert found.second_port is None


def test_older_xml_is_named_with_the_way_out(world: World) -> None:
    def older(_words: Sequence[str], _true: str, run: NmapRun) -> NmapRun:
        stdout = re.sub(rb' reason="[a-z-]+"', b"", run.stdout)
        return run._replace(stdout=stdout.replace(b'"1.05"', b'"1.02"'))

    world.scan = older
    found = world.examine()

    assert found.verdict is Outcome.FAILED
    assert "use 7.70 or later" in said(found)
    assert named(found, Outcome.SKIPPED)["XML: read to known states"].startswith("format 1.02, ")


# -- the ports of our own -----------------------------------------------------------------------


def test_a_firewall_between_us_and_our_ports_leaves_it_open(world: World) -> None:
    world.plain = {("closed", 4): "filtered"}
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert "nft list ruleset" in named(found, Outcome.UNSURE)["states: closed port, IPv4"]
    assert named(found, Outcome.FAILED) == {}


def test_a_firewall_that_refuses_what_nmap_sends_leaves_it_open(world: World) -> None:
    def refused(words: Sequence[str], _: str, run: NmapRun) -> NmapRun:
        if words[-1] != LOOPBACK[4]:
            return run
        told = "sendto in send_ip_packet_sd: sendto(4, packet, 44, 0, {}, 16) => {}\n{}".format(
            words[-1],
            "Operation not permitted",
            f"Offending packet: TCP 127.0.0.1:4242 > {words[-1]}:{port_of(words)} S ttl=40 id=1\n",
        )
        silent = re.sub(rb'state="[a-z]+" reason="(syn-ack|reset)"', SILENT, run.stdout)
        return run._replace(stdout=silent, stderr=told.encode())

    world.scan = refused
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert named(found, Outcome.FAILED) == {}
    assert "look at its own firewall (nft list ruleset)" in said(found)


def test_where_no_open_port_is_reached_a_filtered_one_is_not_asked_either(world: World) -> None:
    world.plain = {("open", 4): "filtered", ("closed", 4): "filtered"}
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert not [name for name in named(found, Outcome.OK) if "IPv4" in name]
    assert not [words for words in world.commands if words[-1] == LOOPBACK[4]]
    assert "late delivery: time of a scan" in named(found, Outcome.SKIPPED)


@pytest.mark.parametrize(
    ("state", "version", "last", "outcome"),
    [
        ("open", 4, False, Outcome.UNSURE),
        ("filtered", 4, False, Outcome.UNSURE),
        ("open", 4, True, Outcome.SKIPPED),
        ("open", 6, False, Outcome.SKIPPED),
        ("closed", 6, False, Outcome.SKIPPED),
    ],
)
def test_a_port_that_cannot_be_had(
    world: World, state: str, version: int, last: bool, outcome: Outcome
) -> None:
    world.absent = {(state, version, last): OSError(99, "Cannot assign requested address")}
    found = world.examine()

    name = f"states: {state} port{' 65535' if last else ''}, IPv{version}"
    assert named(found, outcome)[name] == "no such port here: Cannot assign requested address"
    wanted = Outcome.OK if outcome is Outcome.SKIPPED else Outcome.UNSURE
    assert found.verdict is wanted
    assert name.replace("states: ", "states, ") in said(found).partition("Not tested: ")[2]


def test_without_any_port_nothing_can_be_told(world: World) -> None:
    error = OSError(99, "Cannot assign requested address")
    world.absent = {
        (state, version, last): error
        for state in ("open", "closed", "filtered")
        for version in (4, 6)
        for last in (False, True)
    }
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert len(world.commands) == 1


# -- half-open ----------------------------------------------------------------------------------


def test_a_connect_scan_in_a_syn_scans_place_is_not_fit(world: World) -> None:
    world.says = lambda words, true: "connects" if "-sS" in words else true
    found = world.examine()

    assert set(named(found, Outcome.FAILED)) == {
        "half-open: no connection, IPv4",
        "half-open: no connection, IPv6",
    }


def test_a_handshake_that_nobody_ends_leaves_it_open(world: World) -> None:
    world.waiting = True
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert "nft list ruleset" in named(found, Outcome.UNSURE)["half-open: no connection, IPv4"]


def test_a_listener_that_would_notice_no_connection_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Port, "connected", lambda *_, **__: False)
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert set(named(found, Outcome.UNSURE)) == {
        "half-open: no connection, IPv4",
        "half-open: no connection, IPv6",
    }


# -- what is not allowed ------------------------------------------------------------------------


def not_root(words: Sequence[str], _: str, run: NmapRun) -> NmapRun:
    """Return what nmap gives a user that may not open raw sockets."""
    refused = run._replace(stdout=b"", stderr=NOT_ROOT, exit_code=1)
    return refused if "-sS" in words else run


def test_without_raw_sockets_the_way_out_is_told_and_the_rest_tested(world: World) -> None:
    world.scan = not_root
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert "nmap needs root or CAP_NET_RAW" in named(found, Outcome.UNSURE)["means: raw sockets"]
    assert said(found).endswith(
        "Not tested: states, SYN scan; half-open; late delivery; two hosts."
    )
    ok = named(found, Outcome.OK)
    assert ok["states: closed port, IPv6, connect scan"] == "closed (reset)"
    assert "XML: read to known states" in ok
    for words in world.commands:
        assert ("-6" in words) == (words[-1] == "::1")


def test_a_connect_scan_that_is_wrong_is_not_fit_even_without_raw_sockets(world: World) -> None:
    def scan(words: Sequence[str], true: str, run: NmapRun) -> NmapRun:
        wrong = run.stdout.replace(b'"closed" reason="reset"', b'"open" reason="syn-ack"')
        return not_root(words, true, run._replace(stdout=wrong))

    world.scan = scan
    found = world.examine()

    assert set(named(found, Outcome.FAILED)) == {
        "states: closed port, IPv4, connect scan",
        "states: closed port, IPv6, connect scan",
    }


def test_a_second_host_that_cannot_be_had_is_skipped(world: World) -> None:
    world.neighbour = CheckError("needs root")
    found = world.examine()

    assert found.verdict is Outcome.OK
    assert not_ok(found) == {"two hosts: open port": "needs root"}
    assert found.second_port is None, "loopback says nothing about it"
    assert said(found).endswith(
        "Whether a second port is needed here was not found out: leave --plus-one on. "
        "Not tested: two hosts, open port."
    )


def test_what_goes_wrong_on_the_way_is_a_finding(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> bool:
        raise CheckError("cannot start nmap: Cannot allocate memory; free some memory")

    monkeypatch.setattr(probes._Examiner, "_late_delivery", broken)
    found = world.examine()

    assert found.verdict is Outcome.UNSURE
    assert "free some memory" in named(found, Outcome.UNSURE)["late delivery: all"]


# -- late delivery ------------------------------------------------------------------------------


class Speed(NamedTuple):
    """Seconds of a SYN scan, a connect scan and Python's start; what is to be said of them."""

    syn: Sequence[float]
    connect: Sequence[float]
    python: Sequence[float]
    outcome: Outcome
    detail: str


# Where a comment says so, measured.
SPEEDS = {
    "idle": Speed([0.082], [0.030], [0.011], Outcome.OK, ""),  # measured
    "the slowest known": Speed([0.11], [0.041], [0.011], Outcome.OK, ""),  # measured
    "a start that takes its time": Speed([0.17], [0.12], [0.011], Outcome.OK, ""),
    "4 busy loops": Speed([0.184], [0.14], [0.05], Outcome.OK, ""),  # measured
    "12 busy loops": Speed([0.332], [0.288], [0.093], Outcome.SKIPPED, "too busy to tell"),
    "30 busy loops": Speed([0.548], [0.532], [0.168], Outcome.SKIPPED, "too busy to tell"),
    "late": Speed([0.24], [0.03], [0.011], Outcome.FAILED, "packets reach nmap late"),  # measured
    "late, busy": Speed([0.36], [0.12], [0.05], Outcome.FAILED, "packets reach nmap late"),
    "all of it late": Speed([0.33], [0.28], [0.011], Outcome.FAILED, "nmap answers late"),
    "a burst at first": Speed(
        [0.5, 0.5, 0.5, 0.5, 0.08], [0.03], [0.011], Outcome.OK, "0.080 s, a connect scan 0.030 s"
    ),
    "a burst now and then": Speed(
        [0.3, 0.08, 0.3], [0.2, 0.03, 0.3], [0.1, 0.2, 0.01], Outcome.OK, ""
    ),
}


@pytest.mark.parametrize("speed", SPEEDS.values(), ids=SPEEDS)
def test_the_time_of_scans_tells_whether_packets_are_late(world: World, speed: Speed) -> None:
    world.seconds = {
        # Between two hosts, later, no time is judged.
        "-sS": list(speed.syn),
        "-sT": list(speed.connect),
        "python": list(speed.python),
    }
    found = world.examine()

    detail = named(found, speed.outcome)["late delivery: time of a scan"]
    assert speed.detail in detail
    failed = speed.outcome is Outcome.FAILED
    assert found.verdict is (Outcome.FAILED if failed else Outcome.OK)


def test_a_suspected_nmap_on_a_machine_too_busy_to_tell_is_not_called_fit(world: World) -> None:
    world.version = VERSION_TEXT.format("7.70", "libpcap-1.8.1")
    world.seconds = {"-sS": [0.55], "-sT": [0.53], "python": [0.17]}
    found = world.examine()

    assert found.verdict is Outcome.UNSURE


def test_the_time_that_sudo_takes_is_not_nmaps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfopen.scan.process.find_program", lambda name, *_: f"/bin/{name}")
    world.seconds = {"-sS": [0.6], "-sT": [0.55], "python": [0.011]}
    found = world.examine(sudo=True)

    assert found.verdict is Outcome.OK
    assert "too busy" in named(found, Outcome.SKIPPED)["late delivery: time of a scan"]
    assert named(found, Outcome.OK)["means: raw sockets"] == "by sudo"


def test_a_scan_that_waits_in_vain_is_not_called_late(world: World) -> None:
    world.says = lambda words, true: (
        "filtered" if true == "open" and "-Pn" not in words and words[-1] == LOOPBACK[4] else true
    )
    world.seconds["-sS"] = [0.5]
    found = world.examine()

    unsure = named(found, Outcome.UNSURE)
    assert "does not find" in unsure["late delivery: time of a scan"]
    assert found.verdict is not Outcome.OK


# -- time ---------------------------------------------------------------------------------------


KILLED: Dict[str, Any] = {"stdout": b"", "exit_code": -9, "cut": LATE}


@pytest.mark.parametrize(("seconds", "verdict"), [(2.5, Outcome.UNSURE), (9, Outcome.FAILED)])
def test_an_nmap_that_does_not_end_is_at_fault_if_it_had_time(
    world: World, seconds: float, verdict: Outcome
) -> None:
    world.scan = lambda _words, _true, run: run._replace(**KILLED)
    found = world.examine(seconds)

    assert found.verdict is verdict
    assert "raise --timeout" in said(found)


def test_what_never_ended_for_want_of_time_is_skipped_between_two_hosts(world: World) -> None:
    world.scan = lambda words, _, run: run._replace(**KILLED) if words[-1] == targets.THERE else run
    found = world.examine(2.9)

    assert named(found, Outcome.FAILED) == {}
    assert "raise --timeout" in named(found, Outcome.SKIPPED)["two hosts: open port"]


# -- what is printed ----------------------------------------------------------------------------

HOSTILE = "\x1b[31mred\x07 \x00 <b>&amp;\"' ]]> \ufffe \udce9 \u202e | % \r\t"


def examination(*findings: Finding, second_port: Optional[bool] = None) -> Examination:
    """Return one with these findings."""
    return Examination("/usr/bin/nmap", "7.93", findings, (), second_port)


GOOD = Finding("states", "open port, IPv4, alone", Outcome.OK, "open (syn-ack)", 1.25)
BAD = Finding("states", "closed port, IPv4, alone", Outcome.FAILED, "nmap says open", 0.1)
LEFT_OUT = Finding("two hosts", "open port", Outcome.SKIPPED, "needs root")
IN_DOUBT = Finding("states", "SYN scan", Outcome.UNSURE, "not allowed")


@pytest.mark.parametrize(
    ("findings", "verdict", "code", "word"),
    [
        ([GOOD], Outcome.OK, 0, "fit"),
        ([GOOD, LEFT_OUT], Outcome.OK, 0, "fit"),
        ([GOOD, IN_DOUBT], Outcome.UNSURE, 3, "could not tell"),
        ([GOOD, IN_DOUBT, BAD, LEFT_OUT], Outcome.FAILED, 2, "not fit"),
    ],
)
def test_the_worst_finding_decides(
    findings: List[Finding], verdict: Outcome, code: int, word: str
) -> None:
    found = examination(*findings)

    assert found.verdict is verdict
    assert report.CODES[found.verdict] == code
    assert json.loads(report.as_json(found))["verdict"] == word


@pytest.mark.parametrize(
    ("findings", "second_port", "conclusion"),
    [
        (
            [GOOD],
            False,
            "nmap 7.93: fit for half-open checks. A second port is not needed here.",
        ),
        (
            [GOOD, LEFT_OUT],
            None,
            "nmap 7.93: fit for half-open checks. Whether a second port is needed here was not "
            "found out: leave --plus-one on. Not tested: two hosts, open port.",
        ),
        (
            [GOOD, IN_DOUBT, BAD],
            True,
            "nmap 7.93: not fit for half-open checks (states: closed port, IPv4, alone: nmap says "
            "open). A second port is needed here: leave --plus-one on. Install another nmap (7.80 "
            "or later), or name one with --nmap. Not tested: states, SYN scan.",
        ),
        (
            [GOOD, IN_DOUBT, LEFT_OUT._replace(name="all")],
            None,
            "nmap 7.93: could not tell whether it is fit for half-open checks (states: SYN scan: "
            "not allowed). Whether a second port is needed here was not found out: leave "
            "--plus-one on. Not tested: states, SYN scan; two hosts.",
        ),
    ],
)
def test_the_conclusion_in_words(
    findings: List[Finding], second_port: Optional[bool], conclusion: str
) -> None:
    found = examination(*findings, second_port=second_port)

    assert said(found) == conclusion
    assert json.loads(report.as_json(found))["conclusion"] == conclusion
    assert report.text(found).partition("\n\n")[2].replace("\n", " ") == conclusion


def test_the_table_has_a_row_a_finding() -> None:
    table = report.text(examination(GOOD, BAD, LEFT_OUT)).partition("\n\n")[0]

    assert table.splitlines() == [
        "states     open port, IPv4, alone    ok       open (syn-ack)",
        "states     closed port, IPv4, alone  failed   nmap says open",
        "two hosts  open port                 skipped  needs root",
    ]


def test_the_json_names_everything() -> None:
    assert json.loads(report.as_json(examination(GOOD, second_port=True))) == {
        "version": 1,
        "verdict": "fit",
        "nmap": "/usr/bin/nmap",
        "nmap_version": "7.93",
        "second_port_needed": True,
        "conclusion": "nmap 7.93: fit for half-open checks. "
        "A second port is needed here: leave --plus-one on.",
        "findings": [
            {
                "group": "states",
                "name": "open port, IPv4, alone",
                "outcome": "ok",
                "detail": "open (syn-ack)",
                "seconds": 1.25,
            }
        ],
    }


def test_no_control_character_reaches_a_terminal() -> None:
    text = report.text(examination(GOOD._replace(detail=HOSTILE), BAD._replace(detail=HOSTILE)))

    assert all(char == "\n" or char.isprintable() for char in text)
    assert text.count("\n") == 5
    assert "\\x1b[31mred\\x07" in text


# What the schema of Jenkins' xUnit plugin (junit-10.xsd) allows: attributes, those of them that
# must be there, and what may be inside.
COUNTS = {"tests", "failures", "errors"}
SCHEMA: Dict[str, Tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    "testsuites": (["name", "time", *COUNTS], [], ["testsuite"]),
    "testsuite": (
        ["name", *COUNTS, "skipped", "group", "time", "timestamp", "hostname", "id", "package"],
        ["name", *COUNTS],
        ["testsuite", "properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        ["name", "time", "classname", "group"],
        ["name"],
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "failure": (["type", "message"], [], []),
    "error": (["type", "message"], [], []),
    "skipped": (["type", "message"], [], []),
    "system-out": ([], [], []),
}


def junit(*findings: Finding) -> ET.Element:
    """Return the findings as JUnit's XML, which the schema allows."""
    root = ET.fromstring(report.junit(examination(*findings)).encode())  # noqa: S314
    for element in root.iter():
        allowed, needed, inside = SCHEMA[element.tag]
        assert set(needed) <= set(element.attrib) <= set(allowed)
        assert {child.tag for child in element} <= set(inside)
        if inside:
            assert not (element.text or "").strip()
        assert not (element.tail or "").strip()
    return root


def test_junit_has_a_test_case_a_finding() -> None:
    root = junit(GOOD, BAD, LEFT_OUT, IN_DOUBT)
    (suite,) = root

    assert root.tag == "testsuites"
    assert {name: root.get(name) for name in COUNTS} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
    }
    assert all(suite.get(name) == root.get(name) for name in COUNTS)
    assert (suite.get("name"), suite.get("skipped")) == ("halfopen.smoke", "1")
    seen = [(case.get("classname"), case.get("name"), case[0].tag) for case in suite]
    assert seen == [
        ("halfopen.smoke.states", "open port, IPv4, alone", "system-out"),
        ("halfopen.smoke.states", "closed port, IPv4, alone", "failure"),
        ("halfopen.smoke.two hosts", "open port", "skipped"),
        ("halfopen.smoke.states", "SYN scan", "error"),
    ]
    assert [case.get("time") for case in suite] == ["1.250", "0.100", "0.000", "0.000"]


def test_junit_says_why_where_jenkins_looks_and_where_gitlab_does() -> None:
    for finding in (BAD, LEFT_OUT, IN_DOUBT):
        (element,) = junit(finding)[0][0]
        assert element.get("message") == element.text == finding.detail


@pytest.mark.parametrize("outcome", Outcome)
def test_hostile_words_leave_junit_well_formed(outcome: Outcome) -> None:
    hostile = Finding("states", "open port", outcome, HOSTILE)
    (element,) = junit(hostile)[0][0]

    assert element.text is not None
    assert "<b>&amp;\"' ]]> \\ufffe \\udce9" in element.text
    assert element.text.isprintable()
    assert element.get("message", element.text) == element.text


@pytest.mark.parametrize("form", report.FORMATS)
@pytest.mark.parametrize("outcome", Outcome)
def test_every_form_prints_every_outcome(form: str, outcome: Outcome) -> None:
    printed = report.FORMATS[form](examination(GOOD._replace(outcome=outcome)))

    assert printed
    assert "Outcome" not in printed
    printed.encode("utf-8")


# -- recordings ---------------------------------------------------------------------------------


def test_each_run_is_saved_in_the_fixtures_layout(world: World, tmp_path: Path) -> None:
    found = world.examine()
    report.save(found, str(tmp_path / "new" / "folder"))

    folders = sorted((tmp_path / "new" / "folder").glob("*/*"))
    assert len(folders) == len(found.trials) == len({trial.case for trial in found.trials})
    fixture = Path(__file__).resolve().parents[3] / "fixtures/recorded/nmap-7.93/v4-open-single"
    keys = json.loads((fixture / "run.json").read_text(encoding="utf-8")).keys()
    for folder in folders:
        assert {file.name for file in folder.iterdir()} == {"nmap.xml", "run.json"}
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert keys <= run.keys()
        assert run["nmap"] == folder.parent.name == "nmap-7.93"
        assert run["argv"][0] in (NMAP, "enter")
        asked = run["argv"][run["argv"].index("-p") + 1]
        assert asked.isdigit() == ("plus-one" not in folder.name and "direct" not in folder.name)
    names = {folder.name for folder in folders}
    assert {
        "loopback-v4-open-plus-one",
        "loopback-v6-closed-single",
        "loopback-v4-65535-plus-one",
        "loopback-v4-open-plain",
        "loopback-v4-open-plain-3",
        "loopback-v4-open-connect",
        "two-hosts-open-direct",
        "two-hosts-open-single-5",
        "two-hosts-open-plus-one",
    } <= names


def test_a_saved_run_is_replayed_to_its_truth(world: World, tmp_path: Path) -> None:
    found = world.examine()
    report.save(found, str(tmp_path))

    for folder in tmp_path.glob("*/*"):
        truth = json.loads((folder / "run.json").read_text(encoding="utf-8"))["truth"]
        (verdict,) = replay([str(folder / "nmap.xml")], time.monotonic() + 60).verdicts
        assert verdict.target is not None
        assert f"{verdict.target.port} {verdict.state}" == truth, folder.name


def test_what_nmap_printed_is_saved_byte_for_byte(tmp_path: Path) -> None:
    hostile = b"\xff\x00<nmaprun>\r\n"
    run = NmapRun((NMAP, "-p", "25", "127.0.0.1"), -11, hostile, b"\xff\x1b", 0.1234)
    found = examination(BAD)._replace(trials=[Trial("case", "25 open", run)])
    report.save(found, str(tmp_path))

    folder = tmp_path / "nmap-7.93" / "case"
    assert (folder / "nmap.xml").read_bytes() == hostile
    saved = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (saved["returncode"], saved["seconds"], saved["stderr"]) == (-11, 0.123, "\ufffd\x1b")


@pytest.mark.parametrize("version", ["7.93/../../../out", "7.93\x1b[31m", "7.93/x"])
def test_a_version_leads_no_file_astray(world: World, tmp_path: Path, version: str) -> None:
    world.version = VERSION_TEXT.format(version, SYSTEM)
    folder = tmp_path / "a" / "b" / "c"
    report.save(world.examine(), str(folder))

    assert {path.name for path in folder.iterdir()} == {"nmap-7.93"}
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


@pytest.mark.parametrize("name", ["file/inside", "with\0nul"])
def test_a_folder_that_cannot_be_written_is_named(world: World, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot write to "):
        report.save(world.examine(), str(tmp_path / name))


# -- the ports themselves -----------------------------------------------------------------------


@pytest.mark.parametrize("state", ["open", "closed", "filtered"])
def test_a_port_is_in_the_state_that_it_was_made_in(state: str) -> None:
    port = targets.make_port(state, 4)
    try:
        assert (port.address, port.number > 0) == ("127.0.0.1", True)
        assert targets.connect(port) == state
        assert port.connected(wait=True) is (state == "open")
        assert not port.connected()
        assert not port.waiting()
    finally:
        port.close()


def test_a_filtered_port_needs_no_socket_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_drop_everything", lambda _: False)
    port = targets.make_port("filtered", 4)
    try:
        assert targets.connect(port) == "filtered"
    finally:
        port.close()


def test_a_port_can_be_named_and_is_refused_where_it_is_taken() -> None:
    port = targets.make_port("open", 4)
    try:
        with pytest.raises(OSError, match="in use"):
            targets.make_port("open", 4, number=port.number)
    finally:
        port.close()


def test_a_second_host_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CheckError, match="needs root"), targets.second_host():
        pass


@pytest.mark.parametrize(("missing", "package"), [("ip", "iproute2"), ("unshare", "util-linux")])
def test_a_second_host_needs_tools_and_names_them(
    monkeypatch: pytest.MonkeyPatch, missing: str, package: str
) -> None:
    def find(name: str, advice: str) -> str:
        if name == missing:
            raise CheckError(f"{name} not found; {advice}")
        return f"/bin/{name}"

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("halfopen.scan.process.find_program", find)
    message = f"{missing} not found; install {package}"
    with pytest.raises(CheckError, match=message), targets.second_host():
        pass


def test_a_system_without_network_namespaces_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuses = tmp_path / "unshare"
    refuses.write_text("#!/bin/sh\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("halfopen.scan.process.find_program", lambda *_: str(refuses))

    with pytest.raises(CheckError, match="no network namespaces"), targets.second_host():
        pass


# -- the command --------------------------------------------------------------------------------


@pytest.fixture
def ready(run: Commands, world: World, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Return commands that meet the world, whose nmap is fit."""
    monkeypatch.setenv("HALFOPEN_NMAP", NMAP)
    assert world
    return run


def test_the_command_prints_the_table_and_exits_0(ready: Commands) -> None:
    ended = ready(HALFOPEN, "smoke")

    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.endswith("fit for half-open checks.\nA second port is not needed here.\n")


def test_what_was_found_is_told_even_if_it_cannot_be_saved(
    ready: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("another user's; name another folder")

    monkeypatch.setattr(report, "save", refuse)

    ended = ready(HALFOPEN, "smoke", "--save", str(tmp_path))

    assert ended.stderr == "halfopen: not saved: another user's; name another folder\n"
    assert (ended.code, "fit for half-open checks." in ended.stdout) == (0, True)


@pytest.mark.parametrize(("state", "code"), [("open", 2), ("closed", 2), ("filtered", 2)])
def test_the_command_exits_2_for_a_fault(
    ready: Commands, world: World, state: str, code: int
) -> None:
    wrong = {"open": "closed", "closed": "open", "filtered": "closed"}
    world.says = lambda _, true: wrong[true] if true == state else true

    assert ready(HALFOPEN, "smoke", "--format", "json").code == code


def test_the_command_exits_3_where_it_could_not_tell(ready: Commands, world: World) -> None:
    world.plain = {("closed", 4): "filtered"}

    assert ready(HALFOPEN, "smoke", "--format", "junit").code == 3


@pytest.mark.parametrize(("form", "begins"), [("text", "means "), ("json", "{"), ("junit", "<?")])
def test_the_command_prints_each_form(ready: Commands, form: str, begins: str) -> None:
    assert ready(HALFOPEN, "smoke", "--format", form).stdout.startswith(begins)


def test_the_command_saves_where_it_is_told(ready: Commands, tmp_path: Path) -> None:
    ended = ready(HALFOPEN, "smoke", "--save", str(tmp_path / "runs"))

    assert ended.code == 0
    assert list(tmp_path.glob("runs/nmap-7.93/*/nmap.xml"))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--format", "nagios"], "'nagios' is not one of text, json, junit"),
        (["--format", "xml"], "'xml' is not one of text, json, junit"),
        (["--format", "JSON"], "'JSON' is not one of text, json, junit"),
        (["--format"], "--format"),
        (["--timeout", "soon"], "'soon'"),
        (["--timeout", "0"], "'0'"),
        (["-t", "-1"], "-1"),
        (["192.0.2.25:25"], "192.0.2.25:25"),
        (["--expect", "open"], "--expect"),
        (["--save"], "--save"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_asked(
    ready: Commands, world: World, words: List[str], name: str
) -> None:
    ended = ready(HALFOPEN, "smoke", *words)

    assert ended.code == 3
    assert ended.said.count("\n") == 1
    assert name in ended.said
    assert world.commands == []


@pytest.mark.parametrize("words", [[], ["--bogus"]])
@pytest.mark.parametrize("format_name", sorted({*FORMATS} - {"text", "json"}))
def test_the_exit_codes_of_the_monitor_hosts_are_not_its_own(
    ready: Commands, format_name: str, words: List[str]
) -> None:
    assert ready(HALFOPEN, "smoke", "--format", format_name, *words).code == 3


@pytest.mark.parametrize(
    ("sudo", "outcome"), [(True, Outcome.SKIPPED), (False, Outcome.FAILED)], ids=["sudo", "no-sudo"]
)
def test_a_plain_scan_that_is_refused_is_excused_by_a_line_for_sudo_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, sudo: bool, outcome: Outcome
) -> None:
    def scan(words: Sequence[str], _true: str, run: NmapRun) -> NmapRun:
        refused = run._replace(exit_code=1, stdout=b"", stderr=b"Operation not permitted")
        return run if "-Pn" in words else refused

    world.scan = scan
    world.neighbour = CheckError("needs root")
    monkeypatch.setattr("halfopen.scan.process.find_program", lambda name, *_: name)

    found = world.examine(sudo=sudo)

    assert "late delivery: time of a scan" in named(found, outcome)
