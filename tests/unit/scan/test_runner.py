"""Many runs side by side, with shell scripts for nmap: nothing hangs, is lost or stays behind.

What one bad nmap can do is in test_process.py, seen from outside.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Iterator, Mapping, NoReturn

import pytest
from support import fakes

from halfopen.errors import CheckError
from halfopen.model import FLOOD, LATE, ON_TIME, UNSTARTED, NmapRun
from halfopen.scan import process, runner
from halfopen.scan.attempts import SIDE_BY_SIDE
from halfopen.scan.runner import run_all

AMPLE = 40.0
"""Seconds that no test needs."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder by which this test's processes are known."""
    monkeypatch.setenv(fakes.FOLDER, str(tmp_path))
    return tmp_path


def sh(script: str, *words: object) -> list[str]:
    """Return the command that runs a shell script; it has the words as $1 and on."""
    return ["/bin/sh", "-c", script, "fake-nmap", *map(str, words)]


def run(*commands: list[str], seconds: float = AMPLE) -> list[NmapRun]:
    """Run the commands with a deadline so many seconds from now."""
    return run_all(commands, time.monotonic() + seconds)


def descriptors() -> list[str]:
    """Return what files this process has open."""
    return sorted(os.listdir("/proc/self/fd"))


def test_a_run_gives_argv_exit_code_both_outputs_and_its_time() -> None:
    command = sh("echo out; echo err >&2; sleep 0.1; exit 4")
    (given,) = run(command)
    assert given.argv == command
    assert (given.exit_code, given.stdout, given.stderr) == (4, b"out\n", b"err\n")
    assert 0.1 <= given.seconds < AMPLE
    assert given.cut == ON_TIME


def test_many_commands_all_run_but_only_so_many_at_a_time(folder: Path) -> None:
    counting = 'mkdir "$1/on.$$"; set -- "$1/"on.*; echo $#; sleep 0.05; rmdir "${0%/*}/on.$$"'
    command = ["/bin/sh", "-c", counting, str(folder / "fake-nmap"), str(folder)]
    given = run(*[command] * (2 * SIDE_BY_SIDE + 5))
    assert [(one.exit_code, one.cut) for one in given] == [(0, ON_TIME)] * len(given)
    at_once = [int(one.stdout) for one in given]
    assert 1 < max(at_once) <= SIDE_BY_SIDE


def test_deadline_ends_those_that_run_and_those_that_had_to_wait_and_keeps_what_was_printed(
    folder: Path,
) -> None:
    late = [sh("echo $1; sleep 60 & wait", number) for number in range(SIDE_BY_SIDE + 4)]
    commands = [sh("echo quick"), *late]
    given = run(*commands, seconds=5.0)
    assert [one.argv for one in given] == commands
    assert [one.cut for one in given] == [ON_TIME] + [LATE] * SIDE_BY_SIDE + [UNSTARTED] * 4
    assert [one.stdout for one in given[:3]] == [b"quick\n", b"0\n", b"1\n"]
    assert given[1].exit_code == -signal.SIGKILL
    assert fakes.left_behind(folder) == []


def test_what_is_done_meanwhile_is_done_once_and_its_failure_leaves_no_run(folder: Path) -> None:
    running: list[bool] = []

    def meanwhile(ended: Mapping[int, NmapRun]) -> None:
        if ended:
            return
        # A program that has just been started may have no environment yet.
        running.append(fakes.until(lambda: fakes.alive(folder), 10.0))
        if len(commands) == 1:
            raise ZeroDivisionError

    commands = [sh("sleep 1")] * (SIDE_BY_SIDE + 3)  # still there on a busy machine
    run_all(commands, time.monotonic() + AMPLE, meanwhile)
    commands = [sh("sleep 60 & wait")]
    with pytest.raises(ZeroDivisionError):
        run_all(commands, time.monotonic() + AMPLE, meanwhile)
    assert running == [True, True]
    assert fakes.left_behind(folder) == []


def test_a_run_that_has_ended_is_told_of_while_others_run(folder: Path) -> None:
    told: list[dict[int, bytes]] = []

    def meanwhile(ended: Mapping[int, NmapRun]) -> None:
        told.append({number: one.stdout for number, one in ended.items()})
        if 1 in ended:
            (folder / "go-on").touch()

    waits = sh("until [ -e $1 ]; do sleep 0.01; done; echo slow", folder / "go-on")
    given = run_all([waits, sh("echo quick")], time.monotonic() + AMPLE, meanwhile)

    assert told == [{}, {1: b"quick\n"}]
    assert [one.stdout for one in given] == [b"slow\n", b"quick\n"]


def test_a_run_that_ends_in_time_is_not_late_for_what_is_done_meanwhile(folder: Path) -> None:
    end = time.monotonic() + 3.0

    def meanwhile(ended: Mapping[int, NmapRun]) -> None:
        if ended:
            (folder / "go-on").touch()
            time.sleep(max(0.0, end - time.monotonic()) + 0.1)

    text = "until [ -e $1 ]; do sleep 0.01; done; head -c 60000 /dev/zero"
    given = run_all([sh("echo quick"), sh(text, folder / "go-on")], end, meanwhile)

    assert [one.cut for one in given] == [ON_TIME, ON_TIME]
    assert len(given[1].stdout) == 60000


