"""The tests of nmap, in order: each is a function from a context to findings."""

import re
import time
from typing import Callable, Dict, Iterable, List

from halfopen.errors import HalfopenError
from halfopen.model import LATE, UNSTARTED, ScanOptions
from halfopen.scan import process, reader
from halfopen.smoke.findings import ALL, Context, Examination, Finding, Machine, Outcome
from halfopen.smoke.states import states
from halfopen.smoke.two_hosts import two_hosts

PROBES: Dict[str, Callable[[Context], Iterable[Finding]]] = {
    "states": states,
    "two hosts": two_hosts,
}
"""Every test but the first, identify(); a new one is an entry here."""

_REAL = Machine()


def examine(
    options: ScanOptions, deadline: float, tell: Callable[[str], None], machine: Machine = _REAL
) -> Examination:
    """Return what was found about nmap by `deadline` (`time.monotonic` seconds).

    `tell` is called with what is being done. Never raises for what goes wrong on the way: that is a
    finding.
    """
    tell("nmap and its libraries")
    context = Context(options, deadline, machine)
    found = identify(context)
    findings = list(found.findings)
    for group, probe in PROBES.items():
        # nmap has to run, and no group of tests to have been given up.
        if not found.version or any(finding.name == ALL for finding in findings):
            findings.append(Finding(group, ALL, Outcome.SKIPPED, "not tried; see above"))
            continue
        tell(group)
        try:
            for finding in probe(context._replace(suspect=found.suspect)):
                findings.append(finding)  # noqa: PERF402  what was found before an error stays
        except (HalfopenError, OSError) as error:
            findings.append(Finding(group, ALL, Outcome.INCONCLUSIVE, str(error)))
    findings = [f._replace(detail=f.detail.replace("\n", "\\n")) for f in findings]
    return found._replace(findings=findings)


def identify(context: Context) -> Examination:
    """Return which nmap this is, and what there is to say of it."""
    path, began, outcome = context.options.nmap, time.monotonic(), Outcome.INCONCLUSIVE
    try:
        path = process.find_program(path)
        run = context.machine.run([[path, "--version"]], context.until(), None)[0]
    except (HalfopenError, OSError) as error:
        detail = str(error)
    else:
        printed = run.stdout.decode("utf-8", "replace")
        version = re.search(r"Nmap version (\d+\.\d+[\w.+-]*)", printed, re.A)
        if version and run.exit_code == 0:
            return _with_libraries(path, version.group(1), printed, run.seconds)
        outcome, detail = Outcome.FAILED, f"{path} --version names no version; is it nmap?"
        if run.cut in (LATE, UNSTARTED):
            outcome = context.unfinished(began)
            detail = f"{path} --version did not end, and was killed; raise --timeout"
    return Examination(path, [Finding("means", "nmap", outcome, detail, time.monotonic() - began)])


def _with_libraries(path: str, version: str, printed: str, seconds: float) -> Examination:
    library, bundled, pcap = "libpcap unknown", None, "1.5"
    named = re.search(r"(nmap-)?libpcap-(\d+\.\d+)\S*", printed)
    if named:
        bundled, pcap = named.groups()
        library = named.group(0) + (" (bundled)" if bundled else " (the system's)")
    findings = [
        Finding("means", "nmap", Outcome.OK, f"{path}, {version}, {library}", seconds),
        Finding("means", "python-nmap", Outcome.OK, reader.library_version()),
    ]
    # nmap sets libpcap's immediate mode from 7.80 on (commit d6a04c465), libpcap uses TPACKET_V3
    # from 1.5 on; the one that nmap brings along has that off.
    suspect = not bundled and _numbers(version) < [7, 80] and _numbers(pcap) >= [1, 5]
    if suspect:
        detail = 'nmap before 7.80 delivers packets late with this libpcap; see "two hosts"'
        findings.append(Finding("means", "suspicion", Outcome.SKIPPED, detail))
    return Examination(path, findings, version, suspect)


def _numbers(version: str) -> List[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
