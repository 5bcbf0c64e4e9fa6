"""What `halfopen smoke` prints, saves and returns for what was found."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path
from typing import Any, Callable
from xml.etree import ElementTree as ET

import pytest

from halfopen.cli import commands
from halfopen.errors import UsageError
from halfopen.formats.registry import Output
from halfopen.model import NmapRun
from halfopen.smoke import probes
from halfopen.smoke.findings import About, Examination, Finding, Outcome

HOSTILE = "\x1b[31mred\x07 \x00 <b>&amp;\"' ]]> \ufffe \udce9 \u202e | % \r\t"
GOOD = Finding("states", "open port, IPv4, alone", Outcome.OK, "open (syn-ack)", 1.25)
BAD = Finding("states", "closed port, IPv4, alone", Outcome.FAILED, "nmap says open", 0.1)
LEFT_OUT = Finding("two hosts", "open port", Outcome.SKIPPED, "needs root")
IN_DOUBT = Finding("states", "SYN scan", Outcome.INCONCLUSIVE, "not allowed")
OWN = Finding("two hosts", "halfopen's own scan", Outcome.OK, "5 of 5 open", about=About.WITH_NEXT)
WRONG_ALONE = BAD._replace(about=About.PLAIN_ALONE)

Smoke = Callable[..., Output]


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch) -> Smoke:
    """Return what runs the command, which finds what it is given."""

    def run(findings: list[Finding], *typed: str) -> Output:
        def examine(_options: object, _deadline: float, tell: Callable[[str], None]) -> Examination:
            tell("states")
            return Examination("/usr/bin/nmap", findings, "7.93")

        monkeypatch.setattr(probes, "examine", examine)
        return commands.main("halfopen", ["smoke", *typed])

    return run


@pytest.mark.parametrize(
    ("findings", "word", "code", "strict"),
    [
        ([GOOD], "fit", 0, 0),
        ([GOOD, LEFT_OUT], "fit", 0, 0),
        ([OWN, WRONG_ALONE], "fit with halfopen's workarounds", 0, 2),
        ([OWN, WRONG_ALONE, IN_DOUBT], "inconclusive", 3, 3),
        ([OWN, WRONG_ALONE, IN_DOUBT, BAD], "not fit", 2, 2),
        ([GOOD, IN_DOUBT, LEFT_OUT._replace(name="all")], "inconclusive", 3, 3),
    ],
)
def test_the_verdict_comes_first_and_decides_the_exit_code(
    smoke: Smoke, findings: list[Finding], word: str, code: int, strict: int
) -> None:
    lines = smoke(findings).text.partition("\n\n")[0].splitlines()
    told = json.loads(smoke(findings, "--format", "json").text)

    assert lines[0].startswith(f"nmap 7.93: {word}")
    assert (told["verdict"], told["conclusion"]) == (word, " ".join(lines))
    for form in ("text", "json", "junit"):
        assert smoke(findings, "--format", form).code == code
        assert smoke(findings, "--format", form, "--strict").code == strict


def test_the_table_shows_what_is_not_ok_or_all_and_no_control_character(
    smoke: Smoke, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [GOOD, BAD, LEFT_OUT]
    good = "states     open port, IPv4, alone    ok       open (syn-ack)"
    others = [
        "states     closed port, IPv4, alone  failed   nmap says open",
        "two hosts  open port                 skipped  needs root",
    ]

    assert smoke(findings).text.partition("\n\n")[2].splitlines() == others
    assert smoke(findings, "-v").text.partition("\n\n")[2].splitlines() == [good, *others]
    assert "\n\n" not in smoke([GOOD]).text
    hostile = smoke([each._replace(detail=HOSTILE) for each in findings], "-v").text
    assert all(char == "\n" or char.isprintable() for char in hostile)
    assert (hostile.count("\n"), hostile.count("\\x1b[31mred\\x07")) == (7, 4)
    assert capsys.readouterr().err == "", "what is being done is for a terminal"


@pytest.mark.parametrize("width", [120, 80, 40])
def test_on_a_terminal_lines_are_wrapped_and_coloured(
    smoke: Smoke, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    here, there = pty.openpty()
    with os.fdopen(here) as screen, open(there, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setattr("sys.stderr", terminal)
        coloured = smoke([BAD._replace(detail=HOSTILE + " word" * 40)]).text
        monkeypatch.setenv("NO_COLOR", "1")
        plain = smoke([BAD._replace(detail=HOSTILE + " word" * 40)]).text
        assert screen.readline() == "smoke: states ...\n"

    assert "\x1b[31mfailed\x1b[0m" in coloured
    assert "\x1b" not in plain
    assert plain.startswith("nmap 7.93: not fit for")
    assert max(map(len, plain.splitlines())) <= width
    assert plain.count("word") == 80
    # A narrow one has no column for the details.
    assert ("\nstates, closed port, IPv4, alone:" in plain) is (width == 40)


def parsed(form: str, text: str) -> Any:
    """Return what a program reads; of XML the tags, attributes and texts."""

    def tree(element: ET.Element) -> Any:
        text = (element.text or "").strip()
        return element.tag, element.attrib, text, [tree(inside) for inside in element]

    return json.loads(text) if form == "json" else tree(ET.fromstring(text.encode()))  # noqa: S314


@pytest.mark.parametrize("form", ["json", "junit"])
def test_programs_are_told_every_finding(smoke: Smoke, form: str) -> None:
    """Compare with expected.json and expected.junit.

    The latter is as the schema of Jenkins' xUnit plugin (junit-10.xsd) allows; Jenkins shows the
    attribute "message", GitLab the text.
    """
    findings = [GOOD, *(each._replace(detail=HOSTILE) for each in (BAD, LEFT_OUT, IN_DOUBT))]
    expected = Path(__file__).with_name(f"expected.{form}").read_text(encoding="utf-8")

    printed = smoke(findings, "--format", form).text
    assert parsed(form, printed) == parsed(form, expected)


# -- recordings -----------------------------------------------------------------------------------


def run(stdout: bytes = b"") -> NmapRun:
    return NmapRun(("/opt/nmap", "-p", "25", "127.0.0.1"), -11, stdout, b"\xff\x1b", 0.1234)


def test_what_nmap_printed_is_saved_byte_for_byte(smoke: Smoke, tmp_path: Path) -> None:
    hostile, case = b"\xff\x00<nmaprun>\r\n", "states-closed-port-IPv4-alone"
    found = BAD._replace(truth="25 open", runs=(run(hostile), run(), run()))
    ended = smoke([found], "--save", str(tmp_path / "new" / "folder"))

    folder = tmp_path / "new" / "folder" / "nmap-7.93"
    assert ended.code == 2
    assert {path.name for path in folder.iterdir()} == {case, f"{case}-2", f"{case}-3"}
    assert (folder / case / "nmap.xml").read_bytes() == hostile
    saved = json.loads((folder / case / "run.json").read_text(encoding="utf-8"))
    assert (saved["returncode"], saved["seconds"], saved["stderr"]) == (-11, 0.123, "\ufffd\x1b")
    assert (saved["truth"], saved["argv"][0]) == ("25 open", "/opt/nmap")


@pytest.mark.parametrize("name", ["file/inside", "with\0nul"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot write to "):
        commands.main("halfopen", ["smoke", "--save", str(tmp_path / name)])


def test_what_was_found_is_told_even_if_it_cannot_be_saved(smoke: Smoke, tmp_path: Path) -> None:
    (tmp_path / "nmap-7.93").write_text("in the way")
    ended = smoke([GOOD._replace(runs=(run(),))], "--save", str(tmp_path))

    assert ended.note == f"halfopen: not saved: [Errno 17] File exists: '{tmp_path}/nmap-7.93'"
    assert (ended.code, "fit for half-open checks." in ended.text) == (0, True)
