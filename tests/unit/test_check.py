"""The pipeline: who is asked when, which answer counts, and whose fault a failure is."""

import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pytest
from support.fake_run import NAMES, FakeNmap, addresses_of, hang, ports_of, value_of

from halfopen.check import check, judge
from halfopen.errors import CheckError, UsageError
from halfopen.model import (
    Address,
    Expectation,
    NmapRun,
    Observation,
    Outcome,
    Report,
    ScanOptions,
    Status,
    Target,
    Verdict,
)
from halfopen.scan import attempts

NMAP = "/opt/nmap"
SERVER = "192.0.2.25"
MAIL = Target(SERVER, 25)
REFUSALS = """\
sendto in send_ip_packet_sd: sendto(5, packet, 44, 0, 192.0.2.25, 16) => Operation not permitted
Offending packet: TCP 192.0.2.1:40000 > 192.0.2.25:1001 S ttl=50 id=1 iplen=44  seq=1 win=1024
Omitting future Sendto error messages now that 10 have been shown.
"""


@pytest.fixture(autouse=True)
def _system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the same names, services and user everywhere."""

    def getaddrinfo(host: str, *_: object) -> List[Any]:
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (address, 0)) for address in NAMES[host]]

    def getservbyport(port: int, _: str) -> str:
        if port != 25:
            raise OSError("port/proto not found")
        return "smtp"

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "getservbyport", getservbyport)
    monkeypatch.setattr("halfopen.scan.diagnosis.nmap_needs_telling", lambda _: False)


def checked(
    nmap: FakeNmap,
    *targets: Target,
    seconds: float = 10,
    options: ScanOptions = ScanOptions(NMAP),
    expectation: Expectation = Expectation(),
) -> Report:
    """Return what a check gives, and see to it that each target has its verdict."""
    report = check(targets, time.monotonic() + seconds, options, expectation, nmap)
    assert [verdict.target for verdict in report.verdicts] == list(targets)
    assert [run.argv for run in report.runs] == nmap.commands
    return report


def states(report: Report) -> List[str]:
    """Return the verdicts' states."""
    return [verdict.state for verdict in report.verdicts]


def test_an_open_port_is_asked_once_and_quickly() -> None:
    nmap = FakeNmap()

    (verdict,) = checked(nmap, MAIL).verdicts

    assert verdict == Verdict(
        Status.OK, MAIL, Observation("open", "syn-ack", SERVER, 0.000065), None, "smtp"
    )
    ((command,),) = nmap.looks
    assert command[0] == NMAP
    assert value_of(command, "--max-rtt-timeout") == "150ms"
    assert value_of(command, "-p") == "25,26"
    assert addresses_of(command) == [SERVER]


@pytest.mark.parametrize(
    ("says", "seconds", "runs", "state", "error"),
    [
        ("open", 10, [1], "open", ""),
        ("closed", 10, [1], "closed", ""),
        ("rejected", 10, [1], "filtered", ""),
        ("crash", 10, [1], "error", "nmap failed with exit code 1 (QUITTING!)"),
        ("silent", 10, [1, 3], "filtered", ""),
        ("silent", 0.6, [3], "filtered", ""),
        ("closed", 0.3, [3], "closed", ""),
        ("silent", 0.3, [3], "error", "no answer yet, and no time left to wait for one; raise "),
    ],
)
def test_only_a_silence_is_asked_again_as_far_as_there_is_time(
    says: str, seconds: float, runs: List[int], state: str, error: str
) -> None:
    nmap = FakeNmap({SERVER: [says]})

    (verdict,) = checked(nmap, MAIL, seconds=seconds).verdicts

    assert verdict.state == state
    assert str(verdict.error or "").startswith(error)
    assert [len(attempt) for attempt in nmap.looks] == runs
    assert len(set(nmap.deadlines)) == 1


@pytest.mark.parametrize(
    ("patient", "state"),
    [
        pytest.param(["open", "silent", "silent"], "open", id="first-hears-it"),
        pytest.param(["silent", "silent", "open"], "open", id="last-hears-it"),
        pytest.param(["silent", "closed", "silent"], "closed", id="a-reset-is-an-answer"),
        pytest.param(["crash", "silent", "open"], "open", id="answer-beats-error"),
        pytest.param(["open", "crash", "crash"], "open", id="answer-beats-errors"),
        pytest.param(["silent", "crash", "silent"], "error", id="error-beats-silence"),
        pytest.param(["silent", "silent", "unheard"], "error", id="half-a-report-beats-silence"),
        pytest.param(["silent", "silent", "silent"], "filtered", id="silence-of-all"),
    ],
)
def test_of_three_patient_runs_the_most_telling_counts(patient: List[str], state: str) -> None:
    nmap = FakeNmap({SERVER: ["silent", *patient]})

    assert states(checked(nmap, MAIL)) == [state]
    assert len(nmap.commands) == 4


