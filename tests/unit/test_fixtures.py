"""Every recorded and hand-made nmap run, judged as its expectation says; see fixtures/README.md."""

import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import pytest

from halfopen.check import Run, check
from halfopen.cli import commands
from halfopen.formats.registry import output
from halfopen.model import NmapRun, ScanOptions, Target, Verdict

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
RECORDED = FIXTURES / "recorded"
EXPECTED = FIXTURES / "expected"
SYNTHETIC = FIXTURES / "synthetic"

OK, CRITICAL, UNKNOWN = 0, 2, 3
NAGIOS_WORDS = {OK: "OK", CRITICAL: "CRITICAL", UNKNOWN: "UNKNOWN"}
STDOUT = 1


class Case(NamedTuple):
    """One run of nmap, and what halfopen has to make of it."""

    name: str
    xml_file: Path
    run: Dict[str, Any]
    expected: Dict[str, Any]

    @property
    def replayed(self) -> Dict[str, Any]:
        """What is expected of a replay, which knows neither the exit code nor stderr."""
        differs = self.expected.get("replay", {})
        dropped = {"targets": ("error",), "error": ("targets",)}
        without = [key for name in differs for key in dropped.get(name, ())]
        kept = {key: value for key, value in self.expected.items() if key not in without}
        return {**kept, **differs}

    @property
    def ask_port(self) -> Optional[int]:
        """The judged port, where it is not the first of the recorded command line."""
        port = self.expected.get("ask_port")
        return None if port is None else int(port)


def read(path: Path) -> Dict[str, Any]:
    """Return the object in a JSON file."""
    content: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def recorded_cases() -> List[Case]:
    """Return each case of each version, with what differs for that version put in."""
    cases = []
    for folder in sorted(RECORDED.glob("*/*")):
        expected = read(EXPECTED / (folder.name + ".json"))
        differs = expected.pop("versions", {}).get(folder.parent.name, {})
        expected.update(differs)
        name = f"{folder.parent.name}/{folder.name}"
        cases.append(Case(name, folder / "nmap.xml", read(folder / "run.json"), expected))
    return cases


def synthetic_cases() -> List[Case]:
    """Return each hand-made case."""
    return [
        Case(
            "synthetic/" + folder.name,
            folder / "nmap.xml",
            read(folder / "run.json"),
            read(folder / "expected.json"),
        )
        for folder in sorted(SYNTHETIC.glob("*"))
    ]


CASES = recorded_cases() + synthetic_cases()


def targets_of(expected: Dict[str, Any]) -> List[Target]:
    """Return what was asked."""
    return [Target(one["host"], one["port"]) for one in expected.get("targets", [expected])]


def printing(case: Case) -> Run:
    """Return what stands in for running nmap: each command prints what the case's nmap printed."""

    def run(
        commands: Sequence[Sequence[str]],
        _deadline: float,
        meanwhile: Optional[Callable[[], None]] = None,
    ) -> List[NmapRun]:
        if meanwhile is not None:
            meanwhile()
        return [
            NmapRun(
                argv=command,
                exit_code=case.run["returncode"],
                stdout=case.xml_file.read_bytes(),
                stderr=case.run["stderr"].encode(),
                seconds=case.run["seconds"],
            )
            for command in commands
        ]

    return run


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_live_check_judges_what_nmap_printed(case: Case) -> None:
    targets = targets_of(case.expected)

    report = check(targets, time.monotonic() + 60, ScanOptions(nmap="/no/nmap"), run=printing(case))

    assert [verdict.target for verdict in report.verdicts] == targets
    assert output("nagios", report, {}, verbose=False).code == case.expected["exit"]
    if "targets" in case.expected:
        assert [seen(verdict) for verdict in report.verdicts] == case.expected["targets"]
    else:
        (verdict,) = report.verdicts
        assert verdict.state == "error"
        assert "\n" not in str(verdict.error)
        assert case.expected["error"] in str(verdict.error)


