"""What no recording shows: runs that were cut, odd reports, packets not sent, odd replays."""

from typing import Dict, List, Sequence

import pytest
from support.fake_run import HOST, PORT, RUN

from halfopen.errors import CheckError
from halfopen.model import FLOOD, LATE, UNSTARTED, NmapRun, Observation
from halfopen.scan.reader import Recorded, read, recorded

SERVER = "192.0.2.25"
NO_WARNING = b""


def host(address: str, state: str = "open", reason: str = "syn-ack", port: int = 25) -> str:
    """Return a host of nmap's XML."""
    ports = PORT.format(port=port, state=state, reason=reason)
    kind = "ipv6" if ":" in address else "ipv4"
    return HOST.format(address=address, kind=kind, ports=ports, srtt=65)


def ended(
    *hosts: str,
    code: int = 0,
    stderr: bytes = NO_WARNING,
    cut: str = "",
    command: str = "nmap",
) -> NmapRun:
    """Return a run that printed these hosts."""
    xml = RUN.format(hosts="\n".join(hosts), up=len(hosts))
    xml = xml.replace('args="nmap"', f'args="{command}"')
    return NmapRun(["nmap"], code, xml.encode(), stderr, 0.1, cut)


def error_of(run: NmapRun, address: str = SERVER) -> str:
    """Return why a run says nothing about an address."""
    outcome = read(run, [address], 25)[address]
    assert isinstance(outcome, CheckError), outcome
    return str(outcome)


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (LATE, "nmap did not end within --timeout, and was killed; raise --timeout"),
        (FLOOD, "nmap printed without end, and was killed; check that it is nmap"),
        (UNSTARTED, "no time left to ask; raise --timeout, or give fewer targets"),
    ],
    ids=["late", "flood", "unstarted"],
)
def test_a_run_that_was_cut_is_not_believed_even_if_its_report_is_whole(
    cut: str, said: str
) -> None:
    run = ended(host(SERVER), host("192.0.2.26"), cut=cut)

    outcomes = read(run, [SERVER, "192.0.2.26"], 25)

    assert [str(outcome) for outcome in outcomes.values()] == [said] * 2


# As masscan 1.3.2 printed it, but for the state: nmap's elements, and an end without `exit`.
MASSCAN = b"""<?xml version="1.0"?>
<!-- masscan v1.0 scan -->
<nmaprun scanner="masscan" start="1795626275" version="1.0-BETA"  xmloutputversion="1.03">
<scaninfo type="syn" protocol="tcp" />
<host endtime="1795626275"><address addr="192.0.2.25" addrtype="ipv4"/><ports>\
<port protocol="tcp" portid="25"><state state="open" reason="syn-ack" reason_ttl="64"/></port>\
</ports></host>
<runstats>
<finished time="1795626280" timestr="2026-11-25 17:04:40" elapsed="5" />
<hosts up="0" down="1" total="1" />
</runstats>
</nmaprun>
"""


@pytest.mark.parametrize(
    ("xml", "scanner"),
    [
        (MASSCAN, "masscan"),
        (MASSCAN.replace(b"elapsed", b'exit="success" elapsed'), "masscan"),
        (b"<niktoscan></niktoscan>", "niktoscan"),
    ],
    ids=["masscan", "as-if-it-were-nmaps", "of-no-port-scanner"],
)
def test_a_complete_report_of_another_tool_is_told_from_a_broken_one(
    xml: bytes, scanner: str
) -> None:
    recording = NmapRun((), 0, xml, b"", 0.0)

    assert error_of(recording) == (
        f"the XML is complete, but not nmap's ({scanner}); give what nmap -oX prints"
    )


def test_a_warning_of_a_run_that_went_well_changes_nothing() -> None:
    run = ended(host(SERVER), stderr=b"Warning: Operation not permitted\n")

    assert read(run, [SERVER], 25) == {SERVER: Observation("open", "syn-ack", SERVER, 0.000065)}


def test_what_a_run_says_of_one_address_is_not_said_of_another() -> None:
    run = ended(host(SERVER), host("2001:db8::26", "closed", "reset"), host("192.0.2.28", port=80))
    asked = [SERVER, "2001:db8::26", "192.0.2.27", "192.0.2.28"]

    outcomes = read(run, asked, 25)

    assert list(outcomes) == asked
    assert outcomes[SERVER] == Observation("open", "syn-ack", SERVER, 0.000065)
    assert outcomes["2001:db8::26"] == Observation("closed", "reset", "2001:db8::26", 0.000065)
    assert str(outcomes["192.0.2.27"]) == (
        "nmap said nothing about 192.0.2.27, but about another host; check that it is nmap"
    )
    assert str(outcomes["192.0.2.28"]) == (
        "nmap said nothing about TCP port 25 of 192.0.2.28; check that it is nmap"
    )


