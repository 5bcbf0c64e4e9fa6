"""What holds for any words, any targets file, any report and any XML (hypothesis).

The same examples in every run: what is random is the fuzz target's part (tests/fuzz).
"""

import json
import os
import re
from random import Random
from typing import Any, Callable, Dict, List, Optional

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.invariants import (
    FORMS,
    XML_FILES,
    check_file,
    check_words,
    check_xml,
    is_address,
    mutated,
)
from support.reports import VALIDATOR

from halfopen.check import judge
from halfopen.errors import CheckError, UsageError
from halfopen.formats.registry import FORMATS, output
from halfopen.model import PORT_STATES, Expectation, NmapRun, Observation, Report, Status, failure
from halfopen.targets.parse import parse_targets

# Nowhere: neither examples nor tables are kept, and root leaves no files in the checkout.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.devnull)

# A busy machine is slow, and that is no failure.
SETTINGS: Dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
FEW = settings(max_examples=35, **SETTINGS)
MANY = settings(max_examples=60, **SETTINGS)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a file to write to."""
    return str(tmp_path_factory.mktemp("properties") / "scratch")


# -- words --------------------------------------------------------------------------------------

NO_HOSTS = ["0.0.0.1", "::", "ff02::1", "224.0.0.1", "255.255.255.255", "10.1", "010.0.0.1"]
ZONES = ["eth0", "lo", "br-1.2", "-oX", "a b", "e\n", "x" * 16, "", "\u0661"]
ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded.upper()),
    st.ip_addresses(v=4, network="192.0.2.0/24").map("::ffff:{}".format),
    st.ip_addresses(v=4).map("::{}".format),
    st.builds("{}%{}".format, st.ip_addresses(v=6, network="fe80::/10"), st.sampled_from(ZONES)),
    st.sampled_from(NO_HOSTS),
)
NAMES = st.from_regex(r"[a-z0-9_-]{1,8}(\.[a-z0-9-]{1,8}){0,3}\.?", fullmatch=True)
NO_PORTS = ["*", "80,443", "80:90", "025", "\u0662\u0665", "\u00b2", "-p", "T:25"]
PORTS = st.integers(-1, 70000).map(str) | st.sampled_from(["smtp", "https", *NO_PORTS])
ODD = st.one_of(
    st.builds("{}{}{}".format, NAMES, st.sampled_from(list(" ;$\n\t\0,%@:-_*/\u00e9")), NAMES),
    st.binary(max_size=20).map(os.fsdecode),
    st.text(max_size=20),
    st.sampled_from(["", "-iL", "--script=x", "192.0.2.1-9", "192.0.2.0/24", "h" * 9999, "\0"]),
)
HOSTS = ADDRESSES | NAMES | ODD | st.sampled_from(NO_HOSTS)
FORMS_OF_A_WORD = st.sampled_from(
    ["{}:{}", "[{}]:{}", "{} {}", "web 1 = {}:{} # x", "{0} = 192.0.2.1:{1}", "a={}={}"]
)
WORDS = st.one_of(
    st.tuples(HOSTS, PORTS).map(list),
    st.tuples(HOSTS, PORTS, HOSTS, PORTS).map(list),
    st.lists(HOSTS | PORTS | st.builds(str.format, FORMS_OF_A_WORD, HOSTS, PORTS), max_size=5),
)
FAMILIES = st.sampled_from([None, None, 4, 6])
ANSWERS = ADDRESSES.filter(is_address)
"""What a resolver may give."""


@pytest.fixture(autouse=True)
def _no_balancer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HAPROXY_SERVER_ADDR", raising=False)
    monkeypatch.delenv("HAPROXY_SERVER_PORT", raising=False)


@pytest.mark.parametrize("form", list(FORMS))
@MANY
@given(words=WORDS, family=FAMILIES, answer=ANSWERS)
def test_of_any_words_only_canonical_addresses_and_digits_reach_nmap(
    form: str, words: List[str], family: Optional[int], answer: str
) -> None:
    check_words(form, words, family, answer)


ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\x0c", "\x85", " \t# x\n", "x" * 99999])
BEGINS = st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\0"])
TEXTS_OF_FILES = ODD.map("{} = 192.0.2.1:25".format) | st.builds(str.join, ENDS, WORDS)
FILES = st.binary(max_size=200) | st.builds(
    lambda begin, text: begin + text.encode("utf-8", "surrogateescape"), BEGINS, TEXTS_OF_FILES
)


@MANY
@given(data=FILES, family=FAMILIES, answer=ANSWERS)
def test_any_targets_file_gives_valid_targets_or_a_usage_error(
    data: bytes, family: Optional[int], answer: str, scratch: str
) -> None:
    check_file(data, scratch, family, answer)


# -- what is printed ----------------------------------------------------------------------------

ODD_CHARACTERS = "a%|'\"\\\n\r\t\0\x1b\x7f\x85\u2028\u202e\udcff#{}=;, "
TEXTS = st.text(st.characters(), max_size=30) | st.text(ODD_CHARACTERS, max_size=30)
GOOD_HOSTS = ["192.0.2.25", "2001:db8::25", "fe80::25%eth0", "mail.example", "a_b.", "::1.2.3.4"]
GOOD_TARGETS = st.builds(
    lambda word, port, label: parse_targets([word, str(port)])[0]._replace(label=label),
    st.sampled_from(GOOD_HOSTS),
    st.integers(1, 65535),
    st.just("") | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}", fullmatch=True),
)
OBSERVATIONS = st.builds(
    Observation,
    st.sampled_from(PORT_STATES),
    st.just("admin-prohibited") | st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    st.sampled_from(["192.0.2.25", "2001:db8::25", "fe80::25%eth0"]),
    st.none() | st.floats(0, 3600, exclude_min=True, exclude_max=True) | st.just(6.5e-05),
    st.sampled_from([None, "host", "gateway", "firewall"]),
    st.sampled_from(["", "host does not answer ARP"]),
    st.integers(1, 3),
)
KINDS = st.sampled_from([CheckError, UsageError])
ERRORS = st.builds(lambda kind, text: kind(text + "!"), KINDS, TEXTS)
LIMITS = st.none() | st.floats(1e-5, 3600) | st.just(1e-9)
EXPECTATIONS = st.builds(Expectation, st.sampled_from(PORT_STATES), LIMITS, LIMITS)
# /etc/services separates names by white space.
SERVICES = TEXTS.map(lambda text: "".join(text.split()))
RUNS = st.builds(
    NmapRun,
    st.lists(TEXTS, min_size=1, max_size=3),
    st.integers(-64, 255),
    st.just(b""),
    st.binary(max_size=60) | TEXTS.map(lambda text: text.encode("utf-8", "replace")),
    st.floats(0, 3600),
)


@st.composite
def reports(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Report:
    """Return a report as a check makes it: its verdicts are judged, or failures."""
    expectation = draw(EXPECTATIONS)
    if draw(st.integers(0, 9)) == 0:
        return Report((failure(draw(ERRORS)),), expectation)
    verdicts = []
    targets = draw(st.lists(GOOD_TARGETS, min_size=1, max_size=3))
    for target in [*targets, *targets[: draw(st.integers(0, 1))]]:  # one may be named twice
        outcome = draw(st.one_of(OBSERVATIONS, OBSERVATIONS, ERRORS))
        verdicts.append(judge(target, outcome, expectation, draw(SERVICES)))
    if draw(st.integers(0, 9)) == 0:
        verdicts.append(failure(draw(ERRORS)))  # as of a recording that is no XML
    began = draw(st.one_of(st.none(), st.floats(0, 4e9)))
    runs = draw(st.lists(RUNS, max_size=2))
    return Report(tuple(verdicts), expectation, tuple(runs), began, draw(st.floats(0, 3600)))


MAPS = st.dictionaries(st.sampled_from([*PORT_STATES, "error"]), st.integers(0, 255), max_size=4)
PERFDATA = r"('[^'|=\n]+'|time)=[0-9]+\.[0-9]{6}s;[0-9.]*;[0-9.]*;0"
SERVICE = r'[0-3] "TCP half-open( [^"\n]+)?" (-|time=[0-9.]+;[0-9.]*;[0-9.]*;0) .+'
LABELS = r'\{target="[^"\\\s]*"(,label="[^"\\\n]+")?(,state="[a-z]+")?\}'
SHAPES = {
    "nagios": rf"TCP HALF-OPEN [A-Z]+ - [^|\n]+?( \| {PERFDATA}( {PERFDATA})*)?(\n[^|]*)?",
    "farmguardian": r"TCP HALF-OPEN [A-Z]+ - [^%\n]+",
    "json": ".+",
    "f5": "|UP",
    "zabbix": "0|1|TCP HALF-OPEN UNKNOWN - .+",
    "checkmk": rf"{SERVICE}(\n{SERVICE})*",
    # Prometheus' text format, without promtool: a stricter grammar, of what we print.
    "prometheus": r"(# (?!HELP|TYPE).*\n)*(# HELP (?P<family>halfopen_[a-z_]+) \S.*\n"
    rf"# TYPE (?P=family) gauge(\n(?P=family){LABELS} [0-9]+(\.[0-9]+)?)*(\n|\Z)){{5}}",
}
"""What the text of a format is, from end to end."""


def check_shape(format_name: str, text: str, report: Report, worst: Status) -> None:
    """Check that a caller of this kind can read the text."""
    assert re.fullmatch(SHAPES.get(format_name, "(?s).+"), text), text
    lines, up = text.split("\n"), worst <= Status.WARNING
    if format_name == "nagios":
        seen = [v.observation for v in report.verdicts if v.observation]
        timed = any(o.rtt is not None and o.state == report.expectation.state for o in seen)
        assert text.count("|") == timed
        assert len(text.encode("utf-8", "backslashreplace")) <= 8192 or len(lines) == 1
    elif format_name == "text":
        assert report.runs or len(lines) == len(report.verdicts)
    elif format_name == "json":
        VALIDATOR.validate(json.loads(text, parse_constant=pytest.fail))
    elif format_name == "f5":
        assert bool(text) == up
    elif format_name == "zabbix":
        assert text[0] == ("T" if worst is Status.UNKNOWN else str(int(up)))
    elif format_name == "checkmk":
        items = re.findall('(?m)^. "([^"]+)"', text)
        assert len(items) == len(set(items)) == len({v.target for v in report.verdicts})
    elif format_name == "prometheus":
        names = [line.rpartition(" ")[0] for line in lines if not line.startswith("# ")]
        assert len(names) == len(set(names))
        assert len(set(re.findall("# TYPE (.+) gauge", text))) == 5


@pytest.mark.parametrize("format_name", list(FORMATS))
@FEW
@given(report=reports(), wanted=MAPS, verbose=st.booleans())
def test_any_report_has_an_exit_code_and_a_text_that_its_caller_can_read(
    format_name: str, report: Report, wanted: Dict[str, int], verbose: bool
) -> None:
    known = FORMATS[format_name]
    if known.only is not None:
        wanted = {state: code for state, code in wanted.items() if code in known.only}

    printed = output(format_name, report, wanted, verbose)

    assert type(printed.code) is int
    assert printed.code in (range(256) if known.only is None else (0, *known.only))
    assert printed.stream in (1, 2)
    assert printed.text or format_name == "f5"
    assert all(line.isprintable() for line in printed.text.split("\n"))
    printed.text.encode("utf-8")  # a lone surrogate could not be written
    worst = max(verdict.status for verdict in report.verdicts)
    usual = output(format_name, report, {}, verbose)
    assert usual.code == known.codes[worst]
    check_shape(format_name, usual.text, report, worst)


# -- XML ----------------------------------------------------------------------------------------

RECORDINGS = [file.read_bytes() for file in XML_FILES]


@settings(max_examples=200, phases=[Phase.generate], **SETTINGS)  # to shrink XML takes minutes
@given(
    xml=st.sampled_from(RECORDINGS),
    other=st.sampled_from(RECORDINGS),
    random=st.randoms(use_true_random=False),
)
def test_a_mutated_recording_gives_a_verdict_only_on_what_is_in_it(
    xml: bytes, other: bytes, random: Random, scratch: str
) -> None:
    check_xml(mutated(xml, other, random), scratch)


@FEW
@given(xml=st.one_of(st.binary(), st.text().map(lambda text: f"<nmaprun>{text}".encode())))
def test_what_is_no_recording_gives_no_verdict(xml: bytes, scratch: str) -> None:
    assert check_xml(xml, scratch) == {"error"}


def test_mutated_recordings_still_give_verdicts_of_every_kind(scratch: str) -> None:
    random, states = Random(1), set()  # noqa: S311  no secret
    for _ in range(500):
        xml, other = random.choice(RECORDINGS), random.choice(RECORDINGS)
        states |= check_xml(mutated(xml, other, random), scratch)

    assert states == {*PORT_STATES, "error"}
