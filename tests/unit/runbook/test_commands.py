"""`halfopen wait` and `halfopen watch`, from their arguments to what is printed."""

from __future__ import annotations

import functools
import gc
import json
import re
import signal
import socket
from pathlib import Path
from typing import Any, Callable, NamedTuple
from unittest import mock

import jsonschema
import pytest
from support.fake_run import FakeNmap

import halfopen
from halfopen.check import check
from halfopen.cli import commands
from halfopen.formats.registry import Output
from halfopen.model import ScanOptions, Target
from halfopen.runbook import schedule, wait, watch
from halfopen.runbook.schedule import Schedule
from halfopen.runbook.wait import Condition

WEB1, WEB2 = "192.0.2.11", "192.0.2.12"
BOTH = [f"{WEB1}:443", f"{WEB2}:444"]
SCHEMA = json.loads(Path(halfopen.__file__).with_name("report.schema.json").read_text("utf-8"))
TARGET = jsonschema.Draft7Validator(
    {"$ref": "#/definitions/target", "definitions": SCHEMA["definitions"]}
)
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    stdout: str

    @property
    def lines(self) -> list[str]:
        """The lines, each with `T` in place of its time, times as N s, and single spaces."""
        text = re.sub(f"^{STAMP} ", "T ", self.stdout, flags=re.M)
        text = re.sub(r" +", " ", re.sub(r"\d+\.\d s", "N s", text))
        return re.sub(r"\b\d\d:\d\d:\d\d\b", "NOW", text).splitlines()

    @property
    def told(self) -> list[dict[str, Any]]:
        """Each line of JSON; its targets are as the schema has them."""
        told: list[dict[str, Any]] = list(map(json.loads, self.stdout.splitlines()))
        for each in told:
            for target in each["targets"]:
                TARGET.validate({key: target[key] for key in target if key != "reached"})
        return told


Run = Callable[..., Ended]