def seen(verdict: Verdict) -> Dict[str, Any]:
    """Return a verdict as expectations write it."""
    assert verdict.observation is not None, verdict.error
    assert verdict.target is not None
    return {
        "host": verdict.observation.address,
        "port": verdict.target.port,
        "state": verdict.observation.state,
        "reason": verdict.observation.reason,
        "rtt": verdict.observation.rtt is not None,
    }


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_replay_prints_one_line_and_exits_as_a_monitor_expects(case: Case) -> None:
    expected = case.replayed

    printed = commands.main("halfopen", [*replay_words(case), "--format", "nagios"])

    assert printed.code == expected["exit"]
    assert printed.stream == STDOUT
    first, *more = printed.text.splitlines()
    assert first.startswith(f"TCP HALF-OPEN {NAGIOS_WORDS[expected['exit']]} - ")
    if "targets" in expected:
        assert len(more) == (0 if len(expected["targets"]) == 1 else len(expected["targets"]))
        for target in expected["targets"]:
            assert [answer(target) in line for line in more or [first]].count(True) == 1
        timed = [one for one in expected["targets"] if one["state"] == "open" and one["rtt"]]
        assert ("=" in first.partition(" | ")[2]) == bool(timed)
    else:
        assert not more
        assert expected["error"] in without_its_path(first, case)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_replay_sees_in_the_xml_what_is_there(case: Case) -> None:
    expected = case.replayed

    printed = json.loads(commands.main("halfopen", [*replay_words(case), "--format", "json"]).text)

    if "targets" in expected:
        assert printed["error"] is None
        assert [as_expectations_write_it(one) for one in printed["targets"]] == expected["targets"]
    else:
        errors = [printed["error"], *(one["error"] for one in printed["targets"])]
        assert expected["error"] in without_its_path(" ".join(filter(None, errors)), case)
        assert not [one for one in printed["targets"] if one["state"]]


def replay_words(case: Case) -> List[str]:
    """Return the command line that replays a case."""
    port = [] if case.ask_port is None else ["--port", str(case.ask_port)]
    return ["replay", str(case.xml_file), *port]


def without_its_path(message: str, case: Case) -> str:
    """Return the message without the recording's path: a case's name is no part of a reason."""
    return message.replace(str(case.xml_file), "")


def answer(target: Dict[str, Any]) -> str:
    """Return what the one line says of a target: host, port, state and reason."""
    where = str(Target(target["host"], target["port"]))
    return f"{where} {target['state']} ({target['reason']})"


def as_expectations_write_it(target: Dict[str, Any]) -> Dict[str, Any]:
    """Return a target of the JSON output in the words of fixtures/README.md."""
    return {
        "host": target["address"],
        "port": target["port"],
        "state": target["state"],
        "reason": target["reason"],
        "rtt": target["rtt_seconds"] is not None,
    }


def test_every_recorded_case_has_an_expectation_and_every_expectation_a_case() -> None:
    recorded = {folder.name for folder in RECORDED.glob("*/*")}

    assert recorded == {file.stem for file in EXPECTED.iterdir()}


def test_every_version_that_an_expectation_names_was_recorded() -> None:
    for file in EXPECTED.iterdir():
        for version in read(file).get("versions", {}):
            assert (RECORDED / version / file.stem).is_dir(), file.name


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_expectation_says_either_what_is_seen_or_why_not(case: Case) -> None:
    for expected in (case.expected, case.replayed):
        if expected["exit"] == UNKNOWN:
            assert expected["error"]
            assert "targets" not in expected
        else:
            states = {target["state"] for target in expected["targets"]}
            assert expected["exit"] == (OK if states == {"open"} else CRITICAL)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_expectation_is_written_from_the_truth_of_its_run(case: Case) -> None:
    assert case.expected["truth"] == case.run["truth"]


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


def test_no_hand_made_case_has_the_name_of_a_recorded_one() -> None:
    assert not {file.stem for file in EXPECTED.iterdir()} & {f.name for f in SYNTHETIC.iterdir()}
