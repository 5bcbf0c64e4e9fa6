"""What no recording shows: runs that were cut, odd reports, packets not sent, odd replays."""

from typing import List, Sequence

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
    xml = xml.replace('args="nmap"', f'args="{command}"' if command else "")
    return NmapRun(["nmap"], code, xml.encode(), stderr, 0.1, cut)


def error_of(run: NmapRun, address: str = SERVER) -> str:
    """Return why a run says nothing about an address."""
    outcome = read(run, [address], [25])[address, 25]
    assert isinstance(outcome, CheckError), outcome
    return str(outcome)


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (LATE, "nmap did not end within --timeout, and was killed; raise --timeout"),
        (FLOOD, "nmap printed without end, and was killed; check that it is nmap"),
        (UNSTARTED, "no time left to ask; raise --timeout, or give fewer targets"),
    ],
)
def test_a_run_that_was_cut_is_not_believed_even_if_its_report_is_whole(
    cut: str, said: str
) -> None:
    run = ended(host(SERVER), host("192.0.2.26"), cut=cut)

    outcomes = read(run, [SERVER, "192.0.2.26"], [25])

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
)
def test_a_complete_report_of_another_tool_is_told_from_a_broken_one(
    xml: bytes, scanner: str
) -> None:
    recording = NmapRun((), 0, xml, b"", 0.0)

    assert error_of(recording) == (
        f"the XML is complete, but not nmap's ({scanner}); give what nmap -oX prints"
    )


@pytest.mark.parametrize("stderr", [b"Warning: Operation not permitted\n", b"\xff\xfe is no text"])
def test_a_warning_of_a_run_that_went_well_changes_nothing(stderr: bytes) -> None:
    run = ended(host(SERVER), stderr=stderr)

    assert read(run, [SERVER], [25]) == {
        (SERVER, 25): Observation("open", "syn-ack", SERVER, 0.000065)
    }


def test_what_a_run_says_of_one_address_is_not_said_of_another() -> None:
    run = ended(host(SERVER), host("2001:db8::26", "closed", "reset"), host("192.0.2.28", port=80))
    asked = [SERVER, "2001:db8::26", "192.0.2.27", "192.0.2.28"]

    outcomes = read(run, asked, [25])

    assert list(outcomes) == [(address, 25) for address in asked]
    assert outcomes[SERVER, 25] == Observation("open", "syn-ack", SERVER, 0.000065)
    assert outcomes["2001:db8::26", 25] == Observation("closed", "reset", "2001:db8::26", 0.000065)
    assert str(outcomes["192.0.2.27", 25]) == (
        "nmap said nothing about 192.0.2.27, but about another host; check that it is nmap"
    )
    assert str(outcomes["192.0.2.28", 25]) == (
        "nmap said nothing about TCP port 25 of 192.0.2.28; check that it is nmap"
    )


NO_ANSWER = (
    "nmap's host discovery had no answer from 192.0.2.25, so the port was never asked; "
    "scan with -Pn"
)
INCOMPLETE = "nmap printed no complete XML; run it by hand to see why"
FAILED = "nmap failed (Too tired); run it by hand to see why"
NO_REASON = "nmap does not say why port 25 is open; use 7.70 or later"
ODD_STATE = "nmap called port 25 'unfiltered', not open, closed or filtered"
ODD_REASON = (
    "nmap called port 25 open for 'reset'; only a SYN/ACK means open, and only a RST closed"
)
OPEN = 'state="open" reason="syn-ack"'


@pytest.mark.parametrize(
    ("printed", "other", "said"),
    [
        ('exit="success"', 'exit="error" errormsg="Too tired"', FAILED),
        ('exit="success"', 'exit="error"', INCOMPLETE),
        ('<hosts up="1" down="0" total="1"/>', "", INCOMPLETE),
        ('<status state="up"', '<status state="down"', NO_ANSWER),
        (OPEN, 'state="unfiltered" reason="reset"', ODD_STATE),
        (OPEN, 'state="open" reason="reset"', ODD_REASON),
        (OPEN, 'state="open" reason=""', NO_REASON),
        (OPEN, 'state="open" reason="syn-ack&#10;OK - all fine"', NO_REASON),
    ],
)
def test_a_report_that_says_nothing_certain_is_an_error_that_says_why(
    printed: str, other: str, said: str
) -> None:
    run = ended(host(SERVER))
    changed = run.stdout.replace(printed.encode(), other.encode())

    assert changed != run.stdout
    assert error_of(run._replace(stdout=changed)) == said


