"""Words to targets: which are taken, and what the others are told."""

import socket
import string
from typing import Iterator, List, NamedTuple, Optional

import pytest
from support.fake_run import SERVICES, service_port

from halfopen.errors import LineError, UsageError
from halfopen.model import Target
from halfopen.targets.parse import (
    BadLinesError,
    canonical_ip,
    ip_version,
    make,
    parse_balancer_words,
    parse_host,
    parse_lines,
    parse_plugin_words,
    parse_port,
    parse_targets,
)


class Refused(NamedTuple):
    """A bad word, how the message names it, and what the message says is right instead."""

    what: str
    word: str
    advice: str
    named: Optional[str] = None

    @property
    def name(self) -> str:
        """How the message names the word: as Python would, unless said otherwise."""
        return repr(self.word) if self.named is None else self.named


NOT_A_NAME = (
    "neither an IP address nor a name: letters, digits and '-', up to 63 between dots and 253 in "
    "all"
)
NOT_ONE_IP = (
    "not one IP address; an IPv4 address is four numbers from 0 to 255, without leading zeros"
)
XN = "is not ASCII; write an international name as xn--..."
OUT_OF_RANGE = "out of range; ports are 1 to 65535"
NOT_A_PORT = "neither a number from 1 to 65535 nor a TCP service that this system knows"
SEVERAL = (
    "(Farmguardian passes this for a farm with several ports); write the one port to check in "
    "place of PORT"
)

REFUSED_HOSTS = [
    Refused("option", "-iL", "begins with '-'; give a name or an IP address"),
    Refused("long-option", "--script=x", "begins with '-'; give a name or an IP address"),
    Refused("unspecified", "0.0.0.0", "give one host's"),  # noqa: S104  to be refused
    Refused("unspecified-ipv6", "::", "give one host's"),
    Refused("multicast", "224.0.0.1", "give one host's"),
    Refused("multicast-ipv4-mapped", "::ffff:224.0.0.1", "give one host's"),
    Refused("multicast-ipv6", "ff02::1", "give one host's"),
    Refused("broadcast", "255.255.255.255", "give one host's"),
    Refused("zone-of-a-global-address", "2001:db8::25%eth0", "leave out the zone, %eth0"),
    Refused("network", "10.0.0.0/8", "is a network; give one name or IP address"),
    Refused("range", "10.0.0.1-9", NOT_ONE_IP),
    Refused("range-in-the-middle", "10.0.0-9.1", NOT_ONE_IP),
    Refused("asterisk", "10.0.0.*", NOT_A_NAME),
    Refused("list", "10.0.0.1,2", NOT_A_NAME),
    Refused("two-words-in-one", "a b", NOT_A_NAME),
    Refused("command-substitution", "$(x)", NOT_A_NAME),
    Refused("backquotes", "`x`", NOT_A_NAME),
    Refused("semicolon", "a;b", NOT_A_NAME),
    Refused("quote", "a'b", NOT_A_NAME),
    Refused("empty", "", "give a name or an IP address", "the host is empty"),
    Refused("dot", ".", NOT_A_NAME),
    Refused("two-dots", "a..b", NOT_A_NAME),
    Refused("dot-first", ".example.org", NOT_A_NAME),
    Refused("two-trailing-dots", "example.org..", NOT_A_NAME),
    Refused("hyphen-last", "mail-.example.org", NOT_A_NAME),
    Refused("hyphen-first-in-a-label", "mail.-example.org", NOT_A_NAME),
    Refused("label-of-64", "a" * 64 + ".org", NOT_A_NAME, repr("a" * 57 + "...")),
    Refused("name-of-254", ".".join(["a" * 49] * 5) + ".abcd", NOT_A_NAME, "'aaaaaaaa"),
    Refused("nul", "a\x00b", NOT_A_NAME),
    Refused("nul-after-an-address", "192.0.2.25\x00", NOT_A_NAME),
    Refused("newline", "a\nb", NOT_A_NAME),
    Refused("newline-at-the-end", "example.org\n", NOT_A_NAME),
    Refused("escape", "\x1b[31m", NOT_A_NAME),
    Refused("outside-ascii", "m\u00fcller.example", XN),
    Refused("full-width-digits", "\uff11\uff10.0.0.1", XN),
    Refused("undecodable-byte", "a\udcff", XN),
    Refused("two-numbers", "10.1", NOT_ONE_IP),
    Refused("one-number", "2130706433", NOT_ONE_IP),
    Refused("five-numbers", "10.0.0.0.1", NOT_ONE_IP),
    Refused("hexadecimal", "0x7f000001", NOT_ONE_IP),
    Refused("hexadecimal-in-capitals", "0X7F", NOT_ONE_IP),
    Refused("hexadecimal-last", "10.0.0.0x1", NOT_ONE_IP),
    Refused("leading-zero", "010.0.0.1", NOT_ONE_IP),
    Refused("number-too-large", "10.0.0.256", NOT_ONE_IP),
    Refused("address-with-a-trailing-dot", "10.0.0.1.", NOT_ONE_IP),
    Refused("ipv4-with-a-zone", "192.0.2.25%eth0", NOT_A_NAME),
    Refused("ipv4-mapped-with-a-zone", "::ffff:192.0.2.25%eth0", "an IPv4 address has no zone"),
    Refused("link-local-without-a-zone", "fe80::25", "name the interface, as fe80::25%eth0"),
    Refused("zone-empty", "fe80::25%", "after '%' goes the name of an interface"),
    Refused("zone-of-16", "fe80::25%" + "e" * 16, "after '%' goes the name of an interface"),
    Refused("zone-like-an-option", "fe80::25%-x", "after '%' goes the name of an interface"),
    Refused("zone-with-a-newline", "fe80::25%eth0\n", "after '%' goes the name of an interface"),
]

