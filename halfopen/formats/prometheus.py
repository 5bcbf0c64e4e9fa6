"""Prometheus' text exposition format, for node_exporter's textfile collector."""

from typing import Dict, List

from halfopen.formats.wording import UP, once_by_target, place
from halfopen.model import PORT_STATES, Report, Status, Verdict

_FAMILIES = {
    "up": "Whether the port is in the expected state; absent if the check itself failed.",
    "state": "1 for the state that the port is in; error: the check itself failed.",
    "rtt_seconds": "Round-trip time, if the port answered.",
    "check_duration_seconds": "How long the check of all its targets took.",
    "check_timestamp_seconds": "When the check began, in Unix time.",
}


def prometheus(report: Report, _verbose: bool) -> str:
    """Return Prometheus' text exposition format, a sample a target in each family.

    A failed check has no halfopen_up: it says nothing about the server.
    """
    lines: List[str] = []
    samples: Dict[str, List[str]] = {family: [] for family in _FAMILIES}
    for verdict in once_by_target(report):
        labels, seen = _labels(verdict), verdict.observation
        if verdict.error is not None:
            lines.append(f"# {verdict.target or 'halfopen'}: {verdict.error}")
        if verdict.status is not Status.UNKNOWN:
            samples["up"].append(f"{{{labels}}} {int(verdict.status in UP)}")
        for state in (*PORT_STATES, "error"):
            sample = f'{{{labels},state="{state}"}} {int(verdict.state == state)}'
            samples["state"].append(sample)
        if seen is not None and seen.rtt is not None:
            samples["rtt_seconds"].append(f"{{{labels}}} {seen.rtt:.6f}")
        if report.began is not None:
            samples["check_duration_seconds"].append(f"{{{labels}}} {report.seconds:.3f}")
            samples["check_timestamp_seconds"].append(f"{{{labels}}} {report.began:.3f}")
    for family, about in _FAMILIES.items():
        name = f"halfopen_{family}"
        lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        lines += [f"{name}{sample}" for sample in samples[family]]
    return "\n".join(lines)


def _labels(verdict: Verdict) -> str:
    target = verdict.target
    named = str(target) if target else place(verdict)
    # The format has these three escapes and no others; only a file's name can need them.
    escaped = named.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    label = f',label="{target.label}"' if target and target.label else ""
    return f'target="{escaped}"{label}'
