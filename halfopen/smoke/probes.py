"""Is this nmap fit for half-open checks? It is asked about targets whose true state is known."""

import contextlib
import enum
import os
import re
import sys
import time
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from halfopen.check import check, program
from halfopen.errors import CheckError, HalfopenError, NotAllowedError, NoTimeError, RefusedError
from halfopen.model import LATE, PORT_STATES, UNSTARTED, NmapRun, ScanOptions, Target, Verdict
from halfopen.scan import process, reader, runner
from halfopen.scan.command import family_flag, second_port
from halfopen.smoke import targets
from halfopen.smoke.targets import Port

_STEP = 5.0
"""Seconds that one step may take: a hanging nmap is to leave time for the conclusion."""

_ENOUGH = 3.0
"""Seconds that suffice for one: an nmap that needs more hangs, and not for want of time."""

_ROUNDS, _MORE_ROUNDS, _MORE = 3, 8, 2.0
"""How often a time is taken; the least of them counts, for other work only adds to it. More often,
for so many seconds, where it looks late: a burst of other work ends."""

_REPEATS = 5
"""How often the port alone and the port with its neighbour are scanned between two hosts."""

_NO_TIME = (LATE, UNSTARTED)

_LATE, _SLOW, _BUSY = 0.1, 0.15, 0.15
"""Seconds; see _Times.judged()."""


class Outcome(enum.Enum):
    """What came of one check of nmap."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not tested, and nmap can be called fit without it."""
    UNSURE = "unsure"
    """Not tested, and nmap can't be called fit without it."""


class Finding(NamedTuple):
    """One check of nmap."""

    group: str
    name: str
    outcome: Outcome
    detail: str
    seconds: float = 0.0


class Trial(NamedTuple):
    """A run of nmap and what was true of its target: a recording."""

    case: str
    truth: str
    run: NmapRun


class Examination(NamedTuple):
    """All that was found."""

    nmap: str
    """Its path, or its name if it was not found."""
    version: str
    findings: Sequence[Finding]
    trials: Sequence[Trial]
    second_port: Optional[bool]
    """Whether a scan goes wrong without it, and right with it; None if that could not be told."""

    @property
    def verdict(self) -> Outcome:
        """OK if nmap is fit, FAILED if it is not, UNSURE if that could not be told."""
        outcomes = [finding.outcome for finding in self.findings]
        for decisive in (Outcome.FAILED, Outcome.UNSURE):
            if decisive in outcomes:
                return decisive
        return Outcome.OK


Tell = Callable[[str], None]
"""Called with what is being done, for a terminal."""


def examine(means: ScanOptions, deadline: float, tell: Tell = lambda _: None) -> Examination:
    """Return what was found about nmap by `deadline` (`time.monotonic` seconds).

    Never raises for what goes wrong on the way: that is a finding.
    """
    return _Examiner(means, deadline, tell).examine()


