"""Prometheus' text exposition format, for node_exporter's textfile collector."""

from typing import Iterable, Sequence, Tuple

from halfopen.formats.wording import UP, once_by_target, place
from halfopen.model import PORT_STATES, Report, Status, Verdict


def prometheus(report: Report, _verbose: bool) -> str:
    """Return Prometheus' text exposition format, a sample a target in each family.

    A failed check has no halfopen_up: it says nothing about the server.
    """
    told = [(_labels(verdict), verdict) for _, verdict in once_by_target(report)]
    seen = [(labels, verdict.observation) for labels, verdict in told]
    began, seconds = report.began, report.seconds
    families: Sequence[Tuple[str, str, Iterable[Tuple[str, str]]]] = (
        (
            "halfopen_up",
            "Whether the port is in the expected state; absent if the check itself failed.",
            [
                (labels, str(int(verdict.status in UP)))
                for labels, verdict in told
                if verdict.status is not Status.UNKNOWN
            ],
        ),
        (
            "halfopen_state",
            "1 for the state that the port is in; error: the check itself failed.",
            [
                (f'{labels},state="{state}"', str(int(verdict.state == state)))
                for labels, verdict in told
                for state in (*PORT_STATES, "error")
            ],
        ),
        (
            "halfopen_rtt_seconds",
            "Round-trip time, if the port answered.",
            [(labels, f"{o.rtt:.6f}") for labels, o in seen if o and o.rtt is not None],
        ),
        (
            "halfopen_check_duration_seconds",
            "How long the check of all its targets took.",
            [(labels, f"{seconds:.3f}") for labels, _ in told if began is not None],
        ),
        (
            "halfopen_check_timestamp_seconds",
            "When the check began, in Unix time.",
            [(labels, f"{began:.3f}") for labels, _ in told if began is not None],
        ),
    )
    lines = [
        f"# {verdict.target or 'halfopen'}: {verdict.error}"
        for _, verdict in told
        if verdict.error is not None
    ]
    for family, about, samples in families:
        lines += [f"# HELP {family} {about}", f"# TYPE {family} gauge"]
        lines += [f"{family}{{{labels}}} {value}" for labels, value in samples]
    return "\n".join(lines)


def _labels(verdict: Verdict) -> str:
    target = verdict.target
    if target is None:
        return f'target="{_escaped(place(verdict))}"'
    # Nothing in a valid target needs the format's escapes.
    labels = f'target="{target}"'
    return f'{labels},label="{target.label}"' if target.label else labels


def _escaped(text: str) -> str:
    """Return text as a label's value: the format has these three escapes and no others."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
