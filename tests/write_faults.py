"""Makes each fault of tests/hosts/faults.py, and writes what came of it into operators/faults.md.

The text round the tables is left as it is. Runs on a throwaway machine in namespaces of its own, so
it needs root.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Match

from hosts.faults import DOCUMENT, FAULTS, row, world
from lab import Lab, nmap_version, why_no_lab
from support.machine import INSTALLED, install

VERSIONS = re.compile(r"on \S+, with nmap \S+ and Python \d[\d.]*\d")
TABLE = re.compile(r"^(\| Fault \|.*\n\| --- \|.*\n)(?:\|.*\n)*", re.MULTILINE)


def main() -> None:
    """Write the document."""
    reason = why_no_lab()
    if reason:
        sys.exit(f"write_faults: {reason}")
    text = DOCUMENT.read_text(encoding="utf-8")
    kinds = iter(FAULTS.values())
    with Lab() as lab, tempfile.TemporaryDirectory() as folder, world(
        lab, install(Path(folder))
    ) as made:

        def with_rows(table: Match[str]) -> str:
            rows = [row(fault, made.endings(fault)) for fault in next(kinds)]
            return table.group(1) + "\n".join(rows) + "\n"

        text = TABLE.sub(with_rows, text)
        python = made.machine.run([f"{INSTALLED}/bin/python", "-V"]).stdout.split()[1]
    date = time.strftime("%Y-%m-%d")
    text = VERSIONS.sub(f"on {date}, with nmap {nmap_version()} and Python {python}", text, 1)
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"wrote {DOCUMENT}")


if __name__ == "__main__":
    main()
