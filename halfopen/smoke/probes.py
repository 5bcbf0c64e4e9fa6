"""The tests of nmap, in order: each is a function from a context to findings."""

import re
import time
from typing import Callable, Dict, Iterable, List, Tuple

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
    had_no_time,
)
from halfopen.smoke.states import states
from halfopen.smoke.two_hosts import two_hosts

Tell = Callable[[str], None]
"""Called with what is being done, for a terminal."""

_REAL = Machine()


PROBES: Dict[str, Callable[[Context], Iterable[Finding]]] = {
    "states": states,
    "two hosts": two_hosts,
}
"""Every test but the first, identify(); a new one is an entry here."""


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
    for group, probe in PROBES.items():
        # nmap has to run, and no group of tests to have been given up.
        if not nmap.version or any(finding.name == ALL for finding in findings):
            detail = "not tried after what is said above"
            findings.append(Finding(group, ALL, Outcome.SKIPPED, detail))
            continue
        tell(group)
        try:
            for finding in probe(context._replace(nmap=nmap)):
                findings.append(finding)  # what was found before an error stays
        except (HalfopenError, OSError) as error:
            findings.append(Finding(group, ALL, Outcome.INCONCLUSIVE, str(error)))
    return Examination(nmap, [f._replace(detail=f.detail.replace("\n", "\\n")) for f in findings])


# -- nmap and its libraries -----------------------------------------------------------------------


def identify(context: Context) -> Tuple[Nmap, List[Finding]]:
    """Return which nmap this is, and what there is to say of it."""
    path, began = context.options.nmap, time.monotonic()
    version, outcome = None, Outcome.INCONCLUSIVE
    try:
        path = process.find_program(path)
        run = context.machine.run([[path, "--version"]], context.until(), None)[0]
    except (HalfopenError, OSError) as error:
        detail = str(error)
    else:
        printed = run.stdout.decode("utf-8", "replace")
        if run.exit_code == 0:
            version = re.search(r"Nmap version (\d+\.\d+[\w.+-]*)", printed, re.A)
        if had_no_time(run):
            outcome = context.unfinished(began)
            advice = "; raise --timeout" if outcome is Outcome.INCONCLUSIVE else ""
            detail = f"{path} --version did not end, and was killed{advice}"
        elif version is not None:
            return _with_libraries(path, version.group(1), printed, run.seconds)
        else:
            outcome = Outcome.FAILED
            detail = f"{path} --version names no version; is it nmap?"
    return Nmap(path), [Finding("means", "nmap", outcome, detail, time.monotonic() - began)]


def _with_libraries(
    path: str, version: str, printed: str, seconds: float
) -> Tuple[Nmap, List[Finding]]:
    pcap = re.search(r"(nmap-)?libpcap-(\d+\.\d+)\S*", printed)
    library, suspect = "libpcap unknown", False
    if pcap is not None:
        library = pcap.group(0) + (" (bundled)" if pcap.group(1) else " (the system's)")
    if pcap is None or not pcap.group(1):
        suspect = _is_suspect(version, pcap.group(2) if pcap else "1.5")
    findings = [
        Finding("means", "nmap", Outcome.OK, f"{path}, {version}, {library}", seconds),
        Finding("means", "python-nmap", Outcome.OK, reader.library_version()),
    ]
    if suspect:
        detail = (
            "nmap before 7.80 with a system libpcap of 1.5 or later delivers packets late; "
            'see "two hosts"'
        )
        findings.append(Finding("means", "suspicion", Outcome.SKIPPED, detail))
    return Nmap(path, version, suspect), findings


def _is_suspect(version: str, pcap: str) -> bool:
    """Return whether this build is known to deliver packets late.

    nmap sets libpcap's immediate mode from 7.80 on (commit d6a04c465), libpcap uses TPACKET_V3
    from 1.5 on; the one that nmap brings along has that off.
    """
    nmap, library = ([int(n) for n in re.findall(r"\d+", text)[:2]] for text in (version, pcap))
    return nmap < [7, 80] and library >= [1, 5]
