"""The nmap that starts before all else: when, what it changes (nothing), and that none is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, List

import pytest
from support import fakes
from support.fakes import HOST, OPEN, OPEN_PORT, recording

from halfopen.check import check
from halfopen.model import ScanOptions, Target
from halfopen.scan import head_start, runner

LIGHT = ["typing", "re", "subprocess", "socket", "threading", "selectors"]


@pytest.fixture(autouse=True)
def _left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be root, whoever runs the tests, and let no signal wait any longer than the test."""
    monkeypatch.setattr(os, "geteuid", int)
    yield
    runner.kill_all()
    head_start.let_signals_in()


def nmap(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put a fake nmap where the commands find it; it notes each start in `started`."""
    path = folder / "fake-nmap"
    path.write_text(f"#!/bin/sh\necho $$ >>'{folder}/started'\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("HALFOPEN_NMAP", str(path))
    return path


def started(folder: Path) -> List[int]:
    """Return the numbers of the fakes that have started."""
    file = folder / "started"
    # The shell makes the file before it writes to it.
    fakes.until(lambda: file.exists() and file.read_text().endswith("\n"), 5)
    return [int(pid) for pid in file.read_text().split()]


@pytest.fixture(autouse=True, params=["posix_spawn", "fork"])
def way_to_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test see both ways to start nmap where Python has both, else 3.7's alone."""
    if request.param == "fork":
        monkeypatch.delattr(os, "posix_spawn", raising=False)
        # 3.13's own would miss it.
        monkeypatch.setattr(subprocess, "_USE_POSIX_SPAWN", False, raising=False)


def test_the_check_takes_the_run_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nmap(tmp_path, monkeypatch, recording(OPEN))

    head_start.start([HOST, str(OPEN_PORT)])
    early = started(tmp_path)
    target = Target(HOST, int(OPEN_PORT))
    report = check([target], time.monotonic() + head_start.TIMEOUT, ScanOptions(str(path)))

    assert [verdict.state for verdict in report.verdicts] == ["open"]
    assert len(early) == 1
    assert started(tmp_path) == early


def test_a_run_of_other_words_is_killed_and_another_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nmap(tmp_path, monkeypatch, recording(OPEN))
    head_start.start(["192.0.2.26", str(OPEN_PORT)])
    early = started(tmp_path)

    report = check([Target(HOST, int(OPEN_PORT))], time.monotonic() + 10, ScanOptions(str(path)))

    assert [verdict.state for verdict in report.verdicts] == ["open"]
    assert len(started(tmp_path)) == 2
    assert not Path(f"/proc/{early[0]}").exists()


def test_a_run_that_nobody_takes_ends_with_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap(tmp_path, monkeypatch, "exec sleep 60")
    head_start.start([HOST, str(OPEN_PORT)])
    (pid,) = started(tmp_path)

    runner.kill_all()

    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["mail.example", "25"],
        ["2001:db8::25", "25"],
        ["0.0.0.0", "25"],  # noqa: S104  to be refused
        ["224.0.0.1", "25"],
        ["192.0.2.256", "25"],
        ["192.0.2.025", "25"],
        ["192.0.2", "25"],
        ["192.0.2.25-26", "25"],
        ["192.0.2.25\n", "25"],
        ["192.0.2.\u0662\u0665", "25"],
        ["-iL", "25"],
        ["192.0.2.25", "0"],
        ["192.0.2.25", "65536"],
        ["192.0.2.25", "-1"],
        ["192.0.2.25", "smtp"],
        ["192.0.2.25", "25-26"],
        ["192.0.2.25", "\uff12\uff15"],
        ["192.0.2.25", ""],
        ["192.0.2.25", "2" * 50],
        ["192.0.2.25:25"],
        ["192.0.2.25", "25", "-v"],
        ["--nmap", "/bin/true", "192.0.2.25", "25"],
        [],
    ],
    ids=ascii,
)
def test_nothing_but_an_ipv4_address_and_a_number_starts_nmap(
    words: List[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap(tmp_path, monkeypatch, "exec sleep 60")

    head_start.start(words)

    assert head_start.take() is None


def test_nmap_does_not_start_early_for_an_ordinary_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    head_start.start([HOST, str(OPEN_PORT)])

    assert head_start.take() is None


def test_a_missing_nmap_is_left_for_the_check_to_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALFOPEN_NMAP", str(tmp_path / "no-nmap"))

    head_start.start([HOST, str(OPEN_PORT)])

    assert head_start.take() is None


def test_signals_wait_until_there_is_somebody_to_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap(tmp_path, monkeypatch, "exec sleep 60")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    head_start.start([HOST, str(OPEN_PORT)])
    meanwhile = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    head_start.let_signals_in()

    assert set(head_start.ENDING_SIGNALS) <= meanwhile
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_hardly_anything_is_loaded_before_nmap_starts() -> None:
    code = (
        "import sys; before = set(sys.modules); import halfopen.main; "
        "print(*sorted(set(sys.modules) - before))"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({_home()!r}); {code}"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )

    loaded = done.stdout.decode().split()
    assert "halfopen.scan.head_start" in loaded
    assert set(LIGHT).intersection(loaded) == set()


def _home() -> str:
    """Return the folder that holds the package."""
    return str(Path(head_start.__file__).resolve().parents[2])


def test_nmap_inherits_no_more_than_its_three_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nmap(tmp_path, monkeypatch, "ls /proc/self/fd")
    with open(__file__, "rb") as left_open:
        os.set_inheritable(left_open.fileno(), True)
        head_start.start([HOST, str(OPEN_PORT)])
        report = check(
            [Target(HOST, int(OPEN_PORT))], time.monotonic() + 10, ScanOptions(str(path))
        )

    # ls has one of its own, for the folder.
    assert report.runs[0].stdout.split() == [b"0", b"1", b"2", b"3"]


def test_an_environment_that_cannot_be_passed_on_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise ValueError("illegal environment variable name")

    path = nmap(tmp_path, monkeypatch, recording(OPEN))
    monkeypatch.setattr(os, "posix_spawn", refuse, raising=False)
    monkeypatch.setattr(os, "execv", refuse)  # in the child that fork makes

    head_start.start([HOST, str(OPEN_PORT)])
    report = check([Target(HOST, int(OPEN_PORT))], time.monotonic() + 10, ScanOptions(str(path)))

    assert [verdict.state for verdict in report.verdicts] == ["open"]


def test_an_nmap_that_cannot_be_started_leaves_the_check_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "nmap"
    path.write_bytes(b"\x7fELF of another machine")
    path.chmod(0o755)
    monkeypatch.setenv("HALFOPEN_NMAP", str(path))
    descriptors = len(os.listdir("/proc/self/fd"))

    head_start.start([HOST, str(OPEN_PORT)])

    assert head_start.take() is None
    assert len(os.listdir("/proc/self/fd")) == descriptors
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # nothing is left to wait for