def test_an_address_with_a_zone_is_found_without_it_and_keeps_it() -> None:
    outcome = read(ended(host("fe80::25")), ["fe80::25%eth0"], 25)["fe80::25%eth0"]

    assert outcome == Observation("open", "syn-ack", "fe80::25%eth0", 0.000065)


def test_an_nmap_that_scanned_nothing_says_what_it_complained_about() -> None:
    run = ended(stderr=b"WARNING: No targets were specified\nmore\n")

    assert error_of(run) == "nmap scanned no host; WARNING: No targets were specified"
    assert error_of(ended()) == "nmap scanned no host"


NO_ANSWER = (
    "nmap's host discovery had no answer from 192.0.2.25, so the port was never asked; "
    "scan with -Pn"
)
INCOMPLETE = "nmap printed no complete XML; run it by hand to see why"
NO_REASON = "nmap does not say why port 25 is open; use 7.70 or later"
OPEN = 'state="open" reason="syn-ack"'


@pytest.mark.parametrize(
    ("printed", "other", "said"),
    [
        (
            'exit="success"',
            'exit="error" errormsg="Too tired"',
            "nmap failed (Too tired); run it by hand to see why",
        ),
        ('exit="success"', 'exit="error"', INCOMPLETE),
        ('<hosts up="1" down="0" total="1"/>', "", INCOMPLETE),
        ('<status state="up"', '<status state="down"', NO_ANSWER),
        (
            OPEN,
            'state="unfiltered" reason="reset"',
            "nmap called port 25 'unfiltered', not open, closed or filtered",
        ),
        (
            OPEN,
            'state="open" reason="reset"',
            "nmap called port 25 open for 'reset'; only a SYN/ACK means open, and only a RST "
            "closed",
        ),
        (OPEN, 'state="open" reason=""', NO_REASON),
        (OPEN, 'state="open" reason="syn-ack&#10;OK - all fine"', NO_REASON),
    ],
    ids=[
        "ends-in-an-error",
        "ends-in-an-error-without-a-word",
        "no-count-of-hosts",
        "host-down",
        "state-of-no-syn-scan",
        "state-and-reason-contradict",
        "no-reason",
        "reason-with-a-line-end",
    ],
)
def test_a_report_that_says_nothing_certain_is_an_error_that_says_why(
    printed: str, other: str, said: str
) -> None:
    run = ended(host(SERVER))
    assert printed.encode() in run.stdout

    assert (
        error_of(run._replace(stdout=run.stdout.replace(printed.encode(), other.encode()))) == said
    )


@pytest.mark.parametrize(
    ("down", "said"), [('down="1"', NO_ANSWER), ("", "nmap scanned no host")], ids=["down", "none"]
)
def test_a_host_that_discovery_called_down_was_never_asked(down: str, said: str) -> None:
    run = ended()

    assert error_of(run._replace(stdout=run.stdout.replace(b'down="0"', down.encode()))) == said


SKIPPED = '<target specification="2001:db8::25" status="skipped" reason="invalid"/>'
NEEDS_6 = "nmap skipped 2001:db8::25: an IPv6 address needs -6"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("nmap -p 25 2001:db8::25", NEEDS_6),
        ("", NEEDS_6),
        ("nmap -6 -p 25 ::25", "no route to 2001:db8::25; see ip route get 2001:db8::25"),
    ],
    ids=["without-6", "without-a-command-line", "with-6"],
)
def test_a_skipped_ipv6_address_lacked_the_option_or_a_route(command: str, said: str) -> None:
    assert error_of(ended(SKIPPED, command=command), "2001:db8::25") == said


def test_hosts_that_python_nmap_takes_for_one_are_not_mixed_up() -> None:
    # Its key for a host without an IPv4 address is the address that comes first.
    mac = '<address addr="02:00:00:00:00:01" addrtype="mac"/>\n<address'
    hosts = [
        host(address, state, reason).replace("<address", mac, 1)
        for address, state, reason in (
            ("2001:db8::25", "open", "syn-ack"),
            ("2001:db8::26", "closed", "reset"),
        )
    ]

    outcomes = read(ended(*hosts), ["2001:db8::25", "2001:db8::26"], 25)

    assert str(outcomes["2001:db8::25"]) == (
        "nmap said nothing about TCP port 25 of 2001:db8::25; check that it is nmap"
    )
    assert outcomes["2001:db8::26"] == Observation("closed", "reset", "2001:db8::26", 0.000065)


def test_xml_that_python_nmap_stumbles_over_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumble(*_: object) -> Dict[str, object]:
        raise KeyError("hosts")

    monkeypatch.setattr("nmap.PortScanner.analyse_nmap_xml_scan", stumble)

    assert error_of(ended(host(SERVER))) == (
        "cannot make sense of nmap's XML (KeyError); run nmap by hand to see it"
    )