REFUSED_PORTS = [
    Refused("zero", "0", OUT_OF_RANGE),
    Refused("65536", "65536", OUT_OF_RANGE),
    Refused("six-digits", "000025", OUT_OF_RANGE),
    Refused("very-large", "9" * 5000, OUT_OF_RANGE, repr("9" * 57 + "...")),
    Refused("negative", "-1", NOT_A_PORT),
    Refused("plus-sign", "+25", NOT_A_PORT),
    Refused("name-unknown", "nosuchservice", NOT_A_PORT),
    Refused("name-in-capitals", "SMTP", NOT_A_PORT),
    Refused("empty", "", "give a number from 1 to 65535", "the port is empty"),
    Refused("farmguardian-all", "*", SEVERAL),
    Refused("farmguardian-range", "80:90", SEVERAL),
    Refused("farmguardian-list", "80,443", SEVERAL),
    Refused("nmap-range", "80-90", SEVERAL),
    Refused("three-ports", "80,443,8080:8090", SEVERAL),
    Refused("farmguardian-range-and-newline", "80:90\n", NOT_A_PORT),
    Refused("space-first", " 25", NOT_A_PORT),
    Refused("space-last", "25 ", NOT_A_PORT),
    Refused("newline-last", "25\n", NOT_A_PORT),
    Refused("full-width-digits", "\uff12\uff15", NOT_A_PORT),
    Refused("superscript", "\u00b2\u2075", NOT_A_PORT),
    Refused("hexadecimal", "0x19", NOT_A_PORT),
    Refused("fraction", "25.0", NOT_A_PORT),
    Refused("nmap-protocol", "T:25", NOT_A_PORT),
    Refused("nul", "25\x00", NOT_A_PORT),
    Refused("name-with-a-nul", "smtp\x00", NOT_A_PORT),
]


@pytest.fixture(autouse=True)
def _services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getservbyname", service_port)


@pytest.mark.parametrize("bad", REFUSED_HOSTS, ids=[bad.what for bad in REFUSED_HOSTS])
def test_a_bad_host_is_refused_by_name_and_with_advice(bad: Refused) -> None:
    with pytest.raises(UsageError) as caught:
        make(bad.word, "25")

    said = str(caught.value)
    assert said.startswith(("host ", "the host is empty;"))
    assert bad.name in said
    assert said.endswith(bad.advice)
    assert said.isprintable()
    assert len(said) < 250


@pytest.mark.parametrize("bad", REFUSED_PORTS, ids=[bad.what for bad in REFUSED_PORTS])
def test_a_bad_port_is_refused_by_name_and_with_advice(bad: Refused) -> None:
    with pytest.raises(UsageError) as caught:
        make("192.0.2.25", bad.word)

    said = str(caught.value)
    assert said.startswith(("port ", "the port is empty;"))
    assert bad.name in said
    assert said.endswith(bad.advice)
    assert said.isprintable()
    assert len(said) < 250


