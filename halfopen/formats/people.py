"""For people: a row a target."""

from typing import List, Tuple

from halfopen.formats.wording import name, surprise, transcript
from halfopen.model import Report, Verdict


def text(report: Report, verbose: bool) -> str:
    """Return a row a target, the columns under one another, for people."""
    if all(verdict.target is None for verdict in report.verdicts):
        return "\n".join(f"halfopen: {verdict.error}" for verdict in report.verdicts)
    rows = [row(verdict, report, round_trip(verdict)) for verdict in report.verdicts]
    names, states = (max(len(each[column]) for each in rows) for column in (0, 1))
    lines = [
        f"{target:<{names}}  {state:<{states}}  {'  '.join(said)}" for target, state, said in rows
    ]
    return "\n".join(lines + transcript(report, verbose))


def row(verdict: Verdict, report: Report, rtt: str = "") -> Tuple[str, str, List[str]]:
    """Return the target, its state, and what else there is to say, with the round trip if given."""
    seen = verdict.observation
    if seen is None:
        return name(verdict), "unknown", [str(verdict.error)]
    said = [seen.reason, seen.cause, verdict.service, rtt, surprise(verdict, report)]
    return name(verdict), seen.state, list(filter(None, said))


def round_trip(verdict: Verdict) -> str:
    """Return the round-trip time, "" if it is not known."""
    seen = verdict.observation
    return "" if seen is None or seen.rtt is None else f"{seen.rtt * 1000:.3f} ms"
