"""The commands as processes of their own, with fake nmaps: whatever happens, they end well.

"Well" is: in time, by the right exit code, with one line and no traceback, and no nmap left. What
tests/faults.py makes on a machine is not made again here.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Sequence

import pytest
from support import fakes
from support.fakes import CLOSED, CLOSED_PORT, HOST, OPEN, OPEN_PORT, recording
from support.processes import (
    CLOSED_LINE,
    CRITICAL,
    ENTRY_POINTS,
    HALFOPEN,
    HANGS,
    OK,
    OPEN_LINE,
    PLAIN,
    PRINTS_OPEN,
    SLACK,
    TIMEOUT,
    UNKNOWN,
    WITHIN,
    Command,
    assert_unknown,
    assert_well,
    run_all,
)

# --- nmaps that fail ---

LATE = "nmap did not end within --timeout, and was killed"
FAILING = {
    f"{PRINTS_OPEN}; exit 1": "nmap failed with exit code 1",
    "kill -s KILL $$": "nmap was killed by signal 9",
    "echo; echo ' '": "nmap printed nothing",
    f"sed '$d' '{OPEN}'": "nmap printed no complete XML",
    f"{PRINTS_OPEN}; exec yes": "nmap printed without end",
}
NOT_ENDING = (
    f"trap '' TERM INT HUP PIPE; {HANGS}",
    f"{PRINTS_OPEN}; exec >&- 2>&-; sleep 60",
    "while :; do echo '<'; sleep 0.02; done",
)


def test_a_failing_nmap_is_unknown(tmp_path: Path) -> None:
    commands = {}
    for number, body in enumerate((*FAILING, *NOT_ENDING)):
        folder = tmp_path / str(number)
        words = PLAIN if body in FAILING else WITHIN
        commands[body] = Command(folder, *words, nmap=fakes.fake(folder, body))
    for body, ending in run_all(commands).items():
        if body in FAILING:
            assert_unknown(ending, FAILING[body], timeout=0)
            assert ending.started == 1
        else:
            assert_unknown(ending, LATE, TIMEOUT)
            assert ending.seconds >= TIMEOUT


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (r"printf '\177ELF and then \0 nonsense' >nmap; chmod 755 nmap", "Exec format error"),
        (">nmap; chmod 755 nmap", "Exec format error"),
        ("echo '#!/nowhere/sh' >nmap; chmod 755 nmap", "No such file or directory"),
        ("ln -s nmap nmap", "Too many levels of symbolic links"),
        ("mkdir nmap", "Permission denied"),
    ],
)
def test_an_nmap_that_is_no_program_is_unknown(tmp_path: Path, made: str, why: str) -> None:
    subprocess.run(["/bin/sh", "-ec", made], cwd=str(tmp_path), check=True)
    ending = Command(tmp_path, *PLAIN, nmap=tmp_path / "nmap").run()
    assert_unknown(ending, f"cannot start {tmp_path}/nmap: {why}; ", timeout=0)


# --- what the caller leaves to us ---

CLOSINGS = ["", "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]


def test_closed_standard_descriptors_change_no_exit_code_and_spare_no_late_nmap(
    tmp_path: Path,
) -> None:
    # A lot on stderr: it must reach none of the descriptors that lie where ours was.
    answers = fakes.fake(tmp_path, f"{recording(CLOSED)}; head -c 50000 /dev/zero >&2")
    hangs = fakes.fake(tmp_path / "hangs", HANGS)
    commands = {}
    for closed in CLOSINGS:
        folder, via = tmp_path / closed.replace(" ", ""), f'exec "$@" {closed}'
        commands[closed] = Command(folder, HOST, CLOSED_PORT, nmap=answers, via=via)
        commands[f"late {closed}"] = Command(folder / "late", *WITHIN, nmap=hangs, via=via)
    for name, ending in run_all(commands).items():
        if name in CLOSINGS:
            silent = ">&-" in name.replace("2>&-", "")
            printed = CLOSED_LINE + "\n" if silent else ending.stdout
            assert_well(ending._replace(stdout=printed), CRITICAL, CLOSED_LINE)
            assert ending.started == 1
        else:
            assert (ending.code, ending.stderr, ending.left) == (UNKNOWN, "", [])
            assert ending.seconds < TIMEOUT + SLACK
            assert ending.started >= 1


@pytest.mark.parametrize("closing", [">&-", ">/dev/full"])
@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_that_cannot_be_printed_are_still_no_verdict_and_no_failure(
    tmp_path: Path, word: str, closing: str
) -> None:
    for entry, code in zip(ENTRY_POINTS, (UNKNOWN, OK)):
        ending = Command(tmp_path, word, entry=entry, via=f'exec "$@" {closing}').run()
        assert (ending.code, ending.stderr) == (code, "")


IGNORING = "import os, signal, sys; signal.signal(signal.{}, signal.SIG_IGN)"
BLOCKING = (
    "import os, signal, sys; "
    "signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, signal.NSIG)) - {32, 33})"
)


def first(python: str) -> str:
    """Return a shell script that runs some Python, and in its place the command."""
    return f"exec {sys.executable} -c '{python}; os.execv(sys.argv[1], sys.argv[1:])' \"$@\""


KEPT = f'{fakes.FOLDER}="${fakes.FOLDER}"'
INSIDE = f'"${fakes.FOLDER}/inside"'
WORLDS: dict[str, dict[str, Any]] = {
    "as-usual": {},
    "path-empty": {"env": {"PATH": ""}},
    "path-unset": {"env": {"PATH": None}},
    "home-unset": {"env": {"HOME": None}},
    "environment-empty": {"via": f'exec env -i HALFOPEN_NMAP="$HALFOPEN_NMAP" {KEPT} "$@"'},
    "umask-0177": {"via": 'umask 0177; exec "$@"'},
    "LANG-C": {"env": {"LANG": "C", "LC_ALL": None}},
    "LC_ALL-C": {"env": {"LC_ALL": "C"}},
    "LC_ALL-unknown": {"env": {"LC_ALL": "xx_XX.nonsense"}},
    "ascii-only": {"env": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
    "folder-deleted": {"via": f'mkdir {INSIDE}; cd {INSIDE}; rmdir {INSIDE}; exec "$@"'},
    "SIGCHLD-ignored": {"via": first(IGNORING.format("SIGCHLD"))},
    "SIGPIPE-ignored": {"via": first(IGNORING.format("SIGPIPE"))},
    "signals-blocked": {"via": first(BLOCKING)},
    "descriptors-are-few": {"via": 'ulimit -n 20; exec "$@"'},
    "descriptors-are-open": {"via": 'exec 3</dev/null 4>/dev/null 5</dev/zero; exec "$@"'},
    "stdin-never-ends": {"stdin": subprocess.PIPE},
}  # fmt: skip


@pytest.mark.parametrize("world", WORLDS)
def test_all_ends_as_well_in_a_strange_world(tmp_path: Path, world: str) -> None:
    # Without cat: PATH may be empty.
    cat = f"""while IFS= read -r line; do printf "%s\\n" "$line"; done <'{OPEN}'"""
    late = f"PATH=/usr/bin:/bin; {HANGS}"
    commands: dict[str, Command] = {}
    for words, body in ((PLAIN, cat), (PLAIN, f"{cat}; exit 7"), (WITHIN, late)):
        folder = tmp_path / str(len(commands))
        nmap = fakes.fake(folder, body)
        commands[folder.name] = Command(folder, *words, nmap=nmap, **WORLDS[world])
    endings = run_all(commands)
    is_open, crash, hanging = (endings[name] for name in "012")
    assert_well(is_open, OK, OPEN_LINE, timeout=0)
    assert_unknown(crash, "nmap failed with exit code 7", timeout=0)
    assert_unknown(hanging, LATE, TIMEOUT)
    assert (is_open.started, crash.started) == (1, 1)
    assert hanging.started >= 2


@pytest.mark.parametrize("host", ["münchen.example", b"m\xfcnchen.example", "ⓐ\n\x1b"])
def test_a_word_outside_ascii_is_a_bad_word_in_any_locale(tmp_path: Path, host: object) -> None:
    nmap = fakes.fake(tmp_path, PRINTS_OPEN)
    commands = {
        locale: Command(tmp_path / locale, host, OPEN_PORT, nmap=nmap, env={"LC_ALL": locale})
        for locale in ("C", "C.UTF-8")
    }
    for ending in run_all(commands).values():
        assert_unknown(ending, "is not ASCII; write an international name as xn--...", timeout=0)
        assert ending.started == 0


@pytest.mark.parametrize("path", ["", None, ".", ":", ":bin:", "./bin"])
def test_an_nmap_in_the_current_folder_is_never_run(tmp_path: Path, path: str | None) -> None:
    for place in (tmp_path, tmp_path / "bin"):
        fakes.fake(place, PRINTS_OPEN).rename(place / "nmap")
    ending = Command(
        tmp_path,
        *PLAIN,
        env={"PATH": path},
        before="from halfopen.scan import process; process.USUAL_FOLDERS = ('/nowhere',)",
    ).run()
    assert_unknown(ending, "nmap not found on PATH, nor in /nowhere; install nmap", timeout=0)
    assert ending.started == 0


NAMELESS = """\
import ctypes, os, sys
words = [os.fsencode(word) for word in sys.argv[1:]]
lines = [b"=x", *(name + b"=" + value for name, value in os.environb.items())]
array = lambda items: (ctypes.c_char_p * (len(items) + 1))(*items)
ctypes.CDLL(None).execve(words[0], array(words), array(lines))\
"""


def test_environment_reaches_nmap_untouched_even_if_a_variable_has_no_name(
    tmp_path: Path,
) -> None:
    nmap = fakes.fake(tmp_path, f'cat /proc/$$/environ >"${fakes.FOLDER}/environ"; {PRINTS_OPEN}')
    # LC_ALL: without a locale, Python itself sets LC_CTYPE.
    env: dict[str, str | None] = {
        "LC_ALL": "C.UTF-8",
        "LD_PRELOAD_LOOKALIKE": "/opt/a b.so:/opt/c.so",
        "EMPTY": "",
        "LINES_OF_TEXT": "one\ntwo",
        "NMAPDIR": "/opt/nmap",
        "NMAP_PRIVILEGED": "",
    }
    via = f"exec {sys.executable} -c '{NAMELESS}' \"$@\""
    command = Command(tmp_path, *PLAIN, nmap=nmap, env=env, via=via)
    assert_well(command.run(), OK, OPEN_LINE)
    lines = (tmp_path / "environ").read_bytes().rstrip(b"\0").split(b"\0")
    seen = dict(line.decode().split("=", 1) for line in lines)
    # The shell's own, on the way to us; and the nameless one, which may get lost.
    for name in ("PWD", "OLDPWD", "SHLVL", "_", ""):
        seen.pop(name, None)
        command.env.pop(name, None)
    assert seen == command.env


# --- reading and resolving without end ---


def test_targets_from_a_pipe_that_never_ends_are_unknown_in_time(tmp_path: Path) -> None:
    nmap = fakes.fake(tmp_path, PRINTS_OPEN)
    words = ("--targets", "-", "--timeout", TIMEOUT)
    ending = Command(tmp_path, *words, nmap=nmap, stdin=subprocess.PIPE).run()
    assert_unknown(ending, "no time left for reading the targets", TIMEOUT)
    assert ending.started == 0


SLOW_LOOK_UPS = {
    "getaddrinfo": ("name.example", OPEN_PORT),
    "getservbyname": (HOST, "smtp"),
    "getservbyport": (HOST, OPEN_PORT),
}


def test_system_databases_that_hang_cost_no_more_than_the_timeout(tmp_path: Path) -> None:
    nmap = fakes.fake(tmp_path, PRINTS_OPEN)
    commands = {}
    for function, (host, port) in SLOW_LOOK_UPS.items():
        words = ("--timeout", TIMEOUT, "--format", "nagios", "-H", host, "-p", port)
        for entry in ENTRY_POINTS:
            commands[f"{function} {entry}"] = Command(
                tmp_path / f"{function}-{entry}",
                *(("check", *words) if entry == HALFOPEN else words),
                entry=entry,
                nmap=nmap,
                before=f"import socket, time; socket.{function} = lambda *_: time.sleep(60)",
            )
    for name, ending in run_all(commands).items():
        if name.startswith("getservbyport"):
            # The service's name is an ornament; nmap's answer is lost if it was not read by then.
            assert ending.code in (OK, UNKNOWN)
            assert (ending.stderr, ending.left) == ("", [])
            assert ending.seconds < TIMEOUT + SLACK
        else:
            assert_unknown(ending, "no time left for", TIMEOUT)
            assert ending.started == 0


# --- signals ---

SIGNAL_AFTER_START = """
import os, signal
way = "posix_spawn" if hasattr(os, "posix_spawn") else "fork"
def start(*words, really=getattr(os, way), **options):
    pid = really(*words, **options)
    if pid:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