@pytest.mark.parametrize(
    ("word", "host"),
    [
        pytest.param("192.0.2.25", "192.0.2.25", id="ipv4"),
        pytest.param("223.255.255.255", "223.255.255.255", id="ipv4-largest"),
        pytest.param("2001:db8::25", "2001:db8::25", id="ipv6"),
        pytest.param("2001:0DB8:0:0::0025", "2001:db8::25", id="ipv6-made-canonical"),
        pytest.param("::1", "::1", id="ipv6-shortest"),
        pytest.param("::ffff:192.0.2.25", "192.0.2.25", id="ipv4-mapped-as-f5-passes-it"),
        pytest.param("::FFFF:c000:219", "192.0.2.25", id="ipv4-mapped-in-hexadecimal"),
        pytest.param("fe80::25%eth0", "fe80::25%eth0", id="link-local-with-zone"),
        pytest.param("FE80:0::25%br-lan.7", "fe80::25%br-lan.7", id="zone-kept-as-it-is"),
        pytest.param("fe80::25%Az0.Z_a-9", "fe80::25%Az0.Z_a-9", id="zone-of-every-kind"),
        *[
            pytest.param(f"fe80::25%{zone}", f"fe80::25%{zone}", id=f"zone-{zone}")
            for zone in ("0", "9a", "z9", "Z0", "5M", "M5")
        ],
        pytest.param("febf::25%eth0", "febf::25%eth0", id="link-local-largest"),
        pytest.param("fe80::25%" + "e" * 15, "fe80::25%" + "e" * 15, id="zone-of-15"),
        pytest.param("example.org", "example.org", id="name"),
        pytest.param("example.org.", "example.org.", id="name-with-trailing-dot"),
        pytest.param("a", "a", id="name-of-one-letter"),
        pytest.param("MAIL", "MAIL", id="name-in-capitals"),
        pytest.param("my_app_1", "my_app_1", id="name-with-underscores"),
        pytest.param("app_.example", "app_.example", id="underscore-last"),
        pytest.param("Az09.Mail-Z_9", "Az09.Mail-Z_9", id="every-kind-of-character"),
        pytest.param("_smtp._tcp.example.org", "_smtp._tcp.example.org", id="underscore-first"),
        pytest.param("xn--mller-kva.example", "xn--mller-kva.example", id="international"),
        pytest.param("10-0-0-1.example", "10-0-0-1.example", id="name-of-digits-and-hyphens"),
        pytest.param("0xabc.example", "0xabc.example", id="hexadecimal-but-not-last"),
        pytest.param("a" * 63 + ".org", "a" * 63 + ".org", id="label-of-63"),
        pytest.param(
            ".".join(["a" * 49] * 5) + ".abc.", ".".join(["a" * 49] * 5) + ".abc.", id="name-of-253"
        ),
    ],
)
def test_a_good_host_is_taken_in_canonical_form(word: str, host: str) -> None:
    assert parse_host(word) == host


@pytest.mark.parametrize(
    ("word", "port"),
    [
        pytest.param("1", 1, id="smallest"),
        pytest.param("65535", 65535, id="largest"),
        pytest.param("00025", 25, id="leading-zeros-are-decimal"),
        pytest.param("smtp", 25, id="service-name"),
        pytest.param("http-alt", 8080, id="service-name-with-hyphen"),
        pytest.param("5M", 5, id="service-name-of-a-digit-and-a-capital"),
        pytest.param("M5", 6, id="service-name-of-a-capital-and-a-digit"),
        pytest.param("914c/g", 211, id="service-name-with-digit-first"),
        pytest.param("Z_a+B.c*D-e/9", 1, id="service-name-of-every-kind-of-character"),
        pytest.param("a" * 63, 2, id="service-name-of-63"),
    ],
)
def test_a_good_port_is_taken_as_its_number(word: str, port: int) -> None:
    assert parse_port(word) == port


ODD = sorted(set(map(chr, range(128))) - set(string.ascii_letters + string.digits + "._-%"))
"""No part of a name or an interface, wherever they stand; a `%` begins the interface."""


