"""What `halfopen smoke` found: as text, JSON or JUnit's XML."""

import json
import sys
from typing import List, Sequence
from xml.sax.saxutils import escape, quoteattr

from halfopen.formats.registry import Output, printable
from halfopen.smoke.conclusion import Verdict, second_port_needed, sentences, verdict
from halfopen.smoke.findings import Examination, Finding, Outcome

_CODES = {
    Verdict.FIT: 0,
    Verdict.WORKED_AROUND: 0,
    Verdict.NOT_FIT: 2,
    Verdict.INCONCLUSIVE: 3,
}
_ELEMENTS = {Outcome.FAILED: "failure", Outcome.INCONCLUSIVE: "error", Outcome.SKIPPED: "skipped"}
_COLOURS = {
    Outcome.OK: "green",
    Outcome.FAILED: "red",
    Outcome.SKIPPED: "yellow",
    Outcome.INCONCLUSIVE: "magenta",
}
_WIDE = 72
"""Columns of a terminal from which on the details have a column of their own."""


def output(found: Examination, format_name: str, *, verbose: bool, strict: bool) -> Output:
    """Return what to print, and the exit code; `strict`: that of "not fit" for workarounds."""
    conclusion = verdict(found.findings)
    code = _CODES[conclusion]
    if strict and conclusion is Verdict.WORKED_AROUND:
        code = _CODES[Verdict.NOT_FIT]
    if format_name == "json":
        return Output(_json(found), code)
    if format_name == "junit":
        return Output(_junit(found.findings), code)
    rows = [f for f in found.findings if verbose or f.outcome is not Outcome.OK]
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return Output((_drawn if on_terminal else _aligned)(sentences(found), rows), code)


# -- text -----------------------------------------------------------------------------------------


def _aligned(lines: Sequence[str], rows: Sequence[Finding]) -> str:
    """Return the conclusion, and the rows with their columns under one another."""
    cells = [(row.group, row.name, row.outcome.value, row.detail) for row in rows]
    widths = [max(map(len, column)) for column in list(zip(*cells))[:-1]]
    table = [
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths)), row[-1]])
        for row in cells
    ]
    return printable("\n".join([*lines, *([""] if table else []), *table]))


def _drawn(lines: Sequence[str], rows: Sequence[Finding]) -> str:
    """Return the same for the terminal: wrapped, and in colour."""
    from rich.console import Console  # noqa: PLC0415  80 ms that only a terminal needs
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(markup=False, highlight=False, emoji=False)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column(overflow="fold")
    with console.capture() as drawn:
        for line in [*lines, ""] if rows else lines:
            console.print(printable(line))
        for row in rows:
            outcome = Text(row.outcome.value, _COLOURS[row.outcome])
            if console.width >= _WIDE:
                table.add_row(row.group, row.name, outcome, printable(row.detail))
            else:
                console.print(Text.assemble(f"{row.group}, {row.name}: ", outcome))
                console.print(Padding(printable(row.detail), (0, 0, 0, 2)))
        console.print(table)
    return "\n".join(line.rstrip() for line in drawn.get().rstrip().splitlines())


# -- for programs ---------------------------------------------------------------------------------


def _json(found: Examination) -> str:
    return json.dumps(
        {
            "version": 2,
            "verdict": verdict(found.findings).value,
            "nmap": found.nmap.path,
            "nmap_version": found.nmap.version or None,
            "second_port_needed": second_port_needed(found.findings),
            "conclusion": " ".join(sentences(found)),
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
    outcomes = [finding.outcome for finding in findings]
    counts = {
        "tests": len(outcomes),
        "failures": outcomes.count(Outcome.FAILED),
        "errors": outcomes.count(Outcome.INCONCLUSIVE),
    }
    attributes = " ".join(f'{name}="{count}"' for name, count in counts.items())
    skipped = outcomes.count(Outcome.SKIPPED)  # Jenkins' schema knows it of a suite alone
    lines: List[str] = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites {attributes}>",
        f'<testsuite name="halfopen.smoke" {attributes} skipped="{skipped}">',
        *map(_test_case, findings),
        "</testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines)


def _test_case(finding: Finding) -> str:
    start = "<testcase classname={} name={} time={}".format(
        quoteattr(f"halfopen.smoke.{finding.group}"),
        quoteattr(finding.name),
        quoteattr(f"{finding.seconds:.3f}"),
    )
    detail = printable(finding.detail)
    if finding.outcome is Outcome.OK:
        return f"{start}><system-out>{escape(detail)}</system-out></testcase>"
    element = _ELEMENTS[finding.outcome]  # Jenkins shows the attribute, GitLab the text
    told = f"<{element} message={quoteattr(detail)}>{escape(detail)}</{element}>"
    return f"{start}>{told}</testcase>"
