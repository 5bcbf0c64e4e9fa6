"""The verdict on recorded XML, without nmap: the same reading and judging as of a live run."""

from typing import Dict, List, Optional, Sequence, Tuple

from halfopen import files
from halfopen.check import judge
from halfopen.errors import CheckError, UsageError
from halfopen.model import Expectation, NmapRun, Outcome, Report, Target, Verdict, failure
from halfopen.scan import reader
from halfopen.targets import parse, resolve


def replay(
    paths: Sequence[str],
    deadline: float,
    host: Optional[str] = None,
    port: Optional[str] = None,
    expectation: Expectation = Expectation(),
) -> Report:
    """Return the verdicts on recorded runs, `-` being standard input.

    Judges `port`, or the port first named in the recorded command line, of `host`, or of every
    host in the recording. Raises UsageError for a file that can't be read. An XML that says
    nothing certain is the verdict UNKNOWN.
    """
    if not paths:
        raise UsageError("no recording given; name nmap's XML files, or - for standard input")
    wanted = None if port is None else parse.parse_port(port)
    runs = [NmapRun((), 0, files.read(path), b"", 0.0) for path in paths]
    verdicts: List[Verdict] = []
    for path, run in zip(paths, runs):
        try:
            judged, outcomes = _read(run, host, wanted)
        except (CheckError, UsageError) as error:
            verdicts.append(failure(CheckError(f"{path}: {error}")))
            continue
        service = resolve.service_names([judged], deadline).get(judged, "")
        verdicts += [
            judge(Target(address, judged), outcome, expectation, service)
            for address, outcome in outcomes.items()
        ]
    return Report(tuple(verdicts), expectation, tuple(runs))


def _read(run: NmapRun, host: Optional[str], port: Optional[int]) -> Tuple[int, Dict[str, Outcome]]:
    """Return the port that is judged, and what the recording says of it at each address."""
    asked = reader.recorded(run)
    judged = asked.port if port is None else port
    if judged is None:
        raise CheckError("its command line names no port; name the one to judge with --port")
    addresses = [parse.parse_host(host)] if host else asked.addresses
    if not addresses:
        raise CheckError(asked.why_none)
    outcomes = reader.read(run, addresses, [judged])
    return judged, {address: outcomes[address, judged] for address in addresses}
