"""What each format prints, and its exit code: tests/golden/formats; and the limits of its size."""

import re
from typing import Dict, List, NamedTuple, Sequence, Tuple

import pytest
from support.golden import assert_golden
from support.pages import tables
from support.reports import BAD_WORD, EXIT_CODES, VALIDATOR, document, run_of, seen, told

from halfopen.errors import CheckError, LineError
from halfopen.formats.registry import FORMATS, listing, output
from halfopen.formats.wording import place, surprise
from halfopen.model import Expectation, NmapRun, Report, Target, Verdict, failure

LIMITS, CLOSED_EXPECTED = Expectation("open", 0.1, 0.5), Expectation("closed")
HOSTILE = "a|b%\x1b[31m\x07\x00\x7f\u202e\udcff\nx"


class Case(NamedTuple):
    """What a check found, and how it is to be told."""

    verdicts: Sequence[Verdict]
    expectation: Expectation = Expectation()
    exit_map: Dict[str, int] = {}  # noqa: RUF012  never changed
    runs: Sequence[NmapRun] = ()
    began: float = 1700000000.25


def labelled(verdict: Verdict, label: str) -> Verdict:
    assert verdict.target is not None
    return verdict._replace(target=verdict.target._replace(label=label))


def of_several(verdict: Verdict) -> Verdict:
    """Return the verdict on a name that has two addresses."""
    assert verdict.observation is not None
    return verdict._replace(observation=verdict.observation._replace(addresses=2))


OPEN = seen("open", rtt=0.000065, service="smtp")
CLOSED = seen("closed", "192.0.2.26", rtt=0.0001, service="smtp")
FAILED = seen("error", "192.0.2.27")
NAMED = seen("open", "mail.example", rtt=0.0005, address="192.0.2.26")
FAST, SLOW, TOO_SLOW = (seen("open", rtt=rtt, expectation=LIMITS) for rtt in (0.05, 0.3, 0.8))
LINE_ERRORS = [failure(LineError("/etc/farm", number, "it has no port")) for number in (2, 5)]
EVIL_FILE = LineError('a\\b"c\nhalfopen_up{target="x"} 1', 2, "it has no port")
MANY_FAILED = [seen("error", f"192.0.2.{n}") for n in range(1, 8)]
SHARED = [labelled(seen("open", f"192.0.2.{n}", rtt=0.001), "web1") for n in (1, 2)]
CASES = {
    "open": Case([OPEN]),
    "open, without a time of its own": Case([seen("open")], began=0.0),
    "closed": Case([seen("closed", port=123, rtt=0.00003, service="ntp")]),
    "no answer": Case([seen("filtered", port=80, service="http")]),
    "an ICMP answer": Case([seen("filtered", reason="admin-prohibited")]),
    "IPv6": Case([seen("open", "2001:db8::25", rtt=0.0005)]),
    "an interface": Case([seen("open", "fe80::25%eth0", rtt=1.5)]),
    "a name": Case([NAMED]),
    "a name with several addresses": Case([of_several(NAMED)]),
    "a name with several addresses and a label": Case([labelled(of_several(NAMED), "mail")]),
    "a label": Case([labelled(OPEN, "web1")]),
    "closed, as expected": Case(
        [seen("closed", rtt=0.0001, expectation=CLOSED_EXPECTED)], CLOSED_EXPECTED
    ),
    "open, not expected": Case(
        [seen("open", rtt=0.1, expectation=CLOSED_EXPECTED)], CLOSED_EXPECTED
    ),
    "fast enough": Case([FAST], LIMITS),
    "slow": Case([SLOW], LIMITS),
    "too slow": Case([TOO_SLOW], LIMITS),
    "too slow, under an exit map": Case([TOO_SLOW], LIMITS, {"open": 0}),
    "a failed check": Case([FAILED]),
    "a usage error": Case([BAD_WORD]),
    "a usage error, under an exit map": Case([BAD_WORD], exit_map={"error": 0}),
    "two open": Case([OPEN, seen("open", "192.0.2.26", rtt=0.002)]),
    "open and slow": Case([FAST, labelled(SLOW, "other")], LIMITS),
    "open, down and failed": Case(
        [
            OPEN,
            seen("closed", "2001:db8::26", 80),
            seen("open", "mail.example", 110, 0.001, address="192.0.2.27"),
            seen("filtered", "192.0.2.28"),
            FAILED,
        ]
    ),
    "closed and failed": Case([CLOSED, FAILED]),
    "open and failed": Case([OPEN, FAILED]),
    "closed is a warning, failed is 9": Case([CLOSED, FAILED], exit_map={"closed": 1, "error": 9}),
    "closed is a warning, failed is 0": Case([CLOSED, FAILED], exit_map={"closed": 1, "error": 0}),
    "all failed alike": Case(MANY_FAILED),
    "all failed alike but one": Case([*MANY_FAILED, CLOSED]),
    "each failed in its way": Case(
        [failure(CheckError(f"no {n}"), Target("192.0.2.25", n)) for n in (1, 2)]
    ),
    "named twice": Case([OPEN, CLOSED, FAILED, OPEN]),
    "a label named twice": Case([*SHARED, SHARED[1]._replace(target=Target("192.0.2.2", 25))]),
    "IPv6 twice, and an interface": Case(
        [seen("open", host, rtt=1e-6) for host in 2 * ["2001:db8::25"] + ["fe80::25%eth0"]]
    ),
    "recordings that say nothing": Case([failure(CheckError(f"{n}: no XML")) for n in "ab"]),
    "one recording that says nothing": Case([OPEN, failure(CheckError("no XML"))]),
    "bad lines of a targets file": Case([OPEN, *LINE_ERRORS]),
    "a file with an evil name": Case([OPEN, failure(EVIL_FILE)]),
    "-v": Case([OPEN], runs=[run_of(), run_of(b"Warning: one\n100% done \xff\n", -9)]),
    "-v, evil": Case(
        [failure(CheckError(HOSTILE), Target("mail.example", 25))],
        runs=[run_of(HOSTILE.encode("utf-8", "replace"))._replace(argv=["/opt/n\nmap", "-n"])],
    ),
    "-v, several": Case([OPEN, CLOSED], runs=[run_of(b"a|b")]),
}