def test_only_the_silent_ones_of_many_are_asked_again() -> None:
    targets = [Target(f"192.0.2.{last}", 25) for last in range(1, 7)]
    says = ["open", "silent", "closed", "silent", "rejected", "unheard"]
    nmap = FakeNmap({target.host: [answer] for target, answer in zip(targets, says)})

    report = checked(nmap, *targets)

    assert states(report) == ["open", "filtered", "closed", "filtered", "filtered", "error"]
    (quick,), patient = nmap.looks
    assert value_of(quick, "--max-rtt-timeout") == "150ms"
    assert [value_of(command, "--max-rtt-timeout") for command in patient] == ["500ms"] * 3
    assert [addresses_of(command) for command in patient] == [["192.0.2.2", "192.0.2.4"]] * 3


def test_hosts_that_are_asked_about_the_same_ports_share_a_run_of_their_family_and_zone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.if_nametoindex", {"eth0": 2, "eth1": 3}.__getitem__)
    nmap = FakeNmap()
    hosts = ["192.0.2.25", "192.0.2.26", "2001:db8::25", "fe80::25%eth0", "fe80::25%eth1"]

    report = checked(nmap, *[Target(host, port) for host in hosts for port in (25, 80)])

    assert states(report) == ["open"] * 10
    asked = [("-6" in c, value_of(c, "-p"), addresses_of(c)) for c in nmap.commands]
    assert asked == [
        (":" in group[0], "25,80", group)
        for group in (hosts[:2], hosts[2:3], hosts[3:4], hosts[4:])
    ]
    found = [verdict.observation.address for verdict in report.verdicts if verdict.observation]
    assert found == [host for host in hosts for _ in range(2)]


