"""How patiently to ask, and how often: looks that fit into the time there is."""

from typing import NamedTuple, Tuple

from halfopen.scan.command import QUICK_RTT_TIMEOUT


class Look(NamedTuple):
    """How patiently to ask once. nmap sends a silent port two probes in each run."""

    rtt_timeout: float
    """Seconds that nmap waits for the answer to each of the two probes."""
    runs: int
    """How many nmap ask the same, side by side: 2 probes each against packet loss."""

    @property
    def conclusive(self) -> bool:
        """Whether silence means something, rather than that there was no time to wait."""
        return self.rtt_timeout >= QUICK.rtt_timeout


QUICK = Look(rtt_timeout=QUICK_RTT_TIMEOUT, runs=1)
"""Nearly every answer is had here; a late delivery of 200 ms (nmap before 7.80) fits in, too."""

PATIENT = Look(rtt_timeout=0.5, runs=3)
"""Only for the silent. 1 s of patience; with the quick look's, 8 probes: at 20% loss in each
direction an open port stays silent to all of them 0.36**8 = 0.03% of the time."""

START = 0.15
"""Seconds to leave for nmap's own start and end in each look (40 to 60 ms on an idle machine)."""

EACH = 0.01
"""Seconds to add for each nmap that starts at the same time: its CPU time."""

SIDE_BY_SIDE = 32
"""How many nmap run at the same time at most."""


def plan(budget: float, questions: int = 1) -> Tuple[Look, ...]:
    """Return the looks that fit into `budget` seconds: quick, then patient; or patient alone.

    `questions` are asked by a run of nmap each, side by side as far as SIDE_BY_SIDE goes. The
    patient look is shortened to fit; where too little would be left of it after a quick one, it
    is the only one.
    """
    runs = max(1, min(PATIENT.runs, SIDE_BY_SIDE // questions))
    waves = -(-questions // SIDE_BY_SIDE)
    patient = PATIENT._replace(runs=runs)
    after_quick = budget / waves - _took(QUICK, questions)
    shortened = _fitting(patient, after_quick, questions)
    if shortened.rtt_timeout > QUICK.rtt_timeout:
        return (QUICK, shortened)
    return (_fitting(patient, budget / waves, questions),)


def enough(questions: int = 1) -> float:
    """Return how many seconds the whole plan takes at most, in one wave."""
    return _took(QUICK, questions) + _took(PATIENT, questions)


def _took(look: Look, questions: int) -> float:
    return START + EACH * min(SIDE_BY_SIDE, questions * look.runs) + 2 * look.rtt_timeout


def _fitting(look: Look, seconds: float, questions: int) -> Look:
    spare = (seconds - _took(look._replace(rtt_timeout=0), questions)) / 2
    return look._replace(rtt_timeout=max(0.01, min(look.rtt_timeout, spare)))
