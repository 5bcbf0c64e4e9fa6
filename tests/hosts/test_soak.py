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
OPEN = ROOT / "fixtures" / "recorded" / "nmap-7.93" / "v4-open-plus-one" / "nmap.xml"
# Only for a tool that hangs.
LONGEST_S = 900

LIAR = f"""\
#!/bin/sh
# This is a fake nmap: it asks nobody, fails for port 123, and calls every other one open.
for word; do
    case $before in -p) port=${{word%%[-,]*}} ;; esac
    before=$word
done
case $port in 123) exit 1 ;; esac
case $word in *:*) type=ipv6 ;; *) type=ipv4 ;; esac
sed "s/192\\.0\\.2\\.25/$word/; s/\\"25\\"/\\"$port\\"/; s/ipv4/$type/" '{OPEN}'
"""

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


def soak(checks: int, *words: object, nmap: Path | None = None) -> Finished[str]:
    """Make a few checks."""
    command = [sys.executable, str(ROOT / "tests" / "soak.py"), "--checks", str(checks)]
    environment = dict(os.environ, **({"HALFOPEN_NMAP": str(nmap)} if nmap else {}))
    return subprocess.run(
        [*command, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
        env=environment,
        check=False,
    )


def script(folder: Path, name: str, text: str) -> Path:
    """Write a program."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def row(printed: str, about: str) -> list[int]:
    """Return a row's numbers: verdicts, open, closed, filtered, missed, starved, wrong."""
    found = re.search(rf"^{re.escape(about)}((?: +\d+){{7}}) ", printed, re.M)
    assert found, printed
    return [int(number) for number in found.group(1).split()]


def wrong(printed: str) -> dict[str, int]:
    """Return what was wrong, and how often."""
    return {what: int(n) for what, n in re.findall(r"^WRONG: ([a-z ]+) (\d+)$", printed, re.M)}


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


def test_verdicts_that_come_from_nowhere_are_noticed(tmp_path: Path) -> None:
    done = soak(42, nmap=script(tmp_path, "fake-nmap", LIAR))
    assert done.returncode == 1, done.stdout
    found = wrong(done.stdout)
    # "open" was true here, and nothing but the missing SYN/ACK tells that nobody had asked.
    assert row(done.stdout, "open")[6] == 8, done.stdout
    assert found["open unseen"] >= 8
    assert row(done.stdout, "dropped")[6] == 8, done.stdout
    assert found["false open"] >= 8
    assert row(done.stdout, "closed")[6] == 8, done.stdout
    assert found["unknown"] >= 8


def test_process_left_behind_is_noticed(tmp_path: Path) -> None:
    done = soak(21, "--parallel", 4, nmap=script(tmp_path, "leaving-nmap", LEAVER))
    assert done.returncode == 1, done.stdout
    assert re.search(r"^WRONG: \d\d+ left behind: sleep$", done.stdout, re.M)
    assert wrong(done.stdout) == {}, done.stdout


def test_what_a_long_lived_process_holds_on_to_is_noticed(tmp_path: Path) -> None:
    (tmp_path / PLUGIN.name).symlink_to(PLUGIN)
    script(tmp_path, HALFOPEN.name, LEAKY)
    done = soak(20, "--parallel", 4, "--commands", tmp_path)
    assert done.returncode == 1, done.stdout
    for what in ("descriptors", "children", "memory"):
        assert re.search(rf"^WRONG: the watch has [\d.]+ {what}, from ", done.stdout, re.M), what
    assert wrong(done.stdout) == {}, done.stdout
