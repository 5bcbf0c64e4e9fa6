"""The tests of nmap, in order: each is a function from a context to findings."""

import re
import time
from typing import Callable, Iterable, Iterator, List, NamedTuple, Tuple

from halfopen.errors import HalfopenError
from halfopen.model import ScanOptions
from halfopen.scan import process, reader
from halfopen.smoke.findings import (
    ALL,
    Context,
    Examination,
    Finding,
    Machine,
    Nmap,
    Outcome,
    Trial,
)
from halfopen.smoke.late_delivery import late_delivery
from halfopen.smoke.states import states
from halfopen.smoke.two_hosts import two_hosts

Tell = Callable[[str], None]
"""Called with what is being done, for a terminal."""

_REAL = Machine()


class Probe(NamedTuple):
    """An entry of the list."""

    group: str
    doing: str
    """What to tell people while it runs."""
    find: Callable[[Context], Iterable[Finding]]
    possible: Callable[[Context], bool]
    """Whether what was found before allows it."""


def examine(
    options: ScanOptions,
    deadline: float,
    tell: Tell = lambda _: None,
    machine: Machine = _REAL,
) -> Examination:
    """Return what was found about nmap by `deadline` (`time.monotonic` seconds).

    Never raises for what goes wrong on the way: that is a finding.
    """
    tell("nmap and its libraries")
    context = Context(options, deadline, machine, Nmap(options.nmap))
    nmap, findings = identify(context)
    context = context._replace(nmap=nmap, findings=tuple(findings))
    for probe in PROBES:
        found = _tried(probe, context, tell)
        context = context._replace(findings=(*context.findings, *found))
    return Examination(context.nmap, [_on_one_line(finding) for finding in context.findings])


def _on_one_line(finding: Finding) -> Finding:
    return finding._replace(detail=finding.detail.replace("\n", "\\n"))


def _tried(probe: Probe, context: Context, tell: Tell) -> List[Finding]:
    if not probe.possible(context):
        detail = "not tried after what is said above"
        return [Finding(probe.group, ALL, Outcome.SKIPPED, detail)]
    tell(probe.doing)
    found: List[Finding] = []
    try:
        for finding in probe.find(context):
            found.append(finding)  # noqa: PERF402  what was found before an error stays
    except (HalfopenError, OSError) as error:
        found.append(Finding(probe.group, ALL, Outcome.INCONCLUSIVE, str(error)))
    return found


def _answers(context: Context) -> bool:
    """Return whether nmap runs, and no group of tests had to be given up."""
    given_up = any(finding.name == ALL for finding in context.findings)
    return bool(context.nmap.version) and not given_up


# -- nmap and its libraries -----------------------------------------------------------------------


def identify(context: Context) -> Tuple[Nmap, List[Finding]]:
    """Return which nmap this is, and what there is to say of it."""
    name, began = context.options.nmap, time.monotonic()

    def not_known(outcome: Outcome, detail: str, seconds: float = 0.0) -> List[Finding]:
        return [Finding("means", "nmap", outcome, detail, seconds)]

    try:
        path = process.find_program(name)
    except HalfopenError as error:
        return Nmap(name), not_known(Outcome.INCONCLUSIVE, str(error))
    nmap = Nmap(path)
    try:
        run = context.machine.run([[path, "--version"]], context.until(), None)[0]
    except (HalfopenError, OSError) as error:
        return nmap, not_known(Outcome.INCONCLUSIVE, str(error))
    if Trial("", 0, "", run).had_no_time:
        outcome = context.unfinished(began)
        advice = "; raise --timeout" if outcome is Outcome.INCONCLUSIVE else ""
        detail = f"{path} --version did not end, and was killed{advice}"
        return nmap, not_known(outcome, detail, run.seconds)
    printed = run.stdout.decode("utf-8", "replace")
    version = re.search(r"Nmap version (\d+\.\d+[\w.+-]*)", printed, re.A)
    if version is None or run.exit_code != 0:
        detail = f"{path} --version names no version; is it nmap?"
        return nmap, not_known(Outcome.FAILED, detail, run.seconds)
    return _with_libraries(path, version.group(1), printed, run.seconds)


def _with_libraries(
    path: str, version: str, printed: str, seconds: float
) -> Tuple[Nmap, List[Finding]]:
    pcap = re.search(r"(nmap-)?libpcap-(\d+\.\d+)\S*", printed)
    library, suspect = "libpcap unknown", False
    if pcap is not None:
        library = pcap.group(0) + (" (bundled)" if pcap.group(1) else " (the system's)")
        suspect = _is_suspect(version, bool(pcap.group(1)), pcap.group(2))
    detail = f"{path}, {version}, {library}"
    findings = [
        Finding("means", "nmap", Outcome.OK, detail, seconds),
        Finding("means", "python-nmap", Outcome.OK, reader.library_version()),
    ]
    if suspect:
        detail = (
            "nmap before 7.80 with a system libpcap of 1.5 or later delivers packets late; "
            'see "late delivery"'
        )
        findings.append(Finding("means", "suspicion", Outcome.SKIPPED, detail))
    return Nmap(path, version, suspect), findings


def _is_suspect(version: str, bundled: bool, pcap: str) -> bool:
    """Return whether this build is known to deliver packets late.

    nmap sets libpcap's immediate mode from 7.80 on (commit d6a04c465), libpcap uses TPACKET_V3
    from 1.5 on; the one that nmap brings along has that off.
    """

    def numbers(text: str) -> Tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", text)[:2])

    return not bundled and numbers(version) < (7, 80) and numbers(pcap) >= (1, 5)


# -- XML ------------------------------------------------------------------------------------------


def _xml_versions(context: Context) -> List[str]:
    """Return the versions of nmap's XML format that were seen."""
    found = (
        re.search(rb'xmloutputversion="([^"]{1,20})"', trial.run.stdout) for trial in context.trials
    )
    return list(dict.fromkeys(each.group(1).decode("ascii", "replace") for each in found if each))


def _xml(context: Context) -> Iterator[Finding]:
    ended = [trial for trial in context.trials if trial.run.exit_code == 0 and not trial.run.cut]
    right = sum(trial.right for trial in ended)
    detail = "format {}, python-nmap reads {} of {} runs to the known state".format(
        ", ".join(_xml_versions(context)) or "unknown", right, len(ended)
    )
    # The other probes have said what is wrong.
    outcome = Outcome.OK if ended and right == len(ended) else Outcome.SKIPPED
    yield Finding("XML", "read to known states", outcome, detail)


PROBES = (
    Probe("states", "port states on loopback", states, _answers),
    Probe("late delivery", "packets that come late", late_delivery, _answers),
    Probe("two hosts", "two hosts", two_hosts, _answers),
    Probe("XML", "XML", _xml, lambda context: _answers(context) or bool(_xml_versions(context))),
)
"""Every test but the first, identify(); a new one is an entry here."""
