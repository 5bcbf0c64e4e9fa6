"""How long to wait for answers, and how often to ask: attempts that fit into the time there is."""

from typing import NamedTuple, Tuple

from halfopen.scan.command import QUICK_RTT_TIMEOUT


class Attempt(NamedTuple):
    """How a target is asked once. nmap sends a silent port two probes in each run."""

    rtt_timeout: float
    """Seconds that nmap waits for the answer to each of the two probes."""
    runs: int
    """How many nmap ask the same, side by side: 2 probes each against packet loss."""

    @property
    def conclusive(self) -> bool:
        """Whether silence means something, rather than that there was no time to wait."""
        return self.rtt_timeout >= QUICK.rtt_timeout


QUICK = Attempt(rtt_timeout=QUICK_RTT_TIMEOUT, runs=1)
"""Nearly every answer comes in this time, also one delivered 200 ms late (nmap before 7.80)."""

PATIENT = Attempt(rtt_timeout=0.5, runs=3)
"""Only for the silent. It waits 1 s; with the quick attempt's, 8 probes: at 20% loss in each
direction an open port stays silent to all of them 0.36**8 = 0.03% of the time."""

START = 0.15
"""Seconds to allow for nmap's start and end in each attempt (40 to 60 ms on an idle machine)."""

EACH = 0.01
"""Seconds to add for each nmap that starts at the same time: its CPU time."""

SIDE_BY_SIDE = 32
"""How many nmap run at the same time at most."""


def plan(budget: float, scans: int = 1) -> Tuple[Attempt, ...]:
    """Return the attempts that fit into `budget` seconds: quick, then patient; or patient alone.

    Each of the `scans` is a run of nmap, side by side as far as SIDE_BY_SIDE goes. The patient
    attempt is shortened to fit; where too little time would be left for it after a quick one, it
    is the only one.
    """
    runs = max(1, min(PATIENT.runs, SIDE_BY_SIDE // scans))
    waves = -(-scans // SIDE_BY_SIDE)
    patient = PATIENT._replace(runs=runs)
    after_quick = budget / waves - _seconds(QUICK, scans)
    shortened = _fitting(patient, after_quick, scans)
    if shortened.rtt_timeout > QUICK.rtt_timeout:
        return (QUICK, shortened)
    return (_fitting(patient, budget / waves, scans),)


def longest(scans: int = 1) -> float:
    """Return how many seconds the whole plan takes at most, in one wave."""
    return _seconds(QUICK, scans) + _seconds(PATIENT, scans)


def _seconds(attempt: Attempt, scans: int) -> float:
    return START + EACH * min(SIDE_BY_SIDE, scans * attempt.runs) + 2 * attempt.rtt_timeout


def _fitting(attempt: Attempt, seconds: float, scans: int) -> Attempt:
    spare = (seconds - _seconds(attempt._replace(rtt_timeout=0), scans)) / 2
    return attempt._replace(rtt_timeout=max(0.01, min(attempt.rtt_timeout, spare)))
