"""For programs: one JSON object, as report.schema.json describes it."""

from typing import Dict

from halfopen.model import Report, Verdict


def report(given: Report, verbose: bool) -> str:
    """Return one JSON object, as report.schema.json describes it."""
    from json import dumps  # noqa: PLC0415  2 ms that only this format needs

    document: Dict[str, object] = {
        "version": 2,
        "status": max(verdict.status for verdict in given.verdicts).name,
        "expected": given.expectation.state,
        "targets": [target(verdict) for verdict in given.verdicts if verdict.target is not None],
        "error": "; ".join(str(v.error) for v in given.verdicts if v.target is None) or None,
    }
    if verbose:
        document["nmap"] = [
            {
                "argv": list(run.argv),
                "exit_code": run.exit_code,
                "seconds": round(run.seconds, 3),
                "stderr": run.stderr.decode("utf-8", "replace"),
            }
            for run in given.runs
        ]
    return dumps(document)


def target(verdict: Verdict) -> Dict[str, object]:
    """Return what JSON tells of a verdict that has a target."""
    asked, seen = verdict.target, verdict.observation
    assert asked is not None  # noqa: S101  for mypy: the caller has sorted the others out
    return {
        "host": asked.host,
        "port": asked.port,
        **({"label": asked.label} if asked.label else {}),
        "status": verdict.status.name,
        **{key: getattr(seen, key, None) for key in ("state", "reason", "silent_at", "address")},
        "rtt_seconds": seen.rtt if seen else None,
        "service": verdict.service or None,
        "error": None if verdict.error is None else str(verdict.error),
    }