def hexadecimal(char: str) -> str:
    """Return a character's number, for a test's name."""
    return f"0x{ord(char):02x}"


@pytest.mark.parametrize("char", ODD, ids=hexadecimal)
def test_no_other_character_is_part_of_a_name_or_an_interface(char: str) -> None:
    for word in (f"{char}b.example", f"a{char}b.example", f"a{char}.example", f"a.b{char}"):
        with pytest.raises(UsageError):
            parse_host(word)
        with pytest.raises(UsageError):
            parse_host(f"fe80::25%{word}")


@pytest.mark.parametrize("char", sorted({*ODD, "%"} - set("+*/")), ids=hexadecimal)
def test_no_other_character_is_looked_up_as_a_services_name(
    monkeypatch: pytest.MonkeyPatch, char: str
) -> None:
    monkeypatch.setattr(socket, "getservbyname", lambda *_: 3)

    for word in (f"{char}b", f"a{char}b", f"b{char}"):
        with pytest.raises(UsageError):
            parse_port(word)


@pytest.mark.parametrize("first", ["_", "+", ".", "*", "/", "-"])
def test_a_services_name_begins_with_a_letter_or_a_digit(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setitem(SERVICES, f"{first}b", 3)

    with pytest.raises(UsageError):
        parse_port(f"{first}b")


def test_a_services_name_of_64_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVICES, "a" * 64, 3)

    with pytest.raises(UsageError):
        parse_port("a" * 64)


@pytest.mark.parametrize(
    "label", ["web1", "9 Zz._-A", "A", "Z0", "z" * 40], ids=["word", "every-kind", "A", "Z0", "40"]
)
def test_a_label_is_kept_as_it_is(label: str) -> None:
    (target,) = parse_lines([f"  {label} = 192.0.2.25:25"], "file")

    assert target == Target("192.0.2.25", 25, None, label)
    assert target.name == f"{label} (192.0.2.25:25)"


@pytest.mark.parametrize("char", sorted({*ODD, "%"} - set(" #")), ids=hexadecimal)
def test_no_other_character_is_part_of_a_label(char: str) -> None:
    for label in (f"a{char}b",) if char.isspace() else (f"{char}b", f"a{char}b", f"a{char}"):
        with pytest.raises(UsageError):
            parse_lines([f"{label} = 192.0.2.25:25"], "file")


