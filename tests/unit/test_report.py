"""What no recording shows: runs that were cut, what nmap and sudo complain about, odd replays."""

from typing import Dict, List, Sequence

import pytest
from test_check import HOST, PORT, RUN

from halfopen import report
from halfopen.errors import CheckError
from halfopen.nmap_run import FLOOD, LATE, UNSTARTED, NmapRun
from halfopen.report import Observation, Recorded, read, recorded

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


def failed(code: int, stderr: bytes) -> NmapRun:
    """Return a run that printed no XML."""
    return NmapRun(["nmap"], code, b"", stderr, 0.1)


def error_of(run: NmapRun, address: str = SERVER) -> str:
    """Return why a run says nothing about an address."""
    outcome = read(run, [address], 25)[address]
    assert isinstance(outcome, CheckError), outcome
    return str(outcome)


@pytest.mark.parametrize(
    "stderr",
    [
        "You requested a scan type which requires root privileges.\nQUITTING!",
        "Couldn't open a raw socket. Error: (1) Operation not permitted",
        "dnet: Failed to open device eth0",
        "eth0: You don't have permission to capture on that device",
    ],
)
def test_an_nmap_that_is_not_allowed_is_told_why(
    monkeypatch: pytest.MonkeyPatch, stderr: str
) -> None:
    monkeypatch.setattr(report, "why_not", lambda argv: f"the cause for {argv}")

    assert error_of(failed(1, stderr.encode())) == "the cause for ['nmap']"


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


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        pytest.param(
            'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',
            "sudo is barred by no_new_privs",
            id="sudo-no-new-privileges",
        ),
        pytest.param(
            "sudo: a password is required",
            "sudo wants a password; allow nmap with NOPASSWD",
            id="sudo-password",
        ),
        pytest.param(
            "sudo: sorry, you must have a tty to run sudo", "sudo wants a password", id="sudo-tty"
        ),
        pytest.param(
            "sudo: www-data is not allowed to run sudo on lb1.",
            "sudo does not allow this nmap",
            id="sudo-not-allowed",
        ),
        pytest.param(
            "Sorry, user www-data is not allowed to execute '/usr/bin/nmap' as root on lb1.",
            "sudo does not allow this nmap",
            id="sudo-not-allowed-this-command",
        ),
        pytest.param(
            "\n  Illegal argument  \nQUITTING!",
            "nmap failed with exit code 1 (Illegal argument); run it by hand to see why",
            id="anything-else",
        ),
        pytest.param(
            "", "nmap failed with exit code 1; run it by hand to see why", id="nothing-said"
        ),
        pytest.param(
            "x" * 999, "exit code 1 (" + "x" * 200 + "); run it by hand", id="very-long-line"
        ),
        pytest.param("\udcff\udcfe", "exit code 1 (\ufffd\ufffd)", id="not-utf-8"),
    ],
)
def test_a_complaint_becomes_advice(stderr: str, said: str) -> None:
    message = error_of(failed(1, stderr.encode("utf-8", "surrogateescape")))

    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-9, "nmap was killed by signal 9; run it by hand to see why"),
        (139, "nmap failed with exit code 139; run it by hand to see why"),
        (0, "nmap printed nothing; run it by hand to see why"),
    ],
    ids=["signal", "exit-code", "silent-success"],
)
def test_a_run_without_output_is_told_by_how_it_ended(code: int, said: str) -> None:
    assert error_of(failed(code, NO_WARNING)) == said


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
    [("65", 0.000065), ("1", 1e-6), ("0", None), ("-1", None), ("nan", None), ("3.6e9", None)],
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


def refused_to_send(address: str, port: int, why: str = "Operation not permitted") -> bytes:
    """Return what nmap 7.93 says on stderr of a packet that the kernel did not take."""
    return (
        f"sendto in send_ip_packet_sd: sendto(4, packet, 44, 0, {address}, 16) => {why}\n"
        f"Offending packet: TCP 192.0.2.1:63910 > {address}:{port} S ttl=43 id=54156 iplen=44\n"
    ).encode()


def silent(address: str) -> str:
    """Return a host of nmap's XML that did not answer."""
    return host(address, "filtered", "no-response")


@pytest.mark.parametrize("address", [SERVER, "2001:db8::25"])
def test_silence_after_a_syn_that_could_not_be_sent_is_this_machines_doing(address: str) -> None:
    run = ended(silent(address), stderr=refused_to_send(address, 25))

    assert error_of(run, address) == (
        f"this machine refused to send to {address} (Operation not permitted); look at its own "
        "firewall (nft list ruleset)"
    )


@pytest.mark.parametrize(
    "stderr",
    [
        refused_to_send(SERVER, 26),
        refused_to_send(SERVER, 252),
        refused_to_send("192.0.2.255", 25),
        refused_to_send(SERVER, 25, "No route to host"),
    ],
    ids=["second-port", "longer-port", "longer-address", "no-answer-to-arp"],
)
def test_silence_is_the_servers_where_its_own_syn_was_sent(stderr: bytes) -> None:
    outcome = read(ended(silent(SERVER), stderr=stderr), [SERVER], 25)[SERVER]

    assert isinstance(outcome, Observation)
    assert outcome.silent


def test_an_answer_counts_even_where_a_packet_could_not_be_sent() -> None:
    outcome = read(ended(host(SERVER), stderr=refused_to_send(SERVER, 25)), [SERVER], 25)[SERVER]

    assert isinstance(outcome, Observation)
    assert outcome.state == "open"


def test_silence_is_in_doubt_once_nmap_has_stopped_naming_what_it_could_not_send() -> None:
    complaints = refused_to_send("192.0.2.26", 25) + b"Omitting future Sendto error messages now\n"

    assert "refused to send" in error_of(ended(silent(SERVER), stderr=complaints))


def test_a_recording_of_an_impossible_port_names_no_port() -> None:
    assert recorded(ended(host(SERVER), command=f"nmap -p 99999 {SERVER}")).port is None


def test_a_reason_with_a_line_end_in_it_is_none() -> None:
    odd = host(SERVER).replace('reason="syn-ack"', 'reason="syn-ack&#10;OK - all fine"')

    assert "does not say why" in error_of(ended(odd))
