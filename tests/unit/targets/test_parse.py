"""Arguments to targets: which are taken, and what is said of the others (golden/refused.txt)."""

import socket
import string
from typing import Iterator, List, Optional, Sequence

import pytest
from support.fake_run import SERVICES, service_port
from support.golden import assert_golden

from halfopen.errors import LineError, UsageError
from halfopen.model import Target
from halfopen.targets.parse import (
    BadLinesError,
    Parse,
    make,
    parse_balancer_words,
    parse_host,
    parse_lines,
    parse_plugin_words,
    parse_port,
    parse_targets,
)

LABEL_OF_49 = ".".join(["a" * 49] * 5)
ZONE_OF_15 = "fe80::25%" + "e" * 15
HOSTS = [
    *("-iL", "--script=x", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "::ffff:224.0.0.1", "ff02::1"),  # noqa: S104
    *("255.255.255.255", "2001:db8::25%eth0", "10.0.0.0/8", "10.0.0.1-9", "10.0.0-9.1"),
    *("10.0.0.*", "10.0.0.1,2", "a b", "$(x)", "`x`", "a;b", "a'b", "", ".", "a..b"),
    *(".example.org", "example.org..", "mail-.example.org", "mail.-example.org"),
    *("a" * 64 + ".org", LABEL_OF_49 + ".abcd", "a\x00b", "192.0.2.25\x00", "a\nb"),
    *("example.org\n", "\x1b[31m", "m\u00fcller.example", "\uff11\uff10.0.0.1", "a\udcff"),
    *("10.1", "2130706433", "10.0.0.0.1", "0x7f000001", "0X7F", "10.0.0.0x1", "010.0.0.1"),
    *("10.0.0.256", "10.0.0.1.", "192.0.2.25%eth0", "::ffff:192.0.2.25%eth0", "fe80::25"),
    *("febf::25", "fe80::25%", ZONE_OF_15 + "e", "fe80::25%-x", "fe80::25%_x", "fe80::25%eth0\n"),
    *("[192.0.2.25]", "[web1.example]", "[[::1]]", "[]", "[::1", "::1]"),
]
PORTS = [
    *("0", "65536", "000025", "9" * 5000, "-1", "+25", "nosuchservice", "SMTP", "", "*", "80:90"),
    *("80,443", "80-90", "80,443,8080:8090", "80:90\n", " 25", "25 ", "25\n", "\uff12\uff15"),
    *("\u00b2\u2075", "0x19", "25.0", "T:25", "25\x00", "smtp\x00", "a" * 64, "_b", "+b", ".b"),
]
TARGETS = [
    *([], ["192.0.2.25"], ["a:1", "b"], ["::1:25"], ["192.0.2.25:"], ["[::1]:"], [":25"]),
    *(["a:b:25"], ["[::1:25"], ["[::1]25"], ["[a]:25"], ["[192.0.2.25]:25"], ["x" * 60]),
    *(["x" * 61], ["a:80,443"], ["::1", "1,2,3,4,5,6,7,8"], ["a:1,2,3,4,5,6,7,8,9"], ["a:80,x"]),
]
LINES = [
    *("192.0.2.26:0", "-iL:25", "192.0.2.26", "a:1 b:2", " = a:1", "-a = a:1", "_a = a:1"),
    *(".a = a:1", "z" * 41 + " = a:1", "m\udcfcnchen:25", "caf\udce9 = a:1"),
]


@pytest.fixture(autouse=True)
def _services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getservbyname", service_port)
    for name in ("a" * 64, "_b", "+b", ".b"):  # known, but not to be asked for
        monkeypatch.setitem(SERVICES, name, 3)


def refusal(parse: Parse, arguments: Sequence[str], family: int = 0) -> str:
    """Return what is said of arguments that name no target, in one printable line."""
    with pytest.raises(UsageError) as caught:
        parse(arguments, family or None)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 250
    shown = " ".join(map(ascii, arguments)) + (f" -{family}" if family else "")
    return f"{shown if len(shown) < 80 else shown[:77] + '...':<55} {said}"


def of_lines(lines: Sequence[str], family: Optional[int]) -> List[Target]:
    return parse_lines(lines, "my.targets", family)


