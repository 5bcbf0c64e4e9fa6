"""The commands, from the command line's words to what is printed and the exit code."""

import io
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Callable, List

import jsonschema
import pytest
from support.commands import BOTH, HALFOPEN, Commands, refused
from support.fake_run import hang, value_of
from support.reports import SCHEMA

from halfopen import __version__
from halfopen.cli import fast_path, options
from halfopen.formats.registry import FORMATS
from halfopen.model import Status

RECORDED = Path(__file__).resolve().parents[3] / "fixtures" / "recorded" / "nmap-7.93"


# -- targets from files -------------------------------------------------------------------------


def test_targets_are_read_from_a_file(run: Commands, tmp_path: Path) -> None:
    file = tmp_path / "my targets"
    file.write_bytes(
        b"\xef\xbb\xbf# mail\r\n192.0.2.25:25\r\n\r\n2001:db8::25 smtp # six\n[::1]:80"
    )

    ended = run.check("--targets", str(file))

    assert ended.code == 0
    assert run.asked == ["192.0.2.25:25", "2001:db8::25:25", "::1:80"]


def test_targets_are_read_from_standard_input(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (b"192.0.2.25:25\n", b"192.0.2.26\n"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        ended = run.check("--targets", "-")

    assert "standard input, line 1: '192.0.2.26' has no port" in ended.said
    assert run.asked == ["192.0.2.25:25"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b"", " names no target; write one a line", id="empty"),
        pytest.param(b"a:1\n192.0.2.25:0\n", ", line 2: port '0' is out of range", id="bad-port"),
        pytest.param(
            b"# caf\xe9\nm\xfcnchen:25\n",
            ", line 2: host 'm\\udcfcnchen' is not ASCII; write an international name as xn--...; "
            "the file looks like Latin-1: save it as UTF-8",
            id="latin-1",
        ),
        pytest.param("a:1".encode("utf-16"), " is UTF-16; save it as UTF-8", id="utf-16"),
        pytest.param("a:1".encode("utf-16-be"), " is UTF-16; save it as UTF-8", id="utf-16-be"),
        pytest.param("a:1".encode("utf-16-le"), " is UTF-16; save it as UTF-8", id="utf-16-le"),
    ],
)
@BOTH
def test_a_bad_targets_file_is_refused_with_its_name_and_line(
    run: Commands, console: Callable[[], object], tmp_path: Path, text: bytes, said: str
) -> None:
    file = tmp_path / "targets"
    file.write_bytes(text)

    ended = run.full(console, "--targets", str(file))

    refused(run, ended)
    assert f"{file}{said}" in ended.said


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_a_bad_line_costs_the_good_ones_nothing_where_each_target_is_stored(
    run: Commands, tmp_path: Path, format_name: str
) -> None:
    file, written = tmp_path / 'my\t"targets"', tmp_path / "written"
    file.write_bytes(b"192.0.2.25:25\n192.0.2.26:0\n192.0.2.27:25\n")

    ended = run.check("--targets", str(file), "--format", format_name, "--output", str(written))

    assert ended.code == FORMATS[format_name].codes[Status.UNKNOWN]
    text = written.read_text(encoding="utf-8")
    said = "line 2: port '0' is out of range; ports are 1 to 65535"
    if format_name != "prometheus":
        assert run.nmap.looks == []
        assert said in text or format_name == "f5"
        return
    assert run.asked == ["192.0.2.25:25", "192.0.2.27:25"]
    shown = str(file).replace("\t", "\\t")
    assert f"# halfopen: {shown}, {said}\n" in text
    in_label = shown.replace("\\", "\\\\").replace('"', '\\"')
    assert [line for line in text.splitlines() if 'state="error"} 1' in line] == [
        f'halfopen_state{{target="{in_label}:2",state="error"}} 1'
    ]
    up = [line for line in text.splitlines() if line.startswith("halfopen_up{")]
    assert up == [f'halfopen_up{{target="192.0.2.{n}:25"}} 1' for n in (25, 27)]


