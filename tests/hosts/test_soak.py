"""A short soak finds nothing wrong, and finds what is, where something is."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import soak

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


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def told(printed: str, about: str) -> dict[str, int]:
    """Return what was said of such ports, or was wrong with it, and how often."""
    (line,) = re.findall(f"^{about}: (.*);", printed, re.M)
    return {what: int(n) for what, n in re.findall(r"(\w[a-z ]*) (\d+)", line)}


def test_200_checks_side_by_side_with_lost_packets_are_right_and_leak_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, printed = soak.soak(200), capsys.readouterr().out
    assert code == 0, printed
    for about, state in (("open", "open"), ("closed", "closed"), ("dropped", "filtered")):
        counts = told(printed, about)
        # Nothing else was said; most could be told.
        assert set(counts) <= {state, "missed", "starved"}
        assert sum(counts.values()) == 38
        assert counts[state] > 19
    assert {"open", "closed"} <= set(told(printed, "open/closed by turns"))


def test_process_left_behind_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HALFOPEN_NMAP", str(script(tmp_path, "leaving-nmap", LEAVER)))
    code, printed = soak.soak(21, parallel=4), capsys.readouterr().out
    assert code == 1, printed
    (left,) = re.findall("^WRONG: (.*)", printed, re.M)
    assert re.fullmatch(r"\d\d+ left behind: sleep", left)


def test_what_a_long_lived_process_holds_on_to_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "check_tcp_half_open"
    plugin.symlink_to(soak.COMMANDS / plugin.name)
    script(tmp_path, "halfopen", LEAKY)
    code, printed = soak.soak(20, parallel=4, commands=tmp_path), capsys.readouterr().out
    assert code == 1, printed
    wrong = re.findall(r"^WRONG: (?:the watch has [\d.]+ (\w+), from )?", printed, re.M)
    assert wrong == ["descriptors", "children", "memory"], printed
