"""examples/zabbix, judged by the Zabbix agent: the values that it gives a server that asks."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import time
from typing import Callable, Iterator

import pytest
from lab import Lab

from .machine import WEB1, WEB2, Farm, Machine, end, wait_until

NEEDS = ("zabbix_agentd",)

EXAMPLE = "zabbix/halfopen.conf"
INSTALLED = "/etc/zabbix/zabbix_agentd.conf.d/halfopen.conf"
NOT_SUPPORTED = "ZBX_NOTSUPPORTED"
TIMED_OUT = NOT_SUPPORTED + "\0Timeout while executing a shell script."

Ask = Callable[[str], str]


@contextlib.contextmanager
def agent(machine: Machine, lab: Lab) -> Iterator[Ask]:
    """Run the agent as Debian does: as zabbix, with its own configuration, which includes ours.

    Gives a function that asks it for a key's value, as a server does (a passive check).
    """
    folder = machine.path("/run/zabbix")
    folder.mkdir()
    shutil.chown(str(folder), "zabbix", "zabbix")
    daemon = machine.start(["zabbix_agentd", "--foreground"], "zabbix")

    def ask(key: str) -> str:
        with lab.within("scanner", lambda: socket.create_connection(("127.0.0.1", 10050), 20)) as s:
            return _exchange(s, key)

    def listening() -> bool:
        with contextlib.suppress(OSError):
            return ask("agent.ping") == "1"
        return False

    try:
        assert wait_until(listening), machine.printed(daemon)
        yield ask
    finally:
        end(daemon)


def _exchange(connection: socket.socket, key: str) -> str:
    """Send the request and return the answer: `ZBXD`, flags 1, two lengths, and the text."""
    connection.sendall(b"ZBXD\1" + struct.pack("<II", len(key), 0) + key.encode())
    answer = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    assert answer.startswith(b"ZBXD\1"), answer
    return answer[13:].decode()


def item_state(value: str) -> str:
    """Return what the server makes of a value for an item of type Numeric (unsigned).

    Its rule (documentation, "Item value type" and "Unsupported items"): a value that is no number
    makes the item not supported, and the value is shown as the reason.
    """
    return value if value.isdigit() else "not supported"


def key(host: str, port: str = "443") -> str:
    return f"halfopen[{host},{port}]"


def test_the_value_is_1_for_the_open_backend_and_0_for_the_other(
    machine: Machine, lab: Lab, farm: Farm
) -> None:
    machine.install(EXAMPLE, INSTALLED)
    machine.let_nmap()
    with agent(machine, lab) as ask:
        assert [ask(key(WEB1)), ask(key(WEB2))] == ["1", "0"]
        farm.only(WEB2)
        assert [ask(key(WEB1)), ask(key(WEB2))] == ["0", "1"]
        # A silent port takes us longest, and fits into the agent's 3 s.
        assert ask(key("192.0.2.25", "80")) == "0"
        # Host and port are separate words, so that IPv6 needs no brackets: the agent refuses them.
        assert ask(key("2001:db8::25", "25")) == "1"
        assert ask(key('"[2001:db8::25]"', "25")).startswith(NOT_SUPPORTED)
    tested = machine.run(["zabbix_agentd", "-t", key(WEB2)], "zabbix")

    assert tested.stdout.split() == [key(WEB2), "[t|1]"]


@pytest.mark.usefixtures("farm")
def test_a_broken_nmap_makes_the_item_not_supported(machine: Machine, lab: Lab) -> None:
    machine.install(EXAMPLE, INSTALLED)
    machine.let_nmap()
    with agent(machine, lab) as ask:
        for fault, why in (
            ("missing", "nmap not found"),
            ("not allowed", "nmap needs root or CAP_NET_RAW"),
            ("hanging", "nmap did not end within --timeout"),
        ):
            machine.break_nmap(fault)
            values = [ask(key(WEB1)), ask(key(WEB2))]
            assert [item_state(value) for value in values] == ["not supported"] * 2, values
            # The line that says why is what Zabbix shows: better than "Timeout while executing",
            # which it is on a machine so busy that our time limit ends after the agent's.
            late = [TIMED_OUT] if fault == "hanging" else []
            assert all(why in value or value in late for value in values), values
            machine.let_nmap()
            assert ask(key(WEB1)) == "1"


@pytest.mark.parametrize("fault", ["no interpreter", "not importable"])
@pytest.mark.usefixtures("farm")
def test_a_halfopen_that_does_not_start_makes_the_item_not_supported(
    machine: Machine, lab: Lab, fault: str
) -> None:
    machine.install(EXAMPLE, INSTALLED)
    machine.break_halfopen(fault)
    with agent(machine, lab) as ask:
        values = [ask(key(WEB1)), ask(key(WEB2))]

    assert [item_state(value) for value in values] == ["not supported"] * 2, values


@pytest.mark.parametrize(
    "parameters", ["--nmap=/var/evil,192.0.2.11:443", ",443", "192.0.2.0/24,443", "192.0.2.11"]
)
@pytest.mark.usefixtures("farm")
def test_a_bad_parameter_makes_the_item_not_supported_and_is_never_an_option(
    machine: Machine, lab: Lab, parameters: str
) -> None:
    machine.install(EXAMPLE, INSTALLED)
    machine.write("/var/evil", "#!/bin/sh\ntouch /run/zabbix/ran\n", 0o755)
    machine.let_nmap()
    with agent(machine, lab) as ask:
        value = ask(f"halfopen[{parameters}]")

    assert item_state(value) == "not supported"
    assert not machine.path("/run/zabbix/ran").exists()


@pytest.mark.usefixtures("farm")
def test_when_the_agent_ends_a_check_nmap_ends_with_it(machine: Machine, lab: Lab) -> None:
    machine.install(EXAMPLE, INSTALLED)
    text = machine.read(INSTALLED)
    machine.write(INSTALLED, text.replace("--format zabbix", "--format zabbix -t 30"))
    machine.slow_nmap()
    with agent(machine, lab) as ask:
        value, since = ask(key("192.0.2.25", "80")), time.monotonic()

        assert value == TIMED_OUT
        assert wait_until(lambda: not machine.running("nmap.real"), 15)
        assert time.monotonic() - since < 8  # left alone it would be 26