def test_a_file_of_bad_lines_alone_asks_nobody_and_each_line_is_told(
    run: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "targets"
    file.write_bytes(b"192.0.2.26:0\n-iL:25\n")

    ended = run.check("--targets", str(file), "--format", "prometheus")

    assert (ended.code, run.nmap.looks) == (0, [])
    assert [line for line in ended.stdout.splitlines() if line[-2:] == " 1"] == [
        f'halfopen_state{{target="{file}:{n}",state="error"}} 1' for n in (1, 2)
    ]


# -- arguments that are taken -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("check_tcp_half_open 192.0.2.25 25", "192.0.2.25:25"),
        ("check_tcp_half_open NOT_USED NOT_USED 192.0.2.25 smtp", "192.0.2.25:25"),
        ("check_tcp_half_open -H192.0.2.25 -p25", "192.0.2.25:25"),
        ("check_tcp_half_open --hostname=::ffff:192.0.2.25 --port smtp", "192.0.2.25:25"),
        ("check_tcp_half_open -6 2001:db8::25 25", "2001:db8::25:25"),
        ("check_tcp_half_open fe80::25%eth0 25 -6", "fe80::25%eth0:25"),
        ("check_tcp_half_open -- 192.0.2.25 25", "192.0.2.25:25"),
        ("halfopen check -H 192.0.2.25 -p 25", "192.0.2.25:25"),
        ("halfopen check 192.0.2.25:smtp [::1]:80 [::2] 25", "192.0.2.25:25 ::1:80 ::2:25"),
    ],
)
def test_targets_are_asked_for_in_every_form(run: Commands, line: str, asked: str) -> None:
    ended = run.line(line)

    assert run.asked == asked.split()
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("192.0" if line.startswith("half") else "TCP HALF-OPEN OK - ")


RUN = RECORDED / "v4-open-plus-one" / "nmap.xml"
LINES = [
    *(
        (f"{program} -H 192.0.2.25 -p 25 --format nagios {options}", says, code, said)
        for program in ("check_tcp_half_open", "halfopen check")
        for options, says, code, said in (
            ("--expect closed", "closed", 0, "as expected"),
            ("--expect closed", "open", 2, "expected closed"),
            ("--exit closed=1", "closed", 1, "WARNING"),
            ("--exit closed=ok", "closed", 0, "OK"),
            ("--exit error=0", "crash", 0, "UNKNOWN"),
            ("-w 0.00001", "open", 1, "WARNING"),
            ("-c 0.00001", "open", 2, "CRITICAL"),
            ("-w 1 -c 2", "open", 0, ";1;2;0"),
            ("-v", "open", 0, " -p 25,26 -oX - 192.0.2.25 (exit code 0, 0.120 s)"),
        )
    ),
    ("halfopen --help", "", 0, "replay"),
    ("halfopen", "", 3, "smoke"),
    ("halfopen help", "", 0, "smoke"),
    ("halfopen help check", "", 0, "--expect"),
    ("halfopen watch -h", "", 0, "--interval"),
    ("check_tcp_half_open -h", "", 3, "--expect"),
    ("check_tcp_half_open -V", "", 3, "halfopen "),
    ("halfopen --version", "", 0, __version__),
    ("halfopen check --version", "", 0, __version__),
    (f"halfopen replay {RUN}", "", 0, "192.0.2.25:25  open  syn-ack"),
    (f"halfopen replay {RUN} -p 26", "", 2, "192.0.2.25:26  closed  reset"),
    (f"halfopen replay {RUN} -p 27", "", 3, "said nothing about TCP port 27"),
    (f"halfopen replay {RUN} -H 192.0.2.25", "", 0, "192.0.2.25:25  open"),
    (f"halfopen replay {RUN} -H 192.0.2.26", "", 3, "nothing about 192.0.2.26"),
    (f"halfopen replay {RUN} --expect closed", "", 2, "expected closed"),
    (f"halfopen replay {RUN} --exit open=7", "", 7, "open"),
]


