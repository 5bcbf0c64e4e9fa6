"""A short soak finds nothing wrong, and finds what is, where something is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from lab import Finished
from real.commands import HALFOPEN, PLUGIN

ROOT = Path(__file__).resolve().parents[2]
# Only for a tool that hangs.
LONGEST_S = 900

LEAVER = """\
#!/bin/sh
# This is nmap, and leaves a process behind each time, out of reach of whoever started it.
setsid sleep 600 </dev/null >/dev/null 2>&1 &
exec nmap "$@"
"""

LEAKY = f"""\
#!{sys.executable}
# This is halfopen, and keeps something of each run of nmap.
import os, subprocess
from halfopen.scan import runner

kept = []
run_all = runner.run_all

def leaky_run_all(*words):
    kept.append((os.open(os.devnull, os.O_RDONLY), subprocess.Popen(["true"]), b"x" * 3000000))
    return run_all(*words)

runner.run_all = leaky_run_all
from halfopen.main import halfopen
halfopen()
"""


def soak(checks: int, *words: object, **env: str) -> Finished[str]:
    command = [sys.executable, str(ROOT / "tests" / "soak.py"), "--checks", checks, *words]
    return subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
        env={**os.environ, **env},
        check=False,
    )


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def row(printed: str, about: str) -> list[int]:
    """Return a row's numbers: verdicts, open, closed, filtered, missed, starved, wrong."""
    (found,) = re.findall(rf"^{re.escape(about)}((?: +\d+){{7}}) ", printed, re.M)
    return [int(number) for number in found.split()]


def wrong(printed: str) -> list[str]:
    return re.findall("^WRONG: (.*)", printed, re.M)


def test_200_checks_side_by_side_with_lost_packets_are_right_and_leak_nothing() -> None:
    done = soak(200)
    assert done.returncode == 0, done.stdout
    for about, state in (("open", 0), ("closed", 1), ("dropped", 2)):
        verdicts, *states, missed, starved, bad = row(done.stdout, about)
        assert bad == 0
        # Nothing else was said; most could be told.
        assert states[state] + missed * (state != 2) + starved == verdicts == 38
        assert states[state] > 19, done.stdout
    turning = row(done.stdout, "open/closed by turns")
    assert min(turning[1:3]) > 0, done.stdout


def test_process_left_behind_is_noticed(tmp_path: Path) -> None:
    leaver = script(tmp_path, "leaving-nmap", LEAVER)
    done = soak(21, "--parallel", 4, HALFOPEN_NMAP=str(leaver))
    assert done.returncode == 1, done.stdout
    (left,) = wrong(done.stdout)
    assert re.fullmatch(r"\d\d+ left behind: sleep", left)


def test_what_a_long_lived_process_holds_on_to_is_noticed(tmp_path: Path) -> None:
    (tmp_path / PLUGIN.name).symlink_to(PLUGIN)
    script(tmp_path, HALFOPEN.name, LEAKY)
    done = soak(20, "--parallel", 4, "--commands", tmp_path)
    assert done.returncode == 1, done.stdout
    held = [re.findall(r"the watch has [\d.]+ (\w+), from ", line) for line in wrong(done.stdout)]
    assert held == [["descriptors"], ["children"], ["memory"]], done.stdout
