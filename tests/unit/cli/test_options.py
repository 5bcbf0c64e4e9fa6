"""Words of options: which are taken, and what the others are told."""

from typing import Dict, Optional

import pytest

from halfopen.cli import options
from halfopen.errors import UsageError
from halfopen.formats.registry import FORMATS
from halfopen.model import Expectation


@pytest.mark.parametrize(
    ("word", "value"), [("10", 10.0), ("0.8", 0.8), (".5", 0.5), ("1.", 1.0), ("3600", 3600.0)]
)
def test_seconds_are_a_positive_number(word: str, value: float) -> None:
    assert options.seconds("--timeout", word) == value


@pytest.mark.parametrize(
    "word", ["0", "-1", "-0.0", "nan", "inf", "-inf", "1e999", "3600.1", "abc", "", "10s", "1,5"]
)
def test_seconds_that_are_none_are_refused(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.seconds("--timeout", word)

    assert (
        str(caught.value) == f"--timeout {word!r} is not a number of seconds above 0 and up to 3600"
    )


@pytest.mark.parametrize("word", ["open", "closed", "filtered"])
def test_a_state_is_one_of_three(word: str) -> None:
    assert options.state("--expect", word) == word


@pytest.mark.parametrize("word", ["", "OPEN", "error", "open|filtered", "open,closed"])
def test_a_state_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.state("--expect", word)

    assert str(caught.value) == f"--expect {word!r} is not one of open, closed, filtered"


@pytest.mark.parametrize(
    ("word", "codes"),
    [
        pytest.param("closed=1", {"closed": 1}, id="number"),
        pytest.param("open=0,closed=255", {"open": 0, "closed": 255}, id="least-and-most"),
        pytest.param(
            "open=ok,closed=warning,filtered=critical,error=unknown",
            {"open": 0, "closed": 1, "filtered": 2, "error": 3},
            id="names",
        ),
        pytest.param("error=OK", {"error": 0}, id="name-in-capitals"),
    ],
)
def test_an_exit_map_has_numbers_or_names(word: str, codes: Dict[str, int]) -> None:
    assert options.exit_map("--exit", word) == codes


@pytest.mark.parametrize(
    ("word", "bad"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("closed", "closed", id="no-code"),
        pytest.param("closed=", "closed=", id="empty-code"),
        pytest.param("=1", "=1", id="no-state"),
        pytest.param("shut=1", "shut=1", id="unknown-state"),
        pytest.param("closed=256", "closed=256", id="code-too-large"),
        pytest.param("closed=-1", "closed=-1", id="code-negative"),
        pytest.param("closed=fine", "closed=fine", id="unknown-name"),
        pytest.param("closed=1=2", "closed=1=2", id="two-codes"),
        pytest.param("closed=\u0661", "closed=\u0661", id="digit-outside-ascii"),
        pytest.param("closed=" + "0" * 5000, "0000", id="digits-without-end"),
        pytest.param("open=0,closed", "closed", id="second-of-two"),
        pytest.param("open=0,", "", id="comma-at-the-end"),
        pytest.param("open=0, closed=1", " closed=1", id="space"),
    ],
)
def test_a_bad_exit_map_is_refused_by_the_pair_that_is_bad(word: str, bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.exit_map("--exit", word)

    assert f"{bad}' is not STATE=CODE" in str(caught.value)
    assert "open, closed, filtered, error" in str(caught.value)
    assert "0 to 255 or ok, warning, critical, unknown" in str(caught.value)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "family"),
    [(False, False, None), (True, False, 4), (False, True, 6)],
    ids=["neither", "-4", "-6"],
)
def test_a_family_is_chosen_by_one_option(ipv4: bool, ipv6: bool, family: Optional[int]) -> None:
    assert options.family(ipv4, ipv6) == family


def test_both_families_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="-4 and -6 exclude each other; leave out one"):
        options.family(ipv4=True, ipv6=True)


def test_without_options_open_is_good_and_nothing_else_is_set() -> None:
    assert options.wording("nagios") == options.Wording("nagios", {}, Expectation("open"))


def test_all_options_together_become_one_wording() -> None:
    want = options.wording("json", "closed", "error=0", "0.1", "0.5")

    assert want == options.Wording("json", {"error": 0}, Expectation("closed", 0.1, 0.5))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"format_name": "morse"}, "--format 'morse' is not one of {}".format(", ".join(FORMATS))),
        ({"expect": "ajar"}, "--expect 'ajar' is not one of"),
        ({"exit_codes": "closed"}, "--exit 'closed': 'closed' is not STATE=CODE"),
        ({"warning": "slow"}, "--warning 'slow' is not a number of seconds"),
        ({"critical": "0"}, "--critical '0' is not a number of seconds"),
    ],
    ids=["as", "expect", "exit", "warning", "critical"],
)
def test_each_bad_option_is_refused_by_its_name(bad: Dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.wording(**{"format_name": "nagios", **bad})

    assert said in str(caught.value)
