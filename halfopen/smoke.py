"""Is this nmap fit for half-open checks? It is asked about targets whose true state is known."""

import enum
import os
import re
import time
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from halfopen import nmap_run, programs, report, smoke_targets
from halfopen.check import Means, Verdict, check, program
from halfopen.errors import CheckError, HalfopenError, NotAllowedError
from halfopen.nmap_command import STATES, second_port
from halfopen.nmap_run import NmapRun
from halfopen.smoke_targets import Port
from halfopen.target import Target

TIMEOUT = 15.0
"""Seconds that all of it may take."""

_STEP = 5.0
"""Seconds that one step may take: a hanging nmap is to leave time for the conclusion."""

_ROUNDS = 3
"""How often a time is taken; the least of them counts, for other work only adds to it."""

_REPEATS = 5
"""How often the port alone and the port with its neighbour are scanned between two hosts."""

_LATE = 0.1
"""Seconds; see _late_delivery()."""


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
    """Whether a scan goes wrong without it, and right with it; None if neither goes right."""

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


def examine(means: Means, deadline: float, tell: Tell = lambda _: None) -> Examination:
    """Return what was found about nmap by `deadline` (`time.monotonic` seconds).

    Never raises for what goes wrong on the way: that is a finding.
    """
    return _Examiner(means, deadline, tell).examine()


