"""Reports of checks that were never made, what the formats make of them, and JSON's schema."""

import json
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

import jsonschema

import halfopen
from halfopen.check import judge
from halfopen.errors import CheckError, UsageError
from halfopen.formats.registry import Output, output
from halfopen.model import Expectation, NmapRun, Observation, Report, Target, Verdict, failure
from halfopen.scan.diagnosis import SEE_README

SCHEMA = json.loads(
    Path(halfopen.__file__).with_name("report.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)

REASONS = {"open": "syn-ack", "closed": "reset", "filtered": "no-response"}
NEEDS_ROOT = f"nmap needs root or CAP_NET_RAW; run as root, or {SEE_README}"

# The exit codes for open, closed, filtered and error. A new format needs its row.
EXIT_CODES = {
    **dict.fromkeys(("nagios", "text", "json", "farmguardian"), (0, 2, 2, 3)),
    **dict.fromkeys(("haproxy", "ldirectord", "keepalived"), (0, 1, 1, 1)),
    "systemd": (0, 1, 1, 255),
    **dict.fromkeys(("f5", "checkmk", "zabbix", "prometheus"), (0, 0, 0, 0)),
}


def seen(
    state: str,
    host: str = "192.0.2.25",
    port: int = 25,
    rtt: Optional[float] = None,
    service: str = "",
    expectation: Expectation = Expectation(),
    reason: Optional[str] = None,
    address: Optional[str] = None,
) -> Verdict:
    """Return the verdict on a port that was seen in a state; "error": on a failed check."""
    target = Target(host, port)
    if state == "error":
        return failure(CheckError(NEEDS_ROOT), target)
    observation = Observation(state, reason or REASONS[state], address or host, rtt)
    return judge(target, observation, expectation, service)


def told(
    format_name: str,
    *verdicts: Verdict,
    exit_map: Mapping[str, int] = {},
    expectation: Expectation = Expectation(),
    runs: Sequence[NmapRun] = (),
) -> Output:
    """Return what a format makes of verdicts; with runs, what it tells the verbose."""
    report = Report(verdicts, expectation, tuple(runs))
    return output(format_name, report, exit_map, bool(runs))


def document(
    *verdicts: Verdict, expectation: Expectation = Expectation(), runs: Sequence[NmapRun] = ()
) -> Dict[str, Any]:
    """Return the JSON that is printed, and see that it is one line."""
    text = told("json", *verdicts, expectation=expectation, runs=runs).text
    assert "\n" not in text
    parsed: Dict[str, Any] = json.loads(text)
    return parsed


BAD_WORD = failure(UsageError("port '0' is out of range; ports are 1 to 65535"))


def run_of(stderr: bytes = b"", exit_code: int = 0) -> NmapRun:
    """Return a run of nmap."""
    return NmapRun(["/opt/nmap", "-n", "192.0.2.25"], exit_code, b"<xml/>", stderr, 0.12345)