def test_what_is_refused_is_told_by_name_and_with_advice_that_a_person_has_found_right() -> None:
    families = [("2001:db8::25", 4), ("192.0.2.25", 6), ("::ffff:192.0.2.25", 6)]
    told = [
        *(refusal(parse_plugin_words, [host, "25"]) for host in HOSTS),
        *(refusal(parse_plugin_words, ["192.0.2.25", port]) for port in PORTS),
        *(refusal(parse_plugin_words, [host, "25"], family) for host, family in families),
        *(refusal(parse_plugin_words, ["a"] * count) for count in (0, 1, 3, 5)),
        *(refusal(parse_targets, arguments) for arguments in TARGETS),
        *(refusal(of_lines, ["#", "192.0.2.25:25", line, "also bad"]) for line in LINES),
        *(refusal(of_lines, lines) for lines in ([], ["", "  "], ["# all commented out"])),
    ]

    assert_golden("refused.txt", "\n".join(told) + "\n")


SAME = [
    *("192.0.2.25", "223.255.255.255", "2001:db8::25", "::1", "fe80::25%eth0", ZONE_OF_15),
    *("fe80::25%Az0.Z_a-9", "febf::25%eth0", "fec0::25", "example.org", "example.org.", "a"),
    *("MAIL", "my_app_1", "app_.example", "Az09.Mail-Z_9", "_smtp._tcp.example.org"),
    *("xn--mller-kva.example", "10-0-0-1.example", "0xabc.example", "a" * 63 + ".org"),
    *(LABEL_OF_49 + ".abc.", *(f"fe80::25%{zone}" for zone in ("0", "9a", "z9", "Z0", "5M", "M5"))),
]
CANONICAL = {
    "2001:0DB8:0:0::0025": "2001:db8::25",
    "::ffff:192.0.2.25": "192.0.2.25",
    "::FFFF:c000:219": "192.0.2.25",
    "FE80:0::25%br-lan.7": "fe80::25%br-lan.7",
    **dict(zip(SAME, SAME)),
}


@pytest.mark.parametrize("word", list(CANONICAL))
def test_a_good_host_is_taken_in_canonical_form(word: str) -> None:
    assert parse_host(word) == CANONICAL[word]


@pytest.mark.parametrize(
    ("word", "port"),
    [
        *[("1", 1), ("65535", 65535), ("00025", 25), ("smtp", 25), ("http-alt", 8080), ("5M", 5)],
        *[("M5", 6), ("914c/g", 211), ("Z_a+B.c*D-e/9", 1), ("a" * 63, 2)],
    ],
)
def test_a_good_port_is_taken_as_its_number(word: str, port: int) -> None:
    assert parse_port(word) == port


ODD = sorted(set(map(chr, range(128))) - set(string.ascii_letters + string.digits + "._-%"))
"""No part of a name or an interface, wherever they stand; a `%` begins the interface."""


@pytest.mark.parametrize("char", [*ODD, "%"], ids=lambda char: f"0x{ord(char):02x}")
def test_no_other_character_is_part_of_a_name_an_interface_a_service_or_a_label(
    monkeypatch: pytest.MonkeyPatch, char: str
) -> None:
    monkeypatch.setattr(socket, "getservbyname", lambda *_: 3)
    words = [f"{char}b", f"a{char}b", f"b{char}"]

    for word in words:
        with pytest.raises(UsageError):
            parse_host(f"fe80::25%{word}")
        for host in (f"{word}.example", f"a.{word}"):
            with pytest.raises(UsageError):
                parse_host(host)
        if char not in "+*/":
            with pytest.raises(UsageError):
                parse_port(word)
    if char not in " #":
        for word in words[1:2] if char.isspace() else words:
            with pytest.raises(UsageError):
                parse_lines([f"{word} = 192.0.2.25:25"], "file")


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        *[([f"{host}:25"], [Target(host, 25)]) for host in ("192.0.2.25", "a.example")],
        *[([f"[{host}]:smtp"], [Target(host, 25)]) for host in ("::25", "fe80::25%eth0")],
        *[([host, "25"], [Target(host, 25)]) for host in ("192.0.2.25", "::25", "fe80::25%eth0")],
        (["[2001:db8::25]", "25"], [Target("2001:db8::25", 25)]),
        (
            ["a:1", "b", "2", "[::1]:3", "::1", "4", "a:1"],
            [Target("a", 1), Target("b", 2), Target("::1", 3), Target("::1", 4), Target("a", 1)],
        ),
    ],
    ids=lambda each: "" if isinstance(each[0], Target) else " ".join(each),
)
def test_arguments_name_targets_in_every_form(words: List[str], targets: List[Target]) -> None:
    assert parse_targets(words) == targets
    texts = [str(target) for target in targets]
    assert parse_targets(texts) == targets, "a target prints as it can be written"