def test_a_signal_while_early_runs_are_killed_ends_us_by_that_signal() -> None:
    """It comes just when one has been waited for: its number is free, and must not be killed."""
    code = """
import os, signal, time
from halfopen.scan import process, spawn
def waitpid(*words):
    found = wait(*words)
    if found[0]:
        os.kill(os.getpid(), signal.SIGTERM)
    return found
process.start_early([["/bin/sleep", "60"]], time.monotonic())
process.let_signals_in()
signal.signal(signal.SIGTERM, process.end_by_signal)
wait, os.waitpid = os.waitpid, waitpid
process.take(["/bin/sleep", "50"])
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=50, check=False)
    assert done.returncode == -signal.SIGTERM


def test_an_interrupt_ends_those_that_run_and_starts_no_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "interrupted", False)  # and again after the test
    count = SIDE_BY_SIDE + 4
    timer = threading.Timer(0.5, process.interrupt)
    timer.start()
    begin = time.monotonic()
    given = run(*[sh("echo begun; exec sleep 60")] * count)
    timer.join()

    assert time.monotonic() - begin < AMPLE / 2
    assert [one.cut for one in given][-4:] == [UNSTARTED] * 4
    assert fakes.left_behind(folder) == []


def test_a_flood_is_cut_long_before_the_deadline_and_spoils_no_other_run(folder: Path) -> None:
    flood, other = run(sh("yes flood >&2 & wait"), sh("sleep 0.2; echo fine"))
    assert flood.cut == FLOOD
    assert flood.seconds < AMPLE / 2
    assert len(flood.stdout) + len(flood.stderr) < 2 * runner.MAX_OUTPUT
    assert (other.stdout, other.cut) == (b"fine\n", ON_TIME)
    assert fakes.left_behind(folder) == []


@pytest.fixture(params=["posix_spawn", "fork"])
def _way_to_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """See both ways to start a program where Python has both, else 3.7's alone."""
    if request.param == "fork":
        fakes.without_posix_spawn(monkeypatch)


@pytest.fixture
def _stdin_is_a_pipe() -> Iterator[None]:
    """Put a pipe where standard input is; pytest itself has it closed off."""
    kept, (reading, writing) = os.dup(0), os.pipe()
    os.dup2(reading, 0)
    yield
    os.dup2(kept, 0)
    for descriptor in (kept, reading, writing):
        os.close(descriptor)


@pytest.mark.usefixtures("_stdin_is_a_pipe", "_way_to_start")
def test_a_run_has_no_standard_input_and_a_group_and_session_of_its_own() -> None:
    (given,) = run(sh("readlink /proc/$$/fd/0; cut -d' ' -f1,5,6 /proc/$$/stat"))
    standard_input, numbers = given.stdout.decode().splitlines()
    assert standard_input == os.devnull
    assert len(set(numbers.split())) == 1


@pytest.mark.parametrize("place", [0, 1, SIDE_BY_SIDE + 1], ids=["first", "second", "later"])
def test_one_that_cannot_be_started_is_an_error_and_ends_the_others(
    folder: Path, place: int
) -> None:
    missing = str(folder / "no-nmap")
    commands = [sh("sleep 0.05; exec sleep 0.2")] + [sh("sleep 0.1")] * (SIDE_BY_SIDE + 1)
    commands.insert(place, [missing])
    with pytest.raises(CheckError, match=f"cannot start {missing}: No such file") as raised:
        run(*commands)
    assert "\n" not in str(raised.value)
    assert fakes.left_behind(folder) == []


def test_nothing_stays_open_and_no_zombie_is_left(folder: Path) -> None:
    before = descriptors()
    run(*[sh("echo out")] * 3)
    run(sh("(sleep 60 &); exit 0"), sh("yes"), seconds=0.2)
    with pytest.raises(CheckError):
        run(sh("sleep 60"), [str(folder / "no-nmap")])
    assert descriptors() == before
    assert fakes.until(no_child_after_a_start, 10)