@pytest.mark.parametrize(
    ("srtt", "rtt"),
    [
        ("65", 0.000065),
        ("1", 1e-6),
        ("0", None),
        ("-1", None),
        ("nan", None),
        ("99999", 0.099999),
        ("100000", None),  # as long as the whole run
        ("3.6e9", None),
    ],
)
def test_a_round_trip_is_a_time_that_can_have_passed(srtt: str, rtt: float) -> None:
    outcome = read(ended(host(SERVER).replace('srtt="65"', f'srtt="{srtt}"')), [SERVER], 25)

    assert outcome == {SERVER: Observation("open", "syn-ack", SERVER, rtt)}


@pytest.mark.parametrize(("reason", "silent"), [("no-response", True), ("admin-prohibited", False)])
def test_only_no_answer_at_all_is_silence(reason: str, silent: bool) -> None:
    outcome = read(ended(host(SERVER, "filtered", reason)), [SERVER], 25)[SERVER]

    assert isinstance(outcome, Observation)
    assert outcome.silent is silent
    assert outcome.rtt is None


@pytest.mark.parametrize(
    ("command", "addresses", "port"),
    [
        pytest.param("nmap -p 25-26 192.0.2.25", [SERVER], 25, id="range"),
        pytest.param("nmap -p 65535,65534 192.0.2.25", [SERVER], 65535, id="first-named-counts"),
        pytest.param("nmap -p25 192.0.2.25", [SERVER], 25, id="glued"),
        pytest.param("nmap -p 1 192.0.2.25", [SERVER], 1, id="smallest-port"),
        pytest.param("nmap -p 0 192.0.2.25", [SERVER], None, id="port-0"),
        pytest.param("nmap -p 65536 192.0.2.25", [SERVER], None, id="port-too-large"),
        pytest.param("nmap -p T:25,U:53 192.0.2.25", [SERVER], 25, id="with-protocol"),
        pytest.param("nmap -sS 192.0.2.25", [SERVER], None, id="no-port"),
        pytest.param("nmap -p - 192.0.2.25", [SERVER], None, id="all-ports"),
        pytest.param("nmap -p 250000 192.0.2.25", [SERVER], None, id="no-port-number"),
        pytest.param("nmap --top-ports 25 192.0.2.25", [SERVER], None, id="another-option"),
        pytest.param(
            "nmap -p 25 192.0.2.25 2001:DB8::26", [SERVER, "2001:db8::26"], 25, id="both-families"
        ),
        pytest.param("nmap -p 25 192.0.2.25 192.0.2.25", [SERVER], 25, id="twice"),
        pytest.param("nmap -S 192.0.2.1 -p 25 192.0.2.25", [SERVER], 25, id="source-address"),
        pytest.param("nmap --exclude 192.0.2.9 -p 25 192.0.2.25", [SERVER], 25, id="excluded"),
    ],
)
def test_a_recordings_command_line_says_what_was_asked(
    command: str, addresses: List[str], port: int
) -> None:
    assert recorded(ended(host(SERVER), command=command)) == Recorded(addresses, port, "")


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ([], "nmap scanned no host"),
        (
            [host(SERVER)],
            "nmap said nothing about the asked host, but about another host; check that it is nmap",
        ),
    ],
    ids=["none", "another"],
)
def test_a_recording_of_no_asked_address_says_why(hosts: Sequence[str], said: str) -> None:
    run = ended(*hosts, command="nmap -p 25 mail.example")

    assert recorded(run) == Recorded([], 25, said)


def test_a_name_in_a_recordings_command_line_is_the_host_that_nmap_found_for_it() -> None:
    named = host(SERVER).replace(
        "<hostnames>\n", '<hostnames>\n<hostname name="mail.example" type="user"/>\n'
    )
    assert "mail.example" in named

    run = ended(named, host("192.0.2.26"), command="nmap -p 25 mail.example")

    assert recorded(run) == Recorded([SERVER], 25, "")


@pytest.mark.parametrize(
    "addresses",
    ["<address/>", '<address addrtype="ipv4"/>', '<address addr="192.0.2.26" addrtype="ipv4"/>'],
    ids=["no-kind", "no-address", "two-addresses"],
)
def test_a_name_is_no_host_that_has_not_exactly_one_address(addresses: str) -> None:
    named = host(SERVER).replace(
        "<hostnames>\n", '<hostnames>\n<hostname name="mail.example" type="user"/>\n'
    )
    own = f'<address addr="{SERVER}" addrtype="ipv4"/>'
    others = own + addresses if "192.0.2.26" in addresses else addresses
    assert own in named

    run = ended(named.replace(own, others), command="nmap -p 25 mail.example")

    assert recorded(run).addresses == []


