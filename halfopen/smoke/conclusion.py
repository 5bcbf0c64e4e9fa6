"""What follows from the findings, and from nothing else."""

from typing import List, NamedTuple, Optional, Sequence

from halfopen.smoke.findings import ALL, About, Examination, Finding, Outcome


class Verdict(NamedTuple):
    """Whether nmap is fit for half-open checks."""

    word: str
    exit_code: int
    sentence: str


FIT = Verdict("fit", 0, "fit for half-open checks")
WORKED_AROUND = Verdict("fit with halfopen's workarounds", 0, "fit with halfopen's workarounds")
"""halfopen's own scan is right where a plain one is not."""
NOT_FIT = Verdict("not fit", 2, "not fit for half-open checks")
INCONCLUSIVE = Verdict(
    "inconclusive", 3, "inconclusive: could not tell whether it is fit for half-open checks"
)

_OUR_REASON = About.PLAIN_ALONE
"""The fault that halfopen's own scan is made for: nmap before 7.80 with late delivery."""

_SECOND_PORT = {
    True: "A second port is needed here: leave out --no-plus-one.",
    False: "A second port is not needed here.",
    None: "Whether a second port is needed here was not found out: leave out --no-plus-one.",
}


def verdict(findings: Sequence[Finding]) -> Verdict:
    """Return whether nmap is fit."""
    failed = {finding.about for finding in findings if finding.outcome is Outcome.FAILED}
    if failed - {_OUR_REASON}:
        return NOT_FIT
    if any(finding.outcome is Outcome.INCONCLUSIVE for finding in findings):
        return INCONCLUSIVE
    return WORKED_AROUND if failed else FIT


def second_port_needed(findings: Sequence[Finding]) -> Optional[bool]:
    """Return whether a scan goes wrong without it, and right with it; None if that is not known."""
    seen = {(finding.about, finding.outcome) for finding in findings}
    if (About.WITH_NEXT, Outcome.FAILED) in seen or (About.WITH_NEXT, Outcome.OK) not in seen:
        return None
    if {(About.OWN_ALONE, Outcome.FAILED), (About.PLAIN_ALONE, Outcome.FAILED)} & seen:
        return True
    # On loopback a port alone seldom goes wrong: that proves nothing.
    return False if (About.PLAIN_ALONE, Outcome.OK) in seen else None


def sentences(found: Examination) -> List[str]:
    """Return the verdict and its reason, whether the second port is needed, and what to do."""
    conclusion = verdict(found.findings)
    decisive = Outcome.INCONCLUSIVE if conclusion is INCONCLUSIVE else Outcome.FAILED
    # What halfopen works around comes first only where nothing else is wrong.
    wrong = sorted(
        (finding for finding in found.findings if finding.outcome is decisive),
        key=lambda finding: finding.about is _OUR_REASON,
    )
    reason = " ({0.group}: {0.name}: {0.detail})".format(wrong[0]) if wrong else ""
    lines = ["{}: {}{}.".format(f"nmap {found.version}".strip(), conclusion.sentence, reason)]
    if conclusion is WORKED_AROUND:
        lines.append(f"A plain script with a single port is wrong here: {wrong[0].detail}.")
    lines.append(_SECOND_PORT[second_port_needed(found.findings)])
    if conclusion is NOT_FIT:
        lines.append("Install another nmap (7.80 or later), or name one with --nmap.")
    untested = [
        finding.group if finding.name == ALL else f"{finding.group}, {finding.name}"
        for finding in found.findings
        # The means are no tests of their own: the first line gives the reason.
        if finding.outcome in (Outcome.SKIPPED, Outcome.INCONCLUSIVE) and finding.group != "means"
    ]
    if untested:
        lines.append("Not tested: {}.".format("; ".join(untested)))
    return lines