class _Examiner:
    """What has been found so far, and the steps that find more."""

    def __init__(self, means: ScanOptions, deadline: float, tell: Tell) -> None:
        self.means, self.deadline, self.tell = means, deadline, tell
        self.findings: List[Finding] = []
        self.trials: List[Trial] = []
        self.program = means.nmap
        self.version = ""
        self.suspect = False
        self.open_found: Dict[bool, bool] = {}
        """Whether every open port was called open: alone (False), with the next (True)."""
        self.apart = False
        """Whether the port alone was asked between two hosts: on loopback it seldom goes wrong."""
        self.formats: Dict[str, None] = {}

    def examine(self) -> Examination:
        """Take the steps, as long as nmap gives sense."""
        steps = (
            ("means", "nmap and its libraries", self._means),
            ("states", "port states on loopback", self._states),
            ("late delivery", "packets that come late", self._late_delivery),
            ("two hosts", "two hosts", self._two_hosts),
            ("XML", "XML", self._xml),
        )
        going = True
        for group, doing, step in steps:
            if not going and not (group == "XML" and self.formats):
                self._note(group, "all", Outcome.SKIPPED, "not tried after what is said above")
                continue
            self.tell(doing)
            try:
                going = step()
            except (HalfopenError, OSError) as error:
                going = self._note(group, "all", Outcome.UNSURE, str(error))
        return Examination(
            self.program, self.version, self.findings, self.trials, self._needs_second_port()
        )

    def _needs_second_port(self) -> Optional[bool]:
        if not self.open_found.get(True):
            return None
        if self.open_found.get(False) is False:
            return True
        return False if self.apart else None

    def _note(
        self, group: str, name: str, outcome: Outcome, detail: str, seconds: float = 0.0
    ) -> bool:
        line = detail.replace("\n", "\\n")
        self.findings.append(Finding(group, name, outcome, line, seconds))
        return outcome is Outcome.OK

    def _until(self, seconds: float = _STEP) -> float:
        return min(self.deadline, time.monotonic() + seconds)

    def _fault(self, began: float) -> Outcome:
        """Return what it is that nmap had not ended: its own fault, or that of the time it had."""
        return Outcome.FAILED if self.deadline - began >= _ENOUGH else Outcome.UNSURE

    # -- what there is --------------------------------------------------------------------------

    def _means(self) -> bool:
        began = time.monotonic()
        try:
            self.program = process.find_program(self.means.nmap)
            run = runner.run_all([[self.program, "--version"]], self._until())[0]
        except CheckError as error:
            return self._note("means", "nmap", Outcome.UNSURE, str(error))
        if run.cut in _NO_TIME:
            outcome = self._fault(began)
            advice = "; raise --timeout" if outcome is Outcome.UNSURE else ""
            detail = f"{self.program} --version did not end, and was killed{advice}"
            return self._note("means", "nmap", outcome, detail, run.seconds)
        said = run.stdout.decode("utf-8", "replace")
        version = re.search(r"Nmap version (\d+\.\d+[\w.+-]*)", said, re.A)
        if version is None or run.exit_code != 0:
            detail = f"{self.program} --version names no version; is it nmap?"
            return self._note("means", "nmap", Outcome.FAILED, detail, run.seconds)
        self.version = version.group(1)
        pcap = re.search(r"(nmap-)?libpcap-(\d+\.\d+)\S*", said)
        library = "libpcap unknown" if pcap is None else pcap.group(0)
        kind = "" if pcap is None else " (bundled)" if pcap.group(1) else " (the system's)"
        detail = f"{self.program}, {self.version}, {library}{kind}"
        self._note("means", "nmap", Outcome.OK, detail, run.seconds)
        self._note("means", "python-nmap", Outcome.OK, reader.library_version())
        self.suspect = pcap is not None and _suspect(
            self.version, bool(pcap.group(1)), pcap.group(2)
        )
        if self.suspect:
            detail = (
                "nmap before 7.80 with a system libpcap of 1.5 or later hands packets over late; "
                'see "late delivery" below'
            )
            self._note("means", "suspicion", Outcome.SKIPPED, detail)
        return True

    # -- states on loopback ---------------------------------------------------------------------

    def _states(self) -> bool:
        before = len(self.findings)
        ports = self._true_ports()
        try:
            if not ports:
                return self._note("half-open", "all", Outcome.SKIPPED, "no port to ask")
            verdicts = [v for plus_one in (True, False) for v in self._ask(ports, plus_one)]
            refused = [v.error for v in verdicts if isinstance(v.error, NotAllowedError)]
            answered = any(verdict.error is None for verdict in verdicts)
            if refused or answered:
                outcome = Outcome.UNSURE if refused else Outcome.OK
                detail = str(refused[0]) if refused else _by_what(self.means)
                self.findings.insert(before, Finding("means", "raw sockets", outcome, detail))
            if refused:
                self._note("states", "SYN scan", Outcome.UNSURE, "not allowed")
                self._connect_scan(ports)
            if refused or not answered:
                return self._note("half-open", "all", Outcome.SKIPPED, "no SYN scan to look at")
            self._half_open([port for port in ports if port.state == "open"])
            return True
        finally:
            for port in ports:
                port.close()

    def _true_ports(self) -> List[Port]:
        """Return ports that are in their state by a plain connection's word, too."""
        ports: List[Port] = []
        for version in (4, 6):
            for state, number in (*((state, 0) for state in PORT_STATES), ("open", 65535)):
                name = f"{state} port{' 65535' if number else ''}, IPv{version}"
                try:
                    port = targets.make_port(state, version, number=number)
                except OSError as error:
                    needed = version == 4 and not number
                    outcome = Outcome.UNSURE if needed else Outcome.SKIPPED
                    self._note("states", name, outcome, f"no such port here: {error.strerror}")
                    continue
                try:
                    found = targets.connect(port)
                except OSError as error:
                    found = str(error.strerror)
                if state == "open":
                    port.connected(wait=found == state)
                if found == state:
                    ports.append(port)
                    continue
                port.close()
                detail = (
                    f"a plain connection finds it {found}; does a firewall meddle? nft list ruleset"
                )
                self._note("states", name, Outcome.UNSURE, detail)
        # Where an open port is out of reach, a filtered one proves nothing.
        reached = {port.version for port in ports if port.state == "open"}
        for port in ports:
            if port.version not in reached:
                port.close()
        return [port for port in ports if port.version in reached]

    def _ask(self, ports: Sequence[Port], plus_one: bool) -> Sequence[Verdict]:
        start = time.monotonic()
        asked = [Target(port.address, port.number) for port in ports]
        given = check(asked, self._until(), self.means._replace(plus_one=plus_one))
        seconds = time.monotonic() - start
        how = "with the next" if plus_one else "alone"
        for port, verdict in zip(ports, given.verdicts):
            name = f"{port.state} port, IPv{port.version}, {how}"
            if port.number == 65535:
                name = f"open port 65535, IPv{port.version}, {'with 65534' if plus_one else how}"
            if isinstance(verdict.error, NotAllowedError):
                continue  # told once, for all
            if verdict.observation is None:
                outcome = Outcome.FAILED
                if isinstance(verdict.error, NoTimeError):
                    outcome = self._fault(start)
                elif isinstance(verdict.error, RefusedError):
                    outcome = Outcome.UNSURE
                self._note("states", name, outcome, str(verdict.error), seconds)
                if port.state == "open" and outcome is Outcome.FAILED:
                    self.open_found[plus_one] = False
            else:
                right = verdict.state == port.state
                said = f"{verdict.state} ({verdict.observation.reason})"
                detail = said if right else f"nmap says {said}"
                self._note("states", name, Outcome.OK if right else Outcome.FAILED, detail, seconds)
                if port.state == "open":
                    self.open_found[plus_one] = self.open_found.get(plus_one, True) and right
        self._record(given.runs, ports, "plus-one" if plus_one else "single")
        return given.verdicts

    def _record(self, runs: Iterable[NmapRun], ports: Sequence[Port], how: str) -> None:
        for run in runs:
            asked = run.argv[run.argv.index("-p") + 1]
            for port in ports:
                if (run.argv[-1], re.split("[-,]", asked)[0]) == (port.address, str(port.number)):
                    case = f"loopback-v{port.version}-{port.state}-{how}"
                    if port.number == 65535:
                        case = f"loopback-v{port.version}-65535-{how}"
                    self._keep(case, _truth(port), run)

    def _keep(self, case: str, truth: str, run: NmapRun) -> None:
        taken = {trial.case for trial in self.trials}
        names = (case if n == 1 else f"{case}-{n}" for n in range(1, 1000))
        self.trials.append(Trial(next(name for name in names if name not in taken), truth, run))
        version = re.search(rb'xmloutputversion="([^"]{1,20})"', run.stdout)
        if version is not None:
            self.formats[version.group(1).decode("ascii", "replace")] = None

    def _half_open(self, ports: Sequence[Port]) -> None:
        """See that no listener had a connection from nmap, and that it would notice one."""
        for version in sorted({port.version for port in ports}):
            listeners = [port for port in ports if port.version == version]
            name = f"no connection, IPv{version}"
            if any(port.connected() for port in listeners):
                detail = "the server accepted a connection from nmap: this is no half-open scan"
                self._note("half-open", name, Outcome.FAILED, detail)
                continue
            if any(port.waiting() for port in listeners):
                detail = "the RST after nmap's scan never came; does a firewall drop it?"
                self._note("half-open", name, Outcome.UNSURE, detail + " nft list ruleset")
                continue
            targets.connect(listeners[0])
            if listeners[0].connected(wait=True):
                detail = "accept never returned for nmap, and did for a full connection"
                self._note("half-open", name, Outcome.OK, detail)
            else:
                detail = "not even a full connection was accepted; does a firewall meddle?"
                self._note("half-open", name, Outcome.UNSURE, detail)

    def _connect_scan(self, ports: Sequence[Port]) -> None:
        """Test what needs no raw sockets: nmap runs, and what it prints can be read."""
        means = self.means._replace(sudo=False)
        for port in ports:
            if port.state == "filtered" or port.number == 65535:
                continue  # nmap is in no hurry there; and the number makes no difference here
            run = self._plain(means, "-sT", port, alone=True)
            self._keep(f"loopback-v{port.version}-{port.state}-connect", _truth(port), run)
            seen = reader.read(run, [port.address], port.number)[port.address]
            name = f"{port.state} port, IPv{port.version}, connect scan"
            if isinstance(seen, CheckError):
                self._note("states", name, Outcome.UNSURE, str(seen), run.seconds)
            elif seen.state == port.state:
                detail = f"{seen.state} ({seen.reason})"
                self._note("states", name, Outcome.OK, detail, run.seconds)
            else:
                self._note("states", name, Outcome.FAILED, f"nmap says {seen.state}", run.seconds)

    # -- packets that come late -----------------------------------------------------------------

    def _late_delivery(self) -> bool:
        """Measure whether nmap gets its packets late, without a peer.

        A SYN scan reads packets through libpcap, a connect scan of the same port does not, and
        takes as long as this machine takes for all the rest. Python's start tells whether that is
        long because the machine is slow.
        """
        start = time.monotonic()
        outcome, detail = self._timed(start)
        if outcome is Outcome.SKIPPED and self.suspect:
            outcome = Outcome.UNSURE
        self._note("late delivery", "time of a scan", outcome, detail, time.monotonic() - start)
        return True

    def _timed(self, start: float) -> Tuple[Outcome, str]:
        times = _Times([], [], [])
        with contextlib.closing(targets.make_port("open", 4)) as port:
            if targets.connect(port) != "open":
                return Outcome.SKIPPED, "not even a plain connection finds an open port open"
            while len(times.syn) < _ROUNDS or (
                len(times.syn) < _MORE_ROUNDS
                and times.judged()[0] is Outcome.FAILED
                and time.monotonic() < min(start + _MORE, self.deadline)
            ):
                for scan, case, taken in (
                    ("-sS", "loopback-v4-open-plain", times.syn),
                    ("-sT", "loopback-v4-open-connect", times.connect),
                ):
                    run = self._plain(self.means, scan, port, alone=True)
                    self._keep(case, _truth(port), run)
                    port.connected()
                    seen = reader.read(run, [port.address], port.number)[port.address]
                    # sudo's line admits halfopen's own command lines, which were judged before.
                    if self.means.sudo and isinstance(seen, NotAllowedError):
                        return Outcome.SKIPPED, "not allowed; sudo's line admits halfopen's own"
                    if run.cut or run.exit_code:
                        outcome = self._fault(start) if run.cut in _NO_TIME else Outcome.FAILED
                        return outcome, "nmap's plain scan failed, or took all the time"
                    if not _read_rightly(self.trials[-1]):
                        # halfopen's own scan does: judged before. Whose fault is it, then?
                        return Outcome.UNSURE, f"nmap {scan} does not find an open port open"
                    taken.append(run.seconds)
                times.python.append(self._start_of_python())
        return times.judged()

    def _start_of_python(self) -> float:
        """Return how long a program takes to start here; infinite where nothing can be compared."""
        if self.means.sudo or not sys.executable:  # sudo takes a time of its own
            return float("inf")
        words = [sys.executable, "-I", "-S", "-c", ""]
        return runner.run_all([words], self._until(2.0))[0].seconds

    def _plain(self, means: ScanOptions, scan: str, port: Port, *, alone: bool) -> NmapRun:
        """Run what the bash script runs, or a connect scan in its place."""
        number = port.number
        asked = str(number) if alone else f"{number}-{second_port(number)}"
        options = ["-n", scan, *family_flag(port.version), "-p", asked, "-oX", "-"]
        words = [*program(means), *options, port.address]
        return runner.run_all([words], self._until(2.0))[0]

    # -- two hosts ------------------------------------------------------------------------------

    def _two_hosts(self) -> bool:
        start = time.monotonic()
        try:
            with targets.second_host() as neighbour:
                self._between(neighbour, start)
        except (HalfopenError, OSError) as error:
            self._note("two hosts", "open port", Outcome.SKIPPED, str(error))
        return True

    def _between(self, neighbour: targets.Neighbour, start: float) -> None:
        port = neighbour.port
        began = time.monotonic()
        ours = check(
            [Target(port.address, port.number)],
            self._until(3.0),
            self.means._replace(prefix=neighbour.via),
        )
        for run in ours.runs:
            self._keep("two-hosts-open-direct", _truth(port), run)
        verdict = ours.verdicts[0]
        if verdict.error is not None and self._fault(began) is Outcome.UNSURE:
            self._note("two hosts", "open port", Outcome.SKIPPED, "no time left; raise --timeout")
            return
        right = verdict.state == "open"
        detail = f"{verdict.state}{'' if verdict.error is None else f' ({verdict.error})'}"
        outcome = Outcome.OK if right else Outcome.FAILED
        self._note("two hosts", "halfopen's own scan", outcome, detail)
        for alone in (True, False):
            name = f"plain scan, {'port alone' if alone else 'with the next port'}"
            found, negative = self._repeated(neighbour, alone)
            if not found:
                self._note("two hosts", name, Outcome.SKIPPED, "no time left; raise --timeout")
                return
            right = set(found) == {"open"}
            self.apart = True  # the port alone comes first
            self.open_found[not alone] = self.open_found.get(not alone, True) and right
            detail = "{} of {} open".format(found.count("open"), len(found))
            if negative:
                detail += f", {negative} with a negative round trip"
            outcome = Outcome.OK if right else Outcome.FAILED
            self._note("two hosts", name, outcome, detail, time.monotonic() - start)

    def _repeated(self, neighbour: targets.Neighbour, alone: bool) -> Tuple[List[str], int]:
        """Return the states that repeated scans found, and how many had a negative round trip."""
        port, negative = neighbour.port, 0
        means = self.means._replace(prefix=neighbour.via)
        found: List[str] = []
        while len(found) < _REPEATS and time.monotonic() < self.deadline:
            run = self._plain(means, "-sS", port, alone=alone)
            if run.cut in _NO_TIME and time.monotonic() >= self.deadline:
                break  # for want of our time, which says nothing about nmap
            case = f"two-hosts-open-{'single' if alone else 'plus-one'}"
            self._keep(case, _truth(port), run)
            outcome = reader.read(run, [port.address], port.number)[port.address]
            found.append("error" if isinstance(outcome, CheckError) else outcome.state)
            negative += bool(re.search(rb'<times srtt="-', run.stdout))
        return found, negative

    # -- XML ------------------------------------------------------------------------------------

    def _xml(self) -> bool:
        ended = [t for t in self.trials if t.run.exit_code == 0 and not t.run.cut]
        right = sum(map(_read_rightly, ended))
        detail = "format {}, python-nmap reads {} of {} runs to the known state".format(
            ", ".join(self.formats) or "unknown", right, len(ended)
        )
        # What is wrong is said above.
        outcome = Outcome.OK if ended and right == len(ended) else Outcome.SKIPPED
        return self._note("XML", "read to known states", outcome, detail)


