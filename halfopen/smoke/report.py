"""What `halfopen smoke` found: as text, JSON or JUnit's XML."""

import json
from typing import Sequence

from halfopen.formats.registry import Output, printable
from halfopen.runbook.terminal import new_console, on_terminal
from halfopen.smoke import conclusion
from halfopen.smoke.findings import Examination, Finding, Outcome

_SHOWN = {
    Outcome.OK: ("green", "system-out"),
    Outcome.FAILED: ("red", "failure"),
    Outcome.SKIPPED: ("yellow", "skipped"),
    Outcome.INCONCLUSIVE: ("magenta", "error"),
}
"""The colour on a terminal, and JUnit's element."""

_WIDE = 72
"""Columns of a terminal from which on the details have a column of their own."""

_FILE = 1000000
"""Columns of what is no terminal: nothing is wrapped."""


def output(found: Examination, format_name: str, *, verbose: bool, strict: bool) -> Output:
    """Return what to print, and the exit code; `strict`: that of "not fit" for workarounds."""
    verdict = conclusion.verdict(found.findings)
    if strict and verdict is conclusion.WORKED_AROUND:
        verdict = conclusion.NOT_FIT
    if format_name == "json":
        return Output(_json(found), verdict.exit_code)
    if format_name == "junit":
        return Output(_junit(found.findings), verdict.exit_code)
    rows = [f for f in found.findings if verbose or f.outcome is not Outcome.OK]
    return Output(_text(conclusion.sentences(found), rows), verdict.exit_code)


def _text(lines: Sequence[str], rows: Sequence[Finding]) -> str:
    """Return the conclusion and the rows; on a terminal wrapped, and in colour."""
    from rich.table import Table  # noqa: PLC0415  80 ms that JSON and JUnit need not
    from rich.text import Text  # noqa: PLC0415  as above

    console = new_console(None if on_terminal() else _FILE)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column(overflow="fold")
    with console.capture() as drawn:
        for line in [*lines, ""]:
            console.print(printable(line))
        for row in rows:
            outcome = Text(row.outcome.value, _SHOWN[row.outcome][0])
            if console.width >= _WIDE:
                table.add_row(row.group, row.name, outcome, printable(row.detail))
            else:
                detail = f": {printable(row.detail)}"
                console.print(Text.assemble(f"{row.group}, {row.name}: ", outcome, detail))
        console.print(table)
    return "\n".join(line.rstrip() for line in drawn.get().rstrip().splitlines())


# -- for programs ---------------------------------------------------------------------------------


def _json(found: Examination) -> str:
    return json.dumps(
        {
            "version": 2,
            "verdict": conclusion.verdict(found.findings).word,
            "nmap": found.nmap,
            "nmap_version": found.version or None,
            "second_port_needed": conclusion.second_port_needed(found.findings),
            "conclusion": " ".join(conclusion.sentences(found)),
            "findings": [
                {
                    "group": finding.group,
                    "name": finding.name,
                    "outcome": finding.outcome.value,
                    "detail": finding.detail,
                    "seconds": round(finding.seconds, 3),
                }
                for finding in found.findings
            ],
        }
    )


def _junit(findings: Sequence[Finding]) -> str:
    """Return a test case a finding, as GitLab and Jenkins read it."""
    from xml.etree import ElementTree as ET  # noqa: PLC0415  what only this format needs

    outcomes = [finding.outcome for finding in findings]
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(Outcome.FAILED)),
        "errors": str(outcomes.count(Outcome.INCONCLUSIVE)),
    }
    skipped = str(outcomes.count(Outcome.SKIPPED))  # Jenkins' schema knows it of a suite alone
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", counts, name="halfopen.smoke", skipped=skipped)
    for finding in findings:
        seconds, group = f"{finding.seconds:.3f}", f"halfopen.smoke.{finding.group}"
        case = ET.SubElement(suite, "testcase", classname=group, name=finding.name, time=seconds)
        element = ET.SubElement(case, _SHOWN[finding.outcome][1])
        element.text = printable(finding.detail)
        if finding.outcome is not Outcome.OK:  # Jenkins shows the attribute, GitLab the text
            element.set("message", element.text)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode")
