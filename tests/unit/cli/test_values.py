"""What is typed after options: which texts are taken, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from halfopen.cli import options, values
from halfopen.errors import UsageError
from halfopen.formats.registry import DEFAULT_FORMAT, FORMATS, PLUGIN_FORMAT
from halfopen.scan.head_start import TIMEOUT

DAY = 86400


def refusal(read: Any, text: str) -> str:
    """Return what the reader says of the text."""
    with pytest.raises(UsageError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1),
        ("5s", 5),
        ("500ms", 0.5),
        ("35ms", 0.035),
        ("2m", 120),
        (".5m", 30),
        ("1h", 3600),
        ("1.5h", 5400),
        ("1d", DAY),
        ("365d", 365 * DAY),
    ],
)
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@0.05", "'@' warns inside of a range, and a short round trip is never bad"),
        ("@0:0.05", "'@' warns inside of a range, and a short round trip is never bad"),
        ("10:20", "a short round trip is never bad; leave out the lower limit: 20"),
        ("1ms:50ms", "a short round trip is never bad; leave out the lower limit: 50ms"),
        ("0.1:", "has no upper limit; write 0.05, 50ms or 0:0.05"),
        (":", "has no upper limit; write 0.05, 50ms or 0:0.05"),
        ("0:1:2", "is not a range; write 0.05, 50ms or 0:0.05"),
        ("a:b", "is not a range; write 0.05, 50ms or 0:0.05"),
        ("-1:5", "is not a range; write 0.05, 50ms or 0:0.05"),
        ("0", "is not a time above 0, up to 1h"),
        ("0:0", "is not a time above 0, up to 1h"),
        ("50%", "is not a time above 0, up to 1h"),
        ("", "is not a time above 0, up to 1h"),
    ],
)
def test_other_ranges_are_refused_with_a_reason(text: str, said: str) -> None:
    assert said in refusal(values.limit, text)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.count, "1", 1),
        (values.count, "007", 7),
        (values.count, "1000000", 1000000),
        (options.STATE, "open", "open"),
        (options.STATE, "closed", "closed"),
        (options.STATE, "filtered", "filtered"),
        (values.exit_map, "closed=1", {"closed": 1}),
        (values.exit_map, "open=0,closed=255", {"open": 0, "closed": 255}),
        (
            values.exit_map,
            "open=ok,closed=warning,filtered=critical,error=UNKNOWN",
            {"open": 0, "closed": 1, "filtered": 2, "error": 3},
        ),
    ],
)
def test_what_is_right_is_taken(read: Any, text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text", ["", "0", "-3", "1.5", "many", "1000001", "9" * 5000, "\u0663", "1_0"], ids=ascii
)
def test_what_is_no_count_is_refused(text: str) -> None:
    assert refusal(values.count, text).endswith(" is not a number from 1 to 1000000")


@pytest.mark.parametrize("text", ["", "OPEN", "error", "open|filtered", "open,closed"])
def test_what_is_no_state_is_refused(text: str) -> None:
    assert refusal(options.STATE, text).endswith(" is not one of open, closed, filtered")


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        *((text, text) for text in ("", "closed", "closed=", "=1", "shut=1", "closed=1=2")),
        *((f"closed={code}", f"closed={code}") for code in ("256", "-1", "fine", "0" * 50)),
        ("closed=\u0661", "closed=\u0661"),
        ("open=0,closed", "closed"),
        ("open=0,", ""),
        ("open=0, closed=1", " closed=1"),
    ],
)
def test_a_wrong_exit_map_is_refused_by_the_pair_that_is_wrong(text: str, bad: str) -> None:
    said = refusal(values.exit_map, text)

    assert f": {bad!r} is not STATE=CODE, with a state of open, closed, filtered, error" in said
    assert "0 to 255 or ok, warning, critical, unknown" in said


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


@pytest.mark.parametrize("command", [options.CHECK, options.WAIT, options.WATCH])
def test_both_families_at_once_are_refused(command: options.Command) -> None:
    with pytest.raises(UsageError, match="-4 and -6 exclude each other; leave out one"):
        read(command, ipv4=True, ipv6=True)


@pytest.mark.parametrize("command", [options.PLUGIN, options.CHECK, options.REPLAY])
def test_a_warning_above_critical_is_refused(command: options.Command) -> None:
    assert read(command, warning="0.1", critical="100ms")["warning"] == 0.1
    with pytest.raises(UsageError, match=r"--warning '0\.2' is above --critical '100ms'"):
        read(command, warning="0.2", critical="100ms")


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
