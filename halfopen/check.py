"""The pipeline: ask, ask the silent again, judge.

The only place where a failure of the checker becomes UNKNOWN.
"""

import enum
import time
from typing import (
    TYPE_CHECKING,
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

from halfopen import nmap_command, nmap_run, plan, programs, resolve
from halfopen.errors import CheckError, HalfopenError, NoTimeError
from halfopen.nmap_run import NmapRun
from halfopen.privileges import nmap_needs_telling
from halfopen.resolve import Address
from halfopen.target import Target

if TYPE_CHECKING:
    from halfopen.report import Observation, Outcome

Run = Callable[[Sequence[Sequence[str]], float, Optional[Callable[[], None]]], List[NmapRun]]
"""What nmap_run.run_all is; a test puts recordings in its place."""


class Status(enum.IntEnum):
    """How bad a verdict is, in the order in which the worst of several decides."""

    OK = 0
    WARNING = 1
    UNKNOWN = 2
    CRITICAL = 3


class Means(NamedTuple):
    """How to ask."""

    nmap: str = "nmap"
    sudo: bool = False
    plus_one: bool = True
    via: Tuple[str, ...] = ()
    """Words to put before all others, as those of nsenter."""


class Expectation(NamedTuple):
    """What counts as good."""

    state: str = "open"
    warning: Optional[float] = None
    """Seconds of round trip above which an expected state is WARNING."""
    critical: Optional[float] = None


class Verdict(NamedTuple):
    """What a target is judged to be; either an observation or an error is there."""

    status: Status
    target: Optional[Target] = None
    """None where the check failed before there was a target."""
    observation: Optional["Observation"] = None
    error: Optional[HalfopenError] = None
    service: str = ""
    slow: bool = False
    """Whether the state is as expected, but the round trip is over a limit."""

    @property
    def state(self) -> str:
        """The port's state, or "error"."""
        return "error" if self.observation is None else self.observation.state


class Report(NamedTuple):
    """All that a check gave."""

    verdicts: Tuple[Verdict, ...]
    expectation: Expectation = Expectation()
    runs: Tuple[NmapRun, ...] = ()
    began: Optional[float] = None
    """Unix time; None for a recording, or where nothing began."""
    seconds: float = 0.0
    """How long the check took."""


def failure(error: HalfopenError, target: Optional[Target] = None) -> Verdict:
    """Return the verdict on a check that failed."""
    return Verdict(Status.UNKNOWN, target, error=error)


def check(
    targets: Sequence[Target],
    deadline: float,
    means: Means = Means(),
    expectation: Expectation = Expectation(),
    run: Run = nmap_run.run_all,
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
        from halfopen import report  # noqa: F401, PLC0415

        # A services database that hangs must not cost the verdict: the name is an ornament.
        soon = min(deadline, time.monotonic() + 0.2)
        services.update(resolve.service_names([target.port for target in targets], soon))

    try:
        asker = _Asker(program(means), means.plus_one, deadline, run, meanwhile)
        addresses = _sorted_out(_resolved(targets, deadline), outcomes)
        questions = len(_questions(addresses)) or 1
        for look in plan.plan(deadline - time.monotonic(), questions):
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


def program(means: Means) -> List[str]:
    """Return how to call nmap; raise CheckError if it, or sudo, is not there."""
    nmap = programs.find_program(means.nmap)
    if means.sudo:
        sudo = programs.find_program("sudo", "install sudo, or leave out --sudo")
        return [*means.via, sudo, "-n", nmap]
    return [*means.via, nmap, *(["--privileged"] if nmap_needs_telling(nmap) else [])]


def _resolved(
    targets: Sequence[Target], deadline: float
) -> Dict[Target, Union[Address, CheckError]]:
    """Resolve names, and leave time to ask: one dead name must not cost the others' verdicts."""
    left = deadline - time.monotonic()
    return resolve.resolve(targets, deadline - min(plan.enough(), left / 2))


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
    most = nmap_command.MAX_HOSTS
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
    look: plan.Look,
    runs: List[NmapRun],
) -> Dict[Target, "Outcome"]:
    """Ask once about all targets, side by side; return what was seen of each."""
    questions = [question for question in _questions(asked) for _ in range(look.runs)]
    time_left = asker.deadline - time.monotonic()
    commands = [
        list(asker.program)
        + nmap_command.argv(
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

    from halfopen import report  # noqa: PLC0415  12 ms, spent while nmap ran

    seen: Dict[Tuple[int, str], List[Outcome]] = {}
    for question, nmap in zip(questions, given):
        for address, outcome in report.read(nmap, question.addresses, question.port).items():
            seen.setdefault((question.port, address), []).append(outcome)
    return {
        target: _conclusion(_most_telling(seen[target.port, address.text]), look)
        for target, address in asked.items()
    }


def _conclusion(outcome: "Outcome", look: plan.Look) -> "Outcome":
    """Return the outcome, but no verdict from a silence that was too short to mean anything."""
    if _silent(outcome) and not look.conclusive:
        return NoTimeError("no answer yet, and no time left to wait for one; raise --timeout")
    return outcome


def _most_telling(outcomes: Iterable["Outcome"]) -> "Outcome":
    """Return the answer if there was one; else a failure, for silence may be its doing."""
    return min(outcomes, key=lambda o: 2 if _silent(o) else 1 if isinstance(o, CheckError) else 0)
