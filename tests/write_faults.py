"""Makes each fault of tests/hosts/faults.py, and writes what came of it: operators/faults.md.

Runs on a throwaway machine in namespaces of its own, so it needs root.
"""

from __future__ import annotations

import sys
import time

from hosts.faults import DOCUMENT, FAULTS, row, world
from lab import Lab, nmap_version, why_no_lab
from support.machine import site

HEAD = """\
# What comes of which fault

Written by `make faults` on {date}, with nmap {nmap} and Python {python}. The tests make each fault
again, and compare all but the times.

`check_tcp_half_open` asks about 192.0.2.25, with port 25 open and port 80 silent, on a throwaway
machine. Exit code 3 is UNKNOWN. "Left" is what still ran after it. A row stands for several runs
where it names several things; where nmap fails, or a descriptor is closed, for one without options
and one with them. The time is the longest of them, Python's start included.
"""
TITLES = {
    "nmap": "Of nmap: it ...",
    "system": "Of the system",
    "caller": "Of the caller",
}
COLUMNS = "| Fault | Exit code | The line | Left | Time |\n| --- | --- | --- | --- | --- |"
NOTES = {
    "nmap": "A fake in nmap's place does this.",
    "system": "nmap is the real one. Where a limit of memory or of descriptors bites differs from "
    "one Python to\nthe next: of these rows the tests ask for nothing but UNKNOWN or the truth. "
    "Below about 20 MB Python\nitself can fail in other ways: 3.7 aborts (exit code 134), and once "
    "in some 170 runs 3.11 never ended.",
    "caller": 'nmap is the real one, but for the one that hangs. "The signal" is death by the one '
    "that was sent.",
}


def main() -> None:
    """Write the document."""
    reason = why_no_lab()
    if reason:
        sys.exit(f"write_faults: {reason}")
    with Lab() as lab, site() as installed, world(lab, installed) as made:
        python = made.machine.run([str(installed.bin / "python"), "-V"]).stdout.split()[1]
        date = time.strftime("%Y-%m-%d")
        parts = [HEAD.format(date=date, nmap=nmap_version(), python=python)]
        for kind, faults in FAULTS.items():
            rows = [row(fault, made.endings(fault)) for fault in faults]
            part = [f"## {TITLES[kind]}", "", NOTES[kind], "", COLUMNS, *rows, ""]
            parts.append("\n".join(part))
    DOCUMENT.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {DOCUMENT}")


if __name__ == "__main__":
    main()
