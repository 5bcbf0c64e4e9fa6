"""A silence that is none, and who is silent: what the kernel knows, from real namespaces."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Iterator

import pytest
from lab import NOBODY, TARGET, THIRD, Lab

from .commands import halfopen, name, plugin

TRACKING = """
table inet tracking {
    chain output {
        type filter hook output priority 0
        ct state new counter accept
    }
}
"""
RANDOM_PORTS = """
table inet translation {
    chain postrouting {
        type nat hook postrouting priority 100
        tcp dport 25 masquerade random
    }
}
"""
SERVICE_ADDRESS = {4: "192.0.2.200", 6: "2001:db8::200"}
TRANSLATED = """
table inet translation {
    chain output {
        type nat hook output priority -100
        ip daddr 192.0.2.200 tcp dport 80 dnat ip to 192.0.2.25:8090
        ip6 daddr 2001:db8::200 tcp dport 80 dnat ip6 to [2001:db8::25]:8090
    }
}
"""
DEAD = """
table inet dead {
    chain input {
        type filter hook input priority -300
        drop
    }
}
"""
FAMILIES = pytest.mark.parametrize("version", [4, 6])
PROTOCOLS = pytest.mark.parametrize(
    ("version", "protocol"), [(4, "ARP"), (6, "neighbour discovery")]
)


def asked(lab: Lab, host: str, port: int, *options: str) -> tuple[int, str]:
    done = lab.run(plugin("-H", host, "-p", port, *options))
    assert done.stderr == ""
    return done.returncode, done.stdout.rstrip("\n")


# -- an answer that nmap does not see -----------------------------------------------------------

ANOTHER_WAY = (
    "answered, but nmap could not see it: its answer came in by another way (NAT that changes "
    "ports, or another interface); check from another machine"
)


@FAMILIES
@pytest.mark.parametrize("cause", ["own-nat", "another-interface"])
def test_an_answer_that_comes_by_another_way_is_unknown(lab: Lab, version: int, cause: str) -> None:
    """This machine's own NAT changes ports, or the answer comes in by another interface."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(lab.rules(RANDOM_PORTS if cause == "own-nat" else TRACKING))
        if cause == "another-interface":
            stack.enter_context(second_wire(lab))
        seen = asked(lab, TARGET[version], 25)

    assert seen == (3, f"TCP HALF-OPEN UNKNOWN - {name(TARGET[version], 25)} {ANOTHER_WAY}")


@FAMILIES
def test_an_address_that_this_machine_translates_is_unknown(lab: Lab, version: int) -> None:
    with lab.rules(TRANSLATED):
        seen = asked(lab, SERVICE_ADDRESS[version], 80)

    line = (
        f"{name(SERVICE_ADDRESS[version], 80)} answered, but nmap could not see it: this machine "
        f"translates it to {name(TARGET[version], 8090)}; check that address"
    )
    assert seen == (3, f"TCP HALF-OPEN UNKNOWN - {line}")


@FAMILIES
def test_without_connection_tracking_nothing_more_is_known(lab: Lab, version: int) -> None:
    with second_wire(lab):
        code, line = asked(lab, TARGET[version], 25)

    assert code == 2
    assert f"{name(TARGET[version], 25)} filtered (no-response)" in line


@contextlib.contextmanager
def second_wire(lab: Lab) -> Iterator[None]:
    """Join scanner and target by another wire, by which the target's answers go."""
    lab.ip("scanner", f"link add back type veth peer name back netns {lab.netns('target')}")
    lab.ip("scanner", "link set back up", "addr add 192.0.2.129/32 dev back")
    lab.ip("target", "link set back up", "addr add 192.0.2.130/32 dev back")
    wire = lab.run(["cat", "/sys/class/net/back/address"]).stdout.strip()
    lab.ip("target", f"neigh add 2001:db8::1 lladdr {wire} dev back nud permanent")
    for host, length in (("192.0.2.1", 32), ("2001:db8::1", 128)):
        lab.ip("target", f"route add {host}/{length} dev back")
    for key in ("all", "back", "eth0"):
        lab.set_kernel(f"ipv4/conf/{key}/rp_filter", 0)
    time.sleep(0.1)
    try:
        yield
    finally:
        lab.ip("scanner", "link del back")


# -- a silence that is one ----------------------------------------------------------------------


@FAMILIES
def test_a_dropped_port_is_filtered_with_connection_tracking_too(lab: Lab, version: int) -> None:
    with lab.rules(TRACKING):
        code, line = asked(lab, TARGET[version], 80)

    assert code == 2
    assert f"{name(TARGET[version], 80)} filtered (no-response)" in line


def test_a_server_that_dies_is_filtered_in_spite_of_a_good_check_and_a_connection(
    lab: Lab,
) -> None:
    def connect() -> socket.socket:
        return socket.create_connection((TARGET[4], 8090), 5)

    with lab.rules(TRACKING):
        assert asked(lab, TARGET[4], 8090)[0] == 0
        with lab.within("scanner", connect), lab.rules(DEAD, "target"):
            code, line = asked(lab, TARGET[4], 8090)

    assert (code, "filtered (no-response)" in line) == (2, True)


# -- who is silent ------------------------------------------------------------------------------


def silent_at(lab: Lab, host: str, port: int) -> tuple[str, str | None]:
    """Return the line that people see, and what JSON has."""
    line = lab.run(halfopen("check", name(host, port))).stdout.rstrip("\n")
    printed = lab.run(halfopen("check", name(host, port), "--format", "json")).stdout
    (target,) = json.loads(printed)["targets"]
    assert target["state"] == "filtered"
    return line, target["silent_at"]


@PROTOCOLS
def test_a_host_that_answers_arp_has_a_firewall(lab: Lab, version: int, protocol: str) -> None:
    lab.ip("scanner", "neigh flush all")  # so that the kernel knows no neighbour
    code, line = asked(lab, TARGET[version], 80)

    assert code == 2
    assert line.endswith(f"filtered (no-response), host answers {protocol}: a firewall drops it")


@PROTOCOLS
@pytest.mark.parametrize("who", ["host", "gateway"])
def test_a_host_or_a_gateway_that_is_not_there_is_what_is_silent(
    lab: Lab, version: int, protocol: str, who: str
) -> None:
    beyond = {4: "203.0.113.9", 6: "2001:db8:ffff::9"}[version]
    lab.ip("scanner", f"route add {beyond} via {NOBODY[version]}")
    try:
        line, where = silent_at(lab, NOBODY[version] if who == "host" else beyond, 25)
    finally:
        lab.ip("scanner", f"route del {beyond}")

    named = "host" if who == "host" else f"gateway {NOBODY[version]}"
    assert line.endswith(f"filtered  no-response  {named} does not answer {protocol}  smtp")
    assert where == who


def test_of_a_host_that_was_known_before_nothing_is_said(lab: Lab) -> None:
    assert asked(lab, TARGET[4], 25)[0] == 0
    # The kernel would ask a stale neighbour again 5 s after it was used.
    lab.set_kernel("ipv4/neigh/eth0/delay_first_probe_time", 60)
    lab.ip("scanner", f"neigh change {TARGET[4]} dev eth0 nud stale")

    line = f"TCP HALF-OPEN CRITICAL - {TARGET[4]}:80 filtered (no-response)"
    assert asked(lab, TARGET[4], 80) == (2, line)


def test_of_a_silent_host_behind_a_gateway_nothing_is_said(lab: Lab) -> None:
    with lab.rules(DEAD, "third"):
        assert silent_at(lab, THIRD[4], 25)[1] is None
