"""`halfopen wait` and `halfopen watch`, from the command line's words to what is printed."""

import functools
import gc
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Sequence

import jsonschema
import pytest
from support.commands import Ended, Left
from support.fake_run import NAMES, FakeNmap, service_port
from support.reports import SCHEMA

from halfopen import main
from halfopen.check import check
from halfopen.cli import commands
from halfopen.errors import UsageError
from halfopen.formats.registry import Output
from halfopen.model import ScanOptions, Target
from halfopen.runbook import schedule, wait, watch
from halfopen.runbook.schedule import Schedule
from halfopen.runbook.wait import Condition
from halfopen.targets.parse import parse_lines

WEB1, WEB2 = "192.0.2.11", "192.0.2.12"
TARGET = jsonschema.Draft7Validator(
    {"$ref": "#/definitions/target", "definitions": SCHEMA["definitions"]}
)
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
Run = Callable[..., Ended]
REALLY_DISABLE = gc.disable


@pytest.fixture
def nmap() -> FakeNmap:
    """Return the fake nmap; a test tells it what it answers."""
    return FakeNmap(srtt=70)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], nmap: FakeNmap) -> Run:
    """Return what runs `halfopen` with words, in this process and with the fake nmap."""

    def leave(code: int) -> None:
        raise Left(code)

    def names(host: str, *_: object) -> List[object]:
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (NAMES[host][0], 0))]

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr("halfopen.scan.process.start_early", lambda *_: None)  # no other process
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr(socket, "getservbyname", service_port)
    monkeypatch.setattr(socket, "getservbyport", lambda *_: "https")
    monkeypatch.setattr(socket, "getaddrinfo", names)
    monkeypatch.setattr("halfopen.check.nmap_needs_telling", lambda _: False)
    monkeypatch.setenv("HALFOPEN_NMAP", "/opt/nmap")
    for module in (commands, schedule):
        monkeypatch.setattr(module, "check", functools.partial(check, run=nmap))

    def command(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["halfopen", *map(str, words)])
        with pytest.raises(Left) as left:
            main.halfopen()
        return Ended(left.value.code, *capfd.readouterr())

    return command


def unstamped(text: str) -> List[str]:
    """Return the lines, each with `T` in place of its time, and times as N s."""
    lines = re.sub(f"^{STAMP} ", "T ", text, flags=re.M).splitlines()
    return [re.sub(r"\d+\.\d s", "N s", line) for line in lines]


# -- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["wait", "watch"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no target given"),
        ([WEB1], "has no port"),
        ([f"{WEB1}:0"], "port '0' is out of range"),
        (["--targets", "/nonexistent"], "/nonexistent"),
        (["--targets", "/dev/null"], "/dev/null names no target"),
        ([f"{WEB1}:443", "--format", "xml"], "--format 'xml' is not one of text, json"),
    ],
)
def test_bad_targets_are_told_at_once_and_nothing_is_asked(
    run: Run, nmap: FakeNmap, command: str, words: List[str], said: str
) -> None:
    ended = run(command, *words)

    assert (ended.code, ended.stdout, ended.stderr.count("\n")) == (3, "", 1)
    assert said in ended.stderr
    assert nmap.looks == []


@pytest.mark.parametrize("command", ["wait", "watch"])
def test_bad_words_are_told_as_json_where_the_words_ask_for_it(run: Run, command: str) -> None:
    ended = run(command, "--format", "json", f"{WEB1}:443", "--interval", "soon")

    assert (ended.code, ended.stderr) == (3, "")
    assert "--interval 'soon' is not a time" in json.loads(ended.stdout)["error"]


@pytest.mark.parametrize("command", ["wait", "watch"])
def test_help_names_the_options_and_the_exit_codes(run: Run, command: str) -> None:
    ended = run(command, "--help")

    own = {"wait": ["--timeout", "--successes", "--any"], "watch": ["--count"]}[command]
    common = ["--targets", "--for", "--interval", "-4", "-6", "--format", "--nmap", "--sudo"]
    assert ended.code == 0
    assert [option for option in own + common if option not in ended.stdout] == []
    assert "Exit code:" in ended.stdout


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Dict[str, Sequence[object]]:
    """Note what the commands hand on, and do none of it."""
    noted: Dict[str, Sequence[object]] = {}

    def note(name: str) -> Callable[..., object]:
        def noting(*values: object) -> object:
            noted[name] = values
            return Output("", 0)

        return noting

    monkeypatch.setattr(wait, "run", note("wait"))
    monkeypatch.setattr(watch, "run", note("watch"))
    return noted


