"""What is really so on the network is what check_tcp_half_open says, in words and exit code."""

from __future__ import annotations

import json
import re
from typing import Mapping, NamedTuple

import pytest
from lab import NO_ROUTE, NOBODY, TARGET, THIRD, Lab

from .commands import halfopen, masked, name, plugin

OPEN = "TCP HALF-OPEN OK - {} open (syn-ack){} | time=T;;;0\n"
DOWN = "TCP HALF-OPEN CRITICAL - {} {}\n"


class Case(NamedTuple):
    """A port, and what is so there: a service's name means open, other words are printed."""

    about: str
    hosts: Mapping[int, str]
    port: int
    seen: str


CASES = (
    Case("open port", TARGET, 25, " smtp"),
    Case("open port whose second port is open", TARGET, 110, " pop3"),
    Case("open port whose second port is dropped", TARGET, 8090, ""),
    Case("open last port", TARGET, 65535, ""),
    Case("open port behind a router", THIRD, 25, " smtp"),
    Case("closed port", TARGET, 123, "closed (reset)"),
    Case("closed port whose second port is open", TARGET, 109, "closed (reset)"),
    Case("closed port whose second port is dropped", TARGET, 79, "closed (reset)"),
    Case("closed port whose service is called openvpn", TARGET, 1194, "closed (reset)"),
    Case("closed port before the last", TARGET, 65534, "closed (reset)"),
    Case("closed port behind a router", THIRD, 26, "closed (reset)"),
    Case("dropped port", TARGET, 80, "filtered (no-response)"),
    Case("dropped port whose second port is open", TARGET, 8091, "filtered (no-response)"),
    Case("port rejected by ICMP", TARGET, 8080, "filtered (admin-prohibited)"),
    Case("port rejected by a router", THIRD, 8035, "filtered (admin-prohibited)"),
    Case("host a router can't reach", THIRD, 8034, "filtered (host-unreach)"),
    Case("address that nobody has", NOBODY, 25, "filtered (no-response), host does not answer {}"),
)
PROTOCOL = {4: "ARP", 6: "neighbour discovery"}
BOTH_FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


@BOTH_FAMILIES
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about.replace(" ", "-"))
def test_open_is_ok_and_0_closed_or_filtered_is_critical_and_2(
    lab: Lab, case: Case, version: int
) -> None:
    asked = name(case.hosts[version], case.port)
    done = lab.run(plugin(case.hosts[version], case.port))
    if case.about.startswith("open"):
        expected, code = OPEN.format(asked, case.seen), 0
    else:
        expected, code = DOWN.format(asked, case.seen.format(PROTOCOL[version])), 2

    assert (masked(done.stdout), done.stderr, done.returncode) == (expected, "", code)


@BOTH_FAMILIES
def test_no_route_is_unknown_and_3(lab: Lab, version: int) -> None:
    host = NO_ROUTE[version]
    done = lab.run(plugin(host, 25))
    assert done.stdout.startswith("TCP HALF-OPEN UNKNOWN - ")
    assert host in done.stdout
    assert "no route" in done.stdout
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 3)


def test_link_local_address_with_its_zone_is_asked_on_that_interface(lab: Lab) -> None:
    is_open = lab.run(halfopen("check", "--format", "json", lab.target_link_local, 25))
    is_closed = lab.run(halfopen("check", "--format", "json", lab.target_link_local, 123))
    states = [json.loads(done.stdout)["targets"][0]["state"] for done in (is_open, is_closed)]
    assert states == ["open", "closed"]
    assert (is_open.returncode, is_closed.returncode) == (0, 2)


def test_a_name_is_resolved_to_the_family_asked_for_or_told_with_the_address_asked() -> None:
    words = ["-H", "openldap.example.test", "-p", 25]
    with Lab() as lab:
        lab.set_hosts(f"{TARGET[4]} openldap.example.test\n{NOBODY[6]} openldap.example.test\n")
        over_4, over_6 = lab.run(plugin("-4", *words)), lab.run(plugin("-6", *words))
        lab.set_hosts(f"{TARGET[4]} openldap.example.test\n{TARGET[6]} openldap.example.test\n")
        either = lab.run(plugin(*words))
    asked = "openldap.example.test:25 ({})"
    assert masked(over_4.stdout) == OPEN.format(asked.format(TARGET[4]), " smtp")
    nobody = "filtered (no-response), host does not answer neighbour discovery"
    assert over_6.stdout == DOWN.format(asked.format(NOBODY[6]), nobody)
    first = [asked.format(f"{TARGET[version]}, first of 2 addresses") for version in (4, 6)]
    assert masked(either.stdout) in [OPEN.format(each, " smtp") for each in first]


def test_250_open_targets_in_one_command_are_all_open() -> None:
    with Lab() as lab:
        targets = [name(address, 25) for address in lab.many_addresses(250)]
        done = lab.run(halfopen("check", *targets))
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert rows == [[target, "open"] for target in targets]
    assert (done.stderr, done.returncode) == ("", 0)


def test_150_dead_hosts_do_not_hide_the_open_ones() -> None:
    dead = [f"192.0.2.{number}" for number in range(100, 250)]
    with Lab() as lab:
        alive = lab.many_addresses(30)
        # The dead ones come first, and last.
        hosts = dead[:120] + alive + dead[120:]
        done = lab.run(halfopen("check", *[name(host, 25) for host in hosts]))
    rows = [line.split()[1] for line in done.stdout.splitlines()]
    assert rows == ["filtered"] * 120 + ["open"] * 30 + ["filtered"] * 30
    assert (done.stderr, done.returncode) == ("", 2)


@pytest.mark.parametrize("timeout", ["1.3", "1.5", "1.7", "1.8", "2", "2.4", "3", "3.4"])
def test_a_silent_port_is_filtered_whatever_time_there_is(lab: Lab, timeout: str) -> None:
    done = lab.run(plugin("-H", TARGET[4], "-p", 80, "-t", timeout))

    # Where the machine is busy there may be too little time left for silence to mean anything.
    too_little = re.search(r"UNKNOWN - (no|nmap did not end).*; raise --timeout\n", done.stdout)
    assert "80 filtered (no-response)" in done.stdout or too_little, done
