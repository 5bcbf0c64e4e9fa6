"""Agents that read what is printed and ignore the exit code: F5, Zabbix, Checkmk."""

from halfopen.formats import plugin, wording
from halfopen.model import Report, Status


def f5(report: Report, _verbose: bool) -> str:
    """Return a word if all is as expected, else nothing at all: to F5 any output means up."""
    return "UP" if all(verdict.status in wording.UP for verdict in report.verdicts) else ""


def zabbix(report: Report, _verbose: bool) -> str:
    """Return the item's value, 1 as expected and 0 not; the reason where there is no value.

    A reason is no number, so the item becomes "not supported", and shows it.
    """
    worst = max(verdict.status for verdict in report.verdicts)
    if worst is Status.UNKNOWN:
        return plugin.one_line(report, False)
    return "1" if worst in wording.UP else "0"


def checkmk(report: Report, verbose: bool) -> str:
    """Return a local check's line for each target: status, item, metrics, text."""
    labels = wording.unique_labels(report)
    more = "".join("\\n" + line for line in wording.transcript(report, verbose))
    lines = []
    for verdict in wording.once_by_target(report):
        code, label = wording.PLUGIN_CODES[verdict.status], labels.get(verdict.target)
        item = f"TCP half-open {label}" if label else "TCP half-open"
        metrics = wording.metric("time", verdict, report, unit="") or "-"
        lines.append(f'{code} "{item}" {metrics} {wording.sentence(verdict, report)}{more}')
    return "\n".join(lines)