@pytest.mark.parametrize(("line", "says", "code", "said"), LINES)
def test_a_command_line_has_its_exit_code_and_its_output(
    run: Commands, line: str, says: str, code: int, said: str
) -> None:
    """`says`: what nmap says of the port; "" if it is not to be asked."""
    run.nmap.answers = {"192.0.2.25": [says]}

    ended = run.line(line)

    assert (ended.code, ended.stderr) == (code, "")
    assert said in ended.stdout
    assert bool(run.nmap.looks) is bool(says)


def test_a_failed_check_called_good_hides_no_other_targets_code(run: Commands) -> None:
    run.nmap.answers = {"192.0.2.25": ["closed"], "192.0.2.26": ["crash"]}

    ended = run.check("--exit", "closed=1,error=0", "192.0.2.25:25", "192.0.2.26:26")

    assert ended.code == 1


@pytest.mark.parametrize("port", ["80,443", "80:90", "*", "nonesuch"])
def test_no_exit_map_makes_a_wrong_target_good(run: Commands, port: str) -> None:
    ended = run.plugin("192.0.2.25", port, "--exit", "error=0", "--format", "nagios")

    assert ended.code == 3
    assert ended.stdout.startswith("TCP HALF-OPEN UNKNOWN - ")


@BOTH
def test_options_reach_nmap(
    run: Commands, console: Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sudo").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["-H", "192.0.2.25", "-p", "25", "--no-plus-one", "--sudo", "--nmap", "/my/nmap"]

    run.full(console, *words, "-t", "5")

    (command,) = run.nmap.commands
    assert command[:3] == [str(tmp_path / "sudo"), "-n", "/my/nmap"]
    assert value_of(command, "-p") == "25"
    assert 3000 < int(value_of(command, "--host-timeout")[:-2]) <= 5000


@pytest.mark.parametrize(
    ("line", "variable", "nmap"),
    [
        ("check_tcp_half_open 192.0.2.25 25", "/my/nmap", "/my/nmap"),
        ("check_tcp_half_open 192.0.2.25 25", "", "nmap"),
        ("check_tcp_half_open -H 192.0.2.25 -p 25 --nmap ''", "/my/nmap", "nmap"),
    ],
)
def test_the_nmap_is_the_options_or_the_environments_or_the_systems(
    run: Commands,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    line: str,
    variable: str,
    nmap: str,
) -> None:
    (tmp_path / "nmap").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HALFOPEN_NMAP", variable)

    run.line(line)

    (command,) = run.nmap.commands
    assert command[0] == os.path.join(str(tmp_path), nmap)


# -- in which format a mistake is told ----------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("halfopen check --format nagios -x", "TCP HALF-OPEN UNKNOWN - "),
        ("halfopen check --format json --frobnicate", "{"),
        ("halfopen check --format json -t 0 -H a -p 25", "{"),
        ("halfopen check --format nagios --format json --targets /proc/nonexistent", "{"),
        ("halfopen wait --format json -x", "{"),
        ("halfopen check -x", ""),
        ("halfopen check -x --format morse", ""),
        ("halfopen check -x --format", ""),
        ("halfopen watch -x --format nagios", ""),  # it has formats of its own
        ("halfopen smoke -x --format text", ""),
        ("check_tcp_half_open wait 25 -x --format text", ""),  # a host of this name
        ("check_tcp_half_open wait 25 -x", "TCP HALF-OPEN UNKNOWN - "),
        ("check_tcp_half_open --frobnicate --format=json", "{"),
        ("check_tcp_half_open --format json -t", "{"),
        ("check_tcp_half_open --format json -H a -p 0", "{"),
    ],
)
def test_a_mistake_is_told_in_the_format_that_applies(run: Commands, line: str, start: str) -> None:
    ended = run.line(line)

    refused(run, ended)
    assert ended.stdout.startswith(start)
    assert ended.stderr.startswith("" if start else "halfopen: ")
    if start == "{":
        told = json.loads(ended.stdout)
        jsonschema.Draft7Validator(SCHEMA).validate(told)
        assert (told["status"], told["targets"], bool(told["error"])) == ("UNKNOWN", [], True)


