"""The proof with a real Postfix and a real Squid holds, and would not hold for a full connect."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import proof
import pytest
from lab import Packet
from proof import CHECKS, LOAD_BALANCER, POSTFIX, SERVER, SQUID, Finding, Round, Server
from support.machine import ROOT, wait_until

NEEDS = ("postfix", "squid", "check_tcp")
LINE = f"mx postfix/smtpd[100]: disconnect from unknown[{LOAD_BALANCER}] commands=0/0"


def without_versions(text: str) -> str:
    names = "Postfix|Squid|check_tcp|halfopen|nmap"
    text = re.sub(rf"\b({names}) \d+(\.\d+)+\b", r"\1 N", text)
    # Postfix has this from 3.10 on, where there is no queue id.
    return text.replace(" NOQUEUE: lost connection ", " lost connection ")


def squid_that(logs: str) -> Server:
    ((name, settings),) = SQUID.settings
    changed = re.sub("(?m)^access_log .*", logs, settings)
    assert changed != settings
    return SQUID._replace(settings=[(name, changed)])


def packets(*flags: str) -> list[Packet]:
    """Return such a conversation, once for each check; small letters are the server's."""
    return [
        Packet(LOAD_BALANCER, 40000 + number, SERVER, POSTFIX.port, each)
        if each.isupper()
        else Packet(SERVER, POSTFIX.port, LOAD_BALANCER, 40000 + number, each.upper())
        for number in range(CHECKS)
        for each in flags
    ]


FULL = Round(CHECKS, CHECKS, packets("S", "sa", "A", "FA"), [LINE] * CHECKS)
HALF = Round(CHECKS, 0, packets("S", "sa", "R"), [])


def test_the_proof_holds_and_is_what_the_page_shows() -> None:
    page = (ROOT / "docs" / "how-it-works" / "proof.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n\$ make proof\n(.*?)^```", page, re.M | re.S)
    command = [sys.executable, proof.__file__]

    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert without_versions(done.stdout) == without_versions(shown)
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_check_that_connects_in_full_does_not_pass_for_half_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nor is a log that comes a second late taken for an empty one.
    late = squid_that(f"access_log daemon:{SQUID.log}\nbuffered_logs on")
    impostor = tmp_path / "check"
    impostor.write_text(f'#!/bin/sh\nexec {proof.FULL_CONNECT} -H "$1" -p "$2"\n')
    impostor.chmod(0o755)

    assert proof.main(str(impostor), [POSTFIX, late]) == 1

    against = capsys.readouterr().out.split("\n\nThe proof does not hold.\n")[1].splitlines()
    assert {
        "Postfix: 20 connections by half-open checks",
        "Postfix: 60 lines in the log by half-open checks",
        "Squid: 20 connections by half-open checks",
        "Squid: 20 lines in the log by half-open checks",
    } <= set(against)
    assert sum("neither SYN nor RST" in line for line in against) == 2


def test_an_empty_log_proves_nothing_when_the_control_is_not_in_it_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first is for its answer, the second for its log.
    patience = iter([60.0, 3.0])
    monkeypatch.setattr(proof, "wait_until", lambda when: wait_until(when, next(patience)))

    with pytest.raises(RuntimeError, match="Squid: it does not log a full connect"):
        proof.find(servers=[squid_that("access_log none")])


def packets_of(seen: Round, *flags: str) -> Round:
    return seen._replace(packets=packets(*flags))


@pytest.mark.parametrize(
    ("full", "half", "fault"),
    [
        (FULL, HALF, None),
        (FULL._replace(up=19), HALF, "19 full connects of 20 called it up"),
        (FULL._replace(connections=19), HALF, "19 connections by 20 full connects"),
        (FULL._replace(lines=FULL.lines[1:]), HALF, "19 full connects of 20 are in the log"),
        (packets_of(FULL, "S", "sa", "R"), HALF, "0 full connects of 20 were SYN, SYN/ACK, ACK"),
        (FULL, HALF._replace(up=19), "19 half-open checks of 20 called it up"),
        (FULL, HALF._replace(connections=1), "1 connections by half-open checks"),
        (FULL, HALF._replace(lines=["anything"]), "1 lines in the log by half-open checks"),
        (
            FULL,
            packets_of(HALF, "S", "sa", "A", "R"),
            "20 packets of half-open checks were neither SYN nor RST",
        ),
        (FULL, packets_of(HALF, "S", "sa"), "0 RST after 20 SYN/ACK of half-open checks"),
        (FULL, packets_of(HALF, "S", "R"), "0 SYN/ACK for 20 half-open checks"),
    ],
)
def test_each_kind_of_contrary_evidence_and_nothing_else_speaks_against_it(
    full: Round, half: Round, fault: str | None
) -> None:
    against = [f"Postfix: {fault}"] if fault else []
    assert proof.faults(Finding(POSTFIX, full, half)) == against
