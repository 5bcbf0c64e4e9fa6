"""Measure how often an open port is called open, when answers come late or get lost.

    reliability.py              our check
    reliability.py --article    beside the bash line that it replaces

Prints a row for each condition. Exit code 1 if ours was wrong more than once in any of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab import TARGET, Lab, delay_lab, why_no_lab

HOST, PORT = TARGET[4], 25
OURS = [str(Path(sys.executable).with_name("check_tcp_half_open")), HOST, str(PORT)]
ARTICLE = ["bash", "-c", f"nmap -n -sS -p {PORT}-{PORT + 1} {HOST} | grep open | grep {PORT}"]
MAX_WRONG = 1
# A check ends within 10 s; this is for one that hangs.
TIMEOUT = 60


class Condition(NamedTuple):
    """What is wrong with the network, and how many checks to make in it."""

    delay: int
    """Milliseconds by which each SYN/ACK is late."""
    loss: float
    """Part of all TCP packets that is lost, in each direction."""
    checks: int


CONDITIONS = [
    Condition(0, 0, 20),
    Condition(190, 0, 20),
    Condition(400, 0, 20),
    Condition(900, 0, 20),
    Condition(0, 0.2, 200),
]


class Result(NamedTuple):
    """How many of the checks said open, and how many seconds they took."""

    is_open: int
    seconds: list[float]

    def __str__(self) -> str:
        p95 = sorted(self.seconds)[int(0.95 * len(self.seconds))]
        median = statistics.median(self.seconds)
        return f"{self.is_open}/{len(self.seconds)} {median:.2f} s, p95 {p95:.2f} s"


def measure(lab: Lab, argv: list[str], checks: int, side_by_side: int) -> Result:
    """Make the checks, a few at the same time."""

    def check(_: int) -> tuple[bool, float]:
        start = time.monotonic()
        code = lab.run(argv, timeout=TIMEOUT).returncode
        return code == 0, time.monotonic() - start

    with ThreadPoolExecutor(side_by_side) as pool:
        done = list(pool.map(check, range(checks)))
    return Result(sum(is_open for is_open, _ in done), [seconds for _, seconds in done])


def main() -> int:
    """Do what the words say."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--article", action="store_true", help="measure the article's line too")
    parser.add_argument("--side-by-side", type=int, default=4, help="checks at the same time")
    options = parser.parse_args()
    missing = why_no_lab()
    if missing:
        print(f"can't measure: {missing}", file=sys.stderr)
        return 3
    commands = {"ours": OURS, "the article's": ARTICLE} if options.article else {"ours": OURS}
    row = "{:>7}  {:>4}  " + "  ".join(["{:<32}"] * len(commands))
    print(row.format("late by", "lost", *(f"{name}: open" for name in commands)))
    worst = 0
    for condition in CONDITIONS:
        results = []
        for argv in commands.values():
            with delay_lab(condition.delay) as lab, lab.drop_fraction(condition.loss):
                results.append(measure(lab, argv, condition.checks, options.side_by_side))
        worst = max(worst, condition.checks - results[0].is_open)
        print(row.format(f"{condition.delay} ms", f"{condition.loss:.0%}", *map(str, results)))
    return 1 if worst > MAX_WRONG else 0


if __name__ == "__main__":
    sys.exit(main())