@pytest.mark.parametrize(
    ("down", "stderr", "said"),
    [
        (b'down="1"', b"", NO_ANSWER),
        (b"", b"", "nmap scanned no host"),
        (b"", b"W" * 300, f"nmap scanned no host; {'W' * 200}"),
        (
            b"",
            b"WARNING: No targets\nmore\nyet more\n",
            "nmap scanned no host; WARNING: No targets",
        ),
    ],
)
def test_an_nmap_that_scanned_no_host_says_why(down: bytes, stderr: bytes, said: str) -> None:
    run = ended(stderr=stderr)

    assert error_of(run._replace(stdout=run.stdout.replace(b'down="0"', down))) == said


SKIPPED = '<target specification="2001:db8::25" status="skipped" reason="invalid"/>'
NEEDS_6 = "nmap skipped 2001:db8::25: an IPv6 address needs -6"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("nmap -p 25 2001:db8::25", NEEDS_6),
        ("", NEEDS_6),
        ("nmap -6 -p 25 ::25", "no route to 2001:db8::25; see ip route get 2001:db8::25"),
    ],
)
def test_a_skipped_ipv6_address_lacked_the_option_or_a_route(command: str, said: str) -> None:
    assert error_of(ended(SKIPPED, command=command), "2001:db8::25") == said


@pytest.mark.parametrize("ports", [(25, 80), (80, 25)])
def test_a_host_that_is_there_twice_is_not_believed_even_if_the_port_is_there_once(
    ports: Sequence[int],
) -> None:
    run = ended(*(host(SERVER, port=port) for port in ports))

    assert error_of(run) == f"nmap reported {SERVER} more than once; run it again"


@pytest.mark.parametrize("number", ["025", " 25", "+25", "2_5", "25 "])
def test_a_port_number_that_nmap_does_not_write_so_is_not_believed(number: str) -> None:
    odd = host(SERVER).replace('portid="25"', f'portid="{number}"')

    assert error_of(ended(odd)).startswith("cannot make sense of nmap's XML (ValueError)")


def test_hosts_that_python_nmap_takes_for_one_are_not_mixed_up() -> None:
    # Its key for a host without an IPv4 address is the address that comes first.
    mac = '<address addr="02:00:00:00:00:01" addrtype="mac"/>\n<address'
    is_open, is_closed = host("2001:db8::25"), host("2001:db8::26", "closed", "reset")
    run = ended(*(each.replace("<address", mac, 1) for each in (is_open, is_closed)))

    outcomes = read(run, ["2001:db8::25", "2001:db8::26"], [25])

    assert str(outcomes["2001:db8::25", 25]) == (
        "nmap said nothing about TCP port 25 of 2001:db8::25; check that it is nmap"
    )
    assert outcomes["2001:db8::26", 25] == Observation("closed", "reset", "2001:db8::26", 0.000065)


def test_a_protocol_that_has_the_name_of_what_python_nmap_keeps_is_no_address() -> None:
    odd = PORT.format(port=25, state="open", reason="syn-ack").replace('"tcp"', '"addresses"')
    run = ended(host(SERVER, "closed", "reset").replace("<ports>", "<ports>" + odd))

    assert read(run, [SERVER], [25])[SERVER, 25] == Observation("closed", "reset", SERVER, 0.000065)


@pytest.mark.parametrize(
    ("srtt", "rtt"), [("1", 1e-6), ("99999", 0.099999), ("100000", None)]
)  # the last as long as the whole run
def test_a_round_trip_is_a_time_that_can_have_passed(srtt: str, rtt: float) -> None:
    outcome = read(ended(host(SERVER).replace('srtt="65"', f'srtt="{srtt}"')), [SERVER], [25])

    assert outcome == {(SERVER, 25): Observation("open", "syn-ack", SERVER, rtt)}


@pytest.mark.parametrize(
    ("command", "addresses", "port"),
    [
        ("nmap -p 25-26 192.0.2.25", [SERVER], 25),
        ("nmap -p 65535,65534 192.0.2.25", [SERVER], 65535),
        ("nmap -p25 192.0.2.25", [SERVER], 25),
        ("nmap -p 1 192.0.2.25", [SERVER], 1),
        ("nmap -p 0 192.0.2.25", [SERVER], None),
        ("nmap -p 65536 192.0.2.25", [SERVER], None),
        ("nmap -p T:25,U:53 192.0.2.25", [SERVER], 25),
        ("nmap -sS 192.0.2.25", [SERVER], None),
        ("nmap -p - 192.0.2.25", [SERVER], None),
        ("nmap -p 250000 192.0.2.25", [SERVER], None),
        ("nmap --top-ports 25 192.0.2.25", [SERVER], None),
        ("nmap -p 25 192.0.2.25 2001:DB8::26", [SERVER, "2001:db8::26"], 25),
        ("nmap -p 25 192.0.2.25 192.0.2.25", [SERVER], 25),
        ("nmap -S 192.0.2.1 -p 25 192.0.2.25", [SERVER], 25),
        ("nmap --exclude 192.0.2.9 -p 25 192.0.2.25", [SERVER], 25),
    ],
)
def test_a_recordings_command_line_says_what_was_asked(
    command: str, addresses: List[str], port: int
) -> None:
    assert recorded(ended(host(SERVER), command=command)) == Recorded(addresses, port, "")


