"""A registry: for each kind of caller, its exit codes and wording. A new monitor is one entry."""

from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from halfopen.check import Report, Status, Verdict
from halfopen.nmap_command import STATES
from halfopen.target import join

ExitMap = Mapping[str, int]
"""From a state (open, closed, filtered, error) to the exit code that the user wants for it."""


class Output(NamedTuple):
    """What is printed, and the exit code."""

    text: str
    code: int
    stream: int = 1
    """The file descriptor to print to."""


class Convention(NamedTuple):
    """How one kind of caller wants to be told."""

    about: str
    codes: Mapping[Status, int]
    render: Callable[[Report, ExitMap, bool], str]
    """A report, the user's exit map and whether to be verbose, to the text to print."""
    failure_stream: int = 1
    """The file descriptor for what went wrong before there was a target."""


def output(name: str, report: Report, exit_map: ExitMap, verbose: bool) -> Output:
    """Return what the convention makes of a report: the worst verdict decides the exit code."""
    convention = CONVENTIONS[name]

    def weight(verdict: Verdict) -> Tuple[Status, int]:
        status = _status(verdict, exit_map)
        wanted = _wanted(verdict, exit_map)
        return status, convention.codes[status] if wanted is None else wanted

    worst = max(report.verdicts, key=weight)
    _, code = weight(worst)
    stream = convention.failure_stream if worst.target is None else 1
    return Output(printable(convention.render(report, exit_map, verbose)), code, stream)


def _wanted(verdict: Verdict, exit_map: ExitMap) -> Optional[int]:
    """Return the exit code that the user wants for a state; a limit on the round trip stands."""
    return None if verdict.slow else exit_map.get(verdict.state)


def _status(verdict: Verdict, exit_map: ExitMap) -> Status:
    """Return the verdict's status, or what the user's exit map makes of it.

    A failed check stays UNKNOWN in words, whatever exit code it is to have.
    """
    code = _wanted(verdict, exit_map)
    if code is None or verdict.error is not None:
        return verdict.status
    return _PLUGIN_STATUS.get(code, verdict.status)


_PLUGIN_CODES = {Status.OK: 0, Status.WARNING: 1, Status.CRITICAL: 2, Status.UNKNOWN: 3}
_PLUGIN_STATUS = {code: status for status, code in _PLUGIN_CODES.items()}


def _nagios(report: Report, exit_map: ExitMap, verbose: bool) -> str:
    """Return one line, perfdata after the bar, more lines below: the plugins guidelines."""
    worst = max(_status(verdict, exit_map) for verdict in report.verdicts)
    several = len(report.verdicts) > 1
    texts = [_sentence(verdict, report) for verdict in report.verdicts]
    first = _count(report) if several else texts[0]
    perfdata = " ".join(filter(None, (_perfdata(v, report, several) for v in report.verdicts)))
    lines = [f"TCP HALF-OPEN {worst.name} - {_without_bar(first)}"]
    lines[0] += " | " + perfdata if perfdata else ""
    if several:
        lines += [
            f"{_status(verdict, exit_map).name} - {_without_bar(text)}"
            for verdict, text in zip(report.verdicts, texts)
        ]
    return "\n".join(lines + [_without_bar(line) for line in _transcript(report, verbose)])


