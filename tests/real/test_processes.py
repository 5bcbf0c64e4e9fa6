"""However a check ends, no nmap stays behind."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest
from lab import TARGET, Capture, Lab, Running

from .commands import plugin

SILENT = 80
PATIENCE = 30.0
# Signals that whoever started pytest had ignored (as sh does for `&`) would be ignored here too.
UNIGNORED = """\
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for it, but not forever."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited {PATIENCE} s in vain until {what}"
        time.sleep(0.01)


def nmaps(lab: Lab) -> int:
    """Return how many nmap run in the scanner's namespace."""
    return list(lab.pids().values()).count("nmap")


@pytest.fixture
def start(lab: Lab) -> Iterator[Callable[..., Running[str]]]:
    """Return what starts a check of a silent port; it is over when the test is."""
    started = []

    def begin(*words: object) -> Running[str]:
        command = plugin(*words, "-H", TARGET[4], "-p", SILENT)
        process = lab.popen([sys.executable, "-c", UNIGNORED, *command])
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate(timeout=PATIENCE)
    until(lambda: nmaps(lab) == 0, "no nmap is left")


def until_asked(lab: Lab, packets: Capture, nmap_count: int, probes: int) -> None:
    """Wait until so many nmap run and all have asked: then they wait for an answer."""

    def asked() -> bool:
        sent = sum(packet.dport == SILENT for packet in packets.update())
        return sent >= probes and nmaps(lab) == nmap_count

    until(asked, f"{nmap_count} nmap have asked")


# The first look at a silent port is one nmap that asks twice, the second three side by side.
@pytest.mark.parametrize(
    ("nmap_count", "probes"), [(1, 1), (3, 5)], ids=["first-look", "second-look"]
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_the_check_by_that_signal_and_nmap_with_it(
    lab: Lab,
    start: Callable[..., Running[str]],
    number: signal.Signals,
    nmap_count: int,
    probes: int,
) -> None:
    with lab.capture() as packets:
        process = start()
        until_asked(lab, packets, nmap_count, probes)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == -number
        assert nmaps(lab) == 0


def test_orphaned_nmap_ends_by_itself_within_the_timeout(
    lab: Lab, start: Callable[..., Running[str]], tmp_path: Path
) -> None:
    # An nmap that would wait a minute for an answer, if it were not for --host-timeout.
    slow = tmp_path / "slow-nmap"
    minute = "--initial-rtt-timeout 60s --max-rtt-timeout 60s --min-rtt-timeout 60s"
    slow.write_text(f'#!/bin/sh\nexec nmap "$@" {minute}\n')
    slow.chmod(0o755)
    with lab.capture() as packets:
        process = start("--nmap", slow, "--timeout", 3)
        until_asked(lab, packets, nmap_count=1, probes=1)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert nmaps(lab) == 1
    until(lambda: nmaps(lab) == 0, "the orphan ends")
