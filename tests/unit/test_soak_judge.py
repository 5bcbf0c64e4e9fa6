"""tests/soak.py's judgement: each kind of wrong verdict is told, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import soak
from lab import Packet

TARGET = ("192.0.2.100", 2200)
SYN = Packet("192.0.2.1", 40000, *TARGET, "S")
SYN_ACK = Packet(*TARGET, "192.0.2.1", 40000, "SA")
RST = SYN_ACK._replace(flags="RA")
WORDS = {"open": ("OK", 0), "closed": ("CRITICAL", 2), "filtered": ("CRITICAL", 2)}


def check(state: str, **other: Any) -> soak.Check:
    word, code = WORDS[state]
    line = f"TCP HALF-OPEN {word} - {TARGET[0]}:{TARGET[1]} {state} (x)\n"
    return soak.Check("open", [TARGET], 0.0, 1.0, [], code, line, "")._replace(**other)


UNKNOWN: dict[str, Any] = {"code": 3, "stdout": "TCP HALF-OPEN UNKNOWN - late; raise --timeout\n"}


@pytest.mark.parametrize(
    ("one", "was", "packets", "fault"),
    [
        (check("open"), ["open", "closed"], [SYN, SYN_ACK], ""),
        (check("closed"), ["open", "closed"], [SYN, RST], ""),
        (check("filtered"), ["filtered"], [SYN], ""),
        (check("open"), ["closed"], [SYN, SYN_ACK], "false open"),
        (check("closed"), ["open"], [SYN, RST], "false closed"),
        (check("filtered"), ["open"], [SYN], "missed"),
        (check("open"), ["open"], [SYN_ACK, SYN], "open unseen"),
        (check("open"), ["open"], [SYN, RST], "open unseen"),
        (check("open"), ["open"], [SYN, SYN_ACK._replace(dport=40001)], "open unseen"),
        (check("closed"), ["closed"], [SYN, SYN_ACK], "closed unseen"),
        (check("open", **UNKNOWN), ["open"], [], "unknown"),
        (check("open", **UNKNOWN, ended=9.0), ["open"], [], "starved"),
        (check("open", code=2), ["open"], [SYN, SYN_ACK], "output"),
        (check("open", stdout=""), ["open"], [SYN, SYN_ACK], "output"),
        (check("open", stderr="x"), ["open"], [SYN, SYN_ACK], "output"),
        (check("open", ended=30.0), ["open"], [SYN, SYN_ACK], "late"),
        (check("open", code=None), ["open"], [SYN, SYN_ACK], "late"),
    ],
)
def test_judgement(one: soak.Check, was: list[str], packets: list[Packet], fault: str) -> None:
    truth = soak.Truth()
    truth.history[TARGET[1]] = [(0.5, 0.5, state) for state in was]
    found = soak.verdicts(one._replace(packets=packets), truth)
    assert [verdict.fault for verdict in found] == [fault]
    assert soak.show_faults(found) == ([] if fault in soak.HARMLESS else [f"{fault} 1"])


def test_half_of_what_is_missed_each_way_is_told_from_the_neighbours() -> None:
    ask = SYN._replace(dport=2201)
    reply = RST._replace(sport=2201)
    assert soak.lost([ask] * 100 + [reply] * 81) == pytest.approx(0.1)
    assert soak.lost([]) == 1.0
