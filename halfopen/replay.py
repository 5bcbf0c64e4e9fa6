"""The verdict on recorded XML, without nmap: the same reading and judging as of a live run."""

from typing import List, Optional, Sequence

from halfopen import files, model
from halfopen.check import judge
from halfopen.errors import CheckError, UsageError
from halfopen.model import Expectation, NmapRun, Report, Verdict, failure
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
            verdicts += _verdicts(run, deadline, host, wanted, expectation)
        except (CheckError, UsageError) as error:
            verdicts.append(failure(CheckError(f"{path}: {error}")))
    return Report(tuple(verdicts), expectation, tuple(runs))


def _verdicts(
    run: NmapRun,
    deadline: float,
    host: Optional[str],
    port: Optional[int],
    expectation: Expectation,
) -> List[Verdict]:
    asked = reader.recorded(run)
    judged = asked.port if port is None else port
    if judged is None:
        raise CheckError("its command line names no port; name the one to judge with --port")
    addresses = [parse.parse_host(host)] if host else asked.addresses
    if not addresses:
        raise CheckError(asked.why_none)
    service = resolve.service_names([judged], deadline).get(judged, "")
    outcomes = reader.read(run, addresses, judged)
    return [
        judge(model.Target(address, judged), outcomes[address], expectation, service)
        for address in addresses
    ]
