"""How a time budget is spent: attempts that fit into it."""

import pytest

from halfopen.scan.attempts import EACH, PATIENT, QUICK, SIDE_BY_SIDE, START, Attempt, first, last


def seconds(attempt: Attempt, scans: int) -> float:
    """Return how long an attempt takes if nothing ever answers, in as many waves as it needs."""
    runs = scans * attempt.runs
    waves = -(-runs // SIDE_BY_SIDE)
    return waves * (START + EACH * min(runs, SIDE_BY_SIDE) + 2 * attempt.rtt_timeout)


@pytest.mark.parametrize("scans", [1, 4, 16, 32, 33, 50, 200])
@pytest.mark.parametrize("budget", [0.3, 0.8, 1, 2, 10, 3600])
def test_the_attempts_fit_into_the_budget_if_they_mean_anything(budget: float, scans: int) -> None:
    attempt = first(budget, scans)
    left = budget - seconds(attempt, scans)
    again = last(left, scans)

    assert left >= -1e-9 or not attempt.conclusive
    if attempt == QUICK:
        assert again.conclusive
        assert seconds(again, scans) <= left + 1e-9


@pytest.mark.parametrize("budget", [-1.0, 0.0, 0.1])
def test_without_time_a_target_is_still_asked_once(budget: float) -> None:
    assert first(budget).rtt_timeout == 0.01


@pytest.mark.parametrize(
    ("budget", "shortest", "longest"),
    [(0.3, 0.01, 0.1), (0.8, 0.3, 0.32), (1, 0.15, 0.15), (2, 0.15, 0.15), (3600, 0.15, 0.15)],
)
def test_the_first_attempt_is_quick_unless_that_left_no_time_for_a_patient_one(
    budget: float, shortest: float, longest: float
) -> None:
    attempt = first(budget)

    assert shortest <= attempt.rtt_timeout <= longest
    assert attempt.runs == (1 if budget >= 1 else PATIENT.runs)
    assert attempt.conclusive == (budget > 0.5)


@pytest.mark.parametrize(
    ("budget", "scans", "runs", "rtt_timeout"),
    [
        pytest.param(10, 1, 3, 0.5, id="one"),
        pytest.param(0.8, 1, 3, 0.31, id="one-in-a-hurry"),
        pytest.param(10, 10, 3, 0.5, id="many-side-by-side"),
        pytest.param(0.8, 10, 3, 0.175, id="many-side-by-side-in-a-hurry"),
        pytest.param(10, 32, 3, 0.5, id="in-three-waves"),
        pytest.param(3, 32, 2, 0.5, id="time-for-two-waves"),
        pytest.param(1.4, 32, 1, 0.465, id="time-for-not-quite-one"),
        pytest.param(60, 157, 3, 0.5, id="10000-hosts-in-15-waves"),
        pytest.param(6, 157, 1, 0.365, id="10000-hosts-in-a-hurry"),
    ],
)
def test_the_last_attempt_has_as_many_runs_as_there_is_time_for(
    budget: float, scans: int, runs: int, rtt_timeout: float
) -> None:
    attempt = last(budget, scans)

    assert attempt == Attempt(attempt.rtt_timeout, runs)
    assert attempt.rtt_timeout == pytest.approx(rtt_timeout)


def test_a_check_ends_well_before_other_tools_lose_patience() -> None:
    assert seconds(QUICK, 1) + seconds(last(10), 1) < 2.2