def printed(format_name: str, case: Case) -> str:
    report = Report(
        tuple(case.verdicts), case.expectation, tuple(case.runs), case.began or None, 0.5
    )
    made = output(format_name, report, case.exit_map, bool(case.runs))
    quiet = output(format_name, report, case.exit_map, False)
    assert quiet == output(format_name, report._replace(runs=()), case.exit_map, False)
    assert all(line.isprintable() for line in made.text.split("\n"))
    return f"exit code {made.code}, descriptor {made.stream}\n{made.text}"


PLAIN = ("ldirectord", "keepalived", "systemd")
"""Formats that print what haproxy's does."""


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name not in PLAIN])
def test_a_format_prints_what_a_person_has_found_right(format_name: str) -> None:
    texts = [f"== {name} ==\n{printed(format_name, case)}\n" for name, case in CASES.items()]

    assert_golden(f"formats/{format_name}.txt", "\n".join(texts))


@pytest.mark.parametrize("format_name", PLAIN)
def test_a_host_that_goes_by_the_exit_code_is_told_what_haproxy_is(format_name: str) -> None:
    for case in CASES.values():
        lines, expected = (printed(name, case).split("\n") for name in (format_name, "haproxy"))
        assert lines[1:] == expected[1:]


def test_the_exit_codes_of_each_format_are_those_that_a_person_has_found_right() -> None:
    rows = [f"{'':<42}{''.join(f'{name:>13}' for name in FORMATS)}"]
    for name, case in CASES.items():
        codes = [
            told(form, *case.verdicts, exit_map=case.exit_map, expectation=case.expectation).code
            for form in FORMATS
        ]
        rows.append(f"{name:<42}{''.join(f'{code:>13}' for code in codes)}")

    assert_golden("formats/exit-codes.txt", "\n".join(rows) + "\n")


def test_the_formats_are_listed_with_their_exit_codes_as_the_readme_has_them() -> None:
    found = tables("| `--format` | open | closed | filtered | the check itself failed |")
    rows = {}
    for line in found["README.md"].splitlines():
        names, *codes = (cell.strip() for cell in line.strip("|").split("|"))
        rows.update(dict.fromkeys(re.findall("`([a-z0-9]+)`", names), tuple(map(int, codes))))

    assert rows == EXIT_CODES
    assert list(rows) == list(FORMATS)
    assert_golden("formats/listing.txt", listing() + "\n")
    assert all(0 < form.timeout <= 10 for form in FORMATS.values())


