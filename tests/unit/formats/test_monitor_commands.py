"""The commands as a monitor host calls them: its way to name the target, and its exit codes."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path
from typing import Callable

import pytest
from support import fakes
from support.commands import BOTH, HALFOPEN, Commands
from support.fake_run import CRASH
from support.fakes import CLOSED, CLOSED_PORT, HOST, OPEN, OPEN_PORT, recording
from support.processes import ENTRY_POINTS, HANGS, PRINTS_OPEN, Command
from support.reports import EXIT_CODES

Console = Callable[[], object]
HOST_FORMS = {
    "farmguardian": ["192.0.2.25", "25"],
    "haproxy": ["NOT_USED", "NOT_USED", "192.0.2.25", "25"],
    "ldirectord": ["198.51.100.1", "80", "192.0.2.25", "25"],
    "f5": ["::ffff:192.0.2.25", "25"],
}


# -- how the target is named --------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("format_name", list(HOST_FORMS))
def test_both_commands_take_the_words_of_the_host(
    run: Commands, console: Console, format_name: str
) -> None:
    ended = run.full(console, "--format", format_name, *HOST_FORMS[format_name])

    assert (ended.code, ended.stderr) == (0, "")
    assert run.asked == ["192.0.2.25:25"]


@BOTH
@pytest.mark.parametrize(
    ("format_name", "words", "variables", "asked"),
    [
        ("haproxy", [], {"ADDR": "2001:db8::25", "PORT": "8443"}, ["2001:db8::25:8443"]),
        ("ldirectord", [], {"ADDR": "2001:db8::25", "PORT": "8443"}, ["2001:db8::25:8443"]),
        ("haproxy", HOST_FORMS["haproxy"], {"ADDR": "::1", "PORT": "9"}, ["192.0.2.25:25"]),
        *[("haproxy", [], variables, []) for variables in ({"ADDR": "::1"}, {"PORT": "25"})],
        *[("haproxy", [], {"ADDR": a, "PORT": "25"}, []) for a in ("/run/x", "-iL/x", "::1/64")],
        ("keepalived", [], {"ADDR": "192.0.2.25", "PORT": "25"}, []),
    ],
)
def test_a_load_balancer_may_leave_the_server_in_the_environment(
    run: Commands,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
    format_name: str,
    words: list[str],
    variables: dict[str, str],
    asked: list[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"HAPROXY_SERVER_{name}", value)

    assert run.full(console, "--format", format_name, *words).code == (0 if asked else 1)
    assert run.asked == asked


# -- time limits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_name", "most"), [("haproxy", 2), ("ldirectord", 5), ("zabbix", 3), ("f5", 5)]
)
def test_the_default_timeout_is_below_what_the_host_allows(
    run: Commands, format_name: str, most: float
) -> None:
    run.plugin("--format", format_name, "192.0.2.25", "25")
    limits = [re.search(r"--host-timeout (\d+)ms", " ".join(c)) for c in run.nmap.commands]

    assert limits
    assert all(limit and 1000 <= int(limit.group(1)) < most * 1000 for limit in limits)


# -- exit codes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", list(EXIT_CODES))
@pytest.mark.parametrize("words", [[], ["no host", "25"], ["192.0.2.25", "0"], ["--nonsense"]])
@BOTH
def test_bad_words_are_a_failed_check_in_each_format(
    run: Commands, console: Console, format_name: str, words: list[str]
) -> None:
    ended = run.full(console, "--format", format_name, *words)

    assert ended.code == EXIT_CODES[format_name][3]
    assert run.asked == []
    if format_name == "f5":
        assert ended.said == ""


@pytest.mark.parametrize("word", ["--help", "--version"])
@pytest.mark.parametrize("format_name", [*EXIT_CODES, "F5"])
@BOTH
def test_help_is_never_up(run: Commands, console: Console, format_name: str, word: str) -> None:
    ended = run.full(console, "--format", format_name, *HOST_FORMS["f5"], word)

    codes = EXIT_CODES[format_name.lower()]
    assert ended.code == codes[3] or format_name == "F5"
    if set(codes) == {0}:  # the printed decides
        assert "Usage" not in ended.said
        assert "halfopen 0" not in ended.said
    if codes == EXIT_CODES["f5"] and format_name in ("f5", "F5"):
        assert ended.said == ""


@pytest.mark.parametrize("codes", ["closed=2", "error=3", "open=255,closed=1", "open=unknown"])
def test_keepalived_takes_no_exit_code_but_0_and_1(run: Commands, codes: str) -> None:
    ended = run.check("--format", "keepalived", "--exit", codes, "192.0.2.25:25")

    said = "TCP HALF-OPEN UNKNOWN - --exit: keepalived knows the codes 0 and 1 only\n"
    assert (ended.code, ended.stdout) == (1, said)
    run.nmap.answers = {"192.0.2.25": [CRASH]}
    assert run.check("--format", "keepalived", "--exit", "error=0", "192.0.2.25:25").code == 0


@pytest.mark.parametrize("format_name", ["f5", "checkmk", "zabbix", "prometheus"])
def test_exit_codes_are_refused_where_the_printed_decides(run: Commands, format_name: str) -> None:
    ended = run.check("--format", format_name, "--exit", "error=0", "192.0.2.25", "25")

    assert (ended.code, run.asked) == (0, [])
    assert "--exit changes nothing" in ended.stdout or format_name == "f5"


# -- a file instead -----------------------------------------------------------------------------


def test_a_report_goes_to_a_file_instead_that_others_may_read(
    run: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "halfopen.prom"
    file.write_text("old\n")
    umask = os.umask(0o022)
    try:
        with file.open() as old:
            ended = run.check("--format", "prometheus", "--output", str(file), "192.0.2.25:25")
            assert old.read() == "old\n", "who has it open reads on in it"
    finally:
        os.umask(umask)

    assert (ended.code, ended.said) == (0, "")
    assert 'halfopen_up{target="192.0.2.25:25"} 1\n' in file.read_text()
    assert re.search(r"(?m)^halfopen_check_timestamp_seconds\S+ 1[0-9]{9}\.", file.read_text())
    assert "old" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert os.listdir(str(tmp_path)) == ["halfopen.prom"]


@pytest.mark.parametrize("words", [["--targets", "/nowhere"], ["--nonsense"], ["192.0.2.25:0"]])
def test_bad_words_overwrite_what_an_old_file_says(
    run: Commands, tmp_path: Path, words: list[str]
) -> None:
    file = tmp_path / "halfopen.prom"
    file.write_text('halfopen_up{target="192.0.2.25:25"} 1\n')
    ended = run.check("--format", "prometheus", "--output", str(file), *words)

    assert (ended.code, ended.said) == (0, "")
    assert "halfopen_up{" not in file.read_text()
    assert 'halfopen_state{target="",state="error"} 1\n' in file.read_text()


@pytest.mark.parametrize(
    ("format_name", "code"), [("prometheus", 3), ("keepalived", 1), ("text", 3), ("systemd", 255)]
)
def test_a_file_that_cannot_be_written_is_a_failed_check(
    run: Commands, tmp_path: Path, format_name: str, code: int
) -> None:
    file = tmp_path / "none" / "file"
    ended = run.check("--format", format_name, "--output", str(file), "192.0.2.25:25")

    assert (ended.code, ended.stdout) == (code, "")
    assert ended.stderr == (
        f"halfopen: cannot write '{file}': No such file or directory; "
        "name a file in a writable folder\n"
    )


@pytest.mark.parametrize("kind", ["device", "fifo", "folder", "output"])
def test_what_is_no_regular_file_stays_what_it_is(run: Commands, tmp_path: Path, kind: str) -> None:
    file, log = tmp_path / "there", tmp_path / "log"
    log.write_text("old\n")
    if kind == "fifo":
        os.mkfifo(str(file))
    elif kind == "folder":
        file.mkdir()
    with log.open("a") as stdout:  # as /dev/stdout leads to it
        special = {"device": "/dev/null", "output": f"/proc/self/fd/{stdout.fileno()}"}
        file = Path(special.get(kind, str(file)))
        there, before = os.listdir(str(tmp_path)), file.stat()
        ended = run.check("--output", str(file), "192.0.2.25:25")

        assert (ended.code, ended.stderr.count("not a regular file")) == (3, 1)
        assert (file.stat().st_ino, file.stat().st_mode) == (before.st_ino, before.st_mode)
    assert log.read_text() == "old\n"
    assert os.listdir(str(tmp_path)) == there


@pytest.mark.parametrize("command", ["replay", "wait", "watch", "smoke", "formats"])
def test_a_command_without_output_overwrites_nothing(
    run: Commands, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "keep"
    file.write_text("kept")
    ended = run(HALFOPEN, command, "--output", str(file))

    assert (ended.code, file.read_text()) == (3, "kept")
    assert "no option" in ended.stderr


# -- processes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRY_POINTS)
@pytest.mark.parametrize("format_name", ["keepalived", "systemd", "f5", "zabbix"])
def test_a_real_process_ends_by_its_format(tmp_path: Path, format_name: str, entry: str) -> None:
    codes = EXIT_CODES[format_name]
    cases = {
        "open": (codes[0], recording(OPEN), OPEN_PORT),
        "closed": (codes[1], recording(CLOSED), CLOSED_PORT),
        "killed": (codes[3], "kill -9 $$", OPEN_PORT),
    }
    command = ["check"] if entry == "halfopen" else []
    for name, (code, nmap, port) in cases.items():
        words = [*command, "--format", format_name, HOST, port]
        fake = fakes.fake(tmp_path / name, nmap)
        ending = Command(tmp_path / name, *words, entry=entry, nmap=fake).run()
        assert (ending.code, ending.stderr, ending.left) == (code, "", [])
        if format_name == "f5":
            assert ending.stdout == ("UP\n" if name == "open" else "")


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1]


@pytest.mark.parametrize("format_name", ["keepalived", "ldirectord"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_who_would_misread_a_death_by_signal_sees_1(
    tmp_path: Path, number: signal.Signals, format_name: str
) -> None:
    running = Command(
        tmp_path,
        *["--format", format_name, HOST, OPEN_PORT],
        nmap=fakes.fake(tmp_path, HANGS),
    ).start()
    running.send_once_started(number)
    ending = running.wait()

    assert (ending.code, ending.stdout, ending.stderr, ending.left) == (1, "", "", [])


BROKEN = "import sys; sys.modules['halfopen.cli.exit'] = None"


@pytest.mark.parametrize(
    ("format_name", "code"),
    [("keepalived", 1), ("f5", 3), ("F5", 3), ("systemd", 255), ("haproxy", 1), ("nagios", 3)],
)
@pytest.mark.parametrize("form", [["--format", "{}"], ["--format={}"]])
def test_an_installation_that_does_not_load_is_never_up(
    tmp_path: Path, format_name: str, code: int, form: list[str]
) -> None:
    words = [*(word.format(format_name) for word in form), HOST, OPEN_PORT]
    nmap = fakes.fake(tmp_path, PRINTS_OPEN)
    ending = Command(tmp_path, *words, nmap=nmap, before=BROKEN).run()

    assert (ending.code, ending.left) == (code, [])
    silent, told = ending.stderr, ending.stdout
    if format_name in ("f5", "F5"):
        silent, told = told, silent
    assert silent == ""
    assert told.startswith("TCP HALF-OPEN UNKNOWN - cannot load halfopen")
