"""What a series of rounds adds up to."""

import pytest
from support.rounds import BEGIN, UNIX, row, verdict

from halfopen.runbook.statistics import HISTORY

FOUND = [
    # The rounds; then changes, the round since when it is so, how many found it open of those that
    # found anything, the first round of an outage that has not ended, the longest outage in rounds.
    ("closed", "0 since 0, 0/1, down 0, longest 0"),  # one round has no length
    ("error", "0 since 0, 0/0, down -, longest 0"),
    ("open open", "0 since 0, 2/2, down -, longest 0"),
    ("open open error", "1 since 2, 2/2, down -, longest 0"),
    ("open error error open", "2 since 3, 2/2, down -, longest 0"),  # failed checks are no outage
    ("error closed closed", "1 since 1, 0/2, down 1, longest 1"),
    ("closed error error open", "2 since 3, 1/2, down -, longest 3"),  # nor do they end one
    ("closed error error", "1 since 1, 0/1, down 0, longest 0"),  # nor prolong it
    ("closed filtered closed open", "3 since 3, 1/4, down -, longest 3"),
    ("open closed error filtered", "3 since 3, 1/3, down 1, longest 2"),
    ("open closed closed closed", "1 since 1, 1/4, down 1, longest 2"),  # until the last round
    ("open closed open", "2 since 2, 2/3, down -, longest 1"),
    ("open closed open closed closed open closed", "5 since 6, 3/7, down 6, longest 2"),
]


@pytest.mark.parametrize(("states", "expected"), FOUND)
def test_changes_and_outages_and_the_rounds_that_found_it_open(states: str, expected: str) -> None:
    found = row(*states.split())

    down = "-" if found.down_since is None else f"{found.down_since - UNIX:.0f}"
    assert expected == (
        f"{found.changes} since {found.since - UNIX:.0f}, {found.open}/{found.found}, "
        f"down {down}, longest {found.longest_outage:.0f}"
    )
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


def test_the_history_has_the_last_results() -> None:
    assert "".join(row("open", "closed", "filtered", "error").history) == "ox.?"
    for number in (HISTORY - 1, HISTORY):
        history = "".join(row("closed", *["open"] * number).history)
        assert history == ("x" + "o" * number)[-HISTORY:]
