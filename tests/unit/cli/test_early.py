"""The nmap that starts before all else: for what, with what, and that none is left."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, List

import pytest
from support import fakes
from support.fake_run import FakeNmap
from support.fakes import HOST, OPEN, OPEN_PORT, recording

from halfopen.check import check
from halfopen.cli import commands, early, fast_path
from halfopen.model import ScanOptions, Target
from halfopen.scan import attempts, head_start, process

TARGET = Target(HOST, OPEN_PORT)
PLUGIN, CHECK = ["check_tcp_half_open"], ["halfopen", "check"]
SLOW = {
    "enum",
    "signal",
    "typing",
    "re",
    "subprocess",
    "socket",
    "threading",
    "select",
    "selectors",
}


@pytest.fixture(autouse=True)
def _left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be root, whoever runs the tests, and let no signal wait any longer than the test."""
    monkeypatch.setattr(os, "geteuid", int)
    yield
    process.kill_all()
    process.let_signals_in()


def nmap(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put a fake nmap where the commands find it."""
    monkeypatch.setenv(fakes.FOLDER, str(folder))
    path = fakes.fake(folder, script)
    monkeypatch.setenv("HALFOPEN_NMAP", str(path))
    return path


def started(folder: Path) -> List[int]:
    """Return the numbers of the fakes that have started, once there is one."""
    fakes.until(lambda: fakes.started(folder), 5)
    return fakes.started(folder)


def start(*typed: object) -> None:
    """Begin a check, as far as to the start of nmap."""
    fast_path.begin("check_tcp_half_open", [str(word) for word in typed])


def assert_no_child() -> None:
    """Assert that this process has no child, not even a zombie."""
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def assert_killed(pid: int) -> None:
    """Assert that a fake is gone: one that outlasts kill()'s wait, after a later start."""

    def gone() -> bool:
        process.kill(process.start(["/bin/true"]))
        return not Path(f"/proc/{pid}").exists()

    assert fakes.until(gone, 10)


@pytest.fixture(autouse=True, params=["posix_spawn", "fork"])
def way_to_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test see both ways to start nmap where Python has both, else 3.7's alone."""
    if request.param == "fork":
        fakes.without_posix_spawn(monkeypatch)


def test_a_run_of_other_words_is_killed_and_another_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nmap(tmp_path, monkeypatch, recording(OPEN))
    start("192.0.2.26", OPEN_PORT)
    early = started(tmp_path)

    report = check([TARGET], time.monotonic() + 10, ScanOptions(str(path)))

    assert [verdict.state for verdict in report.verdicts] == ["open"]
    assert len(started(tmp_path)) == 2
    assert_killed(early[0])


def test_a_run_that_nobody_takes_ends_with_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap(tmp_path, monkeypatch, "exec sleep 60")
    start(HOST, OPEN_PORT)
    (pid,) = started(tmp_path)

    process.kill_all()

    assert_killed(pid)
    assert_no_child()


V6 = "2001:db8::25"
STARTS_EARLY = {
    "plain": [*PLUGIN, HOST, "25"],
    "balancers": [*PLUGIN, "NOT_USED", "NOT_USED", HOST, "25"],
    "-H-p": [*PLUGIN, "-H", HOST, "-p", "25", "-t", "5"],
    "glued": [*PLUGIN, f"-H{HOST}", "-p25", "--timeout=5s", "-4"],
    "thresholds": [*PLUGIN, "-w", "50ms", "-c", "0:0.5", HOST, "25"],
    "expect-and-exit": [*PLUGIN, HOST, "25", "--expect", "closed", "--exit", "error=0"],
    "f5": [*PLUGIN, "--format", "f5", f"::ffff:{HOST}", "25"],
    "below-4-s": [*PLUGIN, HOST, "25", "-t", "3.3"],
    "below-2-s": [*PLUGIN, HOST, "25", "-t", "1900ms"],
    "alone": [*PLUGIN, "--no-plus-one", "--", HOST, "25"],
    "ipv6": [*PLUGIN, V6, "25"],
    "ipv6-written-out": [*PLUGIN, "2001:DB8:0:0::0025", "25", "-6"],
    "ipv6-in-brackets": [*PLUGIN, "x", "80", f"[{V6}]", "25"],
    "check": [*CHECK, f"{HOST}:25"],
    "check-two-arguments": [*CHECK, HOST, "25", "-v"],
    "check-ipv6": [*CHECK, f"[{V6}]:25", "--format", "json"],
    "check-several": [*CHECK, *(f"192.0.2.{number}:25" for number in range(25, 89))],
    "keepalived": [*CHECK, "--format", "keepalived", "-t", "2", f"{HOST}:25"],
    "haproxy": [*CHECK, "--format", "haproxy", "--timeout", "2"],
    "zabbix": [*CHECK, "-H", HOST, "-p", "25", "--format", "zabbix"],
}


@pytest.mark.parametrize("line", STARTS_EARLY.values(), ids=list(STARTS_EARLY))
def test_the_one_run_of_these_checks_starts_early(
    line: List[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the arguments others than check.py's, it would start another."""
    nmap(tmp_path, monkeypatch, recording(OPEN))
    monkeypatch.setenv("HAPROXY_SERVER_ADDR", HOST)
    monkeypatch.setenv("HAPROXY_SERVER_PORT", "25")
    program, *typed = line

    parsed = fast_path.begin(program, typed)
    early_run = started(tmp_path)
    commands.main(program, typed, parsed)

    assert len(early_run) == 1
    assert started(tmp_path) == early_run


@pytest.mark.parametrize("privilege", ["file", "ambient", "none"])
def test_an_ordinary_users_nmap_starts_early_with_what_it_needs_to_be_told(
    privilege: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap(tmp_path, monkeypatch, f'printf "%s\\n" "$1" >"{tmp_path}/first"; {recording(OPEN)}')
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    needs = "halfopen.scan.diagnosis.nmap_needs_telling"
    monkeypatch.setattr(needs, lambda _: privilege != "none")
    typed = [HOST, str(OPEN_PORT), "-t", "3"]

    parsed = fast_path.begin("check_tcp_half_open", typed)
    early_run = started(tmp_path)
    commands.main("check_tcp_half_open", typed, parsed)

    assert len(early_run) == 1
    assert started(tmp_path) == early_run
    assert (tmp_path / "first").read_text() == ("-n\n" if privilege == "none" else "--privileged\n")


NO_HOSTS = (  # noqa: SIM905  as a list it is a page long
    "mail.example 0.0.0.0 224.0.0.1 192.0.2.256 192.0.2.025 192.0.2 192.0.2.25-26 "
    "192.0.2.\u0662\u0665 ff02::1 fe80::1%lo :: ::ffff:224.0.0.1 [192.0.2.25]"
).split(" ")
NO_PORTS = f"0 65536 -1 smtp 25-26 \uff12\uff15 {'2' * 50} ".split(" ")
WRONG = f"""
    check_tcp_half_open {HOST}:25
    check_tcp_half_open {HOST} 25 26
    check_tcp_half_open
    check_tcp_half_open -iL 25
    check_tcp_half_open {HOST} 25 --help
    check_tcp_half_open {HOST} 25 --frobnicate
    check_tcp_half_open {HOST} 25 -t soon
    check_tcp_half_open {HOST} 25 -t 1.1
    check_tcp_half_open {HOST} 25 --expect ajar
    check_tcp_half_open {HOST} 25 --format morse
    check_tcp_half_open {HOST} 25 --exit open
    check_tcp_half_open {HOST} 25 -w 2 -c 1
    check_tcp_half_open {HOST} 25 -4 -6
    check_tcp_half_open {HOST} 25 -6
    check_tcp_half_open {HOST} 25 -H {HOST} -p 25
    check_tcp_half_open -H {HOST}
    check_tcp_half_open --nmap no-such-nmap {HOST} 25
    halfopen check {HOST} 25 --format f5 --exit error=0
    halfopen check --targets /dev/null
    halfopen check {HOST}:25 {HOST}:26
    halfopen check {HOST}:25 mail.example:25
    halfopen check {HOST}:25 {HOST} 25
    halfopen check {HOST}:25 [{V6}]:25
    halfopen check {HOST}:25 192.0.2.26:25 -6
    halfopen check {HOST}
    halfopen check {V6}
    halfopen check {HOST}:25 25
    halfopen check NOT_USED NOT_USED {HOST} 25
    halfopen check --format farmguardian {HOST}:25
    halfopen wait {HOST}:25
    halfopen {HOST} 25
"""
STARTS_NOTHING = [
    *([*PLUGIN, host, "25"] for host in [*NO_HOSTS, f"{HOST}\n"]),
    *([*PLUGIN, HOST, port] for port in NO_PORTS),
    *(line.split() for line in WRONG.strip().splitlines()),
]


@pytest.mark.parametrize("line", STARTS_NOTHING, ids=" ".join)
def test_nothing_starts_early_for_what_is_not_one_address_or_not_right(
    line: List[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap(tmp_path, monkeypatch, "exec sleep 60")

    fast_path.begin(line[0], line[1:])

    assert_no_child()


def test_what_nmap_is_asked_first_is_certain_with_the_least_timeout_for_an_early_start() -> None:
    """Even if the rest of the modules take 0.2 s to load."""
    for slow, runs in itertools.product((0.0, 0.2), (1, 2, 8)):
        assert attempts.first(early.LEAST_TIMEOUT * runs - slow, runs) == attempts.QUICK


@pytest.mark.parametrize("kind", ["missing", "of-another-machine", "nowhere"])
def test_an_nmap_that_cannot_be_started_is_left_for_the_check_to_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "nmap"
    if kind == "of-another-machine":
        path.write_bytes(b"\x7fELF of another machine")
        path.chmod(0o755)
    monkeypatch.setenv("HALFOPEN_NMAP", "" if kind == "nowhere" else str(path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(process, "USUAL_FOLDERS", ())
    descriptors = len(os.listdir("/proc/self/fd"))

    start(HOST, OPEN_PORT)

    assert_no_child()
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize(
    "line",
    [STARTS_EARLY[name] for name in ("plain", "-H-p", "thresholds", "ipv6", "check")],
    ids=" ".join,
)
def test_hardly_anything_is_loaded_before_nmap_starts(line: List[str]) -> None:
    code = f"""
import os, sys
os.geteuid = int  # to root: for others, the rights of nmap's file are read first
before = set(sys.modules)
import halfopen.main
from halfopen.scan import process
def start(*_):
    print(*sorted(set(sys.modules) - before))
    sys.stdout.flush()
    os._exit(0)
process.start_early = start
sys.argv = {line}
halfopen.main.{line[0]}()
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({_home()!r})\n{code}"],
        env={**os.environ, "HALFOPEN_NMAP": "/bin/true"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )

    loaded = done.stdout.decode().split()
    assert "halfopen.cli.early" in loaded
    assert SLOW.intersection(loaded) == set()


def _home() -> str:
    """Return the folder that holds the package."""
    return str(Path(head_start.__file__).resolve().parents[2])


def test_nmap_inherits_no_more_than_its_three_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nmap(tmp_path, monkeypatch, "ls /proc/self/fd")
    with open(__file__, "rb") as left_open:
        os.set_inheritable(left_open.fileno(), True)
        start(HOST, OPEN_PORT)
        report = check([TARGET], head_start.began + head_start.TIMEOUT, ScanOptions(str(path)))

    # ls has one of its own, for the folder.
    assert report.runs[0].stdout.split() == [b"0", b"1", b"2", b"3"]


# -- before the options are loaded --------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("check_tcp_half_open 192.0.2.25 25", True),
        ("check_tcp_half_open V 1 192.0.2.25 25", True),
        ("check_tcp_half_open 2001:db8::25 25", True),
        ("halfopen check 192.0.2.25 25", True),
        ("halfopen check 192.0.2.25:25", True),
        ("halfopen check [2001:db8::25]:25", True),
        ("halfopen check 192.0.2.25:25 192.0.2.26:25", True),
        ("halfopen check [2001:db8::25]:25 [2001:db8::26]:25 [2001:db8::27]:25", True),
        ("halfopen check V 1 192.0.2.25 25", False),
        ("halfopen 192.0.2.25 25", False),
        ("check_tcp_half_open check 192.0.2.25 25", False),
        ("check_tcp_half_open -t 5 192.0.2.25 25", False),
        ("check_tcp_half_open 192.0.2.25 smtp", False),
        ("check_tcp_half_open 192.0.2.256 25", False),
    ],
)
def test_the_plain_form_starts_the_same_nmap_before_the_options_are_loaded(
    monkeypatch: pytest.MonkeyPatch, line: str, plain: bool
) -> None:
    given: List[List[str]] = []
    monkeypatch.setattr(process, "start_early", lambda commands, _: given.extend(commands))
    monkeypatch.setenv("HALFOPEN_NMAP", "/opt/nmap")
    program, *typed = line.split()

    early.start_plain(program, typed)
    assert bool(given) is plain
    fast_path.begin(program, typed)

    assert len(given) == 2 or not plain
    assert all(argv == given[0] for argv in given)
    with monkeypatch.context() as patch:
        patch.setattr(process, "early", [object()])
        fast_path.begin(program, typed)
    assert len(given) == 2 or not plain  # none is started twice


@pytest.mark.parametrize(
    ("count", "seconds", "runs"),
    [(2, 1.2, 1), (64, 10, 1), (65, 2.3, 0), (65, 2.4, 2), (500, 10, 8), (500, 9, 0), (600, 60, 8)],
)
def test_many_addresses_of_one_port_start_the_first_runs_that_the_check_makes(
    monkeypatch: pytest.MonkeyPatch, count: int, seconds: float, runs: int
) -> None:
    given: List[List[str]] = []
    monkeypatch.setattr(process, "start_early", lambda commands, _: given.extend(commands))
    monkeypatch.setattr(process, "reckoned", lambda: head_start.began)
    monkeypatch.setattr(time, "monotonic", lambda: head_start.began)
    hosts = [f"198.51.{100 + number // 250}.{number % 250 + 1}" for number in range(count)]
    words = [f"{host}:25" for host in [*hosts, hosts[0]]]
    values = {"arguments": words, "nmap": "/opt/nmap", "timeout": seconds}
    nmap_runs = FakeNmap()
    options = ScanOptions("/opt/nmap")

    early.start(values, plugin=False)
    targets = [Target(host, 25) for host in hosts]
    check(targets, head_start.began + seconds, options, run=nmap_runs)

    assert len(given) == runs
    assert given == nmap_runs.commands[:runs]


def test_the_plain_form_without_an_nmap_is_left_to_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HALFOPEN_NMAP", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process, "USUAL_FOLDERS", ())

    early.start_plain("check_tcp_half_open", [HOST, str(OPEN_PORT)])

    assert process.early == []