class _Times(NamedTuple):
    """Seconds that scans of an open port on loopback took, and Python's start."""

    syn: List[float]
    connect: List[float]
    python: List[float]

    def judged(self) -> Tuple[Outcome, str]:
        """Return whether packets, or all of nmap, are late; SKIPPED if nothing can be told.

        Late by 200 ms, the SYN scan takes 0.24 to 0.28 s; otherwise 0.04 to 0.11 s, the connect
        scan half of that. Twice the connect scan's time and 0.1 s lie between the two as long as
        that scan takes no more than 0.15 s. It takes three times as long as Python's start, idle
        or with 30 busy loops on 2 cores.
        """
        took, control, other = map(min, self)
        detail = f"{took:.3f} s, a connect scan {control:.3f} s"
        if control > _SLOW + 5 * other:
            return Outcome.FAILED, f"{detail}, Python's start {other:.3f} s: nmap answers late"
        if took > _LATE + 2 * control:
            return Outcome.FAILED, detail + ": packets reach nmap late"
        if control > _BUSY:
            return Outcome.SKIPPED, detail + ": this machine is too busy to tell"
        return Outcome.OK, detail


def _truth(port: Port) -> str:
    return f"{port.number} {port.state}"


def _read_rightly(trial: Trial) -> bool:
    number, state = trial.truth.split()
    address = trial.run.argv[-1]
    outcome = reader.read(trial.run, [address], int(number))[address]
    return not isinstance(outcome, CheckError) and outcome.state == state


def _suspect(version: str, bundled: bool, pcap: str) -> bool:
    """Return whether this build is known to hand packets over late.

    nmap sets libpcap's immediate mode from 7.80 on (commit d6a04c465), libpcap uses TPACKET_V3
    from 1.5 on; the one that nmap brings along has that off.
    """

    def numbers(text: str) -> Tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", text)[:2])

    return not bundled and numbers(version) < (7, 80) and numbers(pcap) >= (1, 5)


def _by_what(means: ScanOptions) -> str:
    return "by sudo" if means.sudo else "as root" if os.geteuid() == 0 else "by CAP_NET_RAW"