@pytest.mark.parametrize("last", [["--output", "{}"], ["--output={}"]], ids=str)
def test_a_mistake_is_written_where_the_result_was_to_go(
    run: Commands, tmp_path: Path, last: List[str]
) -> None:
    file = tmp_path / "a=b"

    ended = run.check("--output", "/proc/nonexistent", "-x", *(w.format(file) for w in last))

    assert (ended.code, ended.said) == (3, "")
    assert "no option -x" in file.read_text()


# -- help, version, replay ----------------------------------------------------------------------


EVERY_HELP = {
    "check_tcp_half_open": options.PLUGIN,
    **{f"halfopen {name}": command for name, command in options.COMMANDS.items()},
}


@pytest.mark.parametrize("name", list(EVERY_HELP))
def test_help_has_every_option_the_exit_codes_and_two_examples_that_work(
    run: Commands, name: str
) -> None:
    command = EVERY_HELP[name]

    said = run.line(f"{name} --help").stdout

    words = said.replace(",", " ").split()
    names = [option for each in command.options for option in each.names]
    assert [option for option in names if option not in words] == []
    assert "  Exit code: " in said
    assert [line.strip() for line in said.splitlines()[-2:]] == list(command.examples)
    for example in command.examples:
        line = shlex.split(re.split(r" (&&|\||>)", example)[0])
        assert fast_path.parse(line[0], line[1:]) is not None


def test_the_overview_has_whole_sentences_and_examples(run: Commands) -> None:
    said = run(HALFOPEN, "--help").stdout

    summaries = re.findall(r"(?m)^  [a-z]+  +(.*)$", said.split("Commands:")[1].split("Exit")[0])
    assert len(summaries) == len(options.COMMANDS)
    assert all(re.fullmatch(r"[A-Z].*[A-Za-z0-9]\.", summary) for summary in summaries)
    assert said.count("    halfopen ") == 2


def test_replay_does_not_wait_for_a_services_database_that_hangs(
    run: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getservbyname", hang)

    begin = time.monotonic()
    ended = run(HALFOPEN, "replay", "-t", "0.5", "-p", "smtp", "run.xml")

    assert time.monotonic() - begin < 25
    assert ended.code == 3
    assert "no time left for reading the recordings" in ended.said


def test_replay_reads_standard_input(run: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = (RECORDED / "v6-open-plus-one" / "nmap.xml").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(recording)))

    ended = run(HALFOPEN, "replay", "-")

    assert ended.code == 0
    assert ended.stdout.startswith("[2001:db8::25]:25  open  syn-ack")


def test_a_recording_without_a_port_needs_one_to_be_named(run: Commands, tmp_path: Path) -> None:
    xml = (RECORDED / "v4-open-plus-one" / "nmap.xml").read_text().replace("-p 25-26 ", "")
    (tmp_path / "run.xml").write_text(xml)

    ended = run(HALFOPEN, "replay", str(tmp_path / "run.xml"))

    assert ended.code == 3
    assert "names no port; name the one to judge with --port" in ended.stderr
    assert run(HALFOPEN, "replay", str(tmp_path / "run.xml"), "-p", "25").code == 0


@pytest.mark.parametrize("value", ["complete_bash", "source_zsh", "1"])
@BOTH
def test_no_variable_turns_a_check_into_a_completion(
    run: Commands, monkeypatch: pytest.MonkeyPatch, console: Callable[[], object], value: str
) -> None:
    for name in ("_HALFOPEN_COMPLETE", "_CHECK_TCP_HALF_OPEN_COMPLETE", "_TYPER_COMPLETE"):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fast_path, "parse", lambda *_: None)  # or else typer is not asked
    run.nmap.answers = {"192.0.2.25": ["closed"]}

    assert run.full(console, "-H", "192.0.2.25", "-p", "25").code == 2
