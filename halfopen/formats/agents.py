"""Agents that read what is printed and ignore the exit code: F5, Zabbix, Checkmk."""

from halfopen.formats.plugin import one_line
from halfopen.formats.wording import (
    PLUGIN_CODES,
    UP,
    metric,
    once_by_target,
    sentence,
    transcript,
    unique_labels,
)
from halfopen.model import Report, Status


def f5(report: Report, _verbose: bool) -> str:
    """Return a word if all is as expected, else nothing at all: to F5 any output means up."""
    return "UP" if all(verdict.status in UP for verdict in report.verdicts) else ""


def zabbix(report: Report, _verbose: bool) -> str:
    """Return the item's value, 1 as expected and 0 not; the reason where there is no value.

    A reason is no number, so the item becomes "not supported", and shows it.
    """
    worst = max(verdict.status for verdict in report.verdicts)
    if worst is Status.UNKNOWN:
        return one_line(report, False)
    return "1" if worst in UP else "0"


def checkmk(report: Report, verbose: bool) -> str:
    """Return a local check's line for each target: status, item, metrics, text."""
    labels = unique_labels(report)
    more = "".join("\\n" + line for line in transcript(report, verbose))
    return "\n".join(
        '{} "TCP half-open{}" {} {}{}'.format(
            PLUGIN_CODES[verdict.status],
            f" {labels[asked]}" if asked else "",
            metric("time", verdict, report, unit="") or "-",
            sentence(verdict, report),
            more,
        )
        for asked, verdict in once_by_target(report)
    )
