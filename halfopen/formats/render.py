"""What each kind of caller is shown: a report to text. registry.py says who gets which."""

from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from halfopen.model import PORT_STATES, Report, Status, Verdict

PLUGIN_CODES = {Status.OK: 0, Status.WARNING: 1, Status.CRITICAL: 2, Status.UNKNOWN: 3}
"""The monitoring plugins' exit codes, which Checkmk's lines begin with, too."""

_UP = (Status.OK, Status.WARNING)


def nagios(report: Report, verbose: bool) -> str:
    """Return one line, perfdata after the bar, more lines below: the plugins guidelines."""
    several = len(report.verdicts) > 1
    perfdata = " ".join(filter(None, (_perfdata(v, report, several) for v in report.verdicts)))
    first, *more = (_without_bar(line) for line in _lines(report, verbose))
    return "\n".join([first + (" | " + perfdata if perfdata else ""), *more])


def plain(report: Report, verbose: bool) -> str:
    """Return the same lines without perfdata."""
    return "\n".join(_lines(report, verbose))


def one_line(report: Report, verbose: bool) -> str:
    """Return the same as a single line without `%`: Farmguardian's log takes it for a format."""
    return "; ".join(_lines(report, verbose)).replace("%", "\\x25")


def _lines(report: Report, verbose: bool) -> List[str]:
    worst = max(verdict.status for verdict in report.verdicts)
    texts = [_sentence(verdict, report) for verdict in report.verdicts]
    several = len(texts) > 1
    lines = [f"TCP HALF-OPEN {worst.name} - {_count(report) if several else texts[0]}"]
    if several:
        lines += [f"{v.status.name} - {text}" for v, text in zip(report.verdicts, texts)]
    return lines + _transcript(report, verbose)


def text(report: Report, verbose: bool) -> str:
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


