"""One line for a monitor, and more lines for several targets: the plugins' guidelines."""

from collections import Counter
from itertools import accumulate
from typing import Dict, List, NamedTuple, Sequence, Tuple

from halfopen.formats.wording import metric, name, sentence, transcript, unique_labels
from halfopen.model import PORT_STATES, Report, Status, Verdict

MAX_CULPRITS = 200
"""Characters of the first line that name culprits: what a pager or a web page shows."""

MAX_FIRST_LINE = 1024
"""Bytes of the first line with its perfdata: version 2 of NRPE hands on no more."""

MAX_OUTPUT = 8192
"""Bytes in all: what Nagios reads (MAX_PLUGIN_OUTPUT_LENGTH)."""

_NAMES_OF_ONE_FAILURE = 5


class _Row(NamedTuple):
    """A line of long text and perfdata, either may be empty; how many targets the line is about."""

    line: str
    perfdata: str
    targets: int


def nagios(report: Report, verbose: bool) -> str:
    """Return text, perfdata after the bar, and more lines below: the plugins' guidelines."""
    if len(report.verdicts) > 1:
        return _assembled(report, verbose, with_perfdata=True)
    perfdata = metric("time", report.verdicts[0], report, unit="s")
    first, *more = (_without_bar(line) for line in (_head(report), *transcript(report, verbose)))
    return "\n".join([first + (f" | {perfdata}" if perfdata else ""), *more])


def plain(report: Report, verbose: bool) -> str:
    """Return the same lines without perfdata."""
    if len(report.verdicts) > 1:
        return _assembled(report, verbose, with_perfdata=False)
    return "\n".join([_head(report), *transcript(report, verbose)])


def one_line(report: Report, verbose: bool) -> str:
    """Return the same as a single line without `%`: Farmguardian's log takes it for a format."""
    return plain(report, verbose).replace("\n", "; ").replace("%", "\\x25")


def _head(report: Report) -> str:
    worst = max(verdict.status for verdict in report.verdicts)
    several = len(report.verdicts) > 1
    text = _summary(report) if several else sentence(report.verdicts[0], report)
    return f"TCP HALF-OPEN {worst.name} - {text}"


# -- several targets ----------------------------------------------------------------------------


def _assembled(report: Report, verbose: bool, *, with_perfdata: bool) -> str:
    """Return first line, failures, and the rest, as far as MAX_OUTPUT goes, in order of worth."""
    head = _without_bar(_head(report))
    bad, good = _rows(report, with_perfdata)
    space = MAX_OUTPUT - _size(head) - len(f"and {len(report.verdicts)} more\n | ")
    shown: List[_Row] = []
    for row in (
        *(row._replace(perfdata="") for row in bad),
        *(_Row("", row.perfdata, 0) for row in bad),
        *good,
    ):
        size = _size(row.line) + _size(row.perfdata)
        if size <= space:
            space -= size
            shown.append(row)
    lines = [row.line for row in shown if row.line]
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


def _rows(report: Report, with_perfdata: bool) -> Tuple[List[_Row], List[_Row]]:
    """Return the rows of what is not OK, worst first, and those of the rest, in their order."""
    labels = unique_labels(report) if with_perfdata else {}
    bad: List[_Row] = []
    good: List[_Row] = []
    for group in _grouped(report):
        verdict = group[0]
        label = labels.get(verdict.target, "")
        perfdata = metric(f"'{label}'", verdict, report, unit="s") if label else ""
        if perfdata:  # a target that is named twice has it once
            del labels[verdict.target]
        line = _without_bar(f"{verdict.status.name} - {_told_once(group, report)}")
        rows = good if verdict.status is Status.OK else bad
        rows.append(_Row(line, perfdata, len(group)))
    return bad, good


def _grouped(report: Report) -> List[List[Verdict]]:
    """Return the verdicts, worst first, each alone; those with the same failure together."""
    groups: Dict[object, List[Verdict]] = {}
    for number, verdict in enumerate(sorted(report.verdicts, key=lambda v: -v.status)):
        same = verdict.target is not None and verdict.error is not None
        key = (verdict.status, str(verdict.error)) if same else number
        groups.setdefault(key, []).append(verdict)
    return list(groups.values())


def _told_once(group: Sequence[Verdict], report: Report) -> str:
    """Return a verdict's sentence; a failure that several targets share is said once."""
    if len(group) == 1:
        return sentence(group[0], report)
    names = [name(verdict) for verdict in group[:_NAMES_OF_ONE_FAILURE]]
    if len(group) > len(names):
        names.append(f"{len(group) - len(names)} more")
    return f"{', '.join(names)}: {group[0].error}"


def _summary(report: Report) -> str:
    """Return how many targets are not as expected, and which, as many as fit."""
    bad = [group for group in _grouped(report) if group[0].status is not Status.OK]
    if not bad:
        return _count(report)
    counts = Counter(_kind(verdict, report) for group in bad for verdict in group)
    (kind, number), *others = counts.items()
    text = f"{number} of {len(report.verdicts)} {kind}"
    text += "".join(f", {number} {kind}" for kind, number in others)
    if len(bad) == 1 and len(bad[0]) == len(report.verdicts) and bad[0][0].error is not None:
        return f"{text}: {bad[0][0].error}"
    return f"{text}: {_culprits(bad, report)}"


def _kind(verdict: Verdict, report: Report) -> str:
    if verdict.error is not None:
        return "unknown"
    return "slow" if verdict.slow else f"not {report.expectation.state}"


def _culprits(groups: Sequence[Sequence[Verdict]], report: Report) -> str:
    """Return the first sentences, as many as fit MAX_CULPRITS characters and one at least."""
    text, told = _told_once(groups[0], report), 1
    for group in groups[1:]:
        longer = f"{text}, {_told_once(group, report)}"
        if len(longer) > MAX_CULPRITS:
            break
        text, told = longer, told + 1
    more = sum(len(group) for group in groups[told:])
    return f"{text}, {more} more" if more else text


def _count(report: Report) -> str:
    """Return how many targets are in each state."""
    states = [verdict.state for verdict in report.verdicts]
    parts = [f"{states.count(s)} {s}" for s in (*PORT_STATES, "error") if s in states]
    return "{} targets: {}".format(len(states), ", ".join(parts))


def _size(text: str) -> int:
    """Return its bytes with a line end or space behind; 0 for no text."""
    return len(text.encode("utf-8", "backslashreplace")) + bool(text)


def _without_bar(text: str) -> str:
    return text.replace("|", "\\x7c")  # perfdata begins at the bar
