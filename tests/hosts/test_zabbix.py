"""examples/zabbix, judged by the Zabbix agent: the values that it gives a server that asks."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import ClassVar

from lab import TARGET
from support.machine import example, wait_until

from .contract import ADDRESSES, EndingContract, Host, with_limit

NEEDS = ("zabbix_agentd",)

EXAMPLE = example("zabbix/halfopen.conf")
INSTALLED = "/etc/zabbix/zabbix_agentd.conf.d/halfopen.conf"
NOT_SUPPORTED = "ZBX_NOTSUPPORTED"


class Zabbix(Host):
    """The agent, run as Debian does: as zabbix, with its own configuration, which includes ours."""

    ROOT = False
    UP, DOWN, FAILED = "1", "0", "not supported"
    OPEN = CLOSED = ""
    CONFIG = EXAMPLE
    LATE = "hanging"
    ENDS = NOT_SUPPORTED + "\0Timeout while executing a shell script."
    IMPATIENT: ClassVar = {"config": with_limit(EXAMPLE, 100)}

    def start(self) -> None:
        self.machine.write(INSTALLED, self.config)
        self.machine.do("install", "-d", "-o", "zabbix", "-g", "zabbix", "/run/zabbix")
        self.run_daemon("zabbix_agentd", "--foreground", user="zabbix")
        assert wait_until(self._listens), self.printed()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("agent.ping") == "1"
        return False

    def ask(self, key: str) -> str:
        """Ask for a key's value as a server does: a passive check."""
        address = ("127.0.0.1", 10050)
        connect = lambda: socket.create_connection(address, 20)  # noqa: E731
        with self.machine.lab.within(self.machine.ns, connect) as connection:
            # `ZBXD`, flags 1, two lengths, and the text: in the answer, too.
            head = b"ZBXD\1" + struct.pack("<II", len(key), 0)
            connection.sendall(head + key.encode())
            with connection.makefile("rb") as answer:
                text = answer.read()
        assert text.startswith(b"ZBXD\1"), text
        return text[13:].decode()

    def judge(self, web: str) -> str:
        return self.item(ADDRESSES[web])

    def item(self, host: str, port: int = 443) -> str:
        """Return what the server makes of a check for an item of type Numeric (unsigned).

        Its rule (documentation, "Item value type" and "Unsupported items"): a value that is no
        number makes the item not supported, and the value is shown as the reason.
        """
        self.output[host] = value = self.ask(f"halfopen[{host},{port}]")
        return value if value.isdigit() else "not supported"


class TestContract(EndingContract):
    HOST = Zabbix

    def test_a_silent_port_and_ipv6(self, host: Zabbix) -> None:
        for target, port, state in (
            # A silent port takes us longest, and fits into the agent's 3 s.
            (TARGET[4], 80, "0"),
            # Host and port are separate, so that IPv6 needs no brackets: the agent refuses them.
            (TARGET[6], 25, "1"),
            (f'"[{TARGET[6]}]"', 25, "not supported"),
        ):
            assert wait_until(lambda: host.item(target, port) == state), host.shown()  # noqa: B023

    def test_a_bad_parameter_makes_the_item_not_supported_and_is_never_an_option(
        self, host: Zabbix
    ) -> None:
        host.machine.write("/var/evil", "#!/bin/sh\ntouch /run/zabbix/ran\n", 0o755)
        for bad in ("--nmap=/var/evil,192.0.2.11:443", ",443", "192.0.2.0/24,443", "192.0.2.11"):
            assert not host.ask(f"halfopen[{bad}]").isdigit(), bad
        assert not host.machine.path("/run/zabbix/ran").exists()
