"""One line for a monitor, and more lines for several targets: the plugins' guidelines."""

from collections import Counter
from itertools import accumulate
from typing import Dict, List, NamedTuple, Optional, Sequence

from halfopen.formats.wording import metric, name, sentence, transcript, unique_labels
from halfopen.model import Report, Status, Target, Verdict

MAX_CULPRITS = 200
"""Characters of the first line that name culprits: what a pager or a web page shows."""

MAX_FIRST_LINE = 1024
"""Bytes of the first line with its perfdata: version 2 of NRPE hands on no more."""

MAX_OUTPUT = 8192
"""Bytes in all: what Nagios reads (MAX_PLUGIN_OUTPUT_LENGTH)."""

_NAMES_OF_ONE_FAILURE = 5


def nagios(report: Report, verbose: bool) -> str:
    """Return text, perfdata after the bar, and more lines below: the plugins' guidelines."""
    if len(report.verdicts) > 1:
        return _of_several(report, verbose, unique_labels(report))
    first, *more = _without_bar(plain(report, verbose)).split("\n")
    perfdata = metric("time", report.verdicts[0], report, unit="s")
    return "\n".join([f"{first} | {perfdata}" if perfdata else first, *more])


def plain(report: Report, verbose: bool) -> str:
    """Return the same lines without perfdata."""
    if len(report.verdicts) > 1:
        return _of_several(report, verbose, {})
    head = _head(report, sentence(report.verdicts[0], report))
    return "\n".join([head, *transcript(report, verbose)])


def one_line(report: Report, verbose: bool) -> str:
    """Return the same as a single line without `%`: Farmguardian's log takes it for a format."""
    return plain(report, verbose).replace("\n", "; ").replace("%", "\\x25")


def _head(report: Report, text: str) -> str:
    return f"TCP HALF-OPEN {max(verdict.status for verdict in report.verdicts).name} - {text}"


# -- several targets ----------------------------------------------------------------------------


class _Row(NamedTuple):
    """What is told of a target, or of several whose checks failed alike."""

    verdict: Verdict
    text: str
    perfdata: str
    targets: int
    """How many."""


def _of_several(report: Report, verbose: bool, labels: Dict[Optional[Target], str]) -> str:
    """Return first line, failures, and the rest, as far as MAX_OUTPUT goes, in order of worth.

    `labels`: what perfdata calls the targets.
    """
    rows = _rows(report, labels)
    bad = [row for row in rows if row.verdict.status is not Status.OK]
    head = _without_bar(_head(report, _summary(bad, report)))
    space = MAX_OUTPUT - _size(head) - len(f"and {len(report.verdicts)} more\n | ")
    shown: List[_Row] = []
    failures = [row._replace(perfdata="") for row in bad]
    their_perfdata = [row._replace(text="", targets=0) for row in bad]
    for row in [*failures, *their_perfdata, *rows[len(bad) :]]:
        size = _size(_line(row)) + _size(row.perfdata)
        if size <= space:
            space -= size
            shown.append(row)
    lines = [_line(row) for row in shown if row.text]
    left_out = len(report.verdicts) - sum(row.targets for row in shown)
    if left_out:
        lines.append(f"and {left_out} more")
    for line in map(_without_bar, transcript(report, verbose)):
        space -= _size(line) or 1  # an empty line has its end, too
        if space < 0:
            break
        lines.append(line)
    return _with_perfdata(head, lines, [row.perfdata for row in shown if row.perfdata])


def _with_perfdata(head: str, lines: Sequence[str], perfdata: Sequence[str]) -> str:
    """Put perfdata behind the first line as far as it goes, the rest behind the last one."""
    room = MAX_FIRST_LINE - _size(head) - 2
    fitting = sum(size <= room for size in accumulate(map(_size, perfdata)))
    first = " | ".join(filter(None, [head, " ".join(perfdata[:fitting])]))
    # No space behind this bar: Nagios (4.4.6) and Icinga 2 (2.13.6) put one between the two parts,
    # and of two spaces, Icinga 2 takes one for the beginning of the next label.
    last = " |".join(filter(None, ["\n".join(lines), " ".join(perfdata[fitting:])]))
    return f"{first}\n{last}"


def _rows(report: Report, labels: Dict[Optional[Target], str]) -> List[_Row]:
    """Return the rows, worst first: each verdict alone, those with the same failure together."""
    groups: Dict[object, List[Verdict]] = {}
    for number, verdict in enumerate(sorted(report.verdicts, key=lambda v: -v.status)):
        same = verdict.target is not None and verdict.error is not None
        key = (verdict.status, str(verdict.error)) if same else number
        groups.setdefault(key, []).append(verdict)
    rows: List[_Row] = []
    for group in groups.values():
        verdict, label = group[0], labels.get(group[0].target)
        perfdata = metric(f"'{label}'", verdict, report, unit="s") if label else ""
        if perfdata:  # a target that is named twice has it once
            del labels[verdict.target]
        rows.append(_Row(verdict, _told_once(group, report), perfdata, len(group)))
    return rows


def _line(row: _Row) -> str:
    return _without_bar(f"{row.verdict.status.name} - {row.text}") if row.text else ""


def _told_once(group: Sequence[Verdict], report: Report) -> str:
    """Return a verdict's sentence; a failure that several targets share is said once."""
    if len(group) == 1:
        return sentence(group[0], report)
    names = [name(verdict) for verdict in group[:_NAMES_OF_ONE_FAILURE]]
    if len(group) > len(names):
        names.append(f"{len(group) - len(names)} more")
    return f"{', '.join(names)}: {group[0].error}"


def _summary(bad: Sequence[_Row], report: Report) -> str:
    """Return how many targets are not as expected, and which, as many as fit."""
    total = len(report.verdicts)
    if not bad:
        return f"{total} targets: {total} {report.expectation.state}"
    kinds = Counter(_kind(row.verdict, report) for row in bad for _ in range(row.targets))
    counts = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    alike = bad[0].targets == total and bad[0].verdict.error
    return f"{counts.replace(' ', f' of {total} ', 1)}: {alike or _culprits(bad)}"


def _kind(verdict: Verdict, report: Report) -> str:
    if verdict.error is not None:
        return "unknown"
    return "slow" if verdict.slow else f"not {report.expectation.state}"


def _culprits(rows: Sequence[_Row]) -> str:
    """Return the first rows' texts, as many as fit MAX_CULPRITS characters and one at least."""
    lengths = accumulate(len(row.text) + len(", ") for row in rows)
    told = max(1, sum(length - len(", ") <= MAX_CULPRITS for length in lengths))
    more = sum(row.targets for row in rows[told:])
    return ", ".join([row.text for row in rows[:told]] + [f"{more} more"] * bool(more))


def _size(text: str) -> int:
    """Return its bytes with a line end or space behind; 0 for no text."""
    return len(text.encode("utf-8", "backslashreplace")) + bool(text)


def _without_bar(text: str) -> str:
    return text.replace("|", "\\x7c")  # perfdata begins at the bar
