"""What a series of looks adds up to."""

from types import SimpleNamespace
from typing import List, Optional

import pytest
from test_formats import seen

from halfopen.runbook import statistics
from halfopen.runbook.statistics import STRIP, Change, Tally

BEGIN = 1600000000.0


def tally_of(*states: str, every: float = 1.0) -> Tally:
    """Return the tally of these looks, one an interval."""
    tally = Tally()
    for number, state in enumerate(states):
        tally.add(seen(state), BEGIN + number * every)
    return tally


def test_without_a_look_nothing_is_known() -> None:
    tally = Tally()

    assert tally.verdict is None
    assert (tally.looks, tally.changes, tally.availability, tally.rtt_mean) == (0, 0, None, 0)
    assert list(tally.strip) == []


def test_the_first_look_is_told_but_is_no_change() -> None:
    tally, verdict = Tally(), seen("closed")

    assert tally.add(verdict, BEGIN) == Change(BEGIN, "", verdict)
    assert (tally.changes, tally.since, tally.verdict) == (0, BEGIN, verdict)


def test_another_state_is_a_change_and_the_same_one_is_none() -> None:
    tally = tally_of("open")
    again, other = seen("open", rtt=0.5), seen("error")

    assert tally.add(again, BEGIN + 1) is None
    assert (tally.changes, tally.since, tally.verdict) == (0, BEGIN, again)
    assert tally.add(other, BEGIN + 2) == Change(BEGIN + 2, "open", other)
    assert (tally.changes, tally.since, tally.verdict) == (1, BEGIN + 2, other)


def test_another_reason_for_the_same_state_is_no_change() -> None:
    tally = tally_of("filtered")

    assert tally.add(seen("filtered", reason="admin-prohibited"), BEGIN + 1) is None


def test_the_time_is_now_if_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "time", SimpleNamespace(time=lambda: BEGIN + 7))
    tally = Tally()

    tally.add(seen("open"))

    assert tally.since == BEGIN + 7


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
def test_availability_is_of_the_looks_that_found_anything(
    states: str, availability: Optional[float]
) -> None:
    tally = tally_of(*states.split())

    assert tally.availability == availability
    assert tally.looks == len(states.split())
    assert tally.failed == states.split().count("error")


@pytest.mark.parametrize(
    ("states", "longest"),
    [
        pytest.param("open open", 0, id="none"),
        pytest.param("open closed open", 1, id="until-it-was-seen-open"),
        pytest.param("closed filtered closed open", 3, id="in-whatever-state"),
        pytest.param("open closed open closed closed closed open closed open", 3, id="longest"),
        pytest.param("open closed closed closed", 2, id="it-lasts-until-the-last-look"),
        pytest.param("closed", 0, id="one-look-has-no-length"),
        pytest.param("open error error open", 0, id="failed-checks-are-none"),
        pytest.param("closed error error open", 3, id="failed-checks-end-none"),
        pytest.param("closed error error", 0, id="failed-checks-prolong-none"),
        pytest.param("error closed closed", 1, id="after-failed-checks"),
    ],
)
def test_the_longest_outage(states: str, longest: int) -> None:
    assert tally_of(*states.split(), every=10).longest_outage == 10 * longest


def test_a_clock_that_is_set_back_makes_no_outage_negative() -> None:
    tally = tally_of("closed")

    tally.add(seen("open"), BEGIN - 3600)

    assert tally.longest_outage == 0


def test_round_trips_are_those_that_were_measured() -> None:
    tally = Tally()
    for verdict in (
        seen("open", rtt=0.002),
        seen("filtered"),
        seen("closed", rtt=0.001),
        seen("error"),
        seen("open", rtt=0.006),
    ):
        tally.add(verdict, BEGIN)

    assert tally.rtts == 3
    assert (tally.rtt_min, tally.rtt_max) == (0.001, 0.006)
    assert tally.rtt_mean == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("states", "strip"),
    [
        (["open", "closed", "filtered", "error"], "ox.?"),
        (["closed"] + ["open"] * (STRIP - 1), "x" + "o" * (STRIP - 1)),
        (["closed"] + ["open"] * STRIP, "o" * STRIP),
    ],
    ids=["marks", "full", "oldest-goes"],
)
def test_the_strip_shows_the_last_results(states: List[str], strip: str) -> None:
    assert "".join(tally_of(*states).strip) == strip
