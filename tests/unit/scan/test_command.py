"""nmap's argv, word by word, and how a time budget is spent."""

import os
from pathlib import Path
from typing import List, Sequence

import pytest

import halfopen
from halfopen.scan import command
from halfopen.scan.attempts import EACH, PATIENT, QUICK, SIDE_BY_SIDE, START, Look, plan
from halfopen.scan.command import QUICK_RTT_TIMEOUT, argv, ports, second_port

DATA_FOLDER = os.path.join(os.path.dirname(os.path.abspath(halfopen.__file__)), "nmap_data")
BUDGETS = [0.3, 0.8, 1, 2, 10, 3600]


def words(command: str) -> List[str]:
    """Return a command's words, with our data folder in the place of DATA."""
    return [DATA_FOLDER if word == "DATA" else word for word in command.split()]


def test_the_ipv4_command_is_exactly_this() -> None:
    assert argv(
        ["192.0.2.25"], 25, version=4, rtt_timeout=QUICK_RTT_TIMEOUT, time_left=10
    ) == words(
        "-n -sS -Pn --disable-arp-ping --send-ip --datadir DATA --min-rate 20 "
        "--initial-rtt-timeout 150ms --min-rtt-timeout 150ms --max-rtt-timeout 150ms "
        "--host-timeout 10000ms -p 25,26 -oX - 192.0.2.25"
    )


def test_the_ipv6_command_is_exactly_this() -> None:
    addresses = ["2001:db8::25", "fe80::25%eth0"]

    assert argv(
        addresses,
        65535,
        version=6,
        rtt_timeout=PATIENT.rtt_timeout,
        time_left=9.5604,
        plus_one=True,
    ) == words(
        "-n -sS -6 -Pn --disable-arp-ping --send-ip --datadir DATA --min-rate 40 "
        "--initial-rtt-timeout 500ms --min-rtt-timeout 500ms --max-rtt-timeout 500ms "
        "--host-timeout 8000ms -p 65535,65534 -oX - 2001:db8::25 fe80::25%eth0"
    )


def test_without_plus_one_only_the_asked_port_is_scanned() -> None:
    command = argv(
        ["192.0.2.25"], 25, version=4, rtt_timeout=QUICK_RTT_TIMEOUT, time_left=10, plus_one=False
    )

    assert command[command.index("-p") + 1] == "25"


def test_without_a_real_data_folder_nmap_reads_its_own_tables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inside_a_zip = tmp_path / "halfopen.pyz" / "halfopen" / "scan" / "command.py"
    monkeypatch.setattr(command, "__file__", str(inside_a_zip))

    assert "--datadir" not in argv(
        ["192.0.2.25"], 25, version=4, rtt_timeout=QUICK_RTT_TIMEOUT, time_left=10
    )


def test_the_data_folder_has_the_tables_that_nmap_reads_at_its_start() -> None:
    assert {"nmap-services", "nmap-mac-prefixes"} <= set(os.listdir(DATA_FOLDER))


@pytest.mark.parametrize("time_left", [0.0004, 0.0, -3.0])
def test_nmap_is_never_given_a_host_timeout_of_zero_which_means_none(time_left: float) -> None:
    command = argv(
        ["192.0.2.25"], 25, version=4, rtt_timeout=QUICK_RTT_TIMEOUT, time_left=time_left
    )

    assert command[command.index("--host-timeout") + 1] == "1ms"


@pytest.mark.parametrize(
    ("port", "second", "both"),
    [
        (1, 2, "1,2"),
        (25, 26, "25,26"),
        (65534, 65535, "65534,65535"),
        (65535, 65534, "65535,65534"),
    ],
)
def test_the_asked_port_is_named_first_and_the_second_is_a_real_port(
    port: int, second: int, both: str
) -> None:
    assert second_port(port) == second
    assert ports(port, plus_one=True) == both


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_plan_is_never_empty_and_fits_into_its_budget(budget: float) -> None:
    looks = plan(budget)

    assert looks
    assert all(look.rtt_timeout > 0 and look.runs > 0 for look in looks)
    assert longest(looks) <= budget + 1e-9


@pytest.mark.parametrize("budget", [-1.0, 0.0, 0.1])
def test_a_plan_for_no_time_at_all_still_asks_once(budget: float) -> None:
    (look,) = plan(budget)

    assert look.rtt_timeout == 0.01


@pytest.mark.parametrize("budget", [2, 10, 3600])
def test_with_time_enough_a_quick_look_comes_before_the_patient_one(budget: float) -> None:
    assert plan(budget) == (QUICK, PATIENT)


def test_a_plan_of_a_second_shortens_the_patient_look() -> None:
    quick, patient = plan(1)

    assert quick == QUICK
    assert QUICK.rtt_timeout < patient.rtt_timeout < PATIENT.rtt_timeout
    assert patient.runs == PATIENT.runs


@pytest.mark.parametrize("budget", [0.3, 0.8])
def test_a_small_budget_is_spent_on_one_look_with_all_the_probes(budget: float) -> None:
    (look,) = plan(budget)

    assert look.runs == PATIENT.runs
    assert longest([look]) == pytest.approx(budget)


def test_the_default_plan_ends_well_before_other_tools_lose_patience() -> None:
    assert longest(plan(10)) < 2.2


def test_silence_means_something_after_the_quick_looks_patience_and_not_before() -> None:
    assert QUICK.conclusive
    assert all(look.conclusive for look in plan(0.8))
    assert not any(look.conclusive for look in plan(0.3))


@pytest.mark.parametrize("questions", [1, 4, 16, 32, 33, 50, 200])
@pytest.mark.parametrize("budget", [2, 10])
def test_many_questions_share_the_budget(questions: int, budget: float) -> None:
    waves = -(-questions // SIDE_BY_SIDE)
    side_by_side = min(questions, SIDE_BY_SIDE)

    looks = plan(budget, questions)

    took = sum(START + EACH * side_by_side * one.runs + 2 * one.rtt_timeout for one in looks)
    assert waves * took <= budget + 1e-6 or not looks[-1].conclusive
    assert all(look.runs * side_by_side <= SIDE_BY_SIDE or look.runs == 1 for look in looks)


def test_more_questions_than_fit_at_once_are_asked_by_one_run_each() -> None:
    assert [look.runs for look in plan(10, 50)] == [1, 1]
    assert [look.runs for look in plan(10, 16)] == [1, 2]


def longest(looks: Sequence[Look]) -> float:
    """Return how long the looks take if nothing ever answers."""
    return sum(START + EACH * look.runs + 2 * look.rtt_timeout for look in looks)


@pytest.mark.parametrize("time_left", [0.3, 0.9, 1.05, 1.2, 1.49, 1.7, 2.2, 2.9])
def test_a_short_host_timeout_takes_nothing_from_the_patience(time_left: float) -> None:
    command = argv(["192.0.2.25"], 25, version=4, rtt_timeout=0.5, time_left=time_left)
    limit = command[command.index("--host-timeout") + 1]

    assert limit == f"{int(time_left * 1000)}ms"


@pytest.mark.parametrize(
    ("time_left", "limit"), [(4.5, "4000ms"), (5.99, "4000ms"), (6, "6000ms"), (9.9, "8000ms")]
)
def test_a_long_host_timeout_has_the_same_words_for_two_seconds(
    time_left: float, limit: str
) -> None:
    command = argv(["192.0.2.25"], 25, version=4, rtt_timeout=0.5, time_left=time_left)

    assert command[command.index("--host-timeout") + 1] == limit