@pytest.mark.parametrize(
    "label", ["", "-a", "_a", ".a", "z" * 41], ids=["empty", "-", "_", ".", "41"]
)
def test_a_bad_label_is_refused_by_name_and_with_advice(label: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lines([f"{label} = 192.0.2.25:25"], "file")

    assert str(caught.value) == (
        f"file, line 1: label {label!r}: up to 40 letters, digits, spaces and ._- go before '='"
    )


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        pytest.param(["192.0.2.25:25"], [Target("192.0.2.25", 25)], id="host-colon-port"),
        pytest.param(["mail.example:smtp"], [Target("mail.example", 25)], id="service-name"),
        pytest.param(["[2001:db8::25]:25"], [Target("2001:db8::25", 25)], id="brackets"),
        pytest.param(["[fe80::25%eth0]:25"], [Target("fe80::25%eth0", 25)], id="brackets-zone"),
        pytest.param(["192.0.2.25", "25"], [Target("192.0.2.25", 25)], id="two-words"),
        pytest.param(["2001:db8::25", "25"], [Target("2001:db8::25", 25)], id="two-words-ipv6"),
        pytest.param(
            ["[2001:db8::25]", "25"], [Target("2001:db8::25", 25)], id="two-with-brackets"
        ),
        pytest.param(
            ["fe80::25%eth0", "25"], [Target("fe80::25%eth0", 25)], id="two-words-with-zone"
        ),
        pytest.param(
            ["a:1", "b", "2", "[::1]:3", "::1", "4"],
            [Target("a", 1), Target("b", 2), Target("::1", 3), Target("::1", 4)],
            id="all-kinds-mixed",
        ),
        pytest.param(["a:1", "a:1"], [Target("a", 1), Target("a", 1)], id="twice-the-same"),
    ],
)
def test_words_name_targets_in_every_form(words: List[str], targets: List[Target]) -> None:
    assert parse_targets(words) == targets


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "no target given; write HOST:PORT, [IPV6]:PORT or HOST PORT", id="none"),
        pytest.param(["192.0.2.25"], "'192.0.2.25' has no port; write HOST:PORT", id="no-port"),
        pytest.param(["a:1", "b"], "'b' has no port", id="the-last-has-no-port"),
        pytest.param(["::1:25"], "'::1:25' has no port; write HOST:PORT, [IPV6]", id="ipv6-bare"),
        pytest.param(["192.0.2.25:"], "the port is empty", id="port-empty"),
        pytest.param(["[::1]:"], "the port is empty", id="port-empty-after-brackets"),
        pytest.param([":25"], "the host is empty", id="host-empty"),
        pytest.param(["a:b:25"], "'a:b:25' is neither HOST:PORT nor an IPv6", id="two-colons"),
        pytest.param(
            ["[::1:25"],
            "'[::1:25': square brackets go round an IPv6 address, as [2001:db8::25]:25",
            id="unclosed",
        ),
        pytest.param(["[::1]25"], "'[::1]25': square brackets go round an IPv6", id="no-colon"),
        pytest.param(["[a]:25"], "'[a]:25': square brackets go round an IPv6", id="name-inside"),
        pytest.param(["[192.0.2.25]:25"], "'[192.0.2.25]:25': square brackets", id="ipv4-inside"),
        pytest.param(["x" * 60], "'" + "x" * 60 + "' has no port", id="word-of-60-whole"),
        pytest.param(["x" * 61], "'" + "x" * 57 + "...' has no port", id="word-of-61-shortened"),
    ],
)
def test_words_that_name_no_target_are_refused(words: List[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_targets(words)

    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["192.0.2.25", "25"], id="nagios-and-farmguardian"),
        pytest.param(["192.0.2.1", "80", "192.0.2.25", "25"], id="ldirectord"),
        pytest.param(["NOT_USED", "NOT_USED", "192.0.2.25", "25"], id="haproxy-backend"),
        pytest.param(["/run/lb.sock", "NOT_USED", "192.0.2.25", "25"], id="haproxy-unix-socket"),
        pytest.param(["", "", "::ffff:192.0.2.25", "smtp"], id="first-two-not-looked-at"),
    ],
)
def test_the_plugin_checks_the_last_two_of_two_or_four_words(words: List[str]) -> None:
    assert parse_plugin_words(words) == [Target("192.0.2.25", 25)]


FARM = "; or a farm's port is *: write one port in place of PORT"
"""The hint at a shell that has made file names of `*`: too many words."""


