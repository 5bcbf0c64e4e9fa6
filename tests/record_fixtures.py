"""Records nmap's answers again, and shows where they differ from the recorded ones.

    record_fixtures.py            into build/fixtures, to look at
    record_fixtures.py --write    in place of fixtures/recorded/nmap-VERSION

The cases (command line, user, truth) are those recorded for the same version, or for the newest
version at hand. Exit code: 0 no difference that matters, 1 some, 2 nothing could be recorded.
Versions, times, dates and MAC addresses don't matter. HALFOPEN_NMAP names an nmap other than the
installed one.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import platform
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from lab import NMAP, TOOL_PATH, Lab, nmap_version, why_no_lab

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

# What differs from run to run and says nothing about nmap's answer.
NOISE = (
    (r"Nmap \S+ scan initiated .*? as:", "Nmap VERSION scan initiated DATE as:"),
    (r' version="[^"]*"', ' version="VERSION"'),
    (r"<\?xml-stylesheet .*?\?>", "<?xml-stylesheet?>"),
    (r' (start|starttime|endtime|time|elapsed|srtt|rttvar|to)="[-\d.]+"', r' \1="NUMBER"'),
    (r' (startstr|timestr)="[^"]*"', r' \1="DATE"'),
    (r"Nmap done at [^;]*;", "Nmap done at DATE;"),
    (r"scanned in [\d.]+ seconds", "scanned in NUMBER seconds"),
    (r'addr="(?:[0-9A-F]{2}:){5}[0-9A-F]{2}"', 'addr="MAC"'),
    (r":\d+ > ", ":PORT > "),
    (r"\b(ttl|id|seq)=\d+", r"\1=NUMBER"),
)


class Recording(NamedTuple):
    """One run of nmap: what `-oX -` printed, and how it was run."""

    xml: str
    run: dict[str, Any]

    def comparable(self) -> list[str]:
        keys = ("argv", "user", "returncode", "stderr", "truth")
        lines = [f"{key}: {self.run[key]!r}" for key in keys] + self.xml.splitlines()
        for pattern, replacement in NOISE:
            lines = [re.sub(pattern, replacement, line) for line in lines]
        return lines


def main() -> int:
    missing = why_no_lab()
    if missing:
        print(f"can't record: {missing}", file=sys.stderr)
        return 2
    version = f"nmap-{nmap_version()}"
    before = recorded(version)
    print(f"recording {len(before)} cases with {version}")
    with Lab() as lab:
        for ns in ("scanner", "target"):
            lab.set_hosts(HOSTS, ns)
        after = {case: record(lab, case, old.run, version) for case, old in before.items()}
    differing = sum(differs(case, before[case], after[case]) for case in before)
    print(f"{differing} of {len(before)} cases differ in what matters")
    folder = (RECORDED if "--write" in sys.argv[1:] else ROOT / "build" / "fixtures") / version
    shutil.rmtree(str(folder), ignore_errors=True)
    for case, recording in after.items():
        (folder / case).mkdir(parents=True)
        (folder / case / "nmap.xml").write_text(recording.xml)
        (folder / case / "run.json").write_text(json.dumps(recording.run, indent=2) + "\n")
    print(f"written to {folder}")
    return 1 if differing else 0


def recorded(version: str) -> dict[str, Recording]:
    """Return the recorded set of this version, or of the newest."""
    folder = RECORDED / version
    if not folder.is_dir():
        numbers = [re.findall(r"\d+", each.name) for each in RECORDED.glob("nmap-*.*")]
        newest = max(numbers, key=lambda number: [int(part) for part in number])
        folder = RECORDED / f"nmap-{'.'.join(newest)}"
    return {
        path.parent.name: Recording(
            path.with_name("nmap.xml").read_text(), json.loads(path.read_text())
        )
        for path in sorted(folder.glob("*/run.json"))
    }


def record(lab: Lab, case: str, old: dict[str, Any], version: str) -> Recording:
    """Run one case's command again, in a network as it was when the case was first recorded."""
    command = [*(AS_NOBODY if old["user"] == "nobody" else ()), *old["argv"]]
    ports = DROPPED_BY_OUR_FIREWALL if WITH_OUR_FIREWALL.search(case) else ()
    recorded = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    start = time.monotonic()
    ns = "target" if case in ON_THE_TARGET else "scanner"
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
    return Recording(done.stdout, run)


def differs(case: str, old: Recording, new: Recording) -> bool:
    """Print what matters and has changed; return whether there was any."""
    names = f"{case} before", f"{case} now"
    lines = difflib.unified_diff(old.comparable(), new.comparable(), *names, n=0, lineterm="")
    text = "\n".join(lines)
    print(text, end="\n\n" if text else "")
    return bool(text)


if __name__ == "__main__":
    sys.exit(main())
