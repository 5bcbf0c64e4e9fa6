"""Exit codes and words, for each kind of caller."""

import json
import re
from typing import Any, Dict, List, Optional, Sequence

import jsonschema
import pytest
from support.reports import (
    BAD_WORD,
    EVERY_VERDICT,
    EXIT_CODES,
    MUTE,
    NEEDS_ROOT,
    SCHEMA,
    STATES,
    VALIDATOR,
    run_of,
    seen,
    told,
)

from halfopen.errors import CheckError
from halfopen.formats.registry import (
    FORMATS,
)
from halfopen.model import (
    Expectation,
    NmapRun,
    Status,
    Target,
    Verdict,
    failure,
)


@pytest.mark.parametrize("format_name", list(FORMATS))
@pytest.mark.parametrize("verdict", EVERY_VERDICT.values(), ids=list(EVERY_VERDICT))
@pytest.mark.parametrize("verbose", [False, True], ids=["", "verbose"])
def test_every_format_has_a_text_and_a_code_for_every_verdict(
    format_name: str, verdict: Verdict, verbose: bool
) -> None:
    printed = told(format_name, verdict, verbose=verbose)

    assert printed.text.strip() or format_name in MUTE
    assert printed.text == printed.text.strip("\n")
    assert 0 <= printed.code <= 255
    assert printed.stream in (1, 2)
    assert FORMATS[format_name].about


@pytest.mark.parametrize("format_name", list(FORMATS))
@pytest.mark.parametrize("status", list(Status))
def test_every_format_has_a_code_for_every_status(format_name: str, status: Status) -> None:
    assert 0 <= FORMATS[format_name].codes[status] <= 255


@pytest.mark.parametrize("format_name", list(FORMATS))
@pytest.mark.parametrize("state", STATES)
def test_each_state_has_the_exit_code_of_its_format(format_name: str, state: str) -> None:
    codes = dict(zip(STATES, EXIT_CODES[format_name]))

    assert told(format_name, seen(state)).code == codes[state]


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_bad_words_have_the_exit_code_of_a_failed_check(format_name: str) -> None:
    assert told(format_name, BAD_WORD).code == EXIT_CODES[format_name][3]


def test_only_people_are_told_of_bad_words_on_stderr() -> None:
    streams = {name: told(name, BAD_WORD).stream for name in FORMATS}

    assert [name for name, stream in streams.items() if stream == 2] == ["text"]
    assert {told(name, seen("error")).stream for name in FORMATS} == {1}


# -- nagios -------------------------------------------------------------------------------------

DEFAULT_LINES = {
    "open": (
        seen("open", rtt=0.000065, service="smtp"),
        "TCP HALF-OPEN OK - 192.0.2.25:25 open (syn-ack) smtp | time=0.000065s;;;0",
    ),
    "closed": (
        seen("closed", port=123, rtt=0.00003, service="ntp"),
        "TCP HALF-OPEN CRITICAL - 192.0.2.25:123 closed (reset)",
    ),
    "filtered": (
        seen("filtered", port=80, service="http"),
        "TCP HALF-OPEN CRITICAL - 192.0.2.25:80 filtered (no-response)",
    ),
    "error": (
        seen("error"),
        "TCP HALF-OPEN UNKNOWN - nmap needs root or CAP_NET_RAW; run as root, or see "
        '"Privileges" in the README',
    ),
}


@pytest.mark.parametrize(
    ("verdict", "line"), DEFAULT_LINES.values(), ids=["open", "closed", "filtered", "error"]
)
def test_the_default_lines_are_exactly_these(verdict: Verdict, line: str) -> None:
    assert told("nagios", verdict).text == line


