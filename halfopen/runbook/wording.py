"""How times, states and changes are put into words."""

import time
from typing import Iterator, Sequence

from halfopen.formats.wording import transcript
from halfopen.model import PORT_STATES, Verdict
from halfopen.runbook.statistics import Standing, Statistics


def stamp(when: float) -> str:
    """Return Unix time as ISO 8601, local, with its distance from UTC."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))
    return text[:-2] + ":" + text[-2:]


def clock(when: float) -> str:
    """Return Unix time as people read it; with the date after a day."""
    form = "%H:%M:%S" if abs(time.time() - when) < 86400 else "%m-%d %H:%M"
    return time.strftime(form, time.localtime(when))


def span(seconds: float) -> str:
    """Return a length of time for people: 0.5 s, 42 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def shortened(text: str, width: int) -> str:
    """Return the text; cut in the middle if it is too wide, for its end tells as much."""
    if len(text) <= width:
        return text
    kept = max(0, width - 3)
    return (text[: kept - kept // 2] + "..." + text[len(text) - kept // 2 :])[: max(0, width)]


def state_name(state: str) -> str:
    """Return a verdict's state as people are told it; "" is one that no round has found."""
    return {"error": "unknown", "": "not checked yet"}.get(state, state)


def described(verdict: Verdict) -> str:
    """Return a state with its reason, or why there is none."""
    seen = verdict.observation
    return f"unknown: {verdict.error}" if seen is None else f"{seen.state} ({seen.reason})"


def counted(states: Sequence[str]) -> str:
    """Return how many there are of each state: `275 open, 5 closed`."""
    counts = [(states.count(state), state_name(state)) for state in (*PORT_STATES, "error", "")]
    return ", ".join(f"{count} {name}" for count, name in counts if count)


def hidden(rows: Sequence[Statistics]) -> str:
    """Return how many more there are, and in which states: `and 280 more: 275 open, 5 closed`."""
    return f"and {len(rows)} more: {counted([row.state for row in rows])}"


def changes(now: Standing, verbose: bool) -> Iterator[str]:
    """Give a line for each target that the last round found in another state than the one before.

    If verbose, nmap's command lines as well.
    """
    for row in now.rows:
        if row.state != row.before:
            came_from = f"{state_name(row.before)} -> " if row.before else ""
            yield f"{stamp(now.time)} {row.target.name} {came_from}{described(row.verdict)}"
    yield from transcript(now.report, verbose)
