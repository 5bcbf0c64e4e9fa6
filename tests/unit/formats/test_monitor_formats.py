"""What each monitor host is shown, beyond the plugin's own line, people's rows and JSON."""

import re
from typing import Dict, List

import pytest
from support.pages import tables
from support.reports import BAD_WORD, EVERY_VERDICT, EXIT_CODES, NEEDS_ROOT, run_of, seen, told

from halfopen.errors import LineError
from halfopen.formats.registry import FORMATS, listing, output
from halfopen.model import Expectation, Report, Target, Verdict, failure

OPEN = seen("open", rtt=0.000065, service="smtp")
CLOSED = seen("closed", "192.0.2.26", rtt=0.0001)
FAILED = seen("error", "192.0.2.27")
SLOW = seen("open", rtt=0.3, expectation=Expectation("open", 0.1, 0.5))
TOO_SLOW = seen("open", rtt=0.8, expectation=Expectation("open", 0.1, 0.5))
LINK_LOCAL = seen("open", "fe80::25%eth0", rtt=0.000065)
UP_OR_DOWN = [name for name, codes in EXIT_CODES.items() if codes[:2] == (0, 1)]
PRINTED = [name for name, codes in EXIT_CODES.items() if set(codes) == {0}]


# -- farmguardian -------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [*EVERY_VERDICT.values(), LINK_LOCAL])
@pytest.mark.parametrize("verbose", [False, True])
def test_farmguardian_is_told_in_one_line_without_percent_or_perfdata(
    verdict: Verdict, verbose: bool
) -> None:
    runs = [run_of(b"one\n100% done\n")]
    printed = told("farmguardian", verdict, LINK_LOCAL, runs=runs, verbose=verbose)

    assert "\n" not in printed.text
    assert "%" not in printed.text
    assert not re.search(r"\||time=", printed.text)
    assert ("done" in printed.text) == verbose


def test_farmguardian_is_told_an_interface_with_its_percent_escaped() -> None:
    line = r"TCP HALF-OPEN OK - [fe80::25\x25eth0]:25 open (syn-ack)"

    assert told("farmguardian", LINK_LOCAL).text == line


def test_farmguardian_is_told_of_several_targets_in_one_line() -> None:
    assert told("farmguardian", OPEN, CLOSED).text == (
        "TCP HALF-OPEN CRITICAL - 1 of 2 not open: 192.0.2.26:25 closed (reset)"
        "; CRITICAL - 192.0.2.26:25 closed (reset); OK - 192.0.2.25:25 open (syn-ack) smtp"
    )


# -- exit codes that decide ---------------------------------------------------------------------


@pytest.mark.parametrize("format_name", UP_OR_DOWN)
def test_a_slow_answer_is_still_up_where_there_is_only_up_and_down(format_name: str) -> None:
    assert [told(format_name, verdict).code for verdict in (SLOW, TOO_SLOW)] == [0, 1]


@pytest.mark.parametrize("format_name", [*UP_OR_DOWN, "ldirectord"])
def test_the_line_of_a_host_that_ignores_it_is_still_there_for_people(format_name: str) -> None:
    line = "TCP HALF-OPEN OK - 192.0.2.25:25 open (syn-ack) smtp"

    assert told(format_name, OPEN).text == line


@pytest.mark.parametrize("format_name", UP_OR_DOWN)
def test_one_target_that_is_down_is_down_for_all(format_name: str) -> None:
    assert told(format_name, OPEN, CLOSED, OPEN).code == 1


def test_a_condition_fails_only_if_no_target_is_known_to_be_down() -> None:
    assert [told("systemd", *those).code for those in ([OPEN, FAILED], [CLOSED, FAILED])] == [
        255,
        1,
    ]


# -- f5 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(EVERY_VERDICT))
@pytest.mark.parametrize("verbose", [False, True])
def test_f5_sees_a_word_only_if_all_is_as_expected(name: str, verbose: bool) -> None:
    up = name.startswith("open") or name == "slow"
    printed = told("f5", EVERY_VERDICT[name], runs=[run_of(b"one\n")], verbose=verbose)

    assert printed.text == ("UP" if up else "")
    assert told("f5", EVERY_VERDICT[name], CLOSED).text == ""


# -- checkmk ------------------------------------------------------------------------------------

CHECKMK = {
    "open": '0 "TCP half-open 192.0.2.25:25" time=0.000065;;;0 192.0.2.25:25 open (syn-ack) smtp',
    "open-untimed": '0 "TCP half-open 192.0.2.25:25" - 192.0.2.25:25 open (syn-ack)',
    "closed": '2 "TCP half-open 192.0.2.25:25" - 192.0.2.25:25 closed (reset)',
    "error": f'3 "TCP half-open 192.0.2.25:25" - {NEEDS_ROOT}',
    "bad-word": f'3 "TCP half-open" - {BAD_WORD.error}',
}


@pytest.mark.parametrize("name", list(CHECKMK))
def test_checkmk_gets_status_item_metrics_and_text(name: str) -> None:
    assert told("checkmk", EVERY_VERDICT[name]).text == CHECKMK[name]