@pytest.mark.parametrize(
    "verdict",
    [
        *[verdict for verdict, line in DEFAULT_LINES.values() if "UNKNOWN" not in line],
        seen("open", "198.51.100.125", 443, 0.0123, "https"),
        seen("filtered", "255.255.255.255", 65535, reason="admin-prohibited"),
        seen("filtered", "2001:db8::25", 65535),
    ],
    ids=lambda verdict: str(verdict.observation.state),
)
def test_a_line_fits_a_terminal_and_has_no_percent_sign(verdict: Verdict) -> None:
    line = told("nagios", verdict).text

    assert len(line) < 80
    assert "\n" not in line
    assert "%" not in line


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        pytest.param(
            seen("open", "2001:db8::25", rtt=0.0005),
            "OK - [2001:db8::25]:25 open (syn-ack) | time=0.000500s;;;0",
            id="ipv6",
        ),
        pytest.param(
            seen("open", "mail.example", address="2001:db8::25"),
            "OK - mail.example:25 (2001:db8::25) open (syn-ack)",
            id="name-with-its-address",
        ),
        pytest.param(
            seen("filtered", reason="host-unreach"),
            "CRITICAL - 192.0.2.25:25 filtered (host-unreach)",
            id="icmp-answer-is-named",
        ),
        pytest.param(
            BAD_WORD, "UNKNOWN - port '0' is out of range; ports are 1 to 65535", id="bad-word"
        ),
    ],
)
def test_a_nagios_line_says_what_was_seen(verdict: Verdict, line: str) -> None:
    assert told("nagios", verdict).text == "TCP HALF-OPEN " + line


def of_several(verdict: Verdict, addresses: int) -> Verdict:
    """Return the verdict on a name that has several addresses."""
    assert verdict.observation is not None
    return verdict._replace(observation=verdict.observation._replace(addresses=addresses))


@pytest.mark.parametrize("format_name", ["nagios", "text", "checkmk"])
@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("", "mail.example:25 (192.0.2.26, first of 2 addresses)"),
        ("mail", "mail (mail.example:25, 192.0.2.26, first of 2 addresses)"),
    ],
)
def test_a_name_with_several_addresses_is_told_with_which_one_was_asked(
    format_name: str, label: str, name: str
) -> None:
    one = seen("open", "mail.example", address="192.0.2.26", rtt=0.0005)
    one = one._replace(target=Target("mail.example", 25, label=label))

    text = told(format_name, of_several(one, 2)).text

    assert f"{name} " in text
    assert "first of" not in told(format_name, one).text


@pytest.mark.parametrize("format_name", ["nagios", "checkmk", "prometheus", "json"])
def test_how_many_addresses_a_name_has_changes_nothing_that_is_stored(format_name: str) -> None:
    one = seen("open", "mail.example", address="192.0.2.26", rtt=0.0005)
    closed = seen("closed", "web.example", address="192.0.2.27")

    text = told(format_name, of_several(one, 2), of_several(closed, 3)).text

    told_of = re.sub(", first of [23] addresses", "", text)
    assert told_of == told(format_name, one, closed).text
    names = re.findall(r"'[^']+'=|\"TCP half-open [^\"]+\"|target=\"[^\"]+\"", text)
    assert not [name for name in names if "first of" in name or "192.0.2" in name]
    assert len(names) == {"nagios": 1, "checkmk": 2, "prometheus": 11, "json": 0}[format_name]


@pytest.mark.parametrize(
    ("state", "expected", "line"),
    [
        ("closed", "closed", "OK - 192.0.2.25:25 closed (reset), as expected"),
        ("filtered", "filtered", "OK - 192.0.2.25:25 filtered (no-response), as expected"),
        ("open", "closed", "CRITICAL - 192.0.2.25:25 open (syn-ack), expected closed"),
        ("filtered", "closed", "CRITICAL - 192.0.2.25:25 filtered (no-response), expected closed"),
    ],
)
def test_an_expectation_decides_and_is_said(state: str, expected: str, line: str) -> None:
    expectation = Expectation(expected)

    printed = told("nagios", seen(state, expectation=expectation), expectation=expectation)

    assert printed.text == "TCP HALF-OPEN " + line
    assert printed.code == (0 if state == expected else 2)