OWN_ADDRESS = f'<address addr="{SERVER}" addrtype="ipv4"/>'


@pytest.mark.parametrize(
    ("addresses", "found"),
    [
        (OWN_ADDRESS, [SERVER]),
        ("<address/>", []),
        ('<address addrtype="ipv4"/>', []),
        (f'{OWN_ADDRESS}<address addr="192.0.2.26" addrtype="ipv4"/>', []),
    ],
    ids=["one", "no-kind", "no-address", "two"],
)
def test_a_name_in_a_recordings_command_line_is_the_host_that_nmap_found_for_it(
    addresses: str, found: List[str]
) -> None:
    name = '<hostnames>\n<hostname name="mail.example" type="user"/>\n'
    named = host(SERVER).replace("<hostnames>\n", name).replace(OWN_ADDRESS, addresses)

    run = ended(named, host("192.0.2.27"), command="nmap -p 25 mail.example")

    assert recorded(run).addresses == found
    assert bool(recorded(run).why_none) is not bool(found)


def test_a_recording_without_a_command_line_was_asked_nothing_that_is_known() -> None:
    run = ended(command="")
    down = run.stdout.replace(b'down="0"', b'down="1"')

    assert recorded(run._replace(stdout=down)) == Recorded(
        [], None, NO_ANSWER.replace(SERVER, "the asked host")
    )


def test_a_recording_of_no_host_says_so() -> None:
    assert recorded(ended(command="nmap -p 25 mail.example")) == Recorded(
        [], 25, "nmap scanned no host"
    )


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


def silent(address: str, *ports: int) -> str:
    """Return a host of nmap's XML that did not answer."""
    port = PORT.format(port=25, state="filtered", reason="no-response")
    more = "".join(port.replace('"25"', f'"{number}"') for number in ports)
    return host(address, "filtered", "no-response").replace(port, port + more)


@pytest.mark.parametrize(
    ("address", "packet"),
    [
        pytest.param(SERVER, PACKETS["7.93"], id="7.93-IPv4"),
        pytest.param("2001:db8::25", PACKETS["7.93"], id="7.93-IPv6"),
        pytest.param(SERVER, PACKETS["7.991-IPv4"], id="7.991-IPv4"),
        pytest.param("2001:db8::25", PACKETS["7.991-IPv6"], id="7.991-IPv6"),
    ],
)
def test_the_silence_of_a_port_whose_syn_could_not_be_sent_is_this_machines_doing_and_no_others(
    address: str, packet: str
) -> None:
    stderr = refused_to_send(address, 80, packet=packet)

    outcomes = read(ended(silent(address, 80), stderr=stderr), [address], [25, 80])

    assert outcomes[address, 25] == Observation("filtered", "no-response", address)
    assert str(outcomes[address, 80]) == (
        f"this machine refused to send to {address} (Operation not permitted); look at its own "
        "firewall (nft list ruleset)"
    )


WARNING = b"Warning: something else\n"
OWN, ANOTHERS = refused_to_send(SERVER, 25), refused_to_send("192.0.2.26", 25, "Message too long")
NO_MORE = b"Omitting future Sendto error messages now\n"


@pytest.mark.parametrize(
    ("stderr", "cause"),
    [
        pytest.param(refused_to_send(SERVER, 252), "", id="longer-port"),
        pytest.param(refused_to_send("192.0.2.255", 25), "", id="longer-address"),
        pytest.param(refused_to_send(SERVER, 25, "No route to host"), "", id="no-answer-to-arp"),
        pytest.param(
            refused_to_send(SERVER, 25, packet="{source} to {address}, port {port}"),
            "(Operation not permitted)",
            id="packet-named-in-another-way",
        ),
        pytest.param(WARNING + ANOTHERS + OWN + NO_MORE, "(Operation not permitted)", id="own"),
        pytest.param(WARNING * 40000 + OWN, "(Operation not permitted)", id="after-many-others"),
        pytest.param(WARNING + ANOTHERS + NO_MORE, "(Message too long)", id="no-longer-named"),
    ],
)
def test_a_silence_is_the_servers_unless_its_syn_may_be_one_that_was_not_sent(
    stderr: bytes, cause: str
) -> None:
    outcome = read(ended(silent(SERVER), stderr=stderr), [SERVER], [25])[SERVER, 25]

    assert isinstance(outcome, CheckError) == bool(cause)
    assert cause in str(outcome)
    assert read(ended(host(SERVER), stderr=stderr), [SERVER], [25])[SERVER, 25] == Observation(
        "open", "syn-ack", SERVER, 0.000065
    )