def test_checkmk_gets_a_slow_answer_with_its_limits() -> None:
    expectation = Expectation("open", 0.1, 0.5)
    text = told("checkmk", SLOW, expectation=expectation).text

    assert text.startswith('1 "TCP half-open 192.0.2.25:25" time=0.300000;0.1;0.5;0 192.0.2.25:25 ')
    assert text.endswith("round trip 0.300000s over 0.1s")


def test_checkmk_gets_a_line_a_target_and_each_target_once() -> None:
    lines = told("checkmk", OPEN, CLOSED, FAILED, OPEN).text.splitlines()

    assert [line.split(" ")[0] for line in lines] == ["0", "2", "3"]
    assert len({line.split('"')[1] for line in lines}) == 3


def test_checkmk_gets_what_is_verbose_as_more_lines_of_the_same_check() -> None:
    text = told("checkmk", OPEN, runs=[run_of(b"one\n")], verbose=True).text

    assert "\n" not in text
    assert text.endswith(r"\nnmap: /opt/nmap -n 192.0.2.25 (exit code 0, 0.123 s)\none")


def test_checkmk_calls_a_service_by_the_targets_label() -> None:
    labelled = [seen("open")._replace(target=Target("192.0.2.25", 25, label="web1"))]

    assert told("checkmk", *labelled).text.startswith('0 "TCP half-open web1" - web1 (192.0.2.25')


