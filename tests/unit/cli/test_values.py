"""What is typed after options: which texts are taken, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from halfopen.cli import options, values
from halfopen.errors import UsageError
from halfopen.formats.registry import DEFAULT_FORMAT, FORMATS, PLUGIN_FORMAT
from halfopen.model import PORT_STATES
from halfopen.scan.head_start import TIMEOUT

DAY = 86400


def refusal(read: Any, text: str) -> str:
    """Return what the reader says of the text."""
    with pytest.raises(UsageError) as caught:
        read(text)
    return str(caught.value)


TIMES = {
    "5": 5, "5s": 5, "5000ms": 5, "0.5": 0.5, ".5": 0.5, "500ms": 0.5, "1.": 1, "9ms": 0.009,
    "2m": 120, ".5m": 30, "1h": 3600, "1.5h": 5400, "1d": DAY, "365d": 365 * DAY,
}  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), TIMES.items())
def test_a_time_is_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    assert values.time(365 * DAY)(text) == seconds


NO_TIMES = [
    *("", "0", "0s", "0ms", "-1", "-0.0", "+1", "nan", "inf", "1e3", "1_0", "abc", "1,5", "1.2.3"),
    *(".", "s", "ms", "5 s", " 5", "5\n", "5S", "5sec", "5sm", "5mss", "1w", "\u0665", "\u00b2"),
    *("9" * 400, "366d"),
]


@pytest.mark.parametrize("text", NO_TIMES, ids=ascii)
def test_what_is_no_time_is_refused_and_told_how_to_write_one(text: str) -> None:
    assert refusal(values.time(365 * DAY), text) == (
        " is not a time above 0, up to 365d; write 5, 0.5, 5s, 500ms, 2m or 1h"
    )


def test_a_time_is_within_its_limits() -> None:
    read = values.time(3600.0, least=0.1)

    assert (read("100ms"), read("1h")) == (0.1, 3600)
    assert "is not a time from 0.1s up to 1h" in refusal(read, "0.09")
    assert "is not a time from 0.1s up to 1h" in refusal(read, "3600.1")


@pytest.mark.parametrize("text", ["0.05", "50ms", "0:0.05", ":0.05", "~:50ms", "0ms:50ms"])
def test_a_threshold_is_a_time_or_a_range_that_has_it_as_its_upper_end(text: str) -> None:
    assert values.limit(text) == 0.05


RANGES = {
    **dict.fromkeys(["@0.05", "@0:0.05"], "'@' warns inside of a range, and a short round trip is"),
    "10:20": "a short round trip is never bad; leave out the lower limit: 20",
    "1ms:50ms": "a short round trip is never bad; leave out the lower limit: 50ms",
    **dict.fromkeys(["0.1:", ":"], "has no upper limit; write 0.05, 50ms or 0:0.05"),
    **dict.fromkeys(["0:1:2", "a:b", "-1:5"], "is not a range; write 0.05, 50ms or 0:0.05"),
    **dict.fromkeys(["0", "0:0", "50%", ""], "is not a time above 0, up to 1h"),
}


@pytest.mark.parametrize(("text", "said"), RANGES.items())
def test_other_ranges_are_refused_with_a_reason(text: str, said: str) -> None:
    assert said in refusal(values.limit, text)


NAMED = {"open": 0, "closed": 1, "filtered": 2, "error": 3}


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        *((values.count, text, int(text)) for text in ("1", "007", "1000000")),
        *((options.STATE, state, state) for state in PORT_STATES),
        (values.exit_map, "closed=1", {"closed": 1}),
        (values.exit_map, "open=00,closed=002", {"open": 0, "closed": 2}),
        (values.exit_map, "open=0,closed=255", {"open": 0, "closed": 255}),
        (values.exit_map, "open=ok,closed=warning,filtered=critical,error=UNKNOWN", NAMED),
    ],
)
def test_what_is_right_is_taken(read: Any, text: str, value: object) -> None:
    assert read(text) == value


NO_COUNTS = ("", "0", "-3", "1.5", "many", "1000001", "9" * 5000, "\u0663", "1_0")
NO_STATES = ("", "OPEN", "error", "open|filtered", "open,closed")
NO_PAIRS = ("", "closed", "closed=", "=1", "shut=1", "closed=1=2", "closed=256", "closed=-1")


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        *((values.count, text, " is not a number from 1 to 1000000") for text in NO_COUNTS),
        *((options.STATE, text, " is not one of open, closed, filtered") for text in NO_STATES),
        *((values.exit_map, text, f": {text!r} is not STATE=CODE") for text in NO_PAIRS),
        (values.exit_map, "closed=\u0661", ": 'closed=\u0661' is not STATE=CODE"),
        (values.exit_map, "open=0,closed", ": 'closed' is not STATE=CODE"),
        (values.exit_map, "open=0, closed=1", ": ' closed=1' is not STATE=CODE"),
    ],
)
def test_what_is_wrong_is_refused_by_the_part_that_is(read: Any, text: str, said: str) -> None:
    assert refusal(read, text).startswith(said)


# -- all options of a command -------------------------------------------------------------------


def read(command: options.Command, **typed: Any) -> dict[str, Any]:
    """Return the values of a command line with these options, and no others."""
    untyped = {option.key: option.untyped() for option in command.options}
    return values.read(command, {**untyped, "arguments": (), **typed})


@pytest.mark.parametrize(
    ("typed", "family"), [({}, None), ({"ipv4": True}, 4), ({"ipv6": True}, 6)], ids=str
)
def test_a_family_is_chosen_by_one_option(typed: dict[str, Any], family: int | None) -> None:
    assert read(options.CHECK, **typed)["family"] == family


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].only is not None])
def test_exit_codes_that_the_formats_caller_would_misread_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="--exit"):
        read(options.CHECK, format=name, exit="closed=2")


@pytest.mark.parametrize("name", [DEFAULT_FORMAT, PLUGIN_FORMAT])
def test_a_format_that_need_not_be_named_has_the_usual_limits(name: str) -> None:
    """Or else they would have to be known before nmap starts, and to load them takes 10 ms."""
    assert FORMATS[name].timeout == TIMEOUT
    assert FORMATS[name].only is None
    assert FORMATS[name].parse is None


@pytest.mark.parametrize(
    "command", [options.PLUGIN, *options.COMMANDS.values()], ids=lambda each: each.name
)
def test_the_defaults_are_good_and_each_option_of_a_command_has_a_key_and_names_of_its_own(
    command: options.Command,
) -> None:
    names = [name for option in command.options for name in option.names]

    assert len(set(names)) == len(names)
    assert len({option.key for option in command.options}) == len(command.options)
    assert all(option.about.endswith((".", "error.")) for option in command.options)
    assert set(read(command)) >= {option.key for option in command.options}
