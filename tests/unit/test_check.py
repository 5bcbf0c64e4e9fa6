"""The pipeline: who is asked when, which answer counts, and whose fault a failure is."""

import socket
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import pytest
from support.fake_run import (
    NAMES,
    FakeNmap,
    addresses_of,
    hang,
    ports_of,
    value_of,
)

from halfopen.check import check, judge
from halfopen.errors import CheckError, UsageError
from halfopen.model import (
    Expectation,
    NmapRun,
    Observation,
    Outcome,
    Report,
    ScanOptions,
    Status,
    Target,
    Verdict,
    failure,
)
from halfopen.scan.attempts import longest

NMAP = "/opt/nmap"
SERVER = "192.0.2.25"
MAIL = Target(SERVER, 25)


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
    monkeypatch.setattr("halfopen.check.nmap_needs_telling", lambda _: False)


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
    ("says", "state", "status"),
    [
        ("open", "open", Status.OK),
        ("closed", "closed", Status.CRITICAL),
        ("rejected", "filtered", Status.CRITICAL),
    ],
)
def test_an_answer_is_believed_at_once(says: str, state: str, status: Status) -> None:
    nmap = FakeNmap({SERVER: [says]})

    (verdict,) = checked(nmap, MAIL).verdicts

    assert (verdict.state, verdict.status) == (state, status)
    assert len(nmap.commands) == 1


def test_a_silent_port_is_asked_again_three_times_side_by_side_and_patiently() -> None:
    nmap = FakeNmap({SERVER: ["silent"]})

    (verdict,) = checked(nmap, MAIL).verdicts

    assert (verdict.state, verdict.status) == ("filtered", Status.CRITICAL)
    (quick,), patient = nmap.looks
    assert value_of(quick, "--max-rtt-timeout") == "150ms"
    assert [value_of(command, "--max-rtt-timeout") for command in patient] == ["500ms"] * 3
    assert [addresses_of(command) for command in patient] == [[SERVER]] * 3


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


def test_a_failure_is_not_asked_again() -> None:
    nmap = FakeNmap({SERVER: ["crash", "open"]})

    (verdict,) = checked(nmap, MAIL).verdicts

    assert verdict.status is Status.UNKNOWN
    assert "nmap failed with exit code 1 (QUITTING!)" in str(verdict.error)
    assert len(nmap.commands) == 1


def test_only_the_silent_ones_of_many_are_asked_again() -> None:
    targets = [Target(f"192.0.2.{last}", 25) for last in range(1, 7)]
    says = ["open", "silent", "closed", "silent", "rejected", "unheard"]
    nmap = FakeNmap({target.host: [answer] for target, answer in zip(targets, says)})

    report = checked(nmap, *targets)

    assert states(report) == ["open", "filtered", "closed", "filtered", "filtered", "error"]
    assert [addresses_of(c) for c in nmap.looks[1]] == [["192.0.2.2", "192.0.2.4"]] * 3


def test_a_failed_run_is_no_other_runs_failure() -> None:
    other = Target("192.0.2.26", 80)
    nmap = FakeNmap({SERVER: ["crash"]})

    assert states(checked(nmap, MAIL, other)) == ["error", "open"]


@pytest.fixture
def _two_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.if_nametoindex", {"eth0": 2, "eth1": 3}.__getitem__)


@pytest.mark.usefixtures("_two_interfaces")
def test_hosts_that_are_asked_about_the_same_ports_share_a_run_of_their_family_and_zone() -> None:
    nmap = FakeNmap()
    hosts = ["192.0.2.25", "192.0.2.26", "2001:db8::25", "fe80::25%eth0", "fe80::25%eth1"]

    report = checked(nmap, *[Target(host, port) for host in hosts for port in (25, 80)])

    assert states(report) == ["open"] * 10
    asked = [("-6" in c, value_of(c, "-p"), addresses_of(c)) for c in nmap.commands]
    assert asked == [
        (":" in group[0], "25,80", group)
        for group in (hosts[:2], hosts[2:3], hosts[3:4], hosts[4:])
    ]
    seen = [verdict.observation.address for verdict in report.verdicts if verdict.observation]
    assert seen == [host for host in hosts for _ in range(2)]