def json(report: Report, verbose: bool) -> str:
    """Return one JSON object, as report.schema.json describes it."""
    from json import dumps  # noqa: PLC0415  2 ms that only this format needs

    targets = [verdict for verdict in report.verdicts if verdict.target is not None]
    failures = [str(verdict.error) for verdict in report.verdicts if verdict.target is None]
    document: Dict[str, object] = {
        "version": 1,
        "status": max(verdict.status for verdict in report.verdicts).name,
        "expected": report.expectation.state,
        "targets": [json_target(verdict) for verdict in targets],
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
    return dumps(document)


def json_target(verdict: Verdict) -> Dict[str, object]:
    """Return what JSON tells of a verdict that has a target."""
    target, seen = verdict.target, verdict.observation
    assert target is not None  # noqa: S101  for mypy: the caller has sorted the others out
    return {
        "host": target.host,
        "port": target.port,
        **({"label": target.label} if target.label else {}),
        "status": verdict.status.name,
        "state": seen.state if seen else None,
        "reason": seen.reason if seen else None,
        "address": seen.address if seen else None,
        "rtt_seconds": seen.rtt if seen else None,
        "service": verdict.service or None,
        "error": None if verdict.error is None else str(verdict.error),
    }


def f5(report: Report, _verbose: bool) -> str:
    """Return a word if all is as expected, else nothing at all: to F5 any output means up."""
    return "UP" if all(verdict.status in _UP for verdict in report.verdicts) else ""


def zabbix(report: Report, _verbose: bool) -> str:
    """Return the item's value, 1 as expected and 0 not; the reason where there is no value.

    A reason is no number, so the item becomes "not supported", and shows it.
    """
    worst = max(verdict.status for verdict in report.verdicts)
    if worst is Status.UNKNOWN:
        return one_line(report, False)
    return "1" if worst in _UP else "0"


def checkmk(report: Report, verbose: bool) -> str:
    """Return a local check's line for each target: status, item, metrics, text."""
    more = "".join("\\n" + line for line in _transcript(report, verbose))
    return "\n".join(
        '{} "TCP half-open{}" {} {}{}'.format(
            PLUGIN_CODES[verdict.status],
            f" {name}" if name else "",
            _metric("time", verdict, report, unit="") or "-",
            _sentence(verdict, report),
            more,
        )
        for name, verdict in _by_name(report)
    )


def prometheus(report: Report, _verbose: bool) -> str:
    """Return Prometheus' text exposition format, a sample a target in each family.

    A failed check has no halfopen_up: it says nothing about the server.
    """
    named = _by_name(report)
    seen = [(name, verdict.observation) for name, verdict in named]
    began, seconds = report.began, report.seconds
    families: Sequence[Tuple[str, str, Iterable[Tuple[str, str]]]] = (
        (
            "halfopen_up",
            "Whether the port is in the expected state; absent if the check itself failed.",
            [
                (_labels(name), str(int(verdict.status in _UP)))
                for name, verdict in named
                if verdict.status is not Status.UNKNOWN
            ],
        ),
        (
            "halfopen_state",
            "1 for the state that the port is in; error: the check itself failed.",
            [
                (_labels(name, state=state), str(int(verdict.state == state)))
                for name, verdict in named
                for state in (*PORT_STATES, "error")
            ],
        ),
        (
            "halfopen_rtt_seconds",
            "Round-trip time, if the port answered.",
            [(_labels(name), f"{o.rtt:.6f}") for name, o in seen if o and o.rtt is not None],
        ),
        (
            "halfopen_check_duration_seconds",
            "How long the check of all its targets took.",
            [(_labels(name), f"{seconds:.3f}") for name, _ in named if began is not None],
        ),
        (
            "halfopen_check_timestamp_seconds",
            "When the check began, in Unix time.",
            [(_labels(name), f"{began:.3f}") for name, _ in named if began is not None],
        ),
    )
    failed = [(name, verdict.error) for name, verdict in named if verdict.error is not None]
    lines = [f"# {name or 'halfopen'}: {error}" for name, error in failed]
    for family, about, samples in families:
        lines += [f"# HELP {family} {about}", f"# TYPE {family} gauge"]
        lines += [f"{family}{{{labels}}} {value}" for labels, value in samples]
    return "\n".join(lines)


def _labels(target: str, **more: str) -> str:
    # Nothing in a valid target needs the format's escapes.
    return ",".join(f'{name}="{value}"' for name, value in {"target": target, **more}.items())


def _by_name(report: Report) -> List[Tuple[str, Verdict]]:
    """Return each verdict with its target's name, once: doubled samples void a whole file."""
    named = {str(verdict.target or ""): verdict for verdict in report.verdicts}
    return list(named.items())


def _name(verdict: Verdict) -> str:
    """Return HOST:PORT, and for a name the address that was asked."""
    target, seen = verdict.target, verdict.observation
    if target is None:
        return "-"
    if seen is None or seen.address == target.host:
        return target.name
    if target.label:
        return f"{target.label} ({target}, {seen.address})"
    return f"{target} ({seen.address})"


def _sentence(verdict: Verdict, report: Report) -> str:
    seen = verdict.observation
    if seen is None:
        several = len(report.verdicts) > 1
        named = several and verdict.target is not None
        return f"{_name(verdict)}: {verdict.error}" if named else str(verdict.error)
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
    parts = [f"{counts[s]} {s}" for s in (*PORT_STATES, "error") if s in counts]
    return "{} targets: {}".format(len(report.verdicts), ", ".join(parts))


def _perfdata(verdict: Verdict, report: Report, several: bool) -> str:
    """Return 'label'=value[unit];warn;crit;min: the round trip in seconds, if it is wanted."""
    label = f"'{verdict.target}'" if several else "time"
    return _metric(label, verdict, report, unit="s")


def _metric(label: str, verdict: Verdict, report: Report, unit: str) -> str:
    seen, expected = verdict.observation, report.expectation
    if seen is None or seen.rtt is None or seen.state != expected.state:
        return ""
    limits = f"{_number(expected.warning)};{_number(expected.critical)}"
    return f"{label}={seen.rtt:.6f}{unit};{limits};0"


def _number(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def _transcript(report: Report, verbose: bool) -> List[str]:
    """Return nmap's command lines and messages, for -v."""
    lines: List[str] = []
    for run in report.runs if verbose else ():
        lines.append(
            "nmap: {} (exit code {}, {:.3f} s)".format(
                " ".join(run.argv).replace("\n", "\\n"), run.exit_code, run.seconds
            )
        )
        lines += run.stderr.decode("utf-8", "replace").splitlines()
    return lines


def _without_bar(text: str) -> str:
    return text.replace("|", "\\x7c")  # perfdata begins at the bar
