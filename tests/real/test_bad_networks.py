"""Late and lost answers: an open port is called open."""

from __future__ import annotations

import pytest
from lab import TARGET, Lab

from .commands import plugin

CHECKS = 200
MAX_FALSE = 1


@pytest.mark.parametrize("delay", [190, 400, 900])
def test_late_syn_ack_is_open(delay: int) -> None:
    with Lab(synack_delay_ms=delay) as lab:
        for version in (4, 6):
            runs = lab.run_many(plugin(TARGET[version], 25), count=3)
            assert [run.returncode for run in runs] == [0, 0, 0], runs


def test_fifth_of_all_packets_lost_each_way_hardly_ever_hides_an_open_port() -> None:
    with Lab() as lab, lab.drop_fraction(0.2), lab.capture() as packets:
        runs = lab.run_many(plugin(TARGET[4], 25), CHECKS, side_by_side=8)
    # The second port, closed, shows that packets were lost: its answers are never sent again.
    asked = sum(packet.flags == "S" and packet.dport == 26 for packet in packets)
    answered = sum(packet.flags == "RA" and packet.sport == 26 for packet in packets)
    assert 0.5 < answered / asked < 0.8
    wrong = [run.stdout for run in runs if run.returncode != 0]
    assert len(wrong) <= MAX_FALSE, wrong


def test_lost_answers_never_make_a_closed_port_open() -> None:
    with Lab() as lab, lab.drop_fraction(0.2):
        runs = lab.run_many(plugin(TARGET[4], 123), count=16)
    assert {run.returncode for run in runs} == {2}, runs


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("dropped", "code", "said"),
    [(80, 3, "this machine refused to send to {} ("), (81, 2, "80 filtered (no-response)")],
    ids=["the-port", "the-second-port-alone"],
)
def test_a_silence_is_the_servers_unless_our_own_firewall_drops_the_syn(
    version: int, dropped: int, code: int, said: str
) -> None:
    with Lab() as lab, lab.own_firewall(dropped):
        done = lab.run(plugin(TARGET[version], 80))
    assert done.returncode == code
    assert said.format(TARGET[version]) in done.stdout
    assert done.stdout.count("\n") == 1