@pytest.mark.usefixtures("_two_interfaces")
def test_zones_answers_do_not_mix() -> None:
    one, two = Target("fe80::25%eth0", 25), Target("fe80::25%eth1", 25)
    nmap = FakeNmap({"fe80::25": ["open"]})
    nmap_of_two = FakeNmap({"fe80::25": ["closed"]})

    def run(commands: Sequence[Sequence[str]], *_: object) -> List[NmapRun]:
        return [
            (nmap if addresses_of(command) == [one.host] else nmap_of_two)([command], 0)[0]
            for command in commands
        ]

    report = check([one, two], time.monotonic() + 10, ScanOptions(NMAP), run=run)

    assert states(report) == ["open", "closed"]


def test_a_run_asks_at_most_64_hosts() -> None:
    targets = [Target(f"198.51.100.{last}", 25) for last in range(130)]
    nmap = FakeNmap()

    assert states(checked(nmap, *targets)) == ["open"] * 130
    assert [len(addresses_of(command)) for command in nmap.commands] == [64, 64, 2]
    asked = [address for command in nmap.commands for address in addresses_of(command)]
    assert asked == [target.host for target in targets]


def test_a_run_asks_about_at_most_125_ports_and_fewer_hosts_where_there_are_more_ports() -> None:
    nmap = FakeNmap()
    many_ports = [Target(SERVER, port) for port in range(1000, 2000)]
    five_ports = [Target(f"198.51.100.{n % 50}", 21 + n // 50) for n in range(250)]

    assert states(checked(nmap, *many_ports, *five_ports)) == ["open"] * 1250
    size = [(len(ports_of(command)), len(addresses_of(command))) for command in nmap.commands]
    assert size == [(125, 1)] * 8 + [(5, 25)] * 2


def test_each_of_many_ports_of_a_host_has_its_own_verdict_and_only_the_silent_are_asked_again() -> (
    None
):
    said = ["open", "closed", "rejected", "silent"]
    targets = [Target(SERVER, port) for port in range(1000, 1400)]
    answers = {str(target): [said[target.port % 4]] for target in targets}
    answers[f"{SERVER}:1003"] = ["silent", "silent", "closed"]
    nmap = FakeNmap(answers)

    found = states(checked(nmap, *targets))

    assert found[3] == "closed"
    assert found[4:] == ["open", "closed", "filtered", "filtered"] * 99
    again = [port for command in nmap.looks[1] for port in ports_of(command)]
    assert sorted(again) == [port for port in range(1003, 1400, 4) for _ in range(3)]


@pytest.mark.parametrize("host", ["192.0.2.25", "2001:db8::25"])
def test_two_asked_ports_are_each_others_second_port(host: str) -> None:
    nmap = FakeNmap({f"{host}:25": ["silent"], f"{host}:26": ["open"]})

    assert states(checked(nmap, Target(host, 25), Target(host, 26))) == ["filtered", "open"]
    assert [value_of(command, "-p") for command in nmap.commands] == ["25,26"] * 4


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (ScanOptions(NMAP, plus_one=False), ["25", "80"]),
        (ScanOptions(NMAP, sudo=True), ["25,26", "80,81"]),
    ],
    ids=["no-plus-one", "sudo"],
)
def test_a_port_has_a_run_of_its_own_where_it_is_to_be_scanned_alone_or_by_sudo(
    monkeypatch: pytest.MonkeyPatch, options: ScanOptions, asked: List[str]
) -> None:
    monkeypatch.setattr("halfopen.scan.process.find_program", lambda name, *_: name)
    nmap = FakeNmap()

    checked(nmap, MAIL, Target(SERVER, 80), options=options)

    assert [value_of(command, "-p") for command in nmap.commands] == asked


def test_hosts_whose_ports_differ_share_the_runs_of_single_ports_where_those_are_fewer() -> None:
    nmap = FakeNmap()
    targets = [
        Target(f"192.0.2.{host}", port) for host in range(1, 8) for port in (1, 2, 4) if host & port
    ]

    checked(nmap, *targets)

    assert [value_of(command, "-p") for command in nmap.commands] == ["1,2", "2,3", "4,5"]


def test_a_target_given_twice_is_asked_once_and_judged_twice() -> None:
    nmap = FakeNmap({SERVER: ["closed"]})

    assert states(checked(nmap, MAIL, MAIL)) == ["closed", "closed"]
    assert [addresses_of(command) for command in nmap.commands] == [[SERVER]]