@pytest.mark.parametrize(
    ("words", "counted", "hint"),
    [
        ([], "no arguments", ""),
        (["a"], "1 argument", ""),
        (["a"] * 3, "3 arguments", ""),
        (["a"] * 5, "5 arguments", FARM),
    ],
    ids=["none", "one", "three", "five"],
)
def test_the_plugin_refuses_any_other_number_of_words(
    words: List[str], counted: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_plugin_words(words)

    assert str(caught.value) == (
        f"{counted} given; give HOST PORT, or VIP VPORT RIP RPORT, or -H HOST -p PORT{hint}"
    )


@pytest.mark.parametrize(
    ("host", "family", "said"),
    [
        ("2001:db8::25", 4, "host '2001:db8::25' is an IPv6 address, but -4 was given"),
        ("192.0.2.25", 6, "host '192.0.2.25' is an IPv4 address, but -6 was given"),
        ("::ffff:192.0.2.25", 6, "is an IPv4 address, but -6 was given"),
    ],
    ids=["ipv6", "ipv4", "ipv4-mapped"],
)
def test_an_address_of_the_other_family_is_refused(host: str, family: int, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(host, "25", family)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("host", "family"), [("192.0.2.25", 4), ("2001:db8::25", 6), ("a.example", 4), ("a.example", 6)]
)
def test_a_family_is_kept_for_an_address_of_it_and_for_a_name(host: str, family: int) -> None:
    assert parse_targets([host, "25"], family) == [Target(host, 25, family)]
    assert parse_plugin_words([host, "25"], family) == [Target(host, 25, family)]
    assert parse_balancer_words([host, "25"], family) == [Target(host, 25, family)]
    assert parse_lines([f"{host} 25"], "file", family) == [Target(host, 25, family)]


def test_a_family_is_kept_for_a_server_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAPROXY_SERVER_ADDR", "a.example")
    monkeypatch.setenv("HAPROXY_SERVER_PORT", "25")

    assert parse_balancer_words([], 6) == [Target("a.example", 25, 6)]


def test_a_targets_file_has_one_target_a_line_and_comments() -> None:
    lines = [
        "# mail servers",
        "",
        "192.0.2.25:25",
        "  192.0.2.26\t25  # spaces, a tab and a comment",
        "[2001:db8::25]:smtp#no space before",
        "   # only a comment",
        "192.0.2.27:25  # a comment # in a comment # in a comment",
        "mail.example 25\r",
    ]

    assert parse_lines(lines, "file") == [
        Target("192.0.2.25", 25),
        Target("192.0.2.26", 25),
        Target("2001:db8::25", 25),
        Target("192.0.2.27", 25),
        Target("mail.example", 25),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("192.0.2.26:0", "port '0' is out of range", id="bad-port"),
        pytest.param("-iL:25", "host '-iL' begins with '-'", id="option"),
        pytest.param("192.0.2.26", "'192.0.2.26' has no port", id="no-port"),
        pytest.param("a:1 b:2", "it has more than one target; write one a line", id="two"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line_number(line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lines(["# first", "192.0.2.25:25", line, "also bad"], "my.targets")

    assert str(caught.value).startswith(f"my.targets, line 3: {said}")


def test_the_good_lines_of_a_file_with_bad_ones_are_told_with_each_bad_ones_error() -> None:
    lines = ["a = 192.0.2.25:25", "192.0.2.26:0", "", "-iL:25", "192.0.2.27:80"]
    with pytest.raises(BadLinesError) as caught:
        parse_lines(lines, "my.targets")

    assert caught.value.targets == [
        Target("192.0.2.25", 25, label="a"),
        Target("192.0.2.27", 80),
    ]
    assert [error.place for error in caught.value.errors] == ["my.targets:2", "my.targets:4"]
    assert [str(error).split(":")[0] for error in caught.value.errors] == [
        "my.targets, line 2",
        "my.targets, line 4",
    ]
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


@pytest.mark.parametrize("lines", [[], ["", "  "], ["# all commented out"]])
def test_a_targets_file_without_targets_is_refused(lines: List[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lines(lines, "my.targets")

    assert str(caught.value) == "my.targets names no target; write one a line, as HOST:PORT"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target("192.0.2.25", 25), "192.0.2.25:25"),
        (Target("2001:db8::25", 25), "[2001:db8::25]:25"),
        (Target("mail.example", 25), "mail.example:25"),
    ],
    ids=["ipv4", "ipv6", "name"],
)
def test_a_target_prints_as_it_can_be_written(target: Target, text: str) -> None:
    assert str(target) == target.name == text
    assert parse_targets([text]) == [target]


@pytest.mark.parametrize(
    ("word", "version", "canonical"),
    [
        ("192.0.2.25", 4, "192.0.2.25"),
        ("2001:DB8::0", 6, "2001:db8::"),
        ("fe80::1%eth0", 6, "fe80::1%eth0"),
        ("mail.example", None, None),
        ("10.1", None, None),
        ("192.0.2.25%eth0", 4, None),
        ("192.0.2.25\x00", None, None),
        ("", None, None),
    ],
)
def test_an_address_is_told_from_other_words(
    word: str, version: Optional[int], canonical: Optional[str]
) -> None:
    assert ip_version(word) == version
    assert canonical_ip(word) == canonical


@pytest.mark.parametrize(
    "words", [["[2001:db8::25]", "25"], ["[2001:db8::10]", "80", "[2001:db8::25]", "25"]]
)
def test_an_ipv6_address_may_come_in_brackets_with_its_port_apart(words: List[str]) -> None:
    assert parse_plugin_words(words) == [Target("2001:db8::25", 25)]


@pytest.mark.parametrize(
    "host", ["[192.0.2.25]", "[web1.example]", "[[::1]]", "[]", "[::1", "::1]"]
)
def test_brackets_round_anything_else_are_refused(host: str) -> None:
    with pytest.raises(UsageError):
        parse_plugin_words([host, "25"])