@pytest.fixture
def nmap() -> FakeNmap:
    """Return the fake nmap; a test tells it what it answers."""
    return FakeNmap(srtt=70)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], nmap: FakeNmap) -> Run:
    """Return what runs `halfopen` with arguments, every tenth of a second, with the fake nmap."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(socket, "getservbyport", lambda *_: "https")
    monkeypatch.setattr("halfopen.scan.diagnosis.nmap_needs_telling", lambda _: False)
    monkeypatch.setenv("HALFOPEN_NMAP", "/opt/nmap")
    monkeypatch.setattr(schedule, "check", functools.partial(check, run=nmap))
    monkeypatch.setattr("halfopen.scan.process.find_program", lambda name, *_: name)

    def command(*typed: object) -> Ended:
        printed = commands.main("halfopen", [*map(str, typed), "--interval", "0.1"])
        before = capfd.readouterr()
        assert before.err == ""
        return Ended(printed.code, before.out + printed.text + "\n" * bool(printed.text))

    return command


# -- arguments ----------------------------------------------------------------------------------

OPTIONS = "--format json --sudo -4 --no-plus-one --nmap /my/nmap"
NMAP, OWN_NMAP = ScanOptions("/opt/nmap"), ScanOptions("/my/nmap", sudo=True, plus_one=False)
TARGETS = [Target(WEB1, 443), Target(WEB2, 25)]
ONLY_V4 = [target._replace(family=4) for target in TARGETS]


HANDED_ON = [
    ("wait", TARGETS, Condition("open", 60, 1, 1, any_target=False), NMAP, "text"),
    (f"wait --for not-open -t 5m -i 0.5 --successes 3 --any {OPTIONS}",
     ONLY_V4, Condition("not-open", 300, 0.5, 3, any_target=True), OWN_NMAP, "json"),
    ("watch", TARGETS, Schedule(2, None, None, 10), NMAP, "text"),
    (f"watch -i 10s --duration 1.5h --count 9 -t 7 {OPTIONS}",
     ONLY_V4, Schedule(10, 9, 5400, 7), OWN_NMAP, "json"),
]  # fmt: skip


@pytest.mark.parametrize("row", HANDED_ON, ids=lambda row: row[0])
def test_the_options_are_handed_on_and_a_target_named_twice_is_one(
    monkeypatch: pytest.MonkeyPatch, row: tuple[Any, ...]
) -> None:
    typed, *handed_on = row
    run = mock.Mock(return_value=Output("", 0))
    monkeypatch.setenv("HALFOPEN_NMAP", "/opt/nmap")
    for module in (wait, watch):
        monkeypatch.setattr(module, "run", run)

    commands.main("halfopen", [*typed.split(), WEB1, "443", f"{WEB2}:25", f"{WEB2}:25"])

    assert list(run.call_args[0][:4]) == handed_on


# -- wait ---------------------------------------------------------------------------------------


def test_wait_has_a_line_a_change_and_one_at_the_end(run: Run, nmap: FakeNmap) -> None:
    nmap.answers = {WEB1: ["closed", "closed", "rejected", "open"]}

    ended = run("wait", *BOTH)

    assert ended.lines == [
        f"T {WEB1}:443 closed (reset)",
        f"T {WEB2}:444 open (syn-ack)",
        f"T {WEB1}:443 closed -> filtered (admin-prohibited)",
        f"T {WEB1}:443 filtered -> open (syn-ack)",
        "open after N s: all 2",
    ]
    assert (ended.code, len(nmap.looks)) == (0, 4)


CRASHED = {WEB1: ["crash"]}
ENDS = [
    # options, answers, exit code, how the last line begins, which targets are reached
    ("", {WEB1: ["closed", "open"]}, 0, "open after N s: all 2", [True, True]),
    ("--any", {WEB1: ["closed"]}, 0, f"open after N s: {WEB2}:444", [False, True]),
    ("-t 0.3", {WEB1: ["closed"]}, 2, "timed out after N s, waiting for open:", [False, True]),
    ("-t 0.3", {**CRASHED, WEB2: ["closed"]}, 2, "timed out", [False, False]),
    ("-t 0.3", {**CRASHED, WEB2: ["crash"]}, 3, "timed out", [False, False]),
    ("-t 0.3", CRASHED, 3, "timed out", [False, True]),
]


@pytest.mark.parametrize("row", ENDS)
def test_wait_tells_how_it_ended_as_a_line_or_as_one_object(
    run: Run, nmap: FakeNmap, row: tuple[Any, ...]
) -> None:
    options, answers, code, last, reached = row
    nmap.__init__(answers)  # type: ignore[misc]
    text = run("wait", *BOTH, *options.split())
    nmap.__init__(answers)  # type: ignore[misc]
    as_json = run("wait", *BOTH, "--format", "json", *options.split())

    assert (text.code, as_json.code) == (code, code)
    assert text.lines[-1].startswith(last)
    (told,) = as_json.told
    assert [target["reached"] for target in told.pop("targets")] == reached
    assert told.pop("seconds") >= 0
    result = "timed out" if code else "reached"
    assert told == {"version": 2, "result": result, "for": "open", "rounds": len(nmap.looks)}


@pytest.mark.parametrize(
    ("command", "said"), [("wait", "cannot check: "), ("watch", "unknown: ")], ids=["wait", "watch"]
)
def test_what_cannot_be_checked_ends_both_at_once_in_lines_that_no_name_can_leave(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    ended = run(command, *BOTH, "--nmap", "no-such-\033[2J\nnmap")

    assert ended.code == 3
    assert ended.lines[-1].startswith(f"{said}no-such-\\x1b[2J\\nnmap not found on PATH")
    assert all(line.isprintable() for line in ended.lines)
    assert len(ended.lines) == {"wait": 3, "watch": 7}[command]


# -- watch --------------------------------------------------------------------------------------


def test_watch_has_a_line_a_change_and_a_summary(run: Run, nmap: FakeNmap) -> None:
    nmap.answers = {WEB1: ["open", "closed", "closed", "open"]}

    ended = run("watch", *BOTH, "--count", 4)

    assert ended.lines == [
        f"T {WEB1}:443 open (syn-ack)",
        f"T {WEB2}:444 open (syn-ack)",
        f"T {WEB1}:443 open -> closed (reset)",
        f"T {WEB1}:443 closed -> open (syn-ack)",
        "4 rounds in N s",
        "Target State Since Up Changes Longest outage RTT min/avg/max ms",
        f"{WEB1}:443 open NOW 50.0% 2 N s 0.07/0.07/0.07",
        f"{WEB2}:444 open NOW 100.0% 0 - 0.07/0.07/0.07",
    ]
    assert (ended.code, len(nmap.looks)) == (0, 4)


LAST = {"closed open": 0, "open closed": 2, "open rejected": 2, "open crash": 3, "crash open": 0}
LAST.update({"open closed, open crash": 2, "open crash, open closed": 2})


@pytest.mark.parametrize("answers", list(LAST))
def test_watch_exits_with_the_worst_last_state_and_has_an_object_a_round(
    run: Run, nmap: FakeNmap, answers: str
) -> None:
    of_each = [each.split() for each in answers.split(", ")]
    nmap.answers = dict(zip((WEB1, WEB2), of_each))

    ended = run("watch", f"{WEB2}:444", f"{WEB1}:445", "--count", 2, "--format", "json")

    assert ended.code == LAST[answers]
    assert [(each.pop("version"), each.pop("round")) for each in ended.told] == [(2, 1), (2, 2)]
    names = {"rejected": "filtered", "crash": None}
    expected = [names.get(state, state) for state in of_each[0]]
    assert [each["targets"][1]["state"] for each in ended.told] == expected
    for each in ended.told:
        assert sorted(each) == ["round", "seconds", "targets", "time", "version"]
        assert re.fullmatch(STAMP, each["time"])


# -- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["wait", "watch --count 1"])
def test_labels_are_told_and_nmaps_command_lines_if_verbose_and_garbage_is_collected(
    run: Run, tmp_path: Path, command: str
) -> None:
    (tmp_path / "farm").write_text(f"web 1 = {WEB1}:443\n{WEB2}:444\n")
    typed = [*command.split(), "--targets", tmp_path / "farm"]
    gc.disable()  # as main.py does

    assert run(*typed).lines[:2] == [
        f"T web 1 ({WEB1}:443) open (syn-ack)",
        f"T {WEB2}:444 open (syn-ack)",
    ]
    assert gc.isenabled(), "what may last for days"
    assert run(*typed, "-v").lines[2].startswith("nmap: /opt/nmap ")
    (told,) = run(*typed, "--format", "json").told
    assert [target.get("label") for target in told["targets"]] == ["web 1", None]