LIMITS = Expectation("open", 0.1, 0.5)


@pytest.mark.parametrize(
    ("rtt", "code", "line"),
    [
        (0.05, 0, "OK - 192.0.2.25:25 open (syn-ack) | time=0.050000s;0.1;0.5;0"),
        (
            0.3,
            1,
            "WARNING - 192.0.2.25:25 open (syn-ack), round trip 0.300000s over 0.1s"
            " | time=0.300000s;0.1;0.5;0",
        ),
        (
            0.8,
            2,
            "CRITICAL - 192.0.2.25:25 open (syn-ack), round trip 0.800000s over 0.5s"
            " | time=0.800000s;0.1;0.5;0",
        ),
        (None, 0, "OK - 192.0.2.25:25 open (syn-ack)"),
    ],
    ids=["fast", "slow", "too-slow", "untimed"],
)
def test_thresholds_decide_and_are_said(rtt: Optional[float], code: int, line: str) -> None:
    printed = told("nagios", seen("open", rtt=rtt, expectation=LIMITS), expectation=LIMITS)

    assert printed.text == "TCP HALF-OPEN " + line
    assert printed.code == code


def test_an_expected_reset_has_its_round_trip_in_perfdata_too() -> None:
    expectation = Expectation("closed")

    printed = told(
        "nagios", seen("closed", rtt=0.0001, expectation=expectation), expectation=expectation
    )

    assert printed.text.endswith(", as expected | time=0.000100s;;;0")


PERFDATA = re.compile(r"'?[^'=|]+'?=[0-9.]+s;[0-9.]*;[0-9.]*;0")


@pytest.mark.parametrize("rtt", [1e-6, 0.000065, 1.5, 3599.9])
def test_perfdata_is_a_plain_decimal_number_of_seconds(rtt: float) -> None:
    expectation = Expectation("open", 0.00001, 3600)
    verdict = seen("open", rtt=rtt, expectation=expectation)

    perfdata = told("nagios", verdict, expectation=expectation).text.partition(" | ")[2]

    assert re.fullmatch(r"time=[0-9]+\.[0-9]{6}s;0\.00001;3600;0", perfdata)
    assert float(perfdata[5:].split("s;")[0]) == pytest.approx(rtt, abs=1e-6)


def test_of_several_targets_the_first_line_names_the_culprits_and_each_has_a_line() -> None:
    printed = told(
        "nagios",
        seen("open", rtt=0.000065, service="smtp"),
        seen("closed", "2001:db8::26", 80),
        seen("open", "mail.example", 110, 0.001, address="192.0.2.27"),
        seen("filtered", "192.0.2.28"),
        seen("error", "192.0.2.29"),
    )

    assert printed.text.splitlines() == [
        "TCP HALF-OPEN CRITICAL - 2 of 5 not open, 1 unknown: [2001:db8::26]:80 closed (reset), "
        "192.0.2.28:25 filtered (no-response), 192.0.2.29:25: " + NEEDS_ROOT + " | "
        "'192.0.2.25:25'=0.000065s;;;0 'mail.example:110'=0.001000s;;;0",
        "CRITICAL - [2001:db8::26]:80 closed (reset)",
        "CRITICAL - 192.0.2.28:25 filtered (no-response)",
        "UNKNOWN - 192.0.2.29:25: " + NEEDS_ROOT,
        "OK - 192.0.2.25:25 open (syn-ack) smtp",
        "OK - mail.example:110 (192.0.2.27) open (syn-ack)",
    ]
    perfdata = printed.text.splitlines()[0].partition(" | ")[2]
    assert all(PERFDATA.fullmatch(item) for item in perfdata.split())
    assert printed.code == 2


def test_two_targets_are_several() -> None:
    printed = told("nagios", seen("open", rtt=0.001), seen("open", "192.0.2.26", rtt=0.002))

    assert printed.text.splitlines()[0] == (
        "TCP HALF-OPEN OK - 2 targets: 2 open"
        " | '192.0.2.25:25'=0.001000s;;;0 '192.0.2.26:25'=0.002000s;;;0"
    )


