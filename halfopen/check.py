"""The pipeline: ask, ask the silent again, judge.

The only place where a failure of the checker becomes UNKNOWN.
"""

import time
from typing import (
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from halfopen.errors import CheckError, HalfopenError, NoTimeError
from halfopen.model import (
    Address,
    Expectation,
    NmapRun,
    Outcome,
    Report,
    ScanOptions,
    Status,
    Target,
    Verdict,
    failure,
)
from halfopen.scan import attempts, command, programs, runner
from halfopen.scan.diagnosis import nmap_needs_telling
from halfopen.targets import resolve

Run = Callable[[Sequence[Sequence[str]], float, Optional[Callable[[], None]]], List[NmapRun]]
"""What runner.run_all is; a test puts recordings in its place."""


def check(
    targets: Sequence[Target],
    deadline: float,
    means: ScanOptions = ScanOptions(),
    expectation: Expectation = Expectation(),
    run: Run = runner.run_all,
) -> Report:
    """Return the verdict on each target by `deadline` (`time.monotonic` seconds).

    Never raises for what goes wrong on the way: that is the verdict UNKNOWN.
    """
    began, start = time.time(), time.monotonic()
    runs: List[NmapRun] = []
    services: Dict[int, str] = {}
    outcomes: Dict[Target, Outcome] = {}

    def meanwhile() -> None:
        # What comes next costs nothing here: nmap is waiting for the network.
        from halfopen.scan import reader  # noqa: F401, PLC0415

        # A services database that hangs must not cost the verdict: the name is an ornament.
        soon = min(deadline, time.monotonic() + 0.2)
        services.update(resolve.service_names([target.port for target in targets], soon))

    try:
        asker = _Asker(program(means), means.plus_one, deadline, run, meanwhile)
        addresses = _sorted_out(_resolved(targets, deadline), outcomes)
        questions = len(_questions(addresses)) or 1
        for look in attempts.plan(deadline - time.monotonic(), questions):
            asked = {
                target: address
                for target, address in addresses.items()
                if target not in outcomes or _silent(outcomes[target])
            }
            if asked:
                outcomes.update(_look(asker, asked, look, runs))
    except CheckError as error:
        outcomes.update({t: error for t in targets if t not in outcomes or _silent(outcomes[t])})
    return Report(
        tuple(judge(t, outcomes[t], expectation, services.get(t.port, "")) for t in targets),
        expectation,
        tuple(runs),
        began,
        time.monotonic() - start,
    )


def judge(
    target: Target, outcome: "Outcome", expectation: Expectation, service: str = ""
) -> Verdict:
    """Return the verdict on what was seen of a target."""
    if isinstance(outcome, HalfopenError):
        return failure(outcome, target)
    if outcome.state != expectation.state:
        return Verdict(Status.CRITICAL, target, outcome, service=service)
    status = _by_round_trip(outcome.rtt, expectation)
    return Verdict(status, target, outcome, service=service, slow=status is not Status.OK)


def _by_round_trip(rtt: Optional[float], expectation: Expectation) -> Status:
    if rtt is not None and expectation.critical is not None and rtt > expectation.critical:
        return Status.CRITICAL
    if rtt is not None and expectation.warning is not None and rtt > expectation.warning:
        return Status.WARNING
    return Status.OK


def program(means: ScanOptions) -> List[str]:
    """Return how to call nmap; raise CheckError if it, or sudo, is not there."""
    nmap = programs.find_program(means.nmap)
    if means.sudo:
        sudo = programs.find_program("sudo", "install sudo, or leave out --sudo")
        return [*means.prefix, sudo, "-n", nmap]
    return [*means.prefix, nmap, *(["--privileged"] if nmap_needs_telling(nmap) else [])]


def _resolved(
    targets: Sequence[Target], deadline: float
) -> Dict[Target, Union[Address, CheckError]]:
    """Resolve names, and leave time to ask: one dead name must not cost the others' verdicts."""
    left = deadline - time.monotonic()
    return resolve.resolve(targets, deadline - min(attempts.enough(), left / 2))


def _sorted_out(
    found: Mapping[Target, Union[Address, CheckError]], outcomes: Dict[Target, "Outcome"]
) -> Dict[Target, Address]:
    """Return the targets that have an address; the others' errors are their outcomes."""
    outcomes.update({t: error for t, error in found.items() if isinstance(error, CheckError)})
    return {t: address for t, address in found.items() if isinstance(address, Address)}


def _silent(outcome: "Outcome") -> bool:
    return not isinstance(outcome, CheckError) and outcome.silent


class _Question(NamedTuple):
    """What one run of nmap is asked."""

    port: int
    version: int
    addresses: Tuple[str, ...]


def _questions(asked: Mapping[Target, Address]) -> List[_Question]:
    """Group what is asked: a run for each port and family, and for each zone (nmap prints none)."""
    groups: Dict[Tuple[int, int, str], Dict[str, None]] = {}
    for target, address in asked.items():
        key = (target.port, address.version, address.zone)
        groups.setdefault(key, {})[address.text] = None
    most = command.MAX_HOSTS
    return [
        _Question(port, version, tuple(addresses)[first : first + most])
        for (port, version, _), addresses in groups.items()
        for first in range(0, len(addresses), most)
    ]


class _Asker(NamedTuple):
    """What stays the same from look to look."""

    program: Sequence[str]
    plus_one: bool
    deadline: float
    run: Run
    meanwhile: Callable[[], None]


def _look(
    asker: _Asker,
    asked: Mapping[Target, Address],
    look: attempts.Look,
    runs: List[NmapRun],
) -> Dict[Target, "Outcome"]:
    """Ask once about all targets, side by side; return what was seen of each."""
    questions = [question for question in _questions(asked) for _ in range(look.runs)]
    time_left = asker.deadline - time.monotonic()
    commands = [
        list(asker.program)
        + command.argv(
            question.addresses,
            question.port,
            version=question.version,
            rtt_timeout=look.rtt_timeout,
            time_left=time_left,
            plus_one=asker.plus_one,
        )
        for question in questions
    ]
    given = asker.run(commands, asker.deadline, asker.meanwhile)
    runs.extend(given)

    from halfopen.scan import reader  # noqa: PLC0415  12 ms, spent while nmap ran

    seen: Dict[Tuple[int, str], List[Outcome]] = {}
    for question, nmap in zip(questions, given):
        for address, outcome in reader.read(nmap, question.addresses, question.port).items():
            seen.setdefault((question.port, address), []).append(outcome)
    return {
        target: _conclusion(_most_telling(seen[target.port, address.text]), look)
        for target, address in asked.items()
    }


def _conclusion(outcome: "Outcome", look: attempts.Look) -> "Outcome":
    """Return the outcome, but no verdict from a silence that was too short to mean anything."""
    if _silent(outcome) and not look.conclusive:
        return NoTimeError("no answer yet, and no time left to wait for one; raise --timeout")
    return outcome


def _most_telling(outcomes: Iterable["Outcome"]) -> "Outcome":
    """Return the answer if there was one; else a failure, for silence may be its doing."""
    return min(outcomes, key=lambda o: 2 if _silent(o) else 1 if isinstance(o, CheckError) else 0)