@pytest.fixture
def outlasting(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the number of a program that we may not kill, as sudo's, and that ended later."""
    with monkeypatch.context() as patch:
        patch.setattr(process, "_kill_group", lambda _: None)
        (given,) = run(sh("exec sleep 60"), seconds=0.1)
    assert given.cut == LATE
    (child,) = map(int, children())
    os.kill(child, signal.SIGKILL)
    return child


@pytest.mark.usefixtures("outlasting")
def test_one_that_outlasts_its_kill_is_no_zombie_after_the_next_start() -> None:
    assert fakes.until(no_child_after_a_start, 10)


def test_one_that_somebody_else_has_waited_for_keeps_no_other_from_starting(
    outlasting: int,
) -> None:
    os.waitpid(outlasting, 0)

    (given,) = run(sh("echo out"))

    assert given.stdout == b"out\n"


def no_child_after_a_start() -> bool:
    """Start one more, and return whether there is no child left, not even a zombie."""
    run(sh("exit 0"))
    return children() == []


def children() -> list[str]:
    """Return the numbers of this process's children, zombies as well."""
    return [
        child
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@pytest.mark.usefixtures("_way_to_start")
def test_signals_that_we_block_or_python_ignores_are_not_blocked_or_ignored_in_a_run() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        (given,) = run(["/bin/grep", "-E", "SigBlk|SigIgn", "/proc/self/status"])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    blocked, ignored = (int(word, 16) for word in given.stdout.split()[1::2])
    assert blocked == 0
    # The C library's own, 32 and 33, are ignored after its posix_spawn.
    assert [n for n in (signal.SIGPIPE, signal.SIGXFSZ) if ignored >> n - 1 & 1] == []


@pytest.mark.usefixtures("_way_to_start")
@pytest.mark.parametrize(
    ("name", "language"), [("sudo", b"C"), ("nmap", b"de_DE.UTF-8")], ids=["sudo", "nmap"]
)
def test_sudo_speaks_english_whatever_the_users_language(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, language: bytes
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    fakes.fake(folder, 'printf %s "$LC_ALL"').rename(folder / name)
    (given,) = run([str(folder / name), "-n"])
    assert given.stdout == language
    assert os.environ["LC_ALL"] == "de_DE.UTF-8"


def test_an_nmap_that_is_just_being_written_can_perhaps_be_started_later(folder: Path) -> None:
    nmap = fakes.fake(folder, "exit 0")
    with nmap.open("a"), pytest.raises(CheckError, match="Text file busy; it is being") as raised:
        run([str(nmap)])
    assert type(raised.value) is CheckError  # not a HopelessError


def test_why_no_process_can_be_started_is_told_where_posix_spawn_hides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(number: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    # A fake of glibc before 2.36, and of a limit on processes; Python 3.7 has neither name.
    monkeypatch.setattr(os, "POSIX_SPAWN_DUP2", 2, raising=False)
    monkeypatch.setattr(os, "posix_spawn", lambda *_, **__: refuse(errno.EPERM), raising=False)
    monkeypatch.setattr(os, "fork", lambda: refuse(errno.EAGAIN))

    with pytest.raises(CheckError, match="unavailable; raise the limit of processes") as raised:
        run(sh("exit 0"))
    assert type(raised.value) is CheckError  # not a HopelessError


SIGNAL_AT_EVERY_LINE = """
import os, signal, sys, time
from halfopen.cli import exit as leave
from halfopen.formats import registry
from halfopen.scan import process, runner, spawn

files = (process.__file__, runner.__file__, spawn.__file__, leave.__file__)

def main(words):
    (given,) = runner.run_all([words], time.monotonic() + 20)
    return registry.Output(given.stdout.decode(), 0)

def check(lines):
    # Returns only in the parent. The child gets the signal at that line of the four files.
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    def count(frame, event, arg):
        nonlocal lines
        if event == 'line':
            lines -= 1
            if lines == 0:
                os.kill(os.getpid(), signal.SIGTERM)
        return count
    def trace(frame, event, arg):
        return count if frame.f_code.co_filename in files else None
    sys.settrace(trace)
    leave.leave(main, 'nagios')

line = 1
while True:
    status = check(line)
    if os.WIFEXITED(status):
        break
    assert os.WTERMSIG(status) == signal.SIGTERM, (line, status)
    line += 1
print('lines', line, 'exit code', os.WEXITSTATUS(status), file=sys.stderr)
"""


def test_a_signal_at_any_line_of_a_run_is_what_ends_us_and_leaves_nothing(folder: Path) -> None:
    # The fake is over at once, but for a child that only a kill of its whole group ends.
    command = sh("sleep 60 >/dev/null 2>&1 & echo open")
    given = subprocess.run(
        [sys.executable, "-c", SIGNAL_AT_EVERY_LINE, *command],
        check=True,
        capture_output=True,
        timeout=60,
    )
    # Only the one that was over before its line came has ended by itself.
    words = given.stderr.decode().split()
    assert (words[0], words[2:]) == ("lines", ["exit", "code", "0"])
    assert int(words[1]) > 50
    assert fakes.left_behind(folder) == []


def test_a_program_is_found_on_path_first_and_what_cannot_be_run_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a" / "nmap").mkdir(parents=True)
    (folder / "b").mkdir()
    (folder / "b" / "nmap").write_text("not executable")
    for name in "cd":
        fakes.fake(folder / name, "exit 0").rename(folder / name / "nmap")
    monkeypatch.setenv("PATH", ":".join(str(folder / name) for name in "abcd"))
    assert process.find_program("nmap") == str(folder / "c" / "nmap")