def test_the_same_failure_of_several_targets_is_said_once() -> None:
    hosts = [f"192.0.2.{n}" for n in range(1, 8)]
    every = told("nagios", *[seen("error", host) for host in hosts]).text
    some = told("nagios", *[seen("error", host) for host in hosts], seen("closed")).text

    named = ", ".join(f"{host}:25" for host in hosts[:5])
    assert every == (
        f"TCP HALF-OPEN UNKNOWN - 7 of 7 unknown: {NEEDS_ROOT}\n"
        f"UNKNOWN - {named}, 2 more: {NEEDS_ROOT}"
    )
    assert some.splitlines()[:2] == [
        "TCP HALF-OPEN CRITICAL - 1 of 8 not open, 7 unknown: 192.0.2.25:25 closed (reset), "
        f"{named}, 2 more: {NEEDS_ROOT}",
        "CRITICAL - 192.0.2.25:25 closed (reset)",
    ]


def test_different_failures_are_said_apart() -> None:
    failures = [failure(CheckError(f"no {n}"), Target("192.0.2.25", n)) for n in (1, 2)]

    assert told("nagios", *failures).text.splitlines() == [
        "TCP HALF-OPEN UNKNOWN - 2 of 2 unknown: 192.0.2.25:1: no 1, 192.0.2.25:2: no 2",
        "UNKNOWN - 192.0.2.25:1: no 1",
        "UNKNOWN - 192.0.2.25:2: no 2",
    ]


def test_slow_answers_are_counted_as_slow() -> None:
    first = told("nagios", seen("open", rtt=0.01), WARNED, expectation=LIMITS).text.splitlines()[0]

    assert first.startswith(
        "TCP HALF-OPEN WARNING - 1 of 2 slow: 192.0.2.25:25 open (syn-ack), round trip 0.300000s "
        "over 0.1s | "
    )


def farm(closed: int, size: int = 300) -> List[Verdict]:
    """Return verdicts on many hosts, the last of which are closed."""
    hosts = [f"web-{n:03}.farm.example" for n in range(size)]
    return [
        seen("closed" if number >= size - closed else "open", host, 443, 0.001, address="192.0.2.1")
        for number, host in enumerate(hosts)
    ]


@pytest.mark.parametrize("closed", [0, 1, 2, 40, 150, 300])
@pytest.mark.parametrize("format_name", ["nagios", "haproxy"])
def test_the_output_on_many_targets_is_what_nagios_reads_and_says_how_much_is_left_out(
    format_name: str, closed: int
) -> None:
    text = told(format_name, *farm(closed)).text
    first, *lines = text.splitlines()
    head = first.partition(" | ")[0]
    told_of = [line for line in lines if line.startswith(("OK - ", "CRITICAL - "))]
    (cut,) = [re.match("and ([0-9]+) more", line) for line in lines if line.startswith("and ")]

    assert len(text) <= 8192
    assert len(first) <= 1024
    assert cut is not None
    assert len(told_of) + int(cut.group(1)) == 300
    if closed:
        assert head.startswith(f"TCP HALF-OPEN CRITICAL - {closed} of 300 not open: web-")
        assert len(head.partition("not open: ")[2].rpartition(", ")[0]) <= 200
    else:
        assert head == "TCP HALF-OPEN OK - 300 targets: 300 open"
    bad = [line for line in told_of if line.startswith("CRITICAL")]
    assert bad == told_of[: len(bad)]
    assert len(bad) == min(closed, len(told_of))


def test_perfdata_beyond_the_first_line_follows_the_long_text() -> None:
    lines = told("nagios", *farm(1, 40)).text.splitlines()
    first, last = (line.partition(" | ")[2] for line in (lines[0], lines[-1]))

    assert not any(" | " in line for line in lines[1:-1])
    assert all(PERFDATA.fullmatch(item) for item in f"{first} {last}".split())
    assert len(f"{first} {last}".split()) == 39


