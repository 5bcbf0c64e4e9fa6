"""How a time budget is spent: attempts that fit into it."""

from typing import Sequence

import pytest

from halfopen.scan.attempts import EACH, PATIENT, QUICK, SIDE_BY_SIDE, START, Attempt, plan

BUDGETS = [0.3, 0.8, 1, 2, 10, 3600]


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_plan_is_never_empty_and_fits_into_its_budget(budget: float) -> None:
    attempts = plan(budget)

    assert attempts
    assert all(attempt.rtt_timeout > 0 and attempt.runs > 0 for attempt in attempts)
    assert longest(attempts) <= budget + 1e-9


@pytest.mark.parametrize("budget", [-1.0, 0.0, 0.1])
def test_a_plan_for_no_time_at_all_still_asks_once(budget: float) -> None:
    (attempt,) = plan(budget)

    assert attempt.rtt_timeout == 0.01


@pytest.mark.parametrize("budget", [2, 10, 3600])
def test_with_time_enough_a_quick_attempt_comes_before_the_patient_one(budget: float) -> None:
    assert plan(budget) == (QUICK, PATIENT)


def test_a_plan_of_a_second_shortens_the_patient_attempt() -> None:
    quick, patient = plan(1)

    assert quick == QUICK
    assert QUICK.rtt_timeout < patient.rtt_timeout < PATIENT.rtt_timeout
    assert patient.runs == PATIENT.runs


@pytest.mark.parametrize("budget", [0.3, 0.8])
def test_a_small_budget_is_spent_on_one_attempt_with_all_the_probes(budget: float) -> None:
    (attempt,) = plan(budget)

    assert attempt.runs == PATIENT.runs
    assert longest([attempt]) == pytest.approx(budget)


def test_the_default_plan_ends_well_before_other_tools_lose_patience() -> None:
    assert longest(plan(10)) < 2.2


def test_silence_means_something_after_the_quick_attempts_wait_and_not_before() -> None:
    assert QUICK.conclusive
    assert all(attempt.conclusive for attempt in plan(0.8))
    assert not any(attempt.conclusive for attempt in plan(0.3))


@pytest.mark.parametrize("scans", [1, 4, 16, 32, 33, 50, 200])
@pytest.mark.parametrize("budget", [2, 10])
def test_many_scans_share_the_budget(scans: int, budget: float) -> None:
    waves = -(-scans // SIDE_BY_SIDE)
    side_by_side = min(scans, SIDE_BY_SIDE)

    attempts = plan(budget, scans)

    took = sum(START + EACH * side_by_side * one.runs + 2 * one.rtt_timeout for one in attempts)
    assert waves * took <= budget + 1e-6 or not attempts[-1].conclusive
    assert all(
        attempt.runs * side_by_side <= SIDE_BY_SIDE or attempt.runs == 1 for attempt in attempts
    )


def test_more_scans_than_fit_at_once_are_asked_by_one_run_each() -> None:
    assert [attempt.runs for attempt in plan(10, 50)] == [1, 1]
    assert [attempt.runs for attempt in plan(10, 16)] == [1, 2]


def longest(attempts: Sequence[Attempt]) -> float:
    """Return how long the attempts take if nothing ever answers."""
    return sum(START + EACH * attempt.runs + 2 * attempt.rtt_timeout for attempt in attempts)
