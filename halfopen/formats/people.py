"""For people: a row a target."""

from typing import Sequence

from halfopen.formats.wording import name, surprise, transcript
from halfopen.model import Report, Verdict


def text(report: Report, verbose: bool) -> str:
    """Return a row a target, the columns under one another, for people."""
    if all(verdict.target is None for verdict in report.verdicts):
        return "\n".join(f"halfopen: {verdict.error}" for verdict in report.verdicts)
    rows = [_row(verdict, report) for verdict in report.verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [
        "{:<{}}  {:<{}}  {}".format(row[0], widths[0], row[1], widths[1], row[2]) for row in rows
    ]
    return "\n".join(lines + transcript(report, verbose))


def _row(verdict: Verdict, report: Report) -> Sequence[str]:
    seen = verdict.observation
    if seen is None:
        return (name(verdict), "unknown", str(verdict.error))
    details = [
        seen.reason,
        seen.cause,
        verdict.service,
        "" if seen.rtt is None else f"{seen.rtt * 1000:.3f} ms",
        surprise(verdict, report),
    ]
    return (name(verdict), seen.state, "  ".join(filter(None, details)))