def test_failures_and_their_perfdata_come_before_the_rest() -> None:
    slow = [seen("open", f"slow-{n:03}", rtt=0.3, expectation=LIMITS) for n in range(50)]
    fast = [seen("open", f"fast-{n:03}", rtt=0.01, expectation=LIMITS) for n in range(200)]
    text = told("nagios", *fast, *slow, expectation=LIMITS).text

    assert len(re.findall("(?m)^WARNING - slow-", text)) == 50
    assert len(re.findall("'slow-[0-9]+:25'=", text)) == 50
    assert 0 < len(re.findall("(?m)^OK - fast-", text)) < 200


def test_a_perfdata_label_is_the_users_own_or_has_no_double_colon_and_comes_once() -> None:
    def open_(host: str, label: str = "") -> Verdict:
        verdict = seen("open", host, rtt=0.001)
        assert verdict.target is not None
        return verdict._replace(target=verdict.target._replace(label=label))

    twice, zone = open_("2001:db8::25"), open_("fe80::25%eth0")
    shared = [open_("192.0.2.1", "web1"), open_("192.0.2.2", "web1"), open_("192.0.2.2")]
    first = told("nagios", twice, twice, zone, *shared).text.splitlines()[0]

    assert re.findall("'([^']+)'=", first) == [
        "[2001:db8:0:0:0:0:0:25]:25",
        "[fe80:0:0:0:0:0:0:25%eth0]:25",
        "web1",
        "web1 192.0.2.2:25",
        "192.0.2.2:25",
    ]


WARNED = seen("open", rtt=0.3, expectation=LIMITS)


@pytest.mark.parametrize(
    ("verdicts", "word", "code"),
    [
        pytest.param([seen("open"), seen("open")], "OK", 0, id="ok-ok"),
        pytest.param([seen("open"), WARNED], "WARNING", 1, id="ok-warning"),
        pytest.param([WARNED, seen("error")], "UNKNOWN", 3, id="warning-unknown"),
        pytest.param([seen("error"), seen("open")], "UNKNOWN", 3, id="unknown-ok"),
        pytest.param([seen("error"), seen("closed")], "CRITICAL", 2, id="unknown-critical"),
        pytest.param([seen("closed"), seen("error"), WARNED], "CRITICAL", 2, id="all-worse-first"),
    ],
)
def test_the_worst_of_several_targets_decides(
    verdicts: List[Verdict], word: str, code: int
) -> None:
    worst = max(verdict.status for verdict in verdicts)
    for order in (verdicts, verdicts[::-1]):
        printed = told("nagios", *order, expectation=LIMITS)
        bad = f"{sum(v.status is worst for v in verdicts)} of {len(verdicts)} "
        count = bad if word != "OK" else f"{len(verdicts)} targets: "
        assert printed.text.startswith(f"TCP HALF-OPEN {word} - {count}")
        assert [told(name, *order).code for name in ("text", "json")] == [code, code]
        assert printed.code == code


# -- exit maps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code", "word"),
    [
        pytest.param("closed", 0, "OK", id="closed-ok"),
        pytest.param("closed", 1, "WARNING", id="closed-warning"),
        pytest.param("filtered", 1, "WARNING", id="filtered-warning"),
        pytest.param("filtered", 3, "UNKNOWN", id="filtered-unknown"),
        pytest.param("open", 2, "CRITICAL", id="open-critical"),
        pytest.param("open", 77, "OK", id="a-code-of-no-status-keeps-the-word"),
        pytest.param("closed", 255, "CRITICAL", id="largest-code"),
        pytest.param("error", 0, "UNKNOWN", id="a-failed-check-is-never-called-ok"),
        pytest.param("error", 2, "UNKNOWN", id="a-failed-check-is-never-called-critical"),
    ],
)
def test_an_exit_map_decides_the_code_and_the_word_of_a_seen_state(
    state: str, code: int, word: str
) -> None:
    printed = {name: told(name, seen(state), exit_map={state: code}) for name in EXIT_CODES}

    assert {each.code for each in printed.values()} == {code}
    assert printed["nagios"].text.startswith(f"TCP HALF-OPEN {word} - ")
    document = json.loads(printed["json"].text)
    assert document["status"] == document["targets"][0]["status"] == word


