"""What follows from the findings, and from nothing else."""

import enum
from typing import List, Optional, Sequence

from halfopen.smoke.findings import ALL, About, Examination, Finding, Outcome


class Verdict(enum.Enum):
    """Whether nmap is fit for half-open checks."""

    FIT = "fit"
    WORKED_AROUND = "fit with halfopen's workarounds"
    """halfopen's own scan is right where a plain one is not."""
    NOT_FIT = "not fit"
    INCONCLUSIVE = "inconclusive"


_WORKED_AROUND = About.PLAIN_ALONE
"""The fault that halfopen's own scan is made for: nmap before 7.80 with late delivery."""

_SECOND_PORT = {
    True: "A second port is needed here: leave out --no-plus-one.",
    False: "A second port is not needed here.",
    None: "Whether a second port is needed here was not found out: leave out --no-plus-one.",
}

_NO_TESTS = ("nmap", "raw sockets", "suspicion")
"""Findings that are no test of their own; the first line gives the reason."""


def verdict(findings: Sequence[Finding]) -> Verdict:
    """Return whether nmap is fit."""
    failed = {finding.about for finding in _named(findings, Outcome.FAILED)}
    if failed - {_WORKED_AROUND}:
        return Verdict.NOT_FIT
    if _named(findings, Outcome.INCONCLUSIVE):
        return Verdict.INCONCLUSIVE
    return Verdict.WORKED_AROUND if failed else Verdict.FIT


def second_port_needed(findings: Sequence[Finding]) -> Optional[bool]:
    """Return whether a scan goes wrong without it, and right with it; None if that is not known."""
    with_next = _outcomes(findings, About.OWN, About.PLAIN_WITH_NEXT)
    if Outcome.FAILED in with_next or Outcome.OK not in with_next:
        return None
    if Outcome.FAILED in _outcomes(findings, About.OWN_ALONE, About.PLAIN_ALONE):
        return True
    # On loopback a port alone seldom goes wrong: that proves nothing.
    return False if Outcome.OK in _outcomes(findings, About.PLAIN_ALONE) else None


def _outcomes(findings: Sequence[Finding], *about: About) -> List[Outcome]:
    return [finding.outcome for finding in findings if finding.about in about]


def sentences(found: Examination) -> List[str]:
    """Return the verdict, whether the second port is needed, and what to do."""
    conclusion = verdict(found.findings)
    lines = [_first(found, conclusion), _SECOND_PORT[second_port_needed(found.findings)]]
    if conclusion is Verdict.WORKED_AROUND:
        wrong = _named(found.findings, Outcome.FAILED)[0].detail
        lines.insert(1, f"A plain script with a single port is wrong here: {wrong}.")
    if conclusion is Verdict.NOT_FIT:
        lines.append("Install another nmap (7.80 or later), or name one with --nmap.")
    untested = [
        f.group if f.name == ALL else f"{f.group}, {f.name}"
        for f in found.findings
        if f.outcome in (Outcome.SKIPPED, Outcome.INCONCLUSIVE) and f.name not in _NO_TESTS
    ]
    if untested:
        lines.append("Not tested: {}.".format("; ".join(untested)))
    return lines


def _first(found: Examination, conclusion: Verdict) -> str:
    what = {
        Verdict.FIT: "fit for half-open checks",
        Verdict.NOT_FIT: "not fit for half-open checks",
        Verdict.INCONCLUSIVE: "inconclusive: could not tell whether it is fit for half-open checks",
    }.get(conclusion, conclusion.value)
    decisive = Outcome.INCONCLUSIVE if conclusion is Verdict.INCONCLUSIVE else Outcome.FAILED
    failed = _named(found.findings, decisive)
    # What halfopen works around comes first only where nothing else is wrong.
    failed.sort(key=lambda finding: finding.about is _WORKED_AROUND)
    reason = "" if not failed else " ({0.group}: {0.name}: {0.detail})".format(failed[0])
    return "{}: {}{}.".format(f"nmap {found.nmap.version}".strip(), what, reason)


def _named(findings: Sequence[Finding], outcome: Outcome) -> List[Finding]:
    return [finding for finding in findings if finding.outcome is outcome]
