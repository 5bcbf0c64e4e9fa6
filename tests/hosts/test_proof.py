"""The proof with a real Postfix and a real Squid holds, and would not hold for a full connect."""

from __future__ import annotations

import re
from pathlib import Path

import proof
import pytest
from proof import CHECKS, LOAD_BALANCER, POSTFIX, SQUID, Finding, Round, Server
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


FULL = Round(CHECKS, [proof.FULL_STORY] * CHECKS, CHECKS, [LINE] * CHECKS)
HALF = Round(CHECKS, [proof.HALF_STORY] * CHECKS, 0, [])


def test_the_proof_holds_and_is_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "how-it-works" / "proof.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n\$ make proof\n(.*?)^```", page, re.M | re.S)

    assert proof.main() == 0

    printed = capsys.readouterr().out
    assert without_versions(printed) == without_versions(shown)
    assert max(map(len, printed.splitlines())) <= 100


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
        "Postfix: half-open: SYN, SYN/ACK, ACK, ...",
        "Postfix: half-open: 20 connections",
        "Postfix: half-open: 60 lines in the log",
        "Squid: half-open: SYN, SYN/ACK, ACK, ...",
        "Squid: half-open: 20 connections",
        "Squid: half-open: 20 lines in the log",
    } == set(against)


def test_an_empty_log_proves_nothing_when_the_control_is_not_in_it_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first is for its answer, the second for its log.
    patience = iter([60.0, 3.0])
    monkeypatch.setattr(proof, "wait_until", lambda when: wait_until(when, next(patience)))

    with pytest.raises(RuntimeError, match="Squid: it does not log a full connect"):
        proof.find(servers=[squid_that("access_log none")])


@pytest.mark.parametrize(
    ("full", "half", "against"),
    [
        (FULL, HALF, []),
        (FULL._replace(up=19), HALF, ["full connect: 19 of 20 up"]),
        (FULL._replace(connections=19), HALF, ["full connect: 19 connections"]),
        (FULL._replace(lines=FULL.lines[1:]), HALF, ["full connect: 19 of 20 in the log"]),
        (FULL._replace(stories=HALF.stories), HALF, ["full connect: SYN, SYN/ACK, RST"]),
        (FULL._replace(stories=FULL.stories[1:]), HALF, ["full connect: 19 conversations"]),
        (FULL, HALF._replace(up=19), ["half-open: 19 of 20 up"]),
        (FULL, HALF._replace(connections=1), ["half-open: 1 connections"]),
        (FULL, HALF._replace(lines=["anything"]), ["half-open: 1 lines in the log"]),
        (FULL, HALF._replace(stories=FULL.stories), ["half-open: SYN, SYN/ACK, ACK, ..."]),
        (FULL, HALF._replace(stories=HALF.stories[1:]), ["half-open: 19 conversations"]),
        (
            FULL,
            HALF._replace(stories=[*HALF.stories, "SYN, SYN/ACK"]),
            ["half-open: SYN, SYN/ACK or SYN, SYN/ACK, RST"],
        ),
    ],
)
def test_each_kind_of_contrary_evidence_and_nothing_else_speaks_against_it(
    full: Round, half: Round, against: list[str]
) -> None:
    found = proof.faults(Finding(POSTFIX, full, half))
    assert found == [f"Postfix: {text}" for text in against]