@pytest.mark.parametrize("state", ["open", "closed", "filtered"])
def test_an_exit_map_leaves_other_states_alone(state: str) -> None:
    assert told("nagios", seen(state), exit_map={"error": 0}) == told("nagios", seen(state))


def test_an_exit_map_counts_when_the_worst_of_several_is_sought() -> None:
    printed = told("nagios", seen("closed"), seen("error"), exit_map={"closed": 1, "error": 9})

    assert printed.code == 9
    assert printed.text.startswith("TCP HALF-OPEN UNKNOWN - 1 of 2 unknown, 1 not open: ")
    assert printed.text.endswith("\nWARNING - 192.0.2.25:25 closed (reset)")


def test_the_words_of_bad_input_stay_unknown_under_an_exit_map() -> None:
    printed = told("nagios", BAD_WORD, exit_map={"error": 0})

    assert printed.text.startswith("TCP HALF-OPEN UNKNOWN - port '0'")


# -- what comes from outside --------------------------------------------------------------------

HOSTILE = "a|b\x1b[31m\x07\x00\x7f\u202e\udcff"


def test_a_bar_in_a_message_does_not_begin_perfdata() -> None:
    several = told("nagios", *[failure(CheckError("a|b"), Target("h", p)) for p in (1, 2)])
    transcript = told("nagios", seen("open"), runs=[run_of(stderr=b"a|b")], verbose=True)

    assert told("nagios", failure(CheckError("a|b"))).text.endswith("UNKNOWN - a\\x7cb")
    assert "|" not in several.text
    assert "|" not in transcript.text


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name not in MUTE])
@pytest.mark.parametrize("target", [None, Target("mail.example", 25)], ids=["bad-word", "target"])
def test_control_characters_never_reach_a_terminal(
    format_name: str, target: Optional[Target]
) -> None:
    printed = told(
        format_name,
        failure(CheckError(HOSTILE), target),
        runs=[run_of(stderr=HOSTILE.encode("utf-8", "surrogateescape"))],
        verbose=True,
    )

    assert all(line.isprintable() for line in printed.text.split("\n"))
    assert "\\x1b[31m" in printed.text or "\\u001b[31m" in printed.text


# -- text ---------------------------------------------------------------------------------------


def test_people_are_told_a_row_a_target_in_columns() -> None:
    printed = told(
        "text",
        seen("open", rtt=0.000065, service="smtp"),
        seen("closed", "2001:db8::26", 80),
        seen("filtered", "mail.example", 110, address="192.0.2.27"),
        seen("error", "192.0.2.29"),
    )

    assert printed.text.splitlines() == [
        "192.0.2.25:25                  open      syn-ack  smtp  0.065 ms",
        "[2001:db8::26]:80              closed    reset",
        "mail.example:110 (192.0.2.27)  filtered  no-response",
        "192.0.2.29:25                  unknown   " + NEEDS_ROOT,
    ]


def test_people_are_told_of_bad_words_by_the_programs_name() -> None:
    assert told("text", BAD_WORD).text == (
        "halfopen: port '0' is out of range; ports are 1 to 65535"
    )


def test_people_see_each_recording_that_says_nothing_on_a_line_of_its_own() -> None:
    printed = told("text", *[failure(CheckError(f"{name}: no XML")) for name in ("a", "b")])

    assert printed.text == "halfopen: a: no XML\nhalfopen: b: no XML"


def test_people_see_round_trips_in_milliseconds() -> None:
    assert told("text", seen("open", rtt=1.5)).text.endswith("  1500.000 ms")


