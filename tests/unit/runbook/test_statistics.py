"""What a series of rounds adds up to."""

from typing import List, Optional

import pytest
from support.rounds import BEGIN, UNIX, row, verdict

from halfopen.model import Status
from halfopen.runbook.statistics import HISTORY, Standing, Statistics


def test_without_a_round_nothing_is_known() -> None:
    _, nothing = row()

    assert (nothing.verdict, nothing.state, nothing.status) == (None, "", Status.UNKNOWN)
    assert (nothing.in_a_row, nothing.changes, nothing.availability) == (0, 0, None)
    assert (nothing.rtt_mean, list(nothing.history)) == (0, [])


@pytest.mark.parametrize(
    ("states", "changes", "since"),
    [
        ("closed", 0, 0),
        ("open open", 0, 0),
        ("open open error", 1, 2),
        ("open closed closed open", 2, 3),
    ],
)
def test_another_state_is_a_change_and_the_first_is_none(
    states: str, changes: int, since: int
) -> None:
    _, statistics = row(*states.split())

    assert (statistics.changes, statistics.since) == (changes, UNIX + since)
    assert statistics.state == states.rsplit(maxsplit=1)[-1]


@pytest.mark.parametrize(
    ("wanted", "states", "in_a_row"),
    [
        ("open", "closed open open", 2),
        ("open", "open open error", 0),
        ("closed filtered", "open closed filtered closed", 3),
    ],
)
def test_rounds_in_a_row_that_found_what_is_waited_for_are_counted(
    wanted: str, states: str, in_a_row: int
) -> None:
    assert row(*states.split(), wanted=wanted.split())[1].in_a_row == in_a_row


@pytest.mark.parametrize(
    ("states", "availability"),
    [
        ("open", 100.0),
        ("closed filtered", 0.0),
        ("open closed filtered open", 50.0),
        ("open error error error", 100.0),
        ("error closed", 0.0),
        ("error", None),
    ],
)
def test_availability_is_of_the_rounds_that_found_anything(
    states: str, availability: Optional[float]
) -> None:
    _, statistics = row(*states.split())

    assert statistics.availability == availability


@pytest.mark.parametrize(
    ("states", "longest"),
    [
        pytest.param("open open", 0, id="none"),
        pytest.param("open closed open", 1, id="until-it-was-found-open"),
        pytest.param("closed filtered closed open", 3, id="in-any-state-but-open"),
        pytest.param("open closed open closed closed closed open closed open", 3, id="longest"),
        pytest.param("open closed closed closed", 2, id="it-lasts-until-the-last-round"),
        pytest.param("closed", 0, id="one-round-has-no-length"),
        pytest.param("open error error open", 0, id="failed-checks-are-none"),
        pytest.param("closed error error open", 3, id="failed-checks-end-none"),
        pytest.param("closed error error", 0, id="failed-checks-prolong-none"),
        pytest.param("error closed closed", 1, id="after-failed-checks"),
    ],
)
def test_the_longest_outage(states: str, longest: int) -> None:
    assert row(*states.split(), interval=10)[1].longest_outage == 10 * longest


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_step_of_the_clock_changes_the_shown_times_and_no_length(step: float) -> None:
    _, statistics = row("closed")

    statistics.add(verdict("closed"), UNIX + step + 1, BEGIN + 1)
    statistics.add(verdict("open"), UNIX + step + 2, BEGIN + 2)

    assert statistics.longest_outage == 2
    assert statistics.since == UNIX + step + 2


@pytest.mark.parametrize(
    ("states", "since"),
    [("open closed error filtered", 1), ("closed open", None), ("error", None)],
)
def test_an_outage_that_has_not_ended_tells_since_when(states: str, since: Optional[int]) -> None:
    down_since = row(*states.split())[1].down_since

    assert down_since == (None if since is None else UNIX + since)


def test_round_trips_are_those_that_were_measured() -> None:
    statistics = Statistics()
    for word, rtt in (("open", 0.002), ("filtered", None), ("closed", 0.001), ("open", 0.006)):
        statistics.add(verdict(word, rtt=rtt), UNIX, BEGIN)
    statistics.add(verdict("error"), UNIX, BEGIN)

    assert statistics.rtts == 3
    assert (statistics.rtt_min, statistics.rtt_max) == (0.001, 0.006)
    assert statistics.rtt_mean == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("states", "history"),
    [
        (["open", "closed", "filtered", "error"], "ox.?"),
        (["closed"] + ["open"] * (HISTORY - 1), "x" + "o" * (HISTORY - 1)),
        (["closed"] + ["open"] * HISTORY, "o" * HISTORY),
    ],
    ids=["marks", "full", "oldest-goes"],
)
def test_the_history_has_the_last_results(states: List[str], history: str) -> None:
    assert "".join(row(*states)[1].history) == history


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ("open open", Status.OK),
        ("open error", Status.UNKNOWN),
        ("error closed", Status.CRITICAL),
        ("filtered open", Status.CRITICAL),
        ("- open", Status.UNKNOWN),
    ],
)
def test_the_worst_of_the_last_states_counts(states: str, status: Status) -> None:
    rows = [row() if state == "-" else row("closed", state) for state in states.split()]

    assert Standing(rows).status is status
