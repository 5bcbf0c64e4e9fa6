"""Packets that reach nmap late, measured on loopback, without a peer."""

import contextlib
import sys
import time
from typing import Iterator, List, NamedTuple, Optional, Tuple

from halfopen.errors import NotAllowedError
from halfopen.smoke.findings import About, Context, Finding, Outcome, Trial
from halfopen.smoke.targets import Port

_ROUNDS, _MORE_ROUNDS, _MORE = 3, 8, 2.0
"""How often a time is taken; the least of them counts, for other work only adds to it. More often,
for so many seconds, where packets look late: a burst of other work ends."""

_LATE, _SLOW, _BUSY = 0.1, 0.15, 0.15
"""Seconds; see Times.judged()."""

Judged = Tuple[Outcome, str]


class Times(NamedTuple):
    """Seconds that scans of an open port on loopback took, and Python's start."""

    syn: List[float]
    connect: List[float]
    python: List[float]

    def judged(self) -> Judged:
        """Return whether packets, or all of nmap, are late; SKIPPED if nothing can be told.

        Late by 200 ms, the SYN scan takes 0.24 to 0.28 s; otherwise 0.04 to 0.11 s, the connect
        scan half of that. Twice the connect scan's time and 0.1 s lie between the two as long as
        that scan takes no more than 0.15 s. It takes three times as long as Python's start, idle
        or with 30 busy loops on 2 cores.
        """
        took, control, other = map(min, self)
        detail = f"{took:.3f} s, a connect scan {control:.3f} s"
        if control > _SLOW + 5 * other:
            detail += f", Python's start {other:.3f} s: nmap answers late"
            return Outcome.FAILED, detail
        if took > _LATE + 2 * control:
            return Outcome.FAILED, detail + _PACKETS
        if control > _BUSY:
            return Outcome.SKIPPED, detail + ": this machine is too busy to tell"
        return Outcome.OK, detail


_PACKETS = ": packets reach nmap late"


def late_delivery(context: Context) -> Iterator[Finding]:
    """Compare the times of scans.

    A SYN scan reads packets through libpcap, a connect scan of the same port does not, and
    takes as long as this machine takes for all the rest. Python's start tells whether that is
    long because the machine is slow.
    """
    start = time.monotonic()
    trials: List[Trial] = []
    with contextlib.closing(context.machine.make_port("open", 4, 0)) as port:
        outcome, detail = _measured(context, port, start, trials)
    if outcome is Outcome.SKIPPED and context.nmap.suspect:
        outcome = Outcome.INCONCLUSIVE
    about = About.LATE_PACKETS if detail.endswith(_PACKETS) else About.OTHER
    seconds = time.monotonic() - start
    name = "time of a scan"
    yield Finding("late delivery", name, outcome, detail, seconds, about, tuple(trials))


def _measured(context: Context, port: Port, start: float, trials: List[Trial]) -> Judged:
    """Take times until they can be judged; each run goes to `trials`."""
    if context.machine.connect(port) != "open":
        return Outcome.SKIPPED, "not even a plain connection finds an open port open"
    times = Times([], [], [])
    while len(times.syn) < _ROUNDS or (
        len(times.syn) < _MORE_ROUNDS
        and times.judged()[0] is Outcome.FAILED
        and time.monotonic() < min(start + _MORE, context.deadline)
    ):
        for scan, case, taken in (
            ("-sS", "loopback-v4-open-plain", times.syn),
            ("-sT", "loopback-v4-open-connect", times.connect),
        ):
            trial = context.plain_scan(case, scan, port, alone=True)
            trials.append(trial)
            port.connected()
            useless = _useless(context, trial, scan, start)
            if useless:
                return useless
            taken.append(trial.run.seconds)
        times.python.append(_start_of_python(context))
    return times.judged()


def _useless(context: Context, trial: Trial, scan: str, start: float) -> Optional[Judged]:
    """Return what to say of a run whose time means nothing; None if it means something."""
    # sudo's line admits halfopen's own command lines, which were judged before.
    if context.options.sudo and isinstance(trial.seen, NotAllowedError):
        return Outcome.SKIPPED, "not allowed; sudo's line admits halfopen's own"
    if trial.run.cut or trial.run.exit_code:
        outcome = context.unfinished(start) if trial.had_no_time else Outcome.FAILED
        return outcome, "nmap's plain scan failed, or took all the time"
    # halfopen's own scan finds it: judged before. Whose fault is it, then?
    unclear = f"nmap {scan} does not find an open port open"
    return None if trial.right else (Outcome.INCONCLUSIVE, unclear)


def _start_of_python(context: Context) -> float:
    """Return how long a program takes to start here; infinite where nothing can be compared."""
    if context.options.sudo or not sys.executable:  # sudo takes a time of its own
        return float("inf")
    argv = [sys.executable, "-I", "-S", "-c", ""]
    return context.machine.run([argv], context.until(2.0), None)[0].seconds