class _Examiner:
    """What has been found so far, and the steps that find more."""

    def __init__(self, means: Means, deadline: float, tell: Tell) -> None:
        self.means, self.deadline, self.tell = means, deadline, tell
        self.findings: List[Finding] = []
        self.trials: List[Trial] = []
        self.program = means.nmap
        self.version = ""
        self.open_found: Dict[bool, bool] = {}
        """Whether every open port was called open: alone (False), with the next (True)."""
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
            if going:
                self.tell(doing)
                going = step()
            else:
                self._note(group, "all", Outcome.SKIPPED, "not tried after what is said above")
        needed = not self.open_found.get(False) if self.open_found.get(True) else None
        return Examination(self.program, self.version, self.findings, self.trials, needed)

    def _note(
        self, group: str, name: str, outcome: Outcome, detail: str, seconds: float = 0.0
    ) -> bool:
        self.findings.append(Finding(group, name, outcome, detail, seconds))
        return outcome is Outcome.OK

    def _until(self, seconds: float = _STEP) -> float:
        return min(self.deadline, time.monotonic() + seconds)

    # -- what there is --------------------------------------------------------------------------

    def _means(self) -> bool:
        try:
            self.program = programs.find_program(self.means.nmap)
            run = nmap_run.run_all([[self.program, "--version"]], self._until())[0]
        except CheckError as error:
            return self._note("means", "nmap", Outcome.UNSURE, str(error))
        said = run.stdout.decode("utf-8", "replace")
        version = re.search(r"Nmap version (\d+\.\d+\S*)", said)
        if version is None or run.exit_code != 0:
            detail = f"{self.program} --version names no version; is it nmap?"
            return self._note("means", "nmap", Outcome.FAILED, detail, run.seconds)
        self.version = version.group(1)
        pcap = re.search(r"(nmap-)?libpcap-(\d+\.\d+)\S*", said)
        library = "libpcap unknown" if pcap is None else pcap.group(0)
        kind = "" if pcap is None else " (bundled)" if pcap.group(1) else " (the system's)"
        detail = f"{self.program}, {self.version}, {library}{kind}"
        self._note("means", "nmap", Outcome.OK, detail, run.seconds)
        self._note("means", "python-nmap", Outcome.OK, report.library_version())
        if pcap is not None and _suspect(self.version, bool(pcap.group(1)), pcap.group(2)):
            detail = (
                "nmap before 7.80 with a system libpcap of 1.5 or later hands packets over late"
            )
            self._note("means", "suspicion", Outcome.SKIPPED, detail + "; measured below")
        return True

    # -- states on loopback ---------------------------------------------------------------------

    def _states(self) -> bool:
        before = len(self.findings)
        ports = self._true_ports()
        try:
            if not ports:
                return False
            verdicts = [v for plus_one in (True, False) for v in self._ask(ports, plus_one)]
            refused = [v.error for v in verdicts if isinstance(v.error, NotAllowedError)]
            outcome = Outcome.UNSURE if refused else Outcome.OK
            detail = str(refused[0]) if refused else _by_what(self.means)
            self.findings.insert(before, Finding("means", "raw sockets", outcome, detail))
            if refused:
                return self._note("states", "all", Outcome.UNSURE, "not allowed")
            self._half_open([port for port in ports if port.state == "open"])
            return any(verdict.error is None for verdict in verdicts)
        finally:
            for port in ports:
                port.close()

    def _true_ports(self) -> List[Port]:
        """Return ports that are in their state by a plain connection's word, too."""
        ports: List[Port] = []
        for version in (4, 6):
            for state, number in (*((state, 0) for state in STATES), ("open", 65535)):
                name = f"{state} port{' 65535' if number else ''}, IPv{version}"
                try:
                    port = smoke_targets.make_port(state, version, number=number)
                except OSError as error:
                    needed = version == 4 and not number
                    outcome = Outcome.UNSURE if needed else Outcome.SKIPPED
                    self._note("states", name, outcome, f"no such port here: {error.strerror}")
                    continue
                try:
                    found = smoke_targets.connect(port)
                except OSError as error:
                    found = str(error.strerror)
                if state == "open":
                    port.connected()
                if found == state:
                    ports.append(port)
                    continue
                port.close()
                detail = (
                    f"a plain connection finds it {found}; does a firewall meddle? nft list ruleset"
                )
                self._note("states", name, Outcome.UNSURE, detail)
        return ports

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
                self._note("states", name, Outcome.FAILED, str(verdict.error), seconds)
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
                    self._keep(case, f"{port.number} {port.state}", run)

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
            smoke_targets.connect(listeners[0])
            if listeners[0].connected():
                detail = "accept never returned for nmap, and did for a full connection"
                self._note("half-open", name, Outcome.OK, detail)
            else:
                detail = "not even a full connection was accepted; does a firewall meddle?"
                self._note("half-open", name, Outcome.UNSURE, detail)

    # -- packets that come late -----------------------------------------------------------------

    def _late_delivery(self) -> bool:
        """Measure whether nmap gets its packets late, without a peer.

        A SYN scan reads packets through libpcap, a connect scan of the same port does not, and
        takes as long as this machine takes for all the rest. Late by 200 ms, the SYN scan takes
        0.24 to 0.28 s on loopback; otherwise 0.04 to 0.11 s, the connect scan half of that. Twice
        the connect scan's time and 0.1 s lie between the two, on slower machines as well.
        """
        port = smoke_targets.make_port("open", 4)
        start = time.monotonic()
        times: Dict[str, List[float]] = {"-sS": [], "-sT": []}
        try:
            for _ in range(_ROUNDS):
                for scan, taken in times.items():
                    run = self._plain(self.means, scan, port, alone=True)
                    port.connected()
                    if run.cut or run.exit_code:
                        break
                    taken.append(run.seconds)
        finally:
            port.close()
        seconds = time.monotonic() - start
        if min(map(len, times.values())) < _ROUNDS:
            detail = "nmap's plain scan failed, or took all the time"
            self._note("late delivery", "time of a scan", Outcome.FAILED, detail, seconds)
            return True
        took, control = (min(times[scan]) for scan in ("-sS", "-sT"))
        late = took > _LATE + 2 * control
        detail = f"{took:.3f} s, a connect scan {control:.3f} s"
        if late:
            detail += ": packets reach nmap late"
        outcome = Outcome.FAILED if late else Outcome.OK
        self._note("late delivery", "time of a scan", outcome, detail, seconds)
        return True

    def _plain(self, means: Means, scan: str, port: Port, *, alone: bool) -> NmapRun:
        """Run what the bash script runs, or a connect scan in its place."""
        number = port.number
        asked = str(number) if alone else f"{number}-{second_port(number)}"
        words = [*program(means), "-n", scan, "-p", asked, "-oX", "-", port.address]
        return nmap_run.run_all([words], self._until(2.0))[0]

    # -- two hosts ------------------------------------------------------------------------------

    def _two_hosts(self) -> bool:
        start = time.monotonic()
        try:
            with smoke_targets.second_host() as neighbour:
                self._between(neighbour, start)
        except (HalfopenError, OSError) as error:
            self._note("two hosts", "open port", Outcome.SKIPPED, str(error))
        return True

    def _between(self, neighbour: smoke_targets.Neighbour, start: float) -> None:
        port = neighbour.port
        ours = check(
            [Target(port.address, port.number)],
            self._until(3.0),
            self.means._replace(via=neighbour.via),
        )
        for run in ours.runs:
            self._keep("two-hosts-open-direct", f"{port.number} open", run)
        verdict = ours.verdicts[0]
        right = verdict.state == "open"
        detail = f"{verdict.state}{'' if verdict.error is None else f' ({verdict.error})'}"
        outcome = Outcome.OK if right else Outcome.FAILED
        self._note("two hosts", "halfopen's own scan", outcome, detail)
        for alone in (True, False):
            found, negative = self._repeated(neighbour, alone)
            if not found:
                self._note("two hosts", "open port", Outcome.SKIPPED, "no time left")
                return
            right = set(found) == {"open"}
            self.open_found[not alone] = self.open_found.get(not alone, True) and right
            detail = "{} of {} open".format(found.count("open"), len(found))
            if negative:
                detail += f", {negative} with a negative round trip"
            name = f"plain scan, {'port alone' if alone else 'with the next port'}"
            outcome = Outcome.OK if right else Outcome.FAILED
            self._note("two hosts", name, outcome, detail, time.monotonic() - start)

    def _repeated(self, neighbour: smoke_targets.Neighbour, alone: bool) -> Tuple[List[str], int]:
        """Return the states that repeated scans found, and how many had a negative round trip."""
        port, negative = neighbour.port, 0
        means = self.means._replace(via=neighbour.via)
        found: List[str] = []
        while len(found) < _REPEATS and time.monotonic() < self.deadline:
            run = self._plain(means, "-sS", port, alone=alone)
            case = f"two-hosts-open-{'single' if alone else 'plus-one'}"
            self._keep(case, f"{port.number} open", run)
            outcome = report.read(run, [port.address], port.number)[port.address]
            found.append("error" if isinstance(outcome, CheckError) else outcome.state)
            negative += bool(re.search(rb'<times srtt="-', run.stdout))
        return found, negative

    # -- XML ------------------------------------------------------------------------------------

    def _xml(self) -> bool:
        detail = "format {}, read by python-nmap".format(", ".join(self.formats) or "unknown")
        return self._note("XML", "read to known states", Outcome.OK, detail)


def _suspect(version: str, bundled: bool, pcap: str) -> bool:
    """Return whether this build is known to hand packets over late.

    nmap sets libpcap's immediate mode from 7.80 on (commit d6a04c465), libpcap uses TPACKET_V3
    from 1.5 on; the one that nmap brings along has that off.
    """

    def numbers(text: str) -> Tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", text)[:2])

    return not bundled and numbers(version) < (7, 80) and numbers(pcap) >= (1, 5)


def _by_what(means: Means) -> str:
    return "by sudo" if means.sudo else "as root" if os.geteuid() == 0 else "by CAP_NET_RAW"
