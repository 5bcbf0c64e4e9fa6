"""What `halfopen smoke` found: as text, JSON or JUnit's XML, and its runs as recordings."""

import json
import os
import platform
import stat
import time
from typing import Callable, Dict, List
from xml.sax.saxutils import escape, quoteattr

from halfopen import __version__
from halfopen.errors import UsageError
from halfopen.formats.registry import printable
from halfopen.smoke.probes import Examination, Finding, Outcome

CODES = {Outcome.OK: 0, Outcome.FAILED: 2, Outcome.UNSURE: 3}
"""Exit codes for fit, not fit, could not tell."""

_VERDICTS = {Outcome.OK: "fit", Outcome.FAILED: "not fit", Outcome.UNSURE: "could not tell"}


_SECOND_PORT = {
    True: "A second port is needed here: leave --plus-one on.",
    False: "A second port is not needed here.",
    None: "Whether a second port is needed here was not found out: leave --plus-one on.",
}

_SAID = ("nmap", "raw sockets", "suspicion")
"""What is no test of its own; the first line says why."""


def text(found: Examination) -> str:
    """Return a table of the findings, and the conclusion in words."""
    groups = max(len(finding.group) for finding in found.findings)
    names = max(len(finding.name) for finding in found.findings)
    rows = [
        "{:<{}}  {:<{}}  {:<7}  {}".format(
            finding.group, groups, finding.name, names, finding.outcome.value, finding.detail
        )
        for finding in found.findings
    ]
    return printable("\n".join([*rows, "", *conclusion(found)]))


def conclusion(found: Examination) -> List[str]:
    """Return in words whether nmap is fit, whether it needs the second port, and what to do."""
    name = "nmap {}".format(found.version or "").strip()
    bad = [f for f in found.findings if f.outcome is found.verdict]
    unsure = found.verdict is Outcome.UNSURE
    whether = "could not tell whether it is fit" if unsure else _VERDICTS[found.verdict]
    first = f"{name}: {whether} for half-open checks"
    if found.verdict is not Outcome.OK:
        first += f" ({bad[0].group}: {bad[0].name}: {bad[0].detail})"
    lines = [first + ".", _SECOND_PORT[found.second_port]]
    if found.verdict is Outcome.FAILED:
        lines.append("Install another nmap (7.80 or later), or name one with --nmap.")
    untested = [
        f.group if f.name == "all" else f"{f.group}, {f.name}"
        for f in found.findings
        if f.outcome in (Outcome.SKIPPED, Outcome.UNSURE) and f.name not in _SAID
    ]
    if untested:
        lines.append("Not tested: {}.".format("; ".join(untested)))
    return lines


def as_json(found: Examination) -> str:
    """Return one JSON object."""
    return json.dumps(
        {
            "version": 1,
            "verdict": _VERDICTS[found.verdict],
            "nmap": found.nmap,
            "nmap_version": found.version or None,
            "second_port_needed": found.second_port,
            "conclusion": " ".join(conclusion(found)),
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


def junit(found: Examination) -> str:
    """Return JUnit's XML: a test case a finding, as GitLab and Jenkins read it."""
    outcomes = [finding.outcome for finding in found.findings]
    counts = {
        "tests": len(outcomes),
        "failures": outcomes.count(Outcome.FAILED),
        "errors": outcomes.count(Outcome.UNSURE),
    }
    attributes = " ".join(f'{name}="{count}"' for name, count in counts.items())
    skipped = outcomes.count(Outcome.SKIPPED)  # Jenkins' schema knows it of a suite alone
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f"<testsuites {attributes}>",
            f'<testsuite name="halfopen.smoke" {attributes} skipped="{skipped}">',
            *map(_test_case, found.findings),
            "</testsuite>",
            "</testsuites>",
        ]
    )


_ELEMENTS = {Outcome.FAILED: "failure", Outcome.UNSURE: "error", Outcome.SKIPPED: "skipped"}


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


FORMATS: Dict[str, Callable[[Examination], str]] = {"text": text, "json": as_json, "junit": junit}
"""Name to format, in the order in which help lists them."""


def make_folder(folder: str) -> None:
    """Make the folder for save(), before the work begins; raise UsageError if that fails."""
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write to {folder!r} ({error}); name another folder") from None


def _make_ours(folder: str) -> None:
    """Make the folder; raise UsageError if another user can have put links into it, as in /tmp."""
    make_folder(folder)
    there = os.lstat(folder)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise UsageError(f"{folder!r} is another user's; name another folder")


def save(found: Examination, folder: str) -> None:
    """Write each run as a recording, FOLDER/nmap-VERSION/CASE/{nmap.xml,run.json}.

    The layout is that of fixtures/recorded, so that `halfopen replay` and the tests read it.
    Raises UsageError if it can't be written.
    """
    recorded = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    top = os.path.join(folder, f"nmap-{found.version}")
    if found.trials:
        _make_ours(top)
    for trial in found.trials:
        place = os.path.join(top, trial.case)
        run = {
            "argv": list(trial.run.argv),
            "returncode": trial.run.exit_code,
            "seconds": round(trial.run.seconds, 3),
            "stderr": trial.run.stderr.decode("utf-8", "replace"),
            "truth": trial.truth,
            "nmap": f"nmap-{found.version}",
            "recorded": recorded,
            "kernel": platform.release().split("-", 1)[0],
            "user": "root" if os.geteuid() == 0 else "another",
            "halfopen": __version__,
        }
        try:
            os.makedirs(place, exist_ok=True)
            with open(os.path.join(place, "nmap.xml"), "wb") as xml:
                xml.write(trial.run.stdout)
            with open(os.path.join(place, "run.json"), "w", encoding="utf-8") as facts:
                facts.write(json.dumps(run, indent=2) + "\n")
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot write to {folder!r} ({error}); name another folder") from None
