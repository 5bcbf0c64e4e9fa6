"""What `halfopen watch` of many targets costs: rounds, drift, CPU and memory, in a pipe and live.

    benchmarks/watch_load.py [SECONDS [TARGETS]]

Exits with 1 if a figure is over its limit. Runs in namespaces of its own, so it needs root.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab import IP, Lab, why_no_lab

SECONDS, TARGETS = 60, 250
MOST_CPU = 0.5
"""Of a core, on average, nmap's included."""
MOST_DRIFT = 0.5
"""Seconds by which a round may come late; half an interval."""
MOST_GROWTH = 1.1
"""Memory at the end against that in the middle."""
COLUMNS, LINES = 100, 50
# What comes once in the output of each round: a JSON line's end, or the cursor's way to the top.
ROUND = {"pipe": b"\n", "terminal": b"\x1b[H"}


class Load(NamedTuple):
    """What a watch took."""

    rounds: int
    drift: float
    """Seconds by which the round that was most late, or early, was told, against the first."""
    cpu: float
    """Of a core, with all nmap."""
    memory: list[float]
    """MiB of our process after a tenth of the time, in the middle, and at the end."""


def main(words: list[str]) -> int:
    """Measure both and return the exit code."""
    lacking = why_no_lab()
    if lacking:
        sys.exit(f"watch_load: {lacking}")
    seconds, count = (list(map(int, words)) + [SECONDS, TARGETS][len(words) :])[:2]
    over = False
    print(f"{count} targets, a round each second for {seconds} s")
    with Lab() as lab:
        targets = [f"{address}:25" for address in lab.many_addresses(count)]
        for kind in ROUND:
            load = measure(lab, kind, targets, seconds)
            good = (
                load.rounds == seconds
                and load.drift < MOST_DRIFT
                and load.cpu < MOST_CPU
                and load.memory[-1] < MOST_GROWTH * load.memory[1]
            )
            over = over or not good
            memory = ", ".join(f"{each:.1f}" for each in load.memory)
            print(
                f"{kind:9} {load.rounds} rounds, drift {load.drift:.3f} s, "
                f"{load.cpu:.2f} of a core, memory {memory} MiB  {'ok' if good else 'OVER'}",
                flush=True,
            )
    return int(over)


def measure(lab: Lab, kind: str, targets: list[str], seconds: int) -> Load:
    """Watch for so many seconds, in a pipe (as JSON) or on a terminal (the live table)."""
    halfopen = str(Path(sys.executable).with_name("halfopen"))
    command = [halfopen, "watch", *targets, "--interval", "1", "--count", str(seconds)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    if kind == "pipe":
        command += ["--format", "json"]
        ours, theirs = os.pipe()
    else:
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [IP, "netns", "exec", lab.netns("scanner"), *command],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        env=environment,
    )
    os.close(theirs)
    begin = time.monotonic()
    told: list[float] = []
    memory: list[float] = []
    printed = b""
    while True:
        try:
            chunk = os.read(ours, 1 << 20)
        except OSError:  # a terminal's way to say that nobody has the other end any more
            chunk = b""
        if not chunk:
            break
        # It may come in two parts.
        whole = printed[-8:] + chunk
        told += [time.monotonic()] * (whole.count(ROUND[kind]) - printed[-8:].count(ROUND[kind]))
        printed = whole
        if len(memory) < 3 and len(told) >= (seconds // 10, seconds // 2, seconds - 1)[len(memory)]:
            memory.append(resident(process.pid))
    os.close(ours)
    _, _, usage = os.wait4(process.pid, 0)
    passed = time.monotonic() - begin
    process.returncode = 0  # it has been waited for
    if kind == "terminal":  # the table is drawn before the first round, too
        told = told[1:]
    drift = max(abs(when - told[0] - number) for number, when in enumerate(told))
    return Load(len(told), drift, (usage.ru_utime + usage.ru_stime) / passed, memory)


def resident(pid: int) -> float:
    """Return the MiB of memory that a process holds now."""
    status = Path("/proc", str(pid), "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
