"""The pipeline: ask, ask the silent again, judge.

The only place where a failure of the checker becomes UNKNOWN.
"""

import functools
import time
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from halfopen.errors import CheckError, HalfopenError, NoTimeError, UnnamedRefusalError
from halfopen.model import (
    Address,
    Expectation,
    NmapRun,
    Observation,
    Outcome,
    Report,
    ScanOptions,
    Status,
    Target,
    Verdict,
    failure,
)
from halfopen.scan import attempts, command, process, runner
from halfopen.targets import resolve

Run = Callable[[Sequence[Sequence[str]], float, Optional[runner.Meanwhile]], List[NmapRun]]
"""What runner.run_all is; a test puts recordings in its place."""

Resolve = Callable[[Sequence[Target], float], Dict[Target, Union[Address, CheckError]]]
"""What resolve.resolve is, the default; whoever checks again and again gives a Resolver's."""


def check(  # noqa: PLR0913  what a check is made of: the last three have defaults that fit
    targets: Sequence[Target],
    deadline: float,
    options: ScanOptions = ScanOptions(),
    expectation: Expectation = Expectation(),
    run: Run = runner.run_all,
    resolver: Optional[Resolve] = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Report:
    """Return the verdict on each target by `deadline` (`time.monotonic` seconds).

    `progress` is told, from time to time, how many targets have theirs.

    Never raises for what goes wrong on the way: that is the verdict UNKNOWN.
    """
    began, start = time.time(), time.monotonic()
    services: Dict[int, str] = {}
    runs: List[NmapRun] = []
    outcomes: Dict[Target, Outcome] = {}

    def meanwhile() -> None:
        # A services database that hangs must not cost the verdict: it goes without the name.
        soon = min(deadline, time.monotonic() + 0.5)
        services.update(resolve.service_names([target.port for target in targets], soon))

    try:
        # Of a run of several ports nmap tells one round-trip time for all; and by sudo, whose line
        # in the documentation then admits no more, and without the second port, it is one a run.
        limited = (expectation.warning, expectation.critical) != (None, None)
        most = 1 if limited or options.sudo or not options.plus_one else command.MAX_PORTS
        scanner = _Scanner(
            program(options), options, most, deadline, run, meanwhile, runs, outcomes
        )
        # Leave time to ask: one dead name must not cost the others' verdicts.
        left = deadline - time.monotonic()
        found = (resolver or resolve.resolve)(targets, deadline - min(attempts.longest(), left / 2))
        outcomes.update({t: error for t, error in found.items() if isinstance(error, CheckError)})
        addresses = {t: address for t, address in found.items() if isinstance(address, Address)}
        if addresses:
            _ask_all(scanner, addresses, progress)
    except CheckError as error:
        outcomes.update({t: error for t in targets if t not in outcomes or _is_silent(outcomes[t])})
    verdicts = [judge(t, outcomes[t], expectation, services.get(t.port, "")) for t in targets]
    return Report(tuple(verdicts), expectation, tuple(runs), began, time.monotonic() - start)


def judge(target: Target, outcome: Outcome, expectation: Expectation, service: str = "") -> Verdict:
    """Return the verdict on what was seen of a target."""
    if isinstance(outcome, HalfopenError):
        return failure(outcome, target)
    if outcome.state != expectation.state:
        return Verdict(Status.CRITICAL, target, outcome, service=service)
    limits = {Status.CRITICAL: expectation.critical, Status.WARNING: expectation.warning}
    over = [s for s, limit in limits.items() if limit is not None and (outcome.rtt or 0) > limit]
    status = max(over, default=Status.OK)
    return Verdict(status, target, outcome, service=service, slow=bool(over))


def program(options: ScanOptions) -> List[str]:
    """Return how to call nmap; raise CheckError if it, or sudo, is not there."""
    return [*options.prefix, *process.calling(options.nmap, options.sudo)]


def _is_silent(outcome: Outcome) -> bool:
    return isinstance(outcome, Observation) and outcome.silent


class _Scan(NamedTuple):
    """What one run of nmap is asked."""

    addresses: Tuple[str, ...]
    ports: Tuple[int, ...]


def _scans(addresses: Mapping[Target, Address], most: int) -> List[_Scan]:
    """Group the targets into runs of at most `most` ports of a host; of one, if those are fewer."""
    return min((_grouped(addresses, count) for count in (most, 1)), key=len)


def _grouped(addresses: Mapping[Target, Address], most: int) -> List[_Scan]:
    """Share a run between hosts that are asked about the same ports, of one family and zone.

    nmap prints no zone. `most`: how many ports a run may ask about.
    """
    asked: Dict[Address, List[int]] = {}
    for target, address in addresses.items():
        asked.setdefault(address._replace(total=1), []).append(target.port)
    groups: Dict[Tuple[int, str, Tuple[int, ...]], List[str]] = {}
    for address, of_host in asked.items():
        ports = sorted(set(of_host))
        for begin in range(0, len(ports), most):
            key = (address.version, address.zone, tuple(ports[begin : begin + most]))
            groups.setdefault(key, []).append(address.text)
    return [
        _Scan(tuple(group[begin : begin + command.max_hosts(shared)]), shared)
        for (_, _, shared), group in groups.items()
        for begin in range(0, len(group), command.max_hosts(shared))
    ]


class _Scanner(NamedTuple):
    """What stays the same from attempt to attempt."""

    program: Sequence[str]
    options: ScanOptions
    most: int
    """How many ports of a host one run may ask about."""
    deadline: float
    run: Run
    meanwhile: Callable[[], None]
    runs: List[NmapRun]
    """Filled with each run that was made."""
    outcomes: Dict[Target, Outcome]
    """Filled with what was seen of each target."""


def _ask_all(
    scanner: _Scanner, addresses: Mapping[Target, Address], progress: Callable[[int], object]
) -> None:
    """Ask about all targets, and about the silent again; then ask the kernel about those."""
    outcomes, began, source_port = scanner.outcomes, process.reckoned(), None
    scans = _scans(addresses, scanner.most)
    attempt = attempts.first(scanner.deadline - time.monotonic(), len(scans))
    outcomes.update(_ask(scanner, addresses, scans, attempt))
    silent = {t: a for t, a in addresses.items() if _is_silent(outcomes[t])}
    unclear = {t: a for t, a in addresses.items() if isinstance(outcomes[t], UnnamedRefusalError)}
    progress(len(outcomes) - len(silent) - len(unclear))
    if not silent and not unclear:
        return
    from halfopen.scan import silence  # noqa: PLC0415  what only the silent need

    options = scanner.options
    if attempt == attempts.QUICK:
        scans = _scans(silent, scanner.most)
        # Each by itself: another's packets, which this machine refuses, say nothing of it.
        scans += [_Scan((a.text,), (t.port,)) for t, a in unclear.items()]
        silent.update(unclear)
        attempt = attempts.last(scanner.deadline - time.monotonic(), len(scans))
        # One more run asks from a port that the kernel knows them by. sudo's line in the
        # documentation does not admit it, and for very many it would take too long.
        few = len(scans) * (attempts.PATIENT.runs + 1) <= attempts.SIDE_BY_SIDE
        if few and not options.prefix and not options.sudo:
            source_port = silence.source_port()
        outcomes.update(_ask(scanner, silent, scans, attempt, source_port))
    for target, address in silent.items():
        outcome, in_time = outcomes[target], time.monotonic() < scanner.deadline
        # With a prefix nmap runs in another network namespace, of which our kernel knows nothing.
        if isinstance(outcome, Observation) and outcome.silent and in_time and not options.prefix:
            outcomes[target] = silence.explained(outcome, address, target.port, began, source_port)


def _ask(
    scanner: _Scanner,
    addresses: Mapping[Target, Address],
    scans: Sequence[_Scan],
    attempt: attempts.Attempt,
    source_port: Optional[int] = None,
) -> Dict[Target, Outcome]:
    """Ask once about all targets, side by side; return what was seen of each.

    One more run asks from `source_port`, if there is one. It is not the only one: a server that has
    answered a port, and whose answer was lost, does not answer it again. At 20% loss in each
    direction 22% of such runs stay silent, of others 12% (nmap 7.93, 600 runs of each).
    """
    ports = [None] * attempt.runs + [source_port] * (source_port is not None)
    runs = [(scan, port) for scan in scans for port in ports]
    argv = functools.partial(
        command.argv,
        time_left=scanner.deadline - process.reckoned(),
        rtt_timeout=attempt.rtt_timeout,
        plus_one=scanner.options.plus_one,
    )
    commands = [[*scanner.program, *argv(*scan, source_port=port)] for scan, port in runs]
    read: Dict[int, Dict[Tuple[str, int], Outcome]] = {}

    def read_ended(ended: Mapping[int, NmapRun]) -> None:
        from halfopen.scan import reader  # noqa: PLC0415  12 ms, spent while nmap runs

        if not ended:
            scanner.meanwhile()
        for number in ended.keys() - read.keys():
            read[number] = reader.read(ended[number], *runs[number][0])

    given = scanner.run(commands, scanner.deadline, read_ended)
    scanner.runs.extend(given)
    read_ended(dict(enumerate(given)))
    seen: Dict[Tuple[str, int], List[Outcome]] = {}
    for number in range(len(runs)):
        for asked, outcome in read[number].items():
            seen.setdefault(asked, []).append(outcome)
    return {
        target: _conclusion(seen[address.text, target.port], attempt, address)
        for target, address in addresses.items()
    }


def _conclusion(
    outcomes: Sequence[Outcome], attempt: attempts.Attempt, address: Address
) -> Outcome:
    """Return the answer if there was one; else a failure, for it may be why others are silent.

    But no verdict comes from a silence that was too short to mean anything.
    """
    outcome = min(outcomes, key=lambda o: (_is_silent(o), isinstance(o, CheckError)))
    if isinstance(outcome, CheckError):
        return outcome
    if outcome.silent and not attempt.conclusive:
        return NoTimeError("no answer yet, and no time left to wait for one; raise --timeout")
    return outcome._replace(addresses=address.total)