def test_wait_hands_its_options_on(run: Run, asked: Mapping[str, Sequence[object]]) -> None:
    run("wait", f"{WEB1}:443")
    assert asked["wait"] == (
        [Target(WEB1, 443)],
        Condition("open", timeout=60, interval=1, successes=1, any_target=False),
        ScanOptions("/opt/nmap"),
        "text",
    )
    words = "--for not-open --timeout 5m --interval 0.5 --successes 3 --any --format json --sudo -4"
    run("wait", *words.split(), "--no-plus-one", "--nmap", "/my/nmap", WEB1, 443, f"{WEB2}:smtp")
    assert asked["wait"] == (
        [Target(WEB1, 443, 4), Target(WEB2, 25, 4)],
        Condition("not-open", timeout=300, interval=0.5, successes=3, any_target=True),
        ScanOptions("/my/nmap", sudo=True, plus_one=False),
        "json",
    )


def test_watch_hands_its_options_on(run: Run, asked: Mapping[str, Sequence[object]]) -> None:
    run("watch", f"{WEB1}:443")
    plain = Schedule(interval=2, rounds=None, duration=None, timeout=10)
    assert asked["watch"] == ([Target(WEB1, 443)], plain, ScanOptions("/opt/nmap"), "text")
    words = "--interval 10s --duration 1.5h --count 9 --format json --sudo -6 --no-plus-one -t 7"
    words += " --nmap /my/nmap"
    run("watch", *words.split(), "[2001:db8::11]:443")
    assert asked["watch"] == (
        [Target("2001:db8::11", 443, 6)],
        Schedule(interval=10, rounds=9, duration=5400, timeout=7),
        ScanOptions("/my/nmap", sudo=True, plus_one=False),
        "json",
    )


# -- wait ---------------------------------------------------------------------------------------


def test_wait_has_a_line_a_change_and_one_at_the_end(run: Run, nmap: FakeNmap) -> None:
    nmap.answers = {WEB1: ["closed", "closed", "rejected", "open"]}

    ended = run("wait", f"{WEB1}:443", f"{WEB2}:443", "--interval", "0.1")

    assert unstamped(ended.stdout) == [
        f"T {WEB1}:443 closed (reset)",
        f"T {WEB2}:443 open (syn-ack)",
        f"T {WEB1}:443 closed -> filtered (admin-prohibited)",
        f"T {WEB1}:443 filtered -> open (syn-ack)",
        "open after N s: all 2",
    ]
    assert (ended.code, ended.stderr, len(nmap.looks)) == (0, "", 4)


def test_wait_is_2_when_the_time_has_run_out(run: Run, nmap: FakeNmap) -> None:
    nmap.answers = {WEB1: ["closed"]}

    ended = run("wait", f"{WEB1}:443", f"{WEB2}:443", "--timeout", "0.3", "--interval", "0.1")

    assert unstamped(ended.stdout)[-1] == (
        f"timed out after N s, waiting for open: {WEB1}:443 closed (reset)"
    )
    assert ended.code == 2


def test_wait_is_3_at_once_when_nmap_is_not_there(run: Run) -> None:
    ended = run("wait", f"{WEB1}:443", "--nmap", "no-such-nmap")

    assert unstamped(ended.stdout)[-1].startswith("cannot check: no-such-nmap not found on PATH")
    assert (ended.code, ended.stderr) == (3, "")