def _text(report: Report, _exit_map: ExitMap, verbose: bool) -> str:
    """Return a row a target, the columns under one another, for people."""
    if all(verdict.target is None for verdict in report.verdicts):
        return "\n".join(f"halfopen: {verdict.error}" for verdict in report.verdicts)
    rows = [_row(verdict, report) for verdict in report.verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [
        "{:<{}}  {:<{}}  {}".format(row[0], widths[0], row[1], widths[1], row[2]) for row in rows
    ]
    return "\n".join(lines + _transcript(report, verbose))


def _row(verdict: Verdict, report: Report) -> Sequence[str]:
    seen = verdict.observation
    if seen is None:
        return (_name(verdict), "unknown", str(verdict.error))
    details = [
        seen.reason,
        verdict.service,
        "" if seen.rtt is None else f"{seen.rtt * 1000:.3f} ms",
        _surprise(verdict, report),
    ]
    return (_name(verdict), seen.state, "  ".join(filter(None, details)))


def _json(report: Report, exit_map: ExitMap, verbose: bool) -> str:
    """Return one JSON object, as report.schema.json describes it."""
    import json  # noqa: PLC0415  2 ms that only this convention needs

    targets = [verdict for verdict in report.verdicts if verdict.target is not None]
    failures = [str(verdict.error) for verdict in report.verdicts if verdict.target is None]
    document: Dict[str, object] = {
        "version": 1,
        "status": max(_status(verdict, exit_map) for verdict in report.verdicts).name,
        "expected": report.expectation.state,
        "targets": [_json_target(verdict, exit_map) for verdict in targets],
        "error": "; ".join(failures) or None,
    }
    if verbose:
        document["nmap"] = [
            {
                "argv": list(run.argv),
                "exit_code": run.exit_code,
                "seconds": round(run.seconds, 3),
                "stderr": run.stderr.decode("utf-8", "replace"),
            }
            for run in report.runs
        ]
    return json.dumps(document)


def _json_target(verdict: Verdict, exit_map: ExitMap) -> Dict[str, object]:
    target, seen = verdict.target, verdict.observation
    assert target is not None  # noqa: S101  for mypy: the caller has sorted the others out
    return {
        "host": target.host,
        "port": target.port,
        "status": _status(verdict, exit_map).name,
        "state": seen.state if seen else None,
        "reason": seen.reason if seen else None,
        "address": seen.address if seen else None,
        "rtt_seconds": seen.rtt if seen else None,
        "service": verdict.service or None,
        "error": None if verdict.error is None else str(verdict.error),
    }


def _name(verdict: Verdict) -> str:
    """Return HOST:PORT, and for a name the address that was asked."""
    target, seen = verdict.target, verdict.observation
    if target is None:
        return "-"
    if seen is None or seen.address == target.host:
        return str(target)
    return f"{target} ({seen.address})"


def _sentence(verdict: Verdict, report: Report) -> str:
    seen = verdict.observation
    if seen is None:
        several = len(report.verdicts) > 1
        named = several and verdict.target is not None
        return f"{verdict.target}: {verdict.error}" if named else str(verdict.error)
    words = [f"{_name(verdict)} {seen.state} ({seen.reason})"]
    if seen.state == "open" and verdict.service:
        words.append(verdict.service)
    return ", ".join(filter(None, [" ".join(words), _surprise(verdict, report)]))


def _surprise(verdict: Verdict, report: Report) -> str:
    """Return what is unusual: an expectation other than open, or a slow round trip."""
    seen, expected = verdict.observation, report.expectation
    if seen is None:
        return ""
    if seen.state != expected.state:
        return "" if expected.state == "open" else f"expected {expected.state}"
    if not verdict.slow or seen.rtt is None:
        return "" if expected.state == "open" else "as expected"
    limit = expected.critical if verdict.status is Status.CRITICAL else expected.warning
    return f"round trip {seen.rtt:.6f}s over {_number(limit)}s"


def _count(report: Report) -> str:
    """Return how many targets are in each state."""
    counts: Dict[str, int] = {}
    for verdict in report.verdicts:
        counts[verdict.state] = counts.get(verdict.state, 0) + 1
    parts = [f"{counts[s]} {s}" for s in (*STATES, "error") if s in counts]
    return "{} targets: {}".format(len(report.verdicts), ", ".join(parts))


def _perfdata(verdict: Verdict, report: Report, several: bool) -> str:
    """Return 'label'=value[unit];warn;crit;min: the round trip in seconds, if it is wanted."""
    seen, expected = verdict.observation, report.expectation
    if seen is None or seen.rtt is None or seen.state != expected.state:
        return ""
    label = "time"
    if several and verdict.target is not None:
        label = f"'{join(verdict.target.host, verdict.target.port)}'"
    return f"{label}={seen.rtt:.6f}s;{_number(expected.warning)};{_number(expected.critical)};0"


def _number(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def _transcript(report: Report, verbose: bool) -> List[str]:
    """Return nmap's command lines and messages, for -v."""
    lines: List[str] = []
    for run in report.runs if verbose else ():
        lines.append(
            "nmap: {} (exit code {}, {:.3f} s)".format(
                " ".join(run.argv), run.exit_code, run.seconds
            )
        )
        lines += run.stderr.decode("utf-8", "replace").splitlines()
    return lines


def _without_bar(text: str) -> str:
    return text.replace("|", "\\x7c")  # perfdata begins at the bar


def printable(text: str) -> str:
    """Return the text with control characters escaped: it goes to terminals and logs."""
    return "".join(
        char if char == "\n" or char.isprintable() else ascii(char)[1:-1] for char in text
    )


PLUGIN_CONVENTION, CONVENTION = "nagios", "text"
"""What check_tcp_half_open and halfopen speak if not told otherwise."""

CONVENTIONS: Dict[str, Convention] = {
    "nagios": Convention(
        "Nagios, Icinga, Naemon, NRPE, Farmguardian: one line, perfdata", _PLUGIN_CODES, _nagios
    ),
    "text": Convention("people: a row a target", _PLUGIN_CODES, _text, failure_stream=2),
    "json": Convention("programs: one JSON object (report.schema.json)", _PLUGIN_CODES, _json),
}
"""Name to convention, in the order in which help lists them."""