@pytest.mark.parametrize(
    ("state", "code", "word"),
    [
        *[("closed", 0, "OK"), ("closed", 1, "WARNING"), ("closed", 255, "CRITICAL")],
        *[("filtered", 3, "UNKNOWN"), ("open", 2, "CRITICAL")],
        ("open", 77, "OK"),  # a code of no status keeps the word
        *[
            ("error", 0, "UNKNOWN"),
            ("error", 2, "UNKNOWN"),
        ],  # a failed check is called nothing else
    ],
)
def test_an_exit_map_decides_the_code_and_the_word_of_a_seen_state(
    state: str, code: int, word: str
) -> None:
    made = {name: told(name, seen(state), exit_map={state: code}) for name in FORMATS}
    other = "open" if state == "closed" else "closed"

    assert {each.code for each in made.values()} == {code}
    assert made["nagios"].text.startswith(f"TCP HALF-OPEN {word} - ")
    assert told("nagios", seen(other), exit_map={state: code}) == told("nagios", seen(other))


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_the_worst_of_several_targets_decides_and_of_equally_bad_ones_the_higher_code(
    format_name: str,
) -> None:
    codes = FORMATS[format_name].codes
    for better, worse in ((OPEN, SLOW), (SLOW, FAILED), (FAILED, CLOSED)):
        for given in ((better, worse), (worse, better)):
            assert told(format_name, *given, expectation=LIMITS).code == codes[worse.status]
    silent = seen("filtered", "192.0.2.28")
    for given in ((CLOSED, silent), (silent, CLOSED)):
        assert told(format_name, *given, exit_map={"filtered": 7}).code == 7


# -- many targets: what Nagios reads ------------------------------------------------------------


def farm(closed: int, size: int = 300) -> List[Verdict]:
    """Return verdicts on many hosts, the last of which are closed."""
    hosts = [f"web-{n:03}.farm.example" for n in range(size)]
    return [
        seen("closed" if number >= size - closed else "open", host, 443, 0.001, address="192.0.2.1")
        for number, host in enumerate(hosts)
    ]


def test_empty_lines_of_nmaps_messages_count_as_output_too() -> None:
    report = Report((OPEN, CLOSED), Expectation(), (run_of(b"\n" * 100_000),), 1.0, 0.5)

    assert len(output("nagios", report, {}, True).text) == FULL


def test_what_a_verdict_lacks_is_told_by_nothing() -> None:
    assert place(OPEN) == place(FAILED) == ""
    assert surprise(FAILED, Report((FAILED,), CLOSED_EXPECTED)) == ""


FULL = 8192 - len("and 2 more\n | ") + 1
"""What there is room for if nothing is left out."""


def test_messages_and_rows_and_perfdata_are_told_as_far_as_there_is_room() -> None:
    """One of the lengths fits to the byte."""
    messages = [told("nagios", OPEN, CLOSED, runs=[run_of(b"x" * n)]) for n in range(7900, 8000)]
    farms = [farm(300) for _ in range(60)]
    for number, verdicts in enumerate(farms):
        verdicts[20] = seen("closed", "h" * number + ".example")
    first_lines = [
        told("nagios", seen("open", "h" * number, rtt=0.1), *farm(0, 60)).text.splitlines()[0]
        for number in range(1, 60)
    ]

    assert max(len(output.text) for output in messages) == FULL
    assert max(len(told("haproxy", *verdicts).text) for verdicts in farms) == 8188
    assert max(map(len, first_lines)) == 1023


@pytest.mark.parametrize("closed", [0, 1, 2, 40, 150, 300])
@pytest.mark.parametrize("format_name", ["nagios", "haproxy"])
def test_the_output_on_many_targets_is_what_nagios_reads_and_says_how_much_is_left_out(
    format_name: str, closed: int
) -> None:
    text = told(format_name, *farm(closed)).text
    first, *lines = text.splitlines()
    head = first.partition(" | ")[0]
    told_of = [line for line in lines if line.startswith(("OK - ", "CRITICAL - "))]
    (cut,) = re.findall("(?m)^and ([0-9]+) more", text)

    assert len(text) <= 8192
    assert len(first) <= 1024
    assert len(told_of) + int(cut) == 300
    if closed:
        assert head.startswith(f"TCP HALF-OPEN CRITICAL - {closed} of 300 not open: web-")
        assert len(head.partition("not open: ")[2].rpartition(", ")[0]) <= 200
    bad = [line for line in told_of if line.startswith("CRITICAL")]
    assert bad == told_of[: len(bad)]
    assert len(bad) == min(closed, len(told_of))