def test_two_names_of_one_address_are_asked_once() -> None:
    nmap = FakeNmap()

    report = checked(nmap, Target("mail.example", 25), Target("alias.example", 25), MAIL)

    assert states(report) == ["open"] * 3
    assert [addresses_of(command) for command in nmap.commands] == [[SERVER]]


def test_a_thousand_targets_all_have_their_verdict() -> None:
    targets = [Target(f"198.51.100.{n % 250}", 1000 + n // 250) for n in range(1000)]
    silent = {f"198.51.100.{last}": ["silent", "silent", "open"] for last in range(0, 250, 7)}

    report = checked(FakeNmap(silent), *targets)

    assert states(report) == ["open"] * 1000


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


def test_where_no_name_resolves_nmap_does_not_start() -> None:
    nmap = FakeNmap()

    assert states(checked(nmap, Target("nosuch.example", 25))) == ["error"]
    assert nmap.looks == []


def test_a_name_is_asked_at_its_first_address() -> None:
    nmap = FakeNmap()

    (verdict,) = checked(nmap, Target("mail.example", 25)).verdicts

    assert verdict.observation is not None
    assert verdict.observation.address == SERVER
    assert verdict.observation.addresses == len(NAMES["mail.example"])
    assert [addresses_of(command) for command in nmap.commands] == [[SERVER]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ScanOptions(), "nmap not found on PATH, nor in ; install nmap, or name it with --nmap"),
        (
            ScanOptions("nmap7"),
            "nmap7 not found on PATH, nor in ; install nmap, or name it with --nmap",
        ),
        (
            ScanOptions(NMAP, sudo=True),
            "sudo not found on PATH, nor in ; install sudo, or leave out --sudo",
        ),
    ],
    ids=["nmap", "another", "sudo"],
)
def test_a_missing_program_is_every_targets_unknown_and_advised_with_options_that_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: ScanOptions, said: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("halfopen.scan.process.USUAL_FOLDERS", ())
    nmap = FakeNmap()

    report = checked(nmap, MAIL, Target("192.0.2.26", 80), options=options)

    assert [verdict.status for verdict in report.verdicts] == [Status.UNKNOWN] * 2
    assert [str(verdict.error) for verdict in report.verdicts] == [said] * 2
    assert nmap.looks == []


def test_an_nmap_that_cannot_start_is_every_targets_unknown() -> None:
    def run(*_: object) -> List[NmapRun]:
        raise CheckError("cannot start /opt/nmap: Exec format error")

    report = check(
        [MAIL, Target("192.0.2.26", 80)], time.monotonic() + 10, ScanOptions(NMAP), run=run
    )

    assert [verdict.status for verdict in report.verdicts] == [Status.UNKNOWN] * 2
    assert all("cannot start" in str(verdict.error) for verdict in report.verdicts)


def test_answers_stay_when_nmap_cannot_start_again_and_silence_becomes_unknown() -> None:
    nmap = FakeNmap({"192.0.2.26": ["silent"], "192.0.2.27": ["closed"]})

    def run(commands: Sequence[Sequence[str]], *_: object) -> List[NmapRun]:
        if nmap.looks:
            raise CheckError("cannot start /opt/nmap: too many processes")
        return nmap(commands, 0)

    targets = [MAIL, Target("192.0.2.26", 25), Target("192.0.2.27", 25)]
    report = check(targets, time.monotonic() + 10, ScanOptions(NMAP), run=run)

    assert states(report) == ["open", "error", "closed"]


def test_what_is_no_failure_of_the_check_is_not_hidden() -> None:
    def run(*_: object) -> List[NmapRun]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check([MAIL], time.monotonic() + 10, ScanOptions(NMAP), run=run)


def test_a_tight_budget_is_one_attempt_of_three_runs() -> None:
    nmap = FakeNmap({SERVER: ["silent"]})

    assert states(checked(nmap, MAIL, seconds=0.6)) == ["filtered"]
    (commands,) = nmap.looks
    assert len(commands) == 3


def test_every_attempt_has_the_same_deadline() -> None:
    nmap = FakeNmap({SERVER: ["silent"]})
    deadline = time.monotonic() + 10

    check([MAIL], deadline, ScanOptions(NMAP), run=nmap)

    assert nmap.deadlines == [deadline, deadline]


