"""Every recorded and hand-made nmap run, judged as its expectation says; see fixtures/README.md."""

import json
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import pytest
from support.invariants import FIXTURES, check_xml, claims

from halfopen.check import Run, check
from halfopen.cli import commands
from halfopen.formats.registry import Output, output
from halfopen.model import NmapRun, ScanOptions, Target

RECORDED, EXPECTED, SYNTHETIC = (FIXTURES / name for name in ("recorded", "expected", "synthetic"))

OK, CRITICAL, UNKNOWN = 0, 2, 3


def read(path: Path) -> Dict[str, Any]:
    """Return the object in a JSON file."""
    content: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


class Case(NamedTuple):
    """One run of nmap, and what halfopen has to make of it."""

    folder: Path
    expected: Dict[str, Any]

    @property
    def xml_file(self) -> Path:
        return self.folder / "nmap.xml"

    @property
    def run(self) -> Dict[str, Any]:
        return read(self.folder / "run.json")

    @property
    def replayed(self) -> Dict[str, Any]:
        """What is expected of a replay, which knows neither the exit code nor stderr."""
        differs = self.expected.get("replay", {})
        other = {"targets": "error", "error": "targets"}
        without = {other.get(name) for name in differs}
        kept = {key: value for key, value in self.expected.items() if key not in without}
        return {**kept, **differs}

    def replay(self) -> Output:
        words = ["replay", str(self.xml_file), "--format", "json"]
        if "ask_port" in self.expected:  # it is not the first of the recorded command line
            words += ["--port", str(self.expected["ask_port"])]
        return commands.main("halfopen", words)

    def reason(self, message: str) -> str:
        """Return the message without the recording's path: a case's name is no part of a reason."""
        return message.replace(str(self.xml_file), "")


def cases() -> List[Case]:
    """Return each case of each version, with what differs for that version put in."""
    found = []
    for folder in [*sorted(RECORDED.glob("*/*")), *sorted(SYNTHETIC.iterdir())]:
        its_own = folder / "expected.json"
        expected = read(its_own if its_own.exists() else EXPECTED / f"{folder.name}.json")
        expected.update(expected.pop("versions", {}).get(folder.parent.name, {}))
        found.append(Case(folder, expected))
    return found


each_case = pytest.mark.parametrize(
    "case", cases(), ids=lambda case: f"{case.folder.parent.name}/{case.folder.name}"
)


def printing(case: Case) -> Run:
    """Return what stands in for running nmap: each command prints what the case's nmap printed."""
    xml, ran = case.xml_file.read_bytes(), case.run
    rest = (ran["returncode"], xml, ran["stderr"].encode(), ran["seconds"])
    return lambda commands, *_: [NmapRun(argv, *rest) for argv in commands]


def as_expectations_write_it(target: Dict[str, Any]) -> Dict[str, Any]:
    """Return a target of the JSON output in the words of fixtures/README.md."""
    return {
        "host": target["address"],
        "port": target["port"],
        "state": target["state"],
        "reason": target["reason"],
        "rtt": target["rtt_seconds"] is not None,
    }


def assert_seen(case: Case, expected: Dict[str, Any], text: str) -> None:
    """Assert that the JSON output tells the targets that are expected, or the error."""
    printed = json.loads(text)
    if "targets" in expected:
        assert printed["error"] is None
        assert [as_expectations_write_it(one) for one in printed["targets"]] == expected["targets"]
    else:
        errors = [printed["error"], *(one["error"] for one in printed["targets"])]
        assert expected["error"] in case.reason(" ".join(filter(None, errors)))
        assert not [one for one in printed["targets"] if one["state"]]


@each_case
def test_a_live_check_judges_what_nmap_printed(case: Case) -> None:
    asked = case.expected.get("targets", [case.expected])
    targets = [Target(one["host"], one["port"]) for one in asked]

    report = check(targets, time.monotonic() + 60, ScanOptions(nmap="/no/nmap"), run=printing(case))

    assert [verdict.target for verdict in report.verdicts] == targets
    assert output("nagios", report, {}, verbose=False).code == case.expected["exit"]
    assert_seen(case, case.expected, output("json", report, {}, verbose=False).text)


@each_case
def test_a_replay_sees_in_the_xml_what_is_there(case: Case) -> None:
    printed = case.replay()

    assert (printed.code, printed.stream) == (case.replayed["exit"], 1)
    assert_seen(case, case.replayed, printed.text)


@each_case
def test_the_oracle_of_the_properties_claims_what_is_expected(case: Case, tmp_path: Path) -> None:
    """It would not do for it to deny everything."""
    xml = case.xml_file.read_bytes()
    check_xml(xml, str(tmp_path / "scratch"))
    for one in case.expected.get("targets", []):
        assert claims(xml, one["host"], one["port"]) == {(one["state"], one["reason"])}


# -- what is in the folders -----------------------------------------------------------------------


@each_case
def test_an_expectation_is_written_from_the_truth_and_says_what_is_seen_or_why_not(
    case: Case,
) -> None:
    assert case.expected["truth"] == case.run["truth"]
    for expected in (case.expected, case.replayed):
        if expected["exit"] == UNKNOWN:
            assert expected["error"]
            assert "targets" not in expected
        else:
            states = {target["state"] for target in expected["targets"]}
            assert expected["exit"] == (OK if states == {"open"} else CRITICAL)


def test_every_recorded_case_has_an_expectation_and_every_expectation_a_case() -> None:
    names = {file.stem for file in EXPECTED.iterdir()}

    assert names == {folder.name for folder in RECORDED.glob("*/*")}
    assert not names & {folder.name for folder in SYNTHETIC.iterdir()}
    for file in EXPECTED.iterdir():
        for version in read(file).get("versions", {}):
            assert (RECORDED / version / file.stem).is_dir(), file.name


def test_recorded_folders_hold_only_what_was_recorded() -> None:
    for folder in RECORDED.glob("*/*"):
        assert {file.name for file in folder.iterdir()} == {"nmap.xml", "run.json"}, folder
        run = read(folder / "run.json")
        assert run["nmap"] == folder.parent.name
        assert run["recorded"]


def test_hand_made_folders_say_why_they_exist_and_do_not_pass_for_recordings() -> None:
    files = {"nmap.xml", "run.json", "expected.json", "why.md"}
    for folder in SYNTHETIC.iterdir():
        assert {file.name for file in folder.iterdir()} == files, folder
        assert (folder / "why.md").read_text(encoding="utf-8").strip(), folder
        assert "recorded" not in read(folder / "run.json"), folder