def test_people_see_a_failure_without_a_target_among_others() -> None:
    first, second = told("text", seen("open"), failure(CheckError("no XML"))).text.splitlines()

    assert first == "192.0.2.25:25  open     syn-ack"
    assert second == "-              unknown  no XML"


@pytest.mark.parametrize(
    ("verdict", "expectation", "end"),
    [
        (seen("closed"), Expectation("closed"), "reset  as expected"),
        (seen("open"), Expectation("closed"), "syn-ack  expected closed"),
    ],
    ids=["as-expected", "not-expected"],
)
def test_people_are_told_of_an_expectation(
    verdict: Verdict, expectation: Expectation, end: str
) -> None:
    status = Status.OK if verdict.state == expectation.state else Status.CRITICAL

    printed = told("text", verdict._replace(status=status), expectation=expectation)

    assert printed.text.endswith(end)


# -- verbose ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["nagios", "text", "haproxy"])
def test_verbose_shows_each_runs_command_line_and_messages(format_name: str) -> None:
    runs = [run_of(), run_of(b"Warning: one\nWarning: two \xff\n", -9)]
    quiet = told(format_name, seen("open"), runs=runs)

    loud = told(format_name, seen("open"), runs=runs, verbose=True)

    assert loud.text.splitlines() == [
        *quiet.text.splitlines(),
        "nmap: /opt/nmap -n 192.0.2.25 (exit code 0, 0.123 s)",
        "nmap: /opt/nmap -n 192.0.2.25 (exit code -9, 0.123 s)",
        "Warning: one",
        "Warning: two \ufffd",
    ]
    assert len(quiet.text.splitlines()) == 1
    assert loud.code == quiet.code


def test_verbose_shows_a_command_line_in_one_line() -> None:
    run = run_of()._replace(argv=["/opt/n\nmap", "-n"])

    assert told("nagios", seen("open"), runs=[run], verbose=True).text.splitlines()[1:] == [
        "nmap: /opt/n\\nmap -n (exit code 0, 0.123 s)"
    ]


def test_verbose_json_has_each_run() -> None:
    printed = told("json", seen("open"), runs=[run_of(b"Warning\n", 1)], verbose=True)

    assert json.loads(printed.text)["nmap"] == [
        {
            "argv": ["/opt/nmap", "-n", "192.0.2.25"],
            "exit_code": 1,
            "seconds": 0.123,
            "stderr": "Warning\n",
        }
    ]


# -- json ---------------------------------------------------------------------------------------


def document(
    *verdicts: Verdict,
    expectation: Expectation = Expectation(),
    runs: Sequence[NmapRun] = (),
    verbose: bool = False,
) -> Dict[str, Any]:
    """Return the JSON that is printed, and see that it is one line."""
    text = told("json", *verdicts, expectation=expectation, runs=runs, verbose=verbose).text
    assert "\n" not in text
    parsed: Dict[str, Any] = json.loads(text)
    return parsed


@pytest.mark.parametrize("verdict", EVERY_VERDICT.values(), ids=list(EVERY_VERDICT))
@pytest.mark.parametrize("verbose", [False, True], ids=["", "verbose"])
def test_every_json_document_is_as_the_schema_says(verdict: Verdict, verbose: bool) -> None:
    VALIDATOR.validate(document(verdict, runs=[run_of()], verbose=verbose))


def test_the_json_document_of_everything_at_once_is_as_the_schema_says() -> None:
    printed = document(*EVERY_VERDICT.values(), expectation=Expectation("closed", 0.1, 0.5))

    VALIDATOR.validate(printed)
    assert len(printed["targets"]) == len(EVERY_VERDICT) - 1
    assert printed["error"] == str(BAD_WORD.error)
    assert printed["expected"] == "closed"
    assert printed["status"] == "CRITICAL"