@pytest.mark.parametrize("host", ["192.0.2.25", "::ffff:192.0.2.25", "[2001:db8::25]"])
@pytest.mark.parametrize(
    "before",
    [[], ["192.0.2.1", "80"], ["NOT_USED", "NOT_USED"], ["/run/lb.sock", "NOT_USED"], ["", ""]],
    ids=["nagios", "ldirectord", "haproxy-backend", "haproxy-unix-socket", "f5"],
)
def test_the_plugin_checks_the_last_two_of_two_or_four_arguments(
    before: List[str], host: str
) -> None:
    expected = "2001:db8::25" if host[0] == "[" else "192.0.2.25"

    assert parse_plugin_words([*before, host, "smtp"]) == [Target(expected, 25)]


@pytest.mark.parametrize(
    ("host", "family"), [("192.0.2.25", 4), ("2001:db8::25", 6), ("a.example", 4), ("a.example", 6)]
)
def test_a_family_is_kept_for_an_address_of_it_and_for_a_name(
    monkeypatch: pytest.MonkeyPatch, host: str, family: int
) -> None:
    monkeypatch.setenv("HAPROXY_SERVER_ADDR", host)
    monkeypatch.setenv("HAPROXY_SERVER_PORT", "25")
    expected = [Target(host, 25, family)]

    for parse in (parse_targets, parse_plugin_words, parse_balancer_words):
        assert parse([host, "25"], family) == expected
    assert parse_balancer_words([], family) == expected
    assert parse_balancer_words(["b.example", "26"]) == [Target("b.example", 26)]
    monkeypatch.delenv("HAPROXY_SERVER_PORT")
    with pytest.raises(UsageError, match="no arguments given"):
        parse_balancer_words([], family)
    assert parse_lines([f"{host} 25"], "file", family) == expected
    assert make(host, "25", family) == expected[0]


def test_a_targets_file_has_one_target_a_line_labels_and_comments() -> None:
    lines = [
        "# mail servers",
        "",
        "192.0.2.25:25",
        "  192.0.2.26\t25  # spaces, a tab and a comment",
        "[2001:db8::25]:smtp#no space before",
        "192.0.2.27:25  # a comment # in a comment # in a comment",
        "mail.example 25\r",
    ]
    labels = ["web1", "9 Zz._-A", "A", "Z0", "z" * 40]
    hosts = ["192.0.2.25", "192.0.2.26", "2001:db8::25", "192.0.2.27", "mail.example"]

    assert parse_lines(lines, "file") == [Target(host, 25) for host in hosts]
    assert parse_lines([f"  {label} = a:25" for label in labels], "file") == [
        Target("a", 25, None, label) for label in labels
    ]


def test_the_good_lines_of_a_file_with_bad_ones_are_told_with_each_bad_ones_error() -> None:
    lines = ["a = 192.0.2.25:25", "192.0.2.26:0", "", "-iL:25", "192.0.2.27:80"]
    with pytest.raises(BadLinesError) as caught:
        parse_lines(lines, "my.targets")

    assert caught.value.targets == [Target("192.0.2.25", 25, label="a"), Target("192.0.2.27", 80)]
    assert [error.place for error in caught.value.errors] == ["my.targets:2", "my.targets:4"]
    assert str(caught.value) == str(caught.value.errors[0])


def test_a_file_that_is_none_of_targets_is_not_read_to_its_end() -> None:
    read: List[str] = []

    def log() -> Iterator[str]:
        for number in range(1000):
            read.append(f"Nov 25 08:49:{number} host sshd")
            yield read[-1]

    with pytest.raises(LineError) as caught:
        parse_lines(log(), "my.log")

    assert caught.value.place == "my.log:1"
    assert len(read) == 100