def test_nmap_is_told_to_end_by_the_deadline() -> None:
    nmap = FakeNmap()

    checked(nmap, MAIL, seconds=5)

    (command,) = nmap.commands
    told = value_of(command, "--host-timeout")
    assert told.endswith("ms")
    assert 3000 < int(told[:-2]) <= 5000


def test_without_plus_one_only_the_asked_port_is_scanned() -> None:
    nmap = FakeNmap()

    checked(nmap, MAIL, options=ScanOptions(NMAP, plus_one=False))

    assert value_of(nmap.commands[0], "-p") == "25"


def test_nmap_is_told_that_it_may_open_raw_sockets_where_it_would_not_believe_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("halfopen.check.nmap_needs_telling", lambda path: path == NMAP)
    nmap = FakeNmap()

    checked(nmap, MAIL)

    assert nmap.commands[0][:3] == [NMAP, "--privileged", "-n"]


def test_sudo_never_asks_for_a_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sudo = tmp_path / "sudo"
    sudo.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    nmap = FakeNmap()

    checked(nmap, MAIL, options=ScanOptions(NMAP, sudo=True))

    assert nmap.commands[0][:4] == [str(sudo), "-n", NMAP, "-n"]


def test_service_names_are_looked_up_while_nmap_runs() -> None:
    class Deaf(FakeNmap):
        def __call__(self, commands: Sequence[Sequence[str]], *_: object) -> List[NmapRun]:
            return super().__call__(commands, 0)

    services = [
        [verdict.service for verdict in checked(nmap, MAIL, Target(SERVER, 26)).verdicts]
        for nmap in (FakeNmap(), Deaf())
    ]

    assert services == [["smtp", ""], ["", ""]]


FAST = Observation("open", "syn-ack", SERVER, 0.05)
SLOW = Observation("open", "syn-ack", SERVER, 0.3)
VERY_SLOW = Observation("open", "syn-ack", SERVER, 0.8)
UNTIMED = Observation("open", "syn-ack", SERVER, None)
CLOSED = Observation("closed", "reset", SERVER, 0.05)
SLOWLY_CLOSED = Observation("closed", "reset", SERVER, 0.8)
FILTERED = Observation("filtered", "no-response", SERVER)
LIMITS = Expectation("open", 0.1, 0.5)


@pytest.mark.parametrize(
    ("outcome", "expectation", "status"),
    [
        pytest.param(FAST, Expectation(), Status.OK, id="open"),
        pytest.param(CLOSED, Expectation(), Status.CRITICAL, id="closed"),
        pytest.param(FILTERED, Expectation(), Status.CRITICAL, id="filtered"),
        pytest.param(CheckError("no"), Expectation(), Status.UNKNOWN, id="error"),
        pytest.param(UsageError("no"), Expectation(), Status.UNKNOWN, id="bad-words"),
        pytest.param(CLOSED, Expectation("closed"), Status.OK, id="closed-as-expected"),
        pytest.param(FAST, Expectation("closed"), Status.CRITICAL, id="open-not-expected"),
        pytest.param(FILTERED, Expectation("filtered"), Status.OK, id="filtered-as-expected"),
        pytest.param(
            CheckError("no"), Expectation("closed"), Status.UNKNOWN, id="error-not-closed"
        ),
        pytest.param(FAST, LIMITS, Status.OK, id="below-both-limits"),
        pytest.param(SLOW, LIMITS, Status.WARNING, id="above-warning"),
        pytest.param(VERY_SLOW, LIMITS, Status.CRITICAL, id="above-critical"),
        pytest.param(
            SLOW, Expectation("open", 0.3, 0.5), Status.OK, id="at-the-limit-is-not-above"
        ),
        pytest.param(
            VERY_SLOW, Expectation("open", None, 0.8), Status.OK, id="at-the-worse-limit-neither"
        ),
        pytest.param(SLOW, Expectation("open", None, 0.2), Status.CRITICAL, id="only-critical-set"),
        pytest.param(SLOW, Expectation("open", 0.2), Status.WARNING, id="only-warning-set"),
        pytest.param(UNTIMED, LIMITS, Status.OK, id="round-trip-unknown"),
        pytest.param(
            SLOWLY_CLOSED,
            Expectation("closed", 0.1),
            Status.WARNING,
            id="closed-slowly-as-expected",
        ),
        pytest.param(CLOSED, LIMITS, Status.CRITICAL, id="fast-but-closed"),
    ],
)
def test_what_was_seen_is_judged_by_what_is_expected(
    outcome: Outcome, expectation: Expectation, status: Status
) -> None:
    # judge takes all our errors, not only the kind that a run can end in.
    assert judge(MAIL, outcome, expectation).status is status