def test_a_json_target_has_all_that_is_known() -> None:
    name = seen("open", "mail.example", rtt=0.000065, service="smtp", address="192.0.2.25")

    assert document(name, seen("error")) == {
        "version": 2,
        "status": "UNKNOWN",
        "expected": "open",
        "targets": [
            {
                "host": "mail.example",
                "port": 25,
                "status": "OK",
                "state": "open",
                "reason": "syn-ack",
                "silent_at": None,
                "address": "192.0.2.25",
                "rtt_seconds": 0.000065,
                "service": "smtp",
                "error": None,
            },
            {
                "host": "192.0.2.25",
                "port": 25,
                "status": "UNKNOWN",
                "state": None,
                "reason": None,
                "silent_at": None,
                "address": None,
                "rtt_seconds": None,
                "service": None,
                "error": NEEDS_ROOT,
            },
        ],
        "error": None,
    }


def test_a_json_document_of_bad_words_has_an_error_and_no_target() -> None:
    printed = document(BAD_WORD)

    assert (printed["targets"], printed["error"]) == ([], str(BAD_WORD.error))


def test_a_json_document_has_the_failures_without_a_target_in_one_line() -> None:
    printed = document(*[failure(CheckError(f"{name}: no XML")) for name in ("a", "b")])

    assert (printed["targets"], printed["error"]) == ([], "a: no XML; b: no XML")


def test_a_json_target_has_its_label_if_it_has_one() -> None:
    target = Target("192.0.2.25", 25, label="web1")
    first, second = document(failure(CheckError("no"), target), seen("error"))["targets"]

    assert first == {**second, "label": "web1", "error": "no"}
    assert "label" not in second


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        pytest.param("document", "version", 1, id="another-version"),
        pytest.param("document", "status", "FINE", id="unknown-status"),
        pytest.param("document", "expected", "error", id="error-is-not-expected"),
        pytest.param("document", "targets", None, id="no-list"),
        pytest.param("document", "error", 3, id="error-is-a-number"),
        pytest.param("target", "state", "open|filtered", id="unknown-state"),
        pytest.param("target", "port", 0, id="port-0"),
        pytest.param("target", "port", "25", id="port-is-a-string"),
        pytest.param("target", "rtt_seconds", 0, id="no-time-at-all"),
        pytest.param("target", "error", "both", id="state-and-error"),
        pytest.param("target", "state", None, id="neither-state-nor-error"),
        pytest.param("run", "exit_code", "0", id="exit-code-is-a-string"),
        pytest.param("run", "seconds", -1, id="time-runs-backwards"),
    ],
)
def test_the_schema_refuses_a_broken_document(where: str, key: str, value: object) -> None:
    printed = document(seen("open", rtt=0.001), runs=[run_of()], verbose=True)
    place = {"document": printed, "target": printed["targets"][0], "run": printed["nmap"][0]}[where]
    assert key in place
    VALIDATOR.validate(printed)

    place[key] = value

    assert not VALIDATOR.is_valid(printed)


def test_the_schema_misses_every_key_that_is_always_there() -> None:
    whole = document(seen("open", rtt=0.001), runs=[run_of()], verbose=True)
    always = [(whole, key) for key in whole if key != "nmap"]
    always += [(place, key) for place in (whole["targets"][0], whole["nmap"][0]) for key in place]

    for place, key in always:
        value = place.pop(key)
        assert not VALIDATOR.is_valid(whole), key
        place[key] = value
    VALIDATOR.validate(whole)


def test_a_limit_on_the_round_trip_stands_beside_exit_codes_of_ones_own() -> None:
    expectation = Expectation("open", 0.1, 0.5)
    slow = seen("open", rtt=0.8, expectation=expectation)

    assert told("nagios", slow, exit_map={"open": 0}, expectation=expectation).code == 2


@pytest.mark.parametrize("order", [1, -1])
def test_of_equally_bad_targets_the_higher_exit_code_decides(order: int) -> None:
    verdicts = [seen("closed"), seen("filtered", "192.0.2.26")][::order]

    assert told("nagios", *verdicts, exit_map={"filtered": 7}).code == 7
