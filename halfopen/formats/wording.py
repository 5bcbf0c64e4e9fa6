"""How verdicts, targets and measurements are put into words, for every format."""

import socket
from typing import Dict, List, Optional

from halfopen.model import Report, Status, Target, Verdict

PLUGIN_CODES = {Status.OK: 0, Status.WARNING: 1, Status.CRITICAL: 2, Status.UNKNOWN: 3}
"""The monitoring plugins' exit codes; Checkmk's lines begin with them, too."""

UP = (Status.OK, Status.WARNING)


def name(verdict: Verdict) -> str:
    """Return HOST:PORT, with its label, and for a host name with the address that was asked.

    And with how many addresses the name has, if it has others that were not asked.
    """
    target, seen = verdict.target, verdict.observation
    if target is None:
        return "-"
    if seen is None or seen.address == target.host:
        return target.name
    asked = seen.address
    if seen.addresses > 1:
        asked += f", first of {seen.addresses} addresses"
    return f"{target.label} ({target}, {asked})" if target.label else f"{target} ({asked})"


def sentence(verdict: Verdict, report: Report) -> str:
    """Return what a verdict says; its target is named if the report has several."""
    seen = verdict.observation
    if seen is None:
        named = len(report.verdicts) > 1 and verdict.target is not None
        return f"{name(verdict)}: {verdict.error}" if named else str(verdict.error)
    text = f"{name(verdict)} {seen.state} ({seen.reason})"
    if seen.state == "open" and verdict.service:
        text += f" {verdict.service}"
    return ", ".join(filter(None, [text, seen.cause, surprise(verdict, report)]))


def surprise(verdict: Verdict, report: Report) -> str:
    """Return what is unusual: an expectation other than open, or a slow round trip."""
    seen, expected = verdict.observation, report.expectation
    if seen is None:
        return ""
    if seen.state != expected.state:
        return "" if expected.state == "open" else f"expected {expected.state}"
    if not verdict.slow or seen.rtt is None:
        return "" if expected.state == "open" else "as expected"
    limit = expected.critical if verdict.status is Status.CRITICAL else expected.warning
    return f"round trip {seen.rtt:.6f}s over {_number(limit)}s"


def metric(label: str, verdict: Verdict, report: Report, unit: str) -> str:
    """Return LABEL=VALUE[UNIT];WARNING;CRITICAL;MINIMUM: the round-trip time in seconds.

    "" if there is none, or if it belongs to a state that was not expected.
    """
    seen, expected = verdict.observation, report.expectation
    if seen is None or seen.rtt is None or seen.state != expected.state:
        return ""
    limits = f"{_number(expected.warning)};{_number(expected.critical)}"
    return f"{label}={seen.rtt:.6f}{unit};{limits};0"


def _number(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def transcript(report: Report, verbose: bool) -> List[str]:
    """Return nmap's command lines and messages, for -v."""
    lines: List[str] = []
    for run in report.runs if verbose else ():
        argv = " ".join(run.argv).replace("\n", "\\n")
        lines.append(f"nmap: {argv} (exit code {run.exit_code}, {run.seconds:.3f} s)")
        lines += run.stderr.decode("utf-8", "replace").splitlines()
    return lines


def once_by_target(report: Report) -> List[Verdict]:
    """Return a verdict a target: a sample or a service that comes twice voids the whole output."""
    once = {(v.target.name,) if v.target else place(v): v for v in report.verdicts}
    return list(once.values())


def place(verdict: Verdict) -> str:
    """Return FILE:LINE for a bad line of a targets file, else ""."""
    return "" if verdict.error is None else verdict.error.place


def unique_labels(report: Report) -> Dict[Optional[Target], str]:
    """Return what to call each target in stored histories: its own label, or HOST:PORT.

    Of two targets with the same label the second has its address added. IPv6 addresses are
    written out: Icinga 2 cuts a perfdata label at `::`, which check_multi uses.
    """
    targets: Dict[str, Target] = {}
    for target in filter(None, (verdict.target for verdict in once_by_target(report))):
        address = _written_out(target)
        label = target.label or address
        targets[f"{label} {address}" if label in targets else label] = target
    return {target: label for label, target in targets.items()}


def _written_out(target: Target) -> str:
    address, percent, zone = target.host.partition("%")
    if "::" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        address = ":".join(f"{high << 8 | low:x}" for high, low in zip(packed[::2], packed[1::2]))
    return str(target._replace(host=address + percent + zone))
