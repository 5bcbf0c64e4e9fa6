"""What `halfopen watch` of many targets costs: rounds, drift and CPU, in a pipe and live.

Exits with 1 if a figure is over its limit. Runs in namespaces of its own, so it needs root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab import IP, Lab

SECONDS, TARGETS = 60, 250
MOST_CPU = 0.5
"""Of a core, on average, nmap's included."""
MOST_DRIFT = 0.5
"""Seconds by which a round may come late; half an interval."""
COLUMNS, LINES = 100, 50
# What comes once in the output of each round: a JSON line's end, or the cursor's way to the top.
ROUND = {"pipe": b"\n", "terminal": b"\x1b[H"}


def main() -> int:
    """Measure both and return the exit code."""
    over = False
    print(f"{TARGETS} targets, a round each second for {SECONDS} s")
    with Lab() as lab:
        targets = [f"{address}:25" for address in lab.many_addresses(TARGETS)]
        for kind in ROUND:
            rounds, drift, cpu = measure(lab, kind, targets)
            good = rounds == SECONDS and drift < MOST_DRIFT and cpu < MOST_CPU
            over = over or not good
            figures = f"{rounds} rounds, drift {drift:.3f} s, {cpu:.2f} of a core"
            print(f"{kind:9} {figures}  {'ok' if good else 'OVER'}", flush=True)
    return int(over)


def measure(lab: Lab, kind: str, targets: list[str]) -> tuple[int, float, float]:
    """Watch in a pipe (as JSON) or on a terminal (the live table).

    Return the number of rounds; the seconds by which the most untimely one was told too late or
    too early, against the first; and how much of a core it took, with all nmap.
    """
    halfopen = str(Path(sys.executable).with_name("halfopen"))
    command = [halfopen, "watch", *targets, "--interval", "1", "--count", str(SECONDS)]
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
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    begin = time.monotonic()
    told: list[float] = []
    rest = b""
    with contextlib.suppress(OSError):  # so a terminal says that nobody has the other end any more
        while True:
            chunk = os.read(ours, 1 << 20)
            if not chunk:
                break
            # It may come in two parts.
            whole = rest + chunk
            told += [time.monotonic()] * (whole.count(ROUND[kind]) - rest.count(ROUND[kind]))
            rest = whole[-8:]
    os.close(ours)
    _, _, usage = os.wait4(process.pid, 0)
    passed = time.monotonic() - begin
    process.returncode = 0  # it has been waited for
    if kind == "terminal":  # the table is drawn before the first round, too
        told = told[1:]
    drift = max(abs(when - told[0] - number) for number, when in enumerate(told))
    return len(told), drift, (usage.ru_utime + usage.ru_stime) / passed


if __name__ == "__main__":
    sys.exit(main())