@pytest.mark.parametrize(
    ("count", "ports", "sizes"),
    [
        pytest.param(130, 1, [(2, 64), (2, 64), (2, 2)], id="one-port"),
        pytest.param(70, 2, [(2, 64), (2, 6)], id="two-ports"),
        pytest.param(50, 5, [(5, 25), (5, 25)], id="five-ports"),
        pytest.param(1, 1000, [(125, 1)] * 8, id="1000-ports"),
    ],
)
def test_a_run_asks_about_at_most_125_ports_and_of_all_its_hosts_about_128(
    count: int, ports: int, sizes: List[Tuple[int, int]]
) -> None:
    hosts = [f"198.51.100.{last}" for last in range(count)]
    said = ["open", "closed", "rejected", "silent"]
    targets = [Target(host, 1000 + 2 * n) for n in range(ports) for host in hosts]
    nmap = FakeNmap({str(t): [said[t.port // 2 % 4], "silent", "closed"] for t in targets})

    report = checked(nmap, *targets)

    true = {"rejected": "filtered", "silent": "closed"}
    assert states(report) == [true.get(s, s) for s in (said[t.port // 2 % 4] for t in targets)]
    assert [(len(ports_of(c)), len(addresses_of(c))) for c in nmap.looks[0]] == sizes
    again = {
        f"{address}:{port}"
        for command in nmap.commands[len(sizes) :]
        for address in addresses_of(command)
        for port in ports_of(command)
    }
    silent = {name for name, answers in nmap.answers.items() if answers[0] == "silent"}
    assert again & nmap.answers.keys() == silent


def test_what_is_given_twice_or_by_two_names_is_asked_once_at_its_first_address() -> None:
    nmap = FakeNmap()

    report = checked(nmap, Target("mail.example", 25), Target("alias.example", 25), MAIL, MAIL)

    found = [v.observation for v in report.verdicts if v.observation]
    assert [(one.state, one.address) for one in found] == [("open", SERVER)] * 4
    assert [one.addresses for one in found] == [len(NAMES["mail.example"]), 1, 1, 1]
    assert [addresses_of(command) for command in nmap.commands] == [[SERVER]]


@pytest.mark.parametrize(
    ("options", "expectation", "asked"),
    [
        (ScanOptions(NMAP), Expectation(), ["25,26"]),
        (ScanOptions(NMAP, plus_one=False), Expectation(), ["25", "26"]),
        (ScanOptions(NMAP, sudo=True), Expectation(), ["25,26", "26,27"]),
        # Of a run nmap tells one round-trip time.
        (ScanOptions(NMAP), Expectation(warning=1.0), ["25,26", "26,27"]),
        (ScanOptions(NMAP), Expectation(critical=1.0), ["25,26", "26,27"]),
    ],
    ids=["together", "no-plus-one", "sudo", "warning", "critical"],
)
def test_a_port_has_a_run_of_its_own_where_it_is_to_be_scanned_alone_or_by_sudo(
    monkeypatch: pytest.MonkeyPatch,
    options: ScanOptions,
    expectation: Expectation,
    asked: List[str],
) -> None:
    monkeypatch.setattr("halfopen.scan.process.find_program", lambda name, *_: name)
    nmap = FakeNmap({f"{SERVER}:26": ["rejected"]})

    report = checked(nmap, MAIL, Target(SERVER, 26), options=options, expectation=expectation)

    assert states(report) == ["open", "filtered"]
    assert [value_of(command, "-p") for command in nmap.commands] == asked
    assert all((command[:2] == ["sudo", "-n"]) is options.sudo for command in nmap.commands)


def test_a_silent_port_is_asked_by_itself_where_nmap_names_no_more_what_was_refused() -> None:
    """After ten messages nmap omits them, whichever port of the run they are about."""
    nmap = FakeNmap({SERVER: ["silent"]})

    def run(commands: Sequence[Sequence[str]], *rest: Any) -> List[NmapRun]:
        several = [len(ports_of(command)) > 2 for command in commands]
        return [
            one._replace(stderr=REFUSALS.encode()) if omits else one
            for one, omits in zip(nmap(commands, *rest), several)
        ]

    targets = [Target(SERVER, port) for port in (9, 1001, 1002)]
    told: List[int] = []
    deadline = time.monotonic() + 60
    report = check(targets, deadline, ScanOptions(NMAP), run=run, progress=told.append)

    first, *again = nmap.commands
    assert told[0] == 1
    assert value_of(first, "-p") == "9,1001,1002"
    assert {value_of(command, "-p") for command in again} == {"9,10", "1002,1003"}
    assert states(report) == ["filtered", "error", "filtered"]


AskedOfKernel = Tuple[Address, int, float, Optional[int]]
"""Address and port of a target, when the check began, and the port that the kernel knows."""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> List[AskedOfKernel]:
    """Have the kernel know a port, and return what it is asked about silences."""
    asked: List[AskedOfKernel] = []

    def explained(seen: Observation, *words: Any) -> Observation:
        asked.append(words)
        return seen

    monkeypatch.setattr("halfopen.scan.silence.source_port", lambda: 40001)
    monkeypatch.setattr("halfopen.scan.silence.explained", explained)
    monkeypatch.setattr("halfopen.scan.process.find_program", lambda name, *_: name)
    return asked


@pytest.mark.parametrize(
    ("options", "hosts", "known"),
    [
        (ScanOptions(NMAP), 1, True),
        (ScanOptions(NMAP), 8, True),  # 32 runs at a time
        (ScanOptions(NMAP), 9, False),
        (ScanOptions(NMAP, sudo=True), 1, False),
        (ScanOptions(NMAP, prefix=("nsenter",)), 1, False),
        (ScanOptions(NMAP, prefix=("nsenter",)), 9, False),
    ],
)
def test_one_more_patient_run_asks_from_a_port_that_the_kernel_knows_of_few_and_here(
    kernel: List[AskedOfKernel], options: ScanOptions, hosts: int, known: bool
) -> None:
    nmap = FakeNmap({f"192.0.2.{host}": ["silent"] for host in range(hosts)})
    targets = [Target(f"192.0.2.{host}", 100 + 9 * host) for host in range(hosts)]
    told: List[int] = []
    began = time.monotonic()
    open_one = Target("192.0.2.200", 9)
    check([*targets, open_one], began + 10, options, run=nmap, progress=told.append)

    first, again = nmap.looks
    assert told == [1]
    assert {value_of(command, "--host-timeout") for command in first} == {"8000ms"}
    assert nmap.deadlines == [began + 10] * 2
    assert not any("-g" in command for command in first)
    from_port = [value_of(command, "-g") for command in again if "-g" in command]
    assert from_port == ["40001"] * (hosts if known else 0)
    assert len(again) == hosts * 3 + len(from_port)
    here = [] if options.prefix else targets
    assert [(address.text, port) for address, port, *_ in kernel] == [t[:2] for t in here]
    assert all(began <= when < began + 10 for _, _, when, _ in kernel)
    assert all(port == (40001 if known else None) for *_, port in kernel)


def test_the_time_for_many_runs_is_reckoned_by_how_many_they_are() -> None:
    silent = {f"192.0.2.{host}": ["silent"] for host in range(30)}
    targets = [Target(host, 100 + 9 * number) for number, host in enumerate(silent)]
    few, many = FakeNmap(silent), FakeNmap(silent)

    checked(few, *targets[:12], seconds=2.2)
    checked(many, *targets, seconds=1.3)

    assert [len(look) for look in few.looks] == [12, 24]  # of the three patient runs two
    assert value_of(many.looks[0][0], "--initial-rtt-timeout") != "150ms"  # patiently at once


def test_hosts_whose_ports_differ_share_the_runs_of_single_ports_where_those_are_fewer() -> None:
    nmap = FakeNmap()
    targets = [
        Target(f"192.0.2.{host}", port) for host in range(1, 8) for port in (1, 2, 4) if host & port
    ]

    checked(nmap, *targets)

    assert [value_of(command, "-p") for command in nmap.commands] == ["1,2", "2,3", "4,5"]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("nosuch.example", "cannot resolve nosuch.example"),
        ("local.example", "fe80::25"),  # a link-local address, and no zone
        ("fe80::25%nosuch0", "there is no interface 'nosuch0' here; see ip link"),
    ],
    ids=["name", "link-local", "interface"],
)
def test_a_host_without_an_address_to_ask_is_that_targets_failure_alone(
    host: str, said: str
) -> None:
    nmap = FakeNmap()

    report = checked(nmap, Target(host, 25), MAIL)

    assert states(report) == ["error", "open"]
    assert said in str(report.verdicts[0].error)
    assert [addresses_of(command) for command in nmap.commands] == [[SERVER]]
    assert states(checked(FakeNmap({}), Target(host, 25))) == ["error"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ScanOptions("nmap7"), "nmap7 not found on {}; install nmap, or name it with --nmap"),
        (ScanOptions(NMAP, sudo=True), "sudo not found on {}; install sudo, or leave out --sudo"),
    ],
    ids=["nmap", "sudo"],
)
def test_a_missing_program_is_every_targets_unknown_and_advised_with_options_that_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: ScanOptions, said: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("halfopen.scan.process.USUAL_FOLDERS", ())
    nmap = FakeNmap()

    report = checked(nmap, MAIL, Target("192.0.2.26", 80), options=options)

    assert [verdict.status for verdict in report.verdicts] == [Status.UNKNOWN] * 2
    assert [str(v.error) for v in report.verdicts] == [said.format("PATH, nor in ")] * 2
    assert nmap.looks == []


@pytest.mark.parametrize(("times", "told"), [(0, ["error"] * 3), (1, ["open", "error", "closed"])])
def test_an_nmap_that_cannot_start_is_the_unknown_of_all_that_have_not_answered(
    times: int, told: List[str]
) -> None:
    nmap = FakeNmap({"192.0.2.26": ["silent"], "192.0.2.27": ["closed"]})

    def run(commands: Sequence[Sequence[str]], *_: object) -> List[NmapRun]:
        if len(nmap.looks) == times:
            raise CheckError("cannot start /opt/nmap: too many processes")
        return nmap(commands, 0)

    targets = [MAIL, Target("192.0.2.26", 25), Target("192.0.2.27", 25)]
    report = check(targets, time.monotonic() + 10, ScanOptions(NMAP), run=run)

    assert states(report) == told
    errors = [str(verdict.error) for verdict in report.verdicts if verdict.error]
    assert errors == ["cannot start /opt/nmap: too many processes"] * told.count("error")


def test_what_is_no_failure_of_the_check_is_not_hidden() -> None:
    def run(*_: object) -> List[NmapRun]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check([MAIL], time.monotonic() + 10, ScanOptions(NMAP), run=run)


def test_service_names_are_looked_up_while_nmap_runs() -> None:
    class Deaf(FakeNmap):
        def __call__(self, commands: Sequence[Sequence[str]], *_: object) -> List[NmapRun]:
            return super().__call__(commands, 0)

    services = [checked(nmap, MAIL).verdicts[0].service for nmap in (FakeNmap(), Deaf())]

    assert services == ["smtp", ""]


def seen(state: str, rtt: Optional[float] = None) -> Observation:
    reason = {"open": "syn-ack", "closed": "reset", "filtered": "no-response"}[state]
    return Observation(state, reason, SERVER, rtt)


@pytest.mark.parametrize(
    ("outcome", "expected", "status"),
    [
        (seen("open"), Expectation(), Status.OK),
        (seen("closed"), Expectation(), Status.CRITICAL),
        (seen("filtered"), Expectation(), Status.CRITICAL),
        (CheckError("no"), Expectation(), Status.UNKNOWN),
        (UsageError("no"), Expectation(), Status.UNKNOWN),
        (seen("closed"), Expectation("closed"), Status.OK),
        (seen("open"), Expectation("closed"), Status.CRITICAL),
        (seen("filtered"), Expectation("filtered"), Status.OK),
        (CheckError("no"), Expectation("closed"), Status.UNKNOWN),
        (seen("open", 0.05), Expectation("open", 0.1, 0.5), Status.OK),
        (seen("open", 0.3), Expectation("open", 0.1, 0.5), Status.WARNING),
        (seen("open", 0.8), Expectation("open", 0.1, 0.5), Status.CRITICAL),
        (seen("open", 0.3), Expectation("open", 0.3, 0.5), Status.OK),
        (seen("open", 0.8), Expectation("open", None, 0.8), Status.OK),
        (seen("open", 0.3), Expectation("open", None, 0.2), Status.CRITICAL),
        (seen("open", 0.3), Expectation("open", 0.2), Status.WARNING),
        (seen("open"), Expectation("open", 0.1, 0.5), Status.OK),
        (seen("closed", 0.8), Expectation("closed", 0.1), Status.WARNING),
        (seen("closed", 0.05), Expectation("open", 0.1, 0.5), Status.CRITICAL),
    ],
    ids=str,
)
def test_what_was_seen_is_judged_by_what_is_expected(
    outcome: Outcome, expected: Expectation, status: Status
) -> None:
    # judge takes all our errors, not only the kind that a run can end in.
    verdict = judge(MAIL, outcome, expected, "smtp")

    assert verdict.status is status
    if isinstance(outcome, Observation):
        as_expected = outcome.state == expected.state
        assert verdict.slow is (as_expected and status is not Status.OK)
        assert verdict.service == "smtp"


def test_databases_that_hang_leave_time_to_ask_the_others_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(socket, "getservbyport", hang)
    dead, nmap = Target("dead.example", 25), FakeNmap({SERVER: ["silent"]})

    report = checked(nmap, dead, MAIL, seconds=4)

    assert [len(attempt) for attempt in nmap.looks] == [1, 3]
    assert states(report) == ["error", "filtered"]
    assert str(report.verdicts[0].error) == "no time left for resolving names; raise --timeout"


@pytest.mark.parametrize(("seconds", "left"), [(3.0, 1.5), (10.0, 10.0 - attempts.longest())])
def test_names_have_half_of_a_short_time_and_of_a_long_one_all_but_both_attempts(
    monkeypatch: pytest.MonkeyPatch, seconds: float, left: float
) -> None:
    monkeypatch.setattr("halfopen.check.time", SimpleNamespace(monotonic=lambda: 5.0, time=int))
    deadlines: List[float] = []

    def resolver(targets: Sequence[Target], deadline: float) -> Dict[Target, Any]:
        deadlines.append(deadline)
        return dict.fromkeys(targets, CheckError("no such name"))

    check([MAIL], 5.0 + seconds, ScanOptions(NMAP), run=FakeNmap(), resolver=resolver)

    assert deadlines == [pytest.approx(5.0 + left)]


def test_a_report_says_when_the_check_began_and_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1700000000.25)
    begin = time.monotonic()

    report = checked(FakeNmap(), MAIL)

    assert report.began == 1700000000.25
    assert 0 < report.seconds <= time.monotonic() - begin
