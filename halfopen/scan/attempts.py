"""How long to wait for answers, and how often to ask: attempts that fit into the time there is."""

from typing import NamedTuple

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


def first(budget: float, scans: int = 1) -> Attempt:
    """Return how to ask first: quickly; patiently at once if no time were left for that after it.

    Each of the `scans` is a run of nmap, side by side as far as SIDE_BY_SIDE goes.
    """
    patient = last(budget - _seconds(QUICK, scans), scans)
    return QUICK if patient.rtt_timeout > QUICK.rtt_timeout else last(budget, scans)


def last(budget: float, scans: int = 1) -> Attempt:
    """Return how to ask so that silence counts: patiently, shortened to fit into `budget` seconds.

    Where the runs do not all fit side by side, as many of them as there is time for.
    """
    for runs in range(PATIENT.runs, 0, -1):
        attempt = PATIENT._replace(runs=runs)
        waves = _waves(attempt, scans)
        waiting = budget / waves - _seconds(attempt._replace(rtt_timeout=0), scans) / waves
        fitting = max(0.01, min(PATIENT.rtt_timeout, waiting / 2))
        if waves == 1 or fitting == PATIENT.rtt_timeout:
            break
    return attempt._replace(rtt_timeout=fitting)


def longest() -> float:
    """Return how many seconds both attempts take at most, in one wave."""
    return _seconds(QUICK, 1) + _seconds(PATIENT, 1)


def _waves(attempt: Attempt, scans: int) -> int:
    return -(-scans * attempt.runs // SIDE_BY_SIDE)


def _seconds(attempt: Attempt, scans: int) -> float:
    starting = START + EACH * min(SIDE_BY_SIDE, scans * attempt.runs)
    return _waves(attempt, scans) * (starting + 2 * attempt.rtt_timeout)
