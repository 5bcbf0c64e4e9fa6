"""examples/ldirectord, judged by ldirectord: the real servers that it gives to ipvsadm, its log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pytest
from lab import TARGET
from support.machine import WEB1, WEB2, Farm, Machine, example, wait_until

from .contract import ADDRESSES, FAULTS, PLUGIN, EndingContract, Host, Judged, changed

NEEDS = ("ldirectord",)

EXAMPLE = example("ldirectord/ldirectord.cf")
CONFIG = changed(EXAMPLE, ("checkinterval=3", "checkinterval=1"))
SCRIPT = "/usr/local/sbin/check_half_open"
WITH_PLUGIN = changed(CONFIG, (f"checkcommand={SCRIPT}", f"checkcommand={PLUGIN}"))


class Ldirectord(Host):
    """ldirectord, with a fake of ipvsadm. A server that is down has no weight: it is not there."""

    CONFIG = CONFIG
    UP, DOWN, FAILED = "1", None, None
    OPEN, CLOSED = "Added real server: {}:443", "Deactivated service {}:443"
    LATE = "hanging"
    ENDS = "timed out, kill -TERM child"
    IMPATIENT: ClassVar = {"config": changed(WITH_PLUGIN, ("checktimeout=5", "checktimeout=2"))}
    SAYS = dict.fromkeys(FAULTS, f"Deleted real server: {WEB1}:443")

    def start(self) -> None:
        self.machine.path("/usr/sbin/ipvsadm").unlink()
        fake = Path(__file__).with_name("ipvsadm").read_text(encoding="utf-8")
        self.machine.write("/usr/sbin/ipvsadm", fake, 0o755)
        self.machine.install("ldirectord/check_half_open", SCRIPT, 0o755)
        self.machine.write("/etc/ha.d/ldirectord.cf", self.config)
        self.run_daemon("ldirectord", "-d", "start")

    def judged(self) -> Judged:
        servers = self.real_servers()
        return {web: servers.get(f"{address}:443") for web, address in ADDRESSES.items()}

    def real_servers(self) -> dict[str, str]:
        """Return the real servers that it has told ipvsadm of, and their weights."""
        done = self.machine.run(["ipvsadm", "-L", "-n"])
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^  -> (\S+:\d+) Masq (\d+)", done.stdout, re.MULTILINE))

    shown = Host.printed


class TestContract(EndingContract):
    HOST = Ldirectord


@pytest.mark.parametrize("config", [EXAMPLE, WITH_PLUGIN], ids=["as it is", "plugin"])
def test_the_example_as_it_is_and_with_the_plugin(
    machine: Machine, farm: Farm, config: str
) -> None:
    with Ldirectord(machine, config) as host:
        assert host.sees(farm, up="web1"), host.told()


def test_a_virtual_server_may_be_a_firewall_mark_and_a_server_that_is_down_stay(
    machine: Machine, farm: Farm
) -> None:
    config = changed(
        CONFIG,
        ("virtual=192.0.2.10:443", "virtual=1"),
        ("    protocol=tcp", "    protocol=fwm"),
        ("quiescent=no", "quiescent=yes"),
    )
    with Ldirectord(machine, config) as host:
        assert host.comes_to("1", "0"), host.told()
        farm.only(WEB2)
        assert host.comes_to("0", "1"), host.told()


def test_the_servers_may_have_ipv6_addresses(machine: Machine) -> None:
    config = changed(
        CONFIG,
        ("virtual=192.0.2.10:443", "virtual6=[2001:db8::10]:25"),
        (f"    real={WEB1}:443 masq", f"    real6=[{TARGET[6]}]:25 masq"),
        (f"    real={WEB2}:443 masq", f"    real6=[{TARGET[6]}]:26 masq"),
    )
    with Ldirectord(machine, config) as host:
        assert wait_until(lambda: f"Activated service [{TARGET[6]}]:25" in host.shown())
        assert wait_until(lambda: f"Deactivated service [{TARGET[6]}]:26" in host.shown())
        assert host.real_servers() == {f"[{TARGET[6]}]:25": "1"}
