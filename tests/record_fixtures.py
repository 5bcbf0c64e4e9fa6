"""Records nmap's answers again, into fixtures/recorded/nmap-VERSION.

The cases (command line, user, truth) are those recorded for the same version, or for the newest
version at hand. git shows what differs, times and dates among it; what matters of that is for
tests/unit/test_fixtures.py, which judges every recording by its truth. HALFOPEN_NMAP names an nmap
other than the installed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from lab import NMAP, TOOL_PATH, Lab, nmap_version

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "fixtures" / "recorded"
HOSTS = """\
127.0.0.1 localhost
192.0.2.25 openldap.example.test
192.0.2.25 dual.example.test
192.0.2.77 dual.example.test
"""
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
ON_THE_TARGET = {"loopback-open"}
DROPPED_BY_OUR_FIREWALL = (25, 81)
WITH_OUR_FIREWALL = re.compile("refused-by-own-firewall$")
# Each command line says "nmap", as if it were installed.
ENVIRONMENT = dict(os.environ, PATH=os.pathsep.join([os.path.dirname(NMAP), TOOL_PATH]))
# The longest case, nobody at the address, takes nmap about 3 s.
CASE_TIMEOUT = 30


def main() -> None:
    version = f"nmap-{nmap_version()}"
    cases = recorded(version)
    print(f"recording {len(cases)} cases with {version}")
    with Lab() as lab:
        for ns in ("scanner", "target"):
            lab.set_hosts(HOSTS, ns)
        for case, old in cases.items():
            record(lab, RECORDED / version / case, old, version)


def recorded(version: str) -> dict[str, dict[str, Any]]:
    """Return how each case of this version, or of the newest, was run."""
    folder = RECORDED / version
    if not folder.is_dir():
        numbers = [re.findall(r"\d+", each.name) for each in RECORDED.glob("nmap-*.*")]
        newest = max(numbers, key=lambda number: [int(part) for part in number])
        folder = RECORDED / f"nmap-{'.'.join(newest)}"
    runs = sorted(folder.glob("*/run.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in runs}


def record(lab: Lab, folder: Path, old: dict[str, Any], version: str) -> None:
    """Run one case's command again, in a network as it was when the case was first recorded."""
    command = [*(AS_NOBODY if old["user"] == "nobody" else ()), *old["argv"]]
    ports = DROPPED_BY_OUR_FIREWALL if WITH_OUR_FIREWALL.search(folder.name) else ()
    recorded = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    start = time.monotonic()
    ns = "target" if folder.name in ON_THE_TARGET else "scanner"
    with lab.own_firewall(*ports) if ports else contextlib.nullcontext():
        done = lab.run(command, ns, timeout=CASE_TIMEOUT, env=ENVIRONMENT)
    run = {
        "argv": old["argv"],
        "returncode": done.returncode,
        "seconds": round(time.monotonic() - start, 3),
        "stderr": done.stderr,
        "truth": old["truth"],
        "nmap": version,
        "recorded": recorded,
        "kernel": platform.release().split("-", maxsplit=1)[0],
        "user": old["user"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nmap.xml").write_text(done.stdout)
    (folder / "run.json").write_text(json.dumps(run, indent=2) + "\n")


if __name__ == "__main__":
    main()