# -- zabbix -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "value"),
    [
        ([OPEN], "1"),
        ([SLOW], "1"),
        ([TOO_SLOW], "0"),
        ([CLOSED], "0"),
        ([OPEN, CLOSED], "0"),
        ([FAILED, CLOSED], "0"),
        ([FAILED], f"TCP HALF-OPEN UNKNOWN - {NEEDS_ROOT}"),
        ([BAD_WORD], f"TCP HALF-OPEN UNKNOWN - {BAD_WORD.error}"),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_zabbix_gets_the_value_and_nothing_else(
    verdicts: List[Verdict], value: str, verbose: bool
) -> None:
    runs = [run_of(b"one\n")]

    assert told("zabbix", *verdicts, runs=runs, verbose=verbose).text == value


# -- prometheus ---------------------------------------------------------------------------------


def exposed(text: str) -> Dict[str, float]:
    """Return the samples of an exposition; fail if one's family has no HELP and TYPE before it."""
    samples: Dict[str, float] = {}
    told_of: Dict[str, List[str]] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            kind, family = line.split(" ")[1:3]
            told_of.setdefault(family, []).append(kind)
            continue
        name, value = line.rsplit(" ", 1)
        assert told_of[name.split("{")[0]] == ["HELP", "TYPE"]
        assert name not in samples
        samples[name] = float(value)
    return samples


def of(target: str, samples: Dict[str, float]) -> Dict[str, float]:
    """Return a target's samples by their short names."""
    label = f'target="{target}"'
    return {
        name.replace("halfopen_", "").replace(label, "").replace("{}", ""): value
        for name, value in samples.items()
        if label in name
    }


def test_prometheus_gets_every_family_for_each_target() -> None:
    report = Report((OPEN, CLOSED, FAILED, OPEN), began=1700000000.25, seconds=0.5)
    samples = exposed(output("prometheus", report, {}, verbose=False).text)
    always = {"check_duration_seconds": 0.5, "check_timestamp_seconds": 1700000000.25}

    def state(name: str) -> Dict[str, float]:
        states = ("open", "closed", "filtered", "error")
        return {f'state{{,state="{each}"}}': each == name for each in states}

    assert of("192.0.2.25:25", samples) == {
        "up": 1, "rtt_seconds": 0.000065, **state("open"), **always
    }  # fmt: skip
    assert of("192.0.2.26:25", samples) == {
        "up": 0, "rtt_seconds": 0.0001, **state("closed"), **always
    }  # fmt: skip
    assert of("192.0.2.27:25", samples) == {**state("error"), **always}


def test_the_exposition_of_one_target_is_exactly_this() -> None:
    report = Report((OPEN,), began=1700000000.25, seconds=0.5)

    assert output("prometheus", report, {}, verbose=False).text.splitlines() == [
        "# HELP halfopen_up Whether the port is in the expected state; absent if the check itself"
        " failed.",
        "# TYPE halfopen_up gauge",
        'halfopen_up{target="192.0.2.25:25"} 1',
        "# HELP halfopen_state 1 for the state that the port is in; error: the check itself"
        " failed.",
        "# TYPE halfopen_state gauge",
        'halfopen_state{target="192.0.2.25:25",state="open"} 1',
        'halfopen_state{target="192.0.2.25:25",state="closed"} 0',
        'halfopen_state{target="192.0.2.25:25",state="filtered"} 0',
        'halfopen_state{target="192.0.2.25:25",state="error"} 0',
        "# HELP halfopen_rtt_seconds Round-trip time, if the port answered.",
        "# TYPE halfopen_rtt_seconds gauge",
        'halfopen_rtt_seconds{target="192.0.2.25:25"} 0.000065',
        "# HELP halfopen_check_duration_seconds How long the check of all its targets took.",
        "# TYPE halfopen_check_duration_seconds gauge",
        'halfopen_check_duration_seconds{target="192.0.2.25:25"} 0.500',
        "# HELP halfopen_check_timestamp_seconds When the check began, in Unix time.",
        "# TYPE halfopen_check_timestamp_seconds gauge",
        'halfopen_check_timestamp_seconds{target="192.0.2.25:25"} 1700000000.250',
    ]


def test_prometheus_gets_the_reason_of_a_failure_as_a_comment() -> None:
    first = told("prometheus", OPEN, FAILED).text.splitlines()[0]

    assert first == f"# 192.0.2.27:25: {NEEDS_ROOT}"


def test_prometheus_gets_a_failure_before_there_was_a_target() -> None:
    comment, _, exposition = told("prometheus", BAD_WORD).text.partition("\n")
    samples = exposed(exposition)

    assert comment == f"# halfopen: {BAD_WORD.error}"

    assert [name for name, value in samples.items() if value] == [
        'halfopen_state{target="",state="error"}'
    ]
    assert not any(name.startswith("halfopen_up") for name in samples)


def test_prometheus_gets_a_sample_for_each_bad_line_of_a_targets_file() -> None:
    bad = [failure(LineError("/etc/farm", number, "it has no port")) for number in (2, 5)]
    lines = told("prometheus", OPEN, *bad).text.splitlines()
    comments = [line for line in lines if line.startswith("# halfopen")]
    samples = [line for line in lines if line.endswith(" 1")]

    assert comments == [f"# halfopen: /etc/farm, line {n}: it has no port" for n in (2, 5)]
    assert samples == [
        'halfopen_up{target="192.0.2.25:25"} 1',
        'halfopen_state{target="192.0.2.25:25",state="open"} 1',
        'halfopen_state{target="/etc/farm:2",state="error"} 1',
        'halfopen_state{target="/etc/farm:5",state="error"} 1',
    ]


def test_prometheus_gets_a_files_name_with_the_three_escapes_of_its_format() -> None:
    error = LineError('a\\b"c\nhalfopen_up{target="x"} 1', 2, "it has no port")
    text = told("prometheus", OPEN, failure(error)).text

    assert (
        r'halfopen_state{target="a\\b\"c\nhalfopen_up{target=\"x\"} 1:2",state="error"} 1' in text
    )
    assert not re.search('(?m)^halfopen_up{target="x"', text)


def test_prometheus_gets_an_ipv6_target_in_brackets() -> None:
    samples = exposed(told("prometheus", seen("open", "2001:db8::25")).text)

    assert samples['halfopen_up{target="[2001:db8::25]:25"}'] == 1


def test_prometheus_gets_a_targets_label_beside_the_target() -> None:
    labelled = seen("open")._replace(target=Target("192.0.2.25", 25, label="web1"))
    samples = exposed(told("prometheus", labelled, seen("open")).text)

    assert samples['halfopen_up{target="192.0.2.25:25",label="web1"}'] == 1
    assert samples['halfopen_state{target="192.0.2.25:25",label="web1",state="open"}'] == 1
    assert samples['halfopen_up{target="192.0.2.25:25"}'] == 1


def test_prometheus_gets_no_time_for_a_recording() -> None:
    text = told("prometheus", OPEN).text

    assert not any("seconds{" in name for name in exposed(text) if "rtt" not in name)


# -- all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", PRINTED)
@pytest.mark.parametrize("name", ["closed", "filtered", "error", "bad-word", "too-slow"])
def test_where_the_printed_decides_nothing_bad_is_printed_as_good(
    format_name: str, name: str
) -> None:
    good = {"f5": ".", "checkmk": "(?m)^0 ", "zabbix": "^1$", "prometheus": r"(?m)^\w+_up\S+ 1$"}

    assert not re.search(good[format_name], told(format_name, EVERY_VERDICT[name]).text)
    assert re.search(good[format_name], told(format_name, OPEN).text)


def test_the_listing_has_each_format_with_its_exit_codes() -> None:
    head, *lines = listing().splitlines()
    rows = {line.split()[0]: line.split()[1:5] for line in lines}

    assert head == "FORMAT        OPEN  CLOSED  FILTERED  FAILED  FOR"

    assert list(rows) == list(FORMATS)
    assert rows == {name: [str(code) for code in codes] for name, codes in EXIT_CODES.items()}


def test_the_readme_has_the_exit_codes_of_every_format() -> None:
    found = tables("| `--format` | open | closed | filtered | the check itself failed |")
    rows = {}
    for line in found["README.md"].splitlines():
        names, *codes = (cell.strip() for cell in line.strip("|").split("|"))
        rows.update(dict.fromkeys(re.findall("`([a-z0-9]+)`", names), tuple(map(int, codes))))

    assert rows == EXIT_CODES


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_no_format_takes_longer_than_the_default(format_name: str) -> None:
    assert 0 < FORMATS[format_name].timeout <= 10