@pytest.mark.parametrize(
    ("longest", "named"), [(22, 6), (23, 5)], ids=["200 characters", "one too many"]
)
def test_the_first_line_names_as_many_as_fit_200_characters(longest: int, named: int) -> None:
    hosts = [*(f"192.0.2.{number}0" for number in range(1, 6)), "h" * longest + "192.0.2.60"]
    verdicts = [seen("closed", host) for host in hosts]
    first = told("nagios", *verdicts).text.splitlines()[0]
    texts = [f"{host}:25 closed (reset)" for host in hosts]
    more = [f"{6 - named} more"] if named < 6 else []

    assert len(", ".join(texts)) == 178 + longest
    assert first.partition("not open: ")[2] == ", ".join(texts[:named] + more)


def test_a_culprit_that_is_too_long_is_named_all_the_same() -> None:
    verdicts = [seen("closed", f"{'h' * 60}.{'h' * 60}.{'h' * 60}.{n}") for n in "abc"]
    first = told("nagios", *verdicts).text.splitlines()[0]

    assert first.endswith(".a:25 closed (reset), 2 more")


def test_five_that_fail_alike_are_all_named() -> None:
    text = told("nagios", OPEN, *MANY_FAILED[:5]).text

    assert text.splitlines()[1].count("192.0.2.") == 5
    assert " more" not in text


def test_a_limit_in_perfdata_keeps_the_noughts_of_its_number() -> None:
    text = told("nagios", OPEN, expectation=Expectation("open", 10.0, 100.5)).text

    assert text.endswith("s;10;100.5;0")


def test_perfdata_beyond_the_first_line_follows_the_long_text() -> None:
    lines = told("nagios", *farm(1, 40)).text.splitlines()
    # What Icinga 2 does, which splits this at each space.
    metrics = " ".join(line.partition("|")[2] for line in (lines[0], lines[-1])).strip().split(" ")

    assert not any("|" in line for line in lines[1:-1])
    assert all(re.fullmatch("'web-[^']+'=0.001000s;;;0", metric) for metric in metrics)
    assert len(lines[0]) > 900
    assert len(metrics) == 39


def test_failures_and_their_perfdata_come_before_the_rest() -> None:
    slow = [seen("open", f"slow-{n:03}", rtt=0.3, expectation=LIMITS) for n in range(50)]
    fast = [seen("open", f"fast-{n:03}", rtt=0.01, expectation=LIMITS) for n in range(200)]
    text = told("nagios", *fast, *slow, expectation=LIMITS).text

    assert len(re.findall("(?m)^WARNING - slow-", text)) == 50
    assert len(re.findall("'slow-[0-9]+:25'=", text)) == 50
    assert 0 < len(re.findall("(?m)^OK - fast-", text)) < 200


# -- JSON's schema ------------------------------------------------------------------------------


def test_every_json_document_is_as_the_schema_says() -> None:
    VALIDATOR.check_schema(VALIDATOR.schema)
    for case in CASES.values():
        VALIDATOR.validate(document(*case.verdicts, expectation=case.expectation, runs=case.runs))


WRONG: List[Tuple[str, Dict[str, object]]] = [
    ("document", {"version": 1, "status": "?", "expected": "error", "targets": None, "error": 3}),
    ("target", {"state": "open|filtered", "port": 0, "rtt_seconds": 0, "error": "and a state"}),
    ("target", {"state": None, "port": "25"}),  # without a state there has to be an error
    ("run", {"exit_code": "0", "seconds": -1}),
]


def test_the_schema_refuses_a_document_that_lacks_a_key_or_has_a_wrong_value() -> None:
    whole = document(seen("open", rtt=0.001), runs=[run_of()])
    places = {"document": whole, "target": whole["targets"][0], "run": whole["nmap"][0]}
    for where, values in WRONG:
        for key, wrong in values.items():
            right, places[where][key] = places[where][key], wrong
            assert not VALIDATOR.is_valid(whole), (where, key, wrong)
            places[where][key] = right
    for part in places.values():
        for key, right in list(part.items()):
            del part[key]
            assert VALIDATOR.is_valid(whole) == (key == "nmap"), key
            part[key] = right
    VALIDATOR.validate(whole)
