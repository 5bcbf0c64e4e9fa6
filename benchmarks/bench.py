"""Time, CPU and memory of a check, in pairs against the bash script it replaces.

Exits with 1 if a figure is over its limit. Runs in namespaces of its own, so it needs root.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Callable, NamedTuple, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import dist
from lab import TARGET, Lab, why_no_lab

PAIRS = 15
OPEN_PORT, SILENT_PORT = "25", "80"
OK, CRITICAL = 0, 2
LONGEST_S = 60

# What stood in the monitor's plug-in folder before.
SCRIPT = """#!/bin/bash
HOST=$1
PORT=$2
if nmap -n -sS -p ${PORT}-$((PORT + 1)) ${HOST} | grep open | grep ${PORT}; then
    exit 0
fi
exit 2
"""

# Measures from within the namespace, so that getting there is not counted. wait4's maxrss is that
# of the largest process of the tree, and a fork starts with its parent's: hence a Python as small
# as it gets, whose 5 MB are less than any of the programs has.
METER = """
import os, sys, time
start = time.perf_counter()
pid = os.fork()
if not pid:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - start
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, status >> 8 or status)
"""


class Cost(NamedTuple):
    """What one run took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system, of the whole tree of processes."""
    memory: float
    """MiB, of the tree's largest process."""


class Bench:
    """Runs commands in the lab and fills the table."""

    def __init__(self, lab: Lab) -> None:
        """Start the table."""
        self._lab = lab
        self.over = False
        column = "median (min-max)"
        print(f"{'':34}{'base: ' + column:26}{'ours: ' + column:26}{'ratio':>6} limit")

    def cost(self, command: Sequence[str], code: int = OK) -> Cost:
        """Run a command once; it must exit as expected, or its figures mean nothing."""
        meter = [sys.executable, "-I", "-S", "-c", METER, *command]
        done = self._lab.run(meter, timeout=LONGEST_S)
        wall, cpu, memory, status = map(float, done.stdout.split())
        if status != code:
            sys.exit(f"bench: {' '.join(command[:4])} ended with {status:.0f}, not {code}")
        return Cost(wall, cpu, memory)

    def pairs(self, base: Sequence[str], ours: Sequence[str]) -> list[tuple[Cost, Cost]]:
        """Run base, ours, base, ours …: what else the machine does meets both alike."""
        self.cost(base), self.cost(ours)  # the first runs read the files
        return [(self.cost(base), self.cost(ours)) for _ in range(PAIRS)]

    def ratio(
        self,
        name: str,
        pairs: list[tuple[Cost, Cost]],
        figure: Callable[[Cost], float],
        limit: float,
    ) -> None:
        """Add a row: the median of the pairs' ratios against a limit."""
        base, ours = [figure(pair[0]) for pair in pairs], [figure(pair[1]) for pair in pairs]
        ratio = median(mine / theirs for theirs, mine in zip(base, ours))
        self._row(name, spread(base), spread(ours), ratio, limit)

    def most(self, name: str, seconds: list[float], limit: float) -> None:
        """Add a row: the longest run against a limit."""
        self._row(name, "", spread(seconds), max(seconds), limit)

    def _row(self, name: str, base: str, ours: str, value: float, limit: float) -> None:
        over = value > limit
        self.over = self.over or over
        print(
            f"{name:34}{base:26}{ours:26}{value:6.2f}{limit:6.2f} {'OVER' if over else 'ok'}",
            flush=True,
        )


def spread(values: list[float]) -> str:
    """Three figures that fit a column."""
    return f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def oldest_python() -> str:
    """Return where Python 3.7 is; "" if it is not on this machine."""
    which = [str(Path(__file__).with_name("which_python.sh")), "3.7"]
    done = subprocess.run(which, stdout=subprocess.PIPE, timeout=LONGEST_S, check=False)
    return done.stdout.decode().strip()


def main() -> int:
    """Measure everything and return the exit code."""
    lacking = why_no_lab()
    if lacking:
        sys.exit(f"bench: {lacking}")
    drop_in, halfopen = (
        str(Path(sys.executable).with_name(name)) for name in ("check_tcp_half_open", "halfopen")
    )
    host = TARGET[4]
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        script = Path(folder, "check.sh")
        script.write_text(SCRIPT)
        script.chmod(0o755)
        article = [str(script), host, OPEN_PORT]
        bench = Bench(lab)

        pairs = bench.pairs(article, [drop_in, host, OPEN_PORT])
        bench.ratio("check_tcp_half_open: wall, s", pairs, lambda cost: cost.wall, 0.65)
        bench.ratio("check_tcp_half_open: CPU, s", pairs, lambda cost: cost.cpu, 1.1)
        bench.ratio("check_tcp_half_open: memory, MiB", pairs, lambda cost: cost.memory, 1.0)

        one = [halfopen, "check", f"{host}:{OPEN_PORT}"]
        bench.ratio(
            "halfopen check: wall, s", bench.pairs(article, one), lambda cost: cost.wall, 1.0
        )
        dist.single_files(Path(folder))
        single_file = [str(Path(folder, "check_tcp_half_open")), host, OPEN_PORT]
        pairs = bench.pairs(article, single_file)
        bench.ratio("single file: wall, s", pairs, lambda cost: cost.wall, 1.0)
        old = oldest_python()
        if old:
            pairs = bench.pairs(article, [old, "-IS", *single_file])
            bench.ratio("single file, Python 3.7: wall, s", pairs, lambda cost: cost.wall, 1.0)
        targets = [f"{address}:{OPEN_PORT}" for address in lab.many_addresses(250)]
        many = [halfopen, "check", *targets]
        bench.ratio(
            "250 targets against 1: wall, s", bench.pairs(one, many), lambda cost: cost.wall, 3.0
        )
        silent = [bench.cost([drop_in, host, SILENT_PORT], CRITICAL).wall for _ in range(5)]
        bench.most("a silent port: longest wall, s", silent, 2.2)
    return int(bench.over)


if __name__ == "__main__":
    sys.exit(main())