PACKETS = {
    "7.93": "TCP {source}:63910 > {address}:{port} S ttl=43 id=54156 iplen=44",
    "7.991-IPv4": "TCP [{source}:63910 > {address}:{port} S seq=499438426 <mss 1460>] IP []",
    "7.991-IPv6": "TCP [[{source}]:63910 > [{address}]:{port} S seq=499438426 <mss 1460>] IP []",
}
"""How nmap names a packet; the versions from 7.70 to 7.99 do so alike for both families."""


def refused_to_send(
    address: str, port: int, why: str = "Operation not permitted", packet: str = PACKETS["7.93"]
) -> bytes:
    """Return what nmap says on stderr of a packet that the kernel did not take."""
    source = "2001:db8::1" if ":" in address else "192.0.2.1"
    named = packet.format(source=source, address=address, port=port)
    return (
        f"sendto in send_ip_packet_sd: sendto(4, packet, 44, 0, {address}, 16) => {why}\n"
        f"Offending packet: {named}\n"
    ).encode()


def silent(address: str) -> str:
    """Return a host of nmap's XML that did not answer."""
    return host(address, "filtered", "no-response")


REFUSALS = pytest.mark.parametrize(
    ("address", "packet"),
    [
        pytest.param(SERVER, PACKETS["7.93"], id="7.93-IPv4"),
        pytest.param("2001:db8::25", PACKETS["7.93"], id="7.93-IPv6"),
        pytest.param(SERVER, PACKETS["7.991-IPv4"], id="7.991-IPv4"),
        pytest.param("2001:db8::25", PACKETS["7.991-IPv6"], id="7.991-IPv6"),
    ],
)


@REFUSALS
def test_silence_after_a_syn_that_could_not_be_sent_is_this_machines_doing(
    address: str, packet: str
) -> None:
    run = ended(silent(address), stderr=refused_to_send(address, 25, packet=packet))

    assert error_of(run, address) == (
        f"this machine refused to send to {address} (Operation not permitted); look at its own "
        "firewall (nft list ruleset)"
    )


@pytest.mark.parametrize(
    "stderr",
    [
        refused_to_send(SERVER, 252),
        refused_to_send("192.0.2.255", 25),
        refused_to_send(SERVER, 25, "No route to host"),
    ],
    ids=["longer-port", "longer-address", "no-answer-to-arp"],
)
def test_silence_is_the_servers_where_its_own_syn_was_sent(stderr: bytes) -> None:
    outcome = read(ended(silent(SERVER), stderr=stderr), [SERVER], 25)[SERVER]

    assert isinstance(outcome, Observation)
    assert outcome.silent


@REFUSALS
def test_silence_is_the_servers_where_only_the_second_ports_syn_was_refused(
    address: str, packet: str
) -> None:
    stderr = refused_to_send(address, 26, packet=packet)
    outcome = read(ended(silent(address), stderr=stderr), [address], 25)[address]

    assert isinstance(outcome, Observation)
    assert outcome.silent


def test_a_refused_packet_that_a_later_nmap_names_in_another_way_may_have_been_the_asked_one() -> (
    None
):
    stderr = refused_to_send(SERVER, 25, packet="{source} to {address}, port {port}")

    assert "this machine refused to send" in error_of(ended(silent(SERVER), stderr=stderr))


def test_an_answer_counts_even_where_a_packet_could_not_be_sent() -> None:
    outcome = read(ended(host(SERVER), stderr=refused_to_send(SERVER, 25)), [SERVER], 25)[SERVER]

    assert isinstance(outcome, Observation)
    assert outcome.state == "open"


def test_of_several_refusals_the_asked_ports_own_is_named() -> None:
    complaints = (
        b"Warning: something else\n"
        + refused_to_send("192.0.2.26", 25, "Message too long")
        + refused_to_send(SERVER, 25)
        + b"Omitting future Sendto error messages now\n"
    )

    assert "(Operation not permitted)" in error_of(ended(silent(SERVER), stderr=complaints))


def test_a_refusal_after_many_other_messages_is_found() -> None:
    complaints = b"Warning: something else\n" * 40000 + refused_to_send(SERVER, 25)

    assert "(Operation not permitted)" in error_of(ended(silent(SERVER), stderr=complaints))


def test_silence_is_in_doubt_once_nmap_has_stopped_naming_what_it_could_not_send() -> None:
    complaints = (
        b"Warning: something else\n"
        + refused_to_send("192.0.2.26", 25)
        + b"Omitting future Sendto error messages now\n"
    )

    assert "refused to send" in error_of(ended(silent(SERVER), stderr=complaints))
