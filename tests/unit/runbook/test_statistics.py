"""What a series of rounds adds up to."""

from typing import List, Optional

import pytest
from support.rounds import BEGIN, UNIX, row, verdict

from halfopen.model import Status
from halfopen.runbook.statistics import HISTORY, Standing

STATES = [
    # states, changes, rounds since the last, of the rounds that found anything how many found it
    # open, since which round it is down
    ("closed", 0, 0, "0/1", 0),
    ("error", 0, 0, "0/0", None),
    ("open open", 0, 0, "2/2", None),
    ("open open error", 1, 2, "2/2", None),
    ("error closed", 1, 1, "0/1", 1),
    ("closed filtered", 1, 1, "0/2", 0),
    ("open closed error filtered", 3, 3, "1/3", 1),
    ("open closed closed open", 2, 3, "2/4", None),
]


@pytest.mark.parametrize(("states", "changes", "since", "found_open", "down"), STATES)
def test_changes_and_since_when_and_the_rounds_that_found_it_open(
    states: str, changes: int, since: int, found_open: str, down: Optional[int]
) -> None:
    found = row(*states.split())

    assert (found.changes, found.since) == (changes, UNIX + since)
    assert f"{found.open}/{found.found}" == found_open
    assert found.down_since == (None if down is None else UNIX + down)
    assert [found.before, found.state] == ["", *states.split()][-2:]


@pytest.mark.parametrize(
    ("wanted", "states", "in_a_row"),
    [
        ("open", "", 0),
        ("open", "closed open open", 2),
        ("open", "open open error", 0),
        ("closed filtered", "open closed filtered closed", 3),
    ],
)
def test_rounds_in_a_row_that_found_what_is_waited_for_are_counted(
    wanted: str, states: str, in_a_row: int
) -> None:
    assert row(*states.split(), wanted=wanted.split()).in_a_row == in_a_row


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
    assert row(*states.split(), interval=10).longest_outage == 10 * longest


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_step_of_the_clock_changes_the_shown_times_and_no_length(step: float) -> None:
    found = row("closed")

    found.add(verdict("closed"), UNIX + step + 1, BEGIN + 1)
    found.add(verdict("open"), UNIX + step + 2, BEGIN + 2)

    assert (found.longest_outage, found.since) == (2, UNIX + step + 2)


def test_round_trips_are_those_that_were_measured() -> None:
    found = row()
    for word, rtt in (("open", 0.002), ("filtered", None), ("closed", 0.001), ("open", 0.006)):
        found.add(verdict(word, rtt=rtt), UNIX, BEGIN)
    found.add(verdict("error"), UNIX, BEGIN)

    assert (found.rtts, found.rtt_min, found.rtt_max) == (3, 0.001, 0.006)
    assert found.rtt_sum == pytest.approx(0.009)


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
    assert "".join(row(*states).history) == history


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