def test_wait_goes_on_while_a_name_does_not_resolve(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: List[str] = []

    def later(host: str, *_: object) -> List[object]:
        asked.append(host)
        if len(asked) == 1:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (WEB1, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", later)

    ended = run("wait", "later.example:443", "--interval", "0.1")

    first, second, _ = unstamped(ended.stdout)
    assert first.startswith("T later.example:443 unknown: cannot resolve later.example: Name or")
    assert second == "T later.example:443 unknown -> open (syn-ack)"
    assert ended.code == 0


@pytest.mark.parametrize(
    ("options", "answers", "code", "result", "reached"),
    [
        ([], ["closed", "open"], 0, "reached", [True, True]),
        (["--timeout", "0.2"], ["closed"], 2, "timed out", [False, True]),
        (["--any"], ["closed"], 0, "reached", [False, True]),
        (["--nmap", "no-such-nmap"], [], 3, "cannot check", [False, False]),
    ],
    ids=["reached", "late", "any", "hopeless"],
)
def test_wait_tells_json_one_object_at_the_end(
    run: Run,
    nmap: FakeNmap,
    options: List[str],
    answers: List[str],
    code: int,
    result: str,
    reached: List[bool],
) -> None:
    nmap.answers = {WEB1: answers}

    ended = run(
        "wait", f"{WEB1}:443", f"{WEB2}:443", "--interval", "0.1", "--format", "json", *options
    )

    assert (ended.code, ended.stderr, ended.stdout.count("\n")) == (code, "", 1)
    told = json.loads(ended.stdout)
    targets = told.pop("targets")
    assert [target.pop("reached") for target in targets] == reached
    for target in targets:
        TARGET.validate(target)
    assert told.pop("seconds") >= 0
    assert told.pop("rounds") == len(nmap.looks) or result == "cannot check"
    assert told == {"version": 2, "result": result, "for": "open"}


def test_the_name_of_nmap_leaves_no_line(run: Run) -> None:
    ended = run("wait", f"{WEB1}:443", "--nmap", "no-such-\033[2J\nnmap")

    assert ended.code == 3
    assert ended.stdout.count("\n") == 2
    assert all(line.isprintable() for line in ended.stdout.splitlines())


def test_a_full_disk_does_not_decide_what_is_waited_for(
    run: Run, nmap: FakeNmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmap.answers = {WEB1: ["closed", "open"]}

    def write(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)

    assert run("wait", f"{WEB1}:443", "--interval", "0.1").code == 0


# -- watch --------------------------------------------------------------------------------------


def test_watch_has_a_line_a_change_and_a_summary(run: Run, nmap: FakeNmap) -> None:
    nmap.answers = {WEB1: ["open", "closed", "closed", "open"]}

    ended = run("watch", f"{WEB1}:443", f"{WEB2}:443", "--interval", "0.1", "--count", 4)

    lines = [re.sub(r"\d\d:\d\d:\d\d", "NOW", line) for line in unstamped(ended.stdout)]
    assert [re.sub("  +", " ", line) for line in lines] == [
        f"T {WEB1}:443 open (syn-ack)",
        f"T {WEB2}:443 open (syn-ack)",
        f"T {WEB1}:443 open -> closed (reset)",
        f"T {WEB1}:443 closed -> open (syn-ack)",
        "4 rounds in N s",
        "Target State Since Up Changes Longest outage RTT min/avg/max ms",
        f"{WEB1}:443 open NOW 50.0% 2 N s 0.07/0.07/0.07",
        f"{WEB2}:443 open NOW 100.0% 0 - 0.07/0.07/0.07",
    ]
    assert (ended.code, ended.stderr, len(nmap.looks)) == (0, "", 4)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (["closed", "open"], 0),
        (["open", "closed"], 2),
        (["open", "rejected"], 2),
        (["open", "crash"], 3),
        (["crash", "open"], 0),
    ],
)
def test_watch_exits_with_the_worst_last_state(
    run: Run, nmap: FakeNmap, answers: List[str], code: int
) -> None:
    nmap.answers = {WEB1: answers}

    ended = run("watch", f"{WEB2}:443", f"{WEB1}:444", "--interval", "0.1", "--count", 2)

    assert ended.code == code


def test_watch_tells_json_an_object_a_round(run: Run, nmap: FakeNmap) -> None:
    nmap.answers = {WEB1: ["open", "closed", "crash"]}

    ended = run("watch", f"{WEB1}:443", "--interval", "0.1", "--count", 3, "--format", "json")

    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [sorted(each) for each in told] == [
        ["round", "seconds", "targets", "time", "version"]
    ] * 3
    assert [(each["version"], each["round"]) for each in told] == [(2, 1), (2, 2), (2, 3)]
    assert all(re.match(STAMP + r"\Z", each["time"]) for each in told)
    targets = [target for each in told for target in each["targets"]]
    assert [target["state"] for target in targets] == ["open", "closed", None]
    for target in targets:
        TARGET.validate(target)
    assert (ended.code, ended.stderr) == (3, "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_has_gone_ends_a_watch(
    run: Run, nmap: FakeNmap, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    nmap.answers = {WEB1: ["open", "closed"] * 50}

    def write(*_: object) -> int:
        if len(nmap.looks) > 2:
            raise BrokenPipeError(32, "Broken pipe")
        return 1000

    monkeypatch.setattr(os, "write", write)

    ended = run("watch", f"{WEB1}:443", "--interval", "0.1", "--count", 50, "--format", form)

    assert len(nmap.looks) == 3
    assert ended.code == 0


@pytest.mark.parametrize("words", [["wait"], ["watch", "--count", "1"]], ids=["wait", "watch"])
def test_what_may_last_for_days_collects_its_garbage(run: Run, words: List[str]) -> None:
    REALLY_DISABLE()
    try:
        run(*words, f"{WEB1}:443")
        collects = gc.isenabled()
    finally:
        gc.enable()

    assert collects


# -- labels -------------------------------------------------------------------------------------

LABELLED = f"""\
# the farm
web 1 = {WEB1}:443
web-2.b_c=mail.example:443   # by name
[2001:db8::13]:443
v6=[2001:db8::14]:smtp
two words =\t{WEB2} 443
"""


@pytest.fixture
def farm(tmp_path: Path) -> str:
    """Return the name of a targets file with labels."""
    path = tmp_path / "farm"
    path.write_text(LABELLED)
    return str(path)


def test_a_line_may_begin_with_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getservbyname", service_port)
    targets = parse_lines(LABELLED.splitlines(), "farm")

    assert [(target.label, target.host) for target in targets] == [
        ("web 1", WEB1),
        ("web-2.b_c", "mail.example"),
        ("", "2001:db8::13"),
        ("v6", "2001:db8::14"),
        ("two words", WEB2),
    ]
    assert [target.name for target in targets] == [
        f"web 1 ({WEB1}:443)",
        "web-2.b_c (mail.example:443)",
        "[2001:db8::13]:443",
        "v6 ([2001:db8::14]:25)",
        f"two words ({WEB2}:443)",
    ]


@pytest.mark.parametrize("label", ["a", "9", "a" * 40, "x.y-z_w v", "a  b"])
def test_a_good_label_is_kept_as_it_is(label: str) -> None:
    assert parse_lines([f"  {label}  =  {WEB1}:443  "], "farm")[0].label == label


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("", "''"),
        ("   ", "''"),
        ("a" * 41, "'" + "a" * 41 + "'"),
        ("-a", "'-a'"),
        (".a", "'.a'"),
        ("a=b", "'a=b'"),
        ("a|b", "'a|b'"),
        ("a%sb", "'a%sb'"),
        ("a;b", "'a;b'"),
        ('a"b', "'a\"b'"),
        ("a{b}", "'a{b}'"),
        ("[red]", "'[red]'"),
        ("w\xe9b", "'w\xe9b'"),
        ("a\tb", r"'a\tb'"),
        ("a\x1b[2Jb", r"'a\x1b[2Jb'"),
        ("a\udcff", r"'a\udcff'"),
    ],
)
def test_a_bad_label_is_refused_with_its_line(label: str, shown: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lines([f"{WEB2}:443", f"{label} = {WEB1}:443"], "farm")

    not_utf_8 = "; the file looks like Latin-1: save it as UTF-8" if "\udcff" in label else ""
    assert str(caught.value) == (
        f"farm, line 2: label {shown}: up to 40 letters, digits, spaces and ._- go before '='"
        + not_utf_8
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("web1 =", "no target given"),
        ("web1 = 192.0.2.11", "has no port"),
        (f"web1 = {WEB1}:443 {WEB2}:443", "more than one target"),
        (f"web1 = # {WEB1}:443", "no target given"),
        (f"{WEB1}:443 = web1", "label '192.0.2.11:443'"),
    ],
)
def test_a_label_without_one_target_is_refused(line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lines([line], "farm")

    assert str(caught.value).startswith("farm, line 1: ")
    assert said in str(caught.value)


def test_a_label_is_for_files_alone(run: Run, nmap: FakeNmap) -> None:
    ended = run("check", f"web1={WEB1}:443")

    assert (ended.code, nmap.looks) == (3, [])


def test_people_see_labels(run: Run, nmap: FakeNmap, farm: str) -> None:
    nmap.answers = {WEB2: ["closed"]}

    ended = run("check", "--targets", farm)

    assert [re.sub("  +.*", "", line) for line in ended.stdout.splitlines()] == [
        f"web 1 ({WEB1}:443)",
        "web-2.b_c (mail.example:443, 192.0.2.25)",
        "[2001:db8::13]:443",
        "v6 ([2001:db8::14]:25)",
        f"two words ({WEB2}:443)",
    ]
    assert ended.code == 2


def test_nagios_sees_labels_in_words_and_in_perfdata(run: Run, farm: str) -> None:
    first, *lines = run("check", "--targets", farm, "--format", "nagios").stdout.splitlines()

    assert lines[:2] == [
        f"OK - web 1 ({WEB1}:443) open (syn-ack) https",
        "OK - web-2.b_c (mail.example:443, 192.0.2.25) open (syn-ack) https",
    ]
    assert re.findall("'([^']*)'=", first) == [
        "web 1", "web-2.b_c", "[2001:db8:0:0:0:0:0:13]:443", "v6", "two words",
    ]  # fmt: skip


@pytest.mark.parametrize("format_name", ["prometheus", "checkmk"])
def test_what_monitors_store_goes_by_the_label(run: Run, farm: str, format_name: str) -> None:
    printed = run("check", "--targets", farm, "--format", format_name).stdout

    names = re.findall(r'halfopen_up{target=".*?",label="(.*?)"}|"TCP half-open (.*?)"', printed)
    assert ["".join(name) for name in names][:2] == ["web 1", "web-2.b_c"]


@pytest.mark.parametrize("command", ["check", "wait", "watch"])
def test_json_has_a_label_where_there_is_one(run: Run, farm: str, command: str) -> None:
    options = {"check": [], "wait": [], "watch": ["--count", "1"]}[command]

    ended = run(command, "--targets", farm, "--format", "json", *options)

    targets = json.loads(ended.stdout)["targets"]
    assert [target.get("label") for target in targets] == [
        "web 1", "web-2.b_c", None, "v6", "two words",
    ]  # fmt: skip
    assert targets[0]["host"] == WEB1
    for target in targets:
        target.pop("reached", None)
        TARGET.validate(target)
    assert ended.code == 0


def test_wait_and_watch_tell_of_targets_by_their_labels(run: Run, farm: str) -> None:
    for ended in (
        run("wait", "--targets", farm),
        run("watch", "--targets", farm, "--count", 1),
    ):
        assert f"T web 1 ({WEB1}:443) open (syn-ack)" in unstamped(ended.stdout)
        assert ended.code == 0


def test_two_labels_of_one_target_are_both_told_and_asked_once(
    run: Run, nmap: FakeNmap, tmp_path: Path
) -> None:
    (tmp_path / "farm").write_text(f"one = {WEB1}:443\nother = {WEB1}:443\n")

    ended = run("check", "--targets", tmp_path / "farm")

    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["one", "other"]
    assert [command[-1] for command in nmap.commands] == [WEB1]


@pytest.mark.parametrize(
    ("answers", "code"),
    [({WEB1: ["crash"], WEB2: ["crash"]}, 3), ({WEB1: ["crash"], WEB2: ["closed"]}, 2)],
)
def test_where_nothing_was_found_out_nothing_is_said_of_the_server(
    run: Run, nmap: FakeNmap, answers: Mapping[str, Sequence[str]], code: int
) -> None:
    nmap.answers = answers

    ended = run("wait", WEB1, 443, WEB2, 444, "--timeout", "0.3")

    assert (ended.code, ended.stderr) == (code, "")


def test_a_target_that_is_named_twice_is_one(run: Run) -> None:
    ended = run("wait", f"{WEB1}:443", f"{WEB1}:443", "--format", "json")

    assert len(json.loads(ended.stdout)["targets"]) == 1


def test_watching_ends_where_nothing_can_be_checked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "check", check)

    ended = run("watch", f"{WEB1}:443", "--nmap", "/nowhere/nmap")

    assert ended.code == 3
    assert "cannot start /nowhere/nmap" in ended.stdout