@pytest.mark.parametrize("outcome", [FAST, CLOSED, FILTERED], ids=["open", "closed", "filtered"])
def test_a_verdict_on_what_was_seen_has_the_services_name_if_there_is_one(
    outcome: Outcome,
) -> None:
    assert judge(MAIL, outcome, Expectation(), "smtp").service == "smtp"
    assert judge(MAIL, outcome, Expectation()).service == ""


def test_unknown_is_worse_than_warning_and_critical_worse_than_unknown() -> None:
    assert sorted(Status) == [Status.OK, Status.WARNING, Status.UNKNOWN, Status.CRITICAL]


def test_a_failure_is_unknown_with_the_state_error() -> None:
    error = UsageError("bad word")

    assert failure(error) == Verdict(Status.UNKNOWN, None, None, error)
    assert failure(error, MAIL).state == "error"


def test_a_silence_too_short_to_mean_anything_is_no_verdict() -> None:
    report = checked(FakeNmap({SERVER: ["silent"]}), MAIL, seconds=0.3)

    assert states(report) == ["error"]
    assert str(report.verdicts[0].error) == (
        "no answer yet, and no time left to wait for one; raise --timeout"
    )


def test_an_answer_is_one_however_little_time_there_was() -> None:
    assert states(checked(FakeNmap({SERVER: ["closed"]}), MAIL, seconds=0.3)) == ["closed"]


def test_a_name_that_hangs_leaves_time_to_ask_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    dead = Target("dead.example", 25)

    report = checked(FakeNmap({SERVER: ["silent"]}), dead, MAIL, seconds=1.6)

    assert states(report) == ["error", "filtered"]
    assert str(report.verdicts[0].error) == "no time left for resolving names; raise --timeout"


@pytest.mark.parametrize("seconds", [1, 10])
def test_names_may_take_what_asking_leaves_of_the_time_and_half_of_a_short_one(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    given: List[Tuple[float, float]] = []

    def resolved(targets: Sequence[Target], until: float) -> Dict[Target, CheckError]:
        given.append((until, time.monotonic()))
        return {target: CheckError("no such name") for target in targets}

    monkeypatch.setattr("halfopen.targets.resolve.resolve", resolved)
    begin = time.monotonic()
    deadline = begin + seconds
    check([MAIL], deadline, ScanOptions(NMAP), run=FakeNmap())

    ((until, then),) = given
    kept = deadline - until
    if seconds == 10:
        assert kept == pytest.approx(longest())
    else:
        assert (deadline - then) / 2 - 1e-6 <= kept <= (deadline - begin) / 2 + 1e-6


def test_a_report_says_when_the_check_began_and_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1700000000.25)
    begin = time.monotonic()

    report = checked(FakeNmap(), MAIL)

    assert report.began == 1700000000.25
    assert 0 < report.seconds <= time.monotonic() - begin


@pytest.mark.parametrize("seconds", [0.1, 10])
def test_service_names_are_sought_for_a_moment_and_never_beyond_the_deadline(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    given: List[Tuple[float, float]] = []

    def service_names(_ports: Sequence[int], until: float) -> Dict[int, str]:
        given.append((until, time.monotonic()))
        return {}

    monkeypatch.setattr("halfopen.targets.resolve.service_names", service_names)
    deadline = time.monotonic() + seconds
    check([MAIL], deadline, ScanOptions(NMAP), run=FakeNmap())

    ((until, then),) = given
    assert until <= min(deadline, then + 0.2)


def test_a_services_database_that_hangs_costs_the_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getservbyport", hang)
    begin = time.monotonic()

    (verdict,) = checked(FakeNmap(), MAIL).verdicts

    assert (verdict.state, verdict.service) == ("open", "")
    assert time.monotonic() - begin < 25