setattr(os, way, start)
"""


@pytest.mark.parametrize(
    "words",
    [("localhost", OPEN_PORT), WITHIN, PLAIN],
    ids=["as-ever", "head-start-with-options", "head-start"],
)
def test_a_signal_between_the_start_of_nmap_and_our_knowing_it_leaves_no_nmap(
    tmp_path: Path, words: Sequence[object]
) -> None:
    nmap = fakes.fake(tmp_path, HANGS)
    ending = Command(tmp_path, *words, nmap=nmap, before=SIGNAL_AFTER_START).run()
    assert (ending.code, ending.stdout, ending.stderr) == (-signal.SIGTERM, "", "")
    assert ending.left == []
    assert ending.seconds < SLACK


def test_a_signal_at_any_time_is_no_verdict_and_leaves_no_nmap(tmp_path: Path) -> None:
    nmap = fakes.fake(tmp_path, HANGS)
    commands: dict[str, Command] = {}
    signals: dict[str, tuple[int, float]] = {}
    for count, ms in enumerate(range(0, 165, 5)):
        name = str(ms)
        commands[name] = Command(tmp_path / name, *PLAIN, nmap=nmap)
        # Not SIGINT: until our first line Python's own handler has it, and may lose it.
        signals[name] = ((signal.SIGTERM, signal.SIGHUP)[count % 2], ms / 1000)
    for name, ending in run_all(commands, signals).items():
        number = signals[name][0]
        assert (ending.code, ending.stdout, ending.stderr) == (-number, "", "")
        assert ending.left == []
        assert ending.seconds < SLACK


def test_nohup_stays_in_force(tmp_path: Path) -> None:
    nmap = fakes.fake(tmp_path, HANGS)
    command = Command(tmp_path, *WITHIN, nmap=nmap, via="trap '' HUP; exec \"$@\"")
    running = command.start()
    running.send_once_started(signal.SIGHUP)
    ending = running.wait()
    assert_unknown(ending, LATE, TIMEOUT)


def test_a_blocked_signal_waits_but_the_deadline_does_not(tmp_path: Path) -> None:
    nmap = fakes.fake(tmp_path, HANGS)
    running = Command(tmp_path, *WITHIN, nmap=nmap, via=first(BLOCKING)).start()
    running.send_once_started(signal.SIGTERM)
    ending = running.wait()
    assert_unknown(ending, LATE, TIMEOUT)
