"""examples/ldirectord, judged by ldirectord: the real servers that it gives to ipvsadm, its log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import Iterator

import pytest
from lab import TARGET, Running
from support.machine import EXAMPLES, WEB1, WEB2, Farm, Machine, end, wait_until

NEEDS = ("ldirectord",)

EXAMPLE = (EXAMPLES / "ldirectord/ldirectord.cf").read_text(encoding="utf-8")
SCRIPT = "/usr/local/sbin/check_half_open"
PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"

# A fake of ipvsadm, for want of IPVS in the kernel: it keeps the table in a file, and takes and
# prints what ldirectord needs, in ipvsadm's own words.
IPVSADM = r"""#!/usr/bin/python3 -I
import json, pathlib, sys

file = pathlib.Path("/run/ipvs.json")
table = json.loads(file.read_text()) if file.exists() else {}
command, *words = sys.argv[1:]
options = {"-w": "1"}
while words:
    option = words.pop(0)
    options[option] = "" if option in ("-n", "--thresholds", "-m", "-g", "-i") else words.pop(0)

if command == "-L":
    limits = "--thresholds" in options
    print("IP Virtual Server version 1.2.1 (size=4096)")
    print("Prot LocalAddress:Port", "Uthreshold Lthreshold" if limits else "Scheduler Flags")
    print("  -> RemoteAddress:Port", "" if limits else "Forward Weight ActiveConn InActConn")
    for service, entry in table.items():
        print(service, entry["scheduler"])
        for real, (forward, weight) in entry["real"].items():
            print("  ->", real, *((0, 0) if limits else (forward, weight)), 0, 0)
    sys.exit()

service = "TCP  " + options["-t"] if "-t" in options else "FWM  " + options["-f"]
if (service in table) == (command == "-A"):
    sys.exit("Service already exists" if command == "-A" else "Service not defined")
if command in ("-A", "-E"):
    table.setdefault(service, {"real": {}})["scheduler"] = options["-s"]
elif command == "-D":
    del table[service]
else:
    servers, real = table[service]["real"], options["-r"]
    if (real in servers) == (command == "-a"):
        sys.exit("Destination already exists" if command == "-a" else "No such destination")
    if command == "-d":
        del servers[real]
    else:
        servers[real] = ["Masq" if "-m" in options else "Route", options["-w"]]
file.with_suffix(".new").write_text(json.dumps(table))
file.with_suffix(".new").replace(file)
"""


class Ldirectord:
    """A running ldirectord."""

    def __init__(self, machine: Machine, process: Running[str]) -> None:
        self._machine, self._process = machine, process

    def log(self) -> str:
        return self._machine.printed(self._process)

    def real_servers(self) -> dict[str, str]:
        """Return the real servers that it has told ipvsadm of, and their weights."""
        done = self._machine.run(["ipvsadm", "-L", "-n"])
        assert done.returncode == 0, done.stderr
        return dict(re.findall(r"^  -> (\S+:\d+) Masq (\d+)", done.stdout, re.MULTILINE))

    def checks_that_failed(self, server: str) -> int:
        """Return how many times it has found a server down."""
        return self.log().count(f"Deactivated service {server}:443")

    def has_begun(self) -> bool:
        """Return whether it has found web1 up and web2 down; twice, and then it pauses."""
        return self.real_servers() == WEB1_UP and self.checks_that_failed(WEB2) >= 2


@contextlib.contextmanager
def ldirectord(machine: Machine, config: str = EXAMPLE) -> Iterator[Ldirectord]:
    """Run ldirectord with this configuration, and the example's script."""
    machine.path("/usr/sbin/ipvsadm").unlink()
    machine.write("/usr/sbin/ipvsadm", IPVSADM, 0o755)
    machine.install("ldirectord/check_half_open", SCRIPT, 0o755)
    machine.write("/etc/ha.d/ldirectord.cf", config)
    process = machine.start(["ldirectord", "-d", "start"])
    try:
        yield Ldirectord(machine, process)
    finally:
        end(process)


def changed(config: str, old: str, new: str) -> str:
    assert config.count(f"{old}\n") == 1
    return config.replace(f"{old}\n", f"{new}\n")


WITH_PLUGIN = changed(EXAMPLE, f"checkcommand={SCRIPT}", f"checkcommand={PLUGIN}")
WEB1_UP, WEB2_UP = {f"{WEB1}:443": "1"}, {f"{WEB2}:443": "1"}


@pytest.mark.parametrize("config", [EXAMPLE, WITH_PLUGIN], ids=["script", "plugin"])
def test_ldirectord_takes_open_for_up_and_closed_for_down(
    machine: Machine, farm: Farm, config: str
) -> None:
    with ldirectord(machine, config) as host:
        assert wait_until(host.has_begun), host.log()
        farm.only(WEB2)
        assert wait_until(lambda: host.real_servers() == WEB2_UP), host.log()

        assert f"\nAdded real server: {WEB1}:443 (192.0.2.10:443) (Weight set to 1)\n" in host.log()
        assert f"\nDeleted real server: {WEB1}:443 (192.0.2.10:443)\n" in host.log()
        assert f"\nAdded real server: {WEB2}:443 (192.0.2.10:443) (Weight set to 1)\n" in host.log()


def test_a_virtual_server_may_be_a_firewall_mark_and_a_server_that_is_down_stay(
    machine: Machine, farm: Farm
) -> None:
    config = changed(EXAMPLE, "virtual=192.0.2.10:443", "virtual=1")
    config = changed(config, "    protocol=tcp", "    protocol=fwm")
    with ldirectord(machine, changed(config, "quiescent=no", "quiescent=yes")) as host:
        assert wait_until(lambda: host.real_servers() == {**WEB1_UP, f"{WEB2}:443": "0"})
        farm.only(WEB2)
        assert wait_until(lambda: host.real_servers() == {**WEB2_UP, f"{WEB1}:443": "0"})


def test_the_servers_may_have_ipv6_addresses(machine: Machine) -> None:
    config = EXAMPLE
    for old, new in (
        ("virtual=192.0.2.10:443", "virtual6=[2001:db8::10]:25"),
        (f"    real={WEB1}:443 masq", f"    real6=[{TARGET[6]}]:25 masq"),
        (f"    real={WEB2}:443 masq", f"    real6=[{TARGET[6]}]:26 masq"),
    ):
        config = changed(config, old, new)
    with ldirectord(machine, config) as host:
        assert wait_until(lambda: f"Activated service [{TARGET[6]}]:25" in host.log()), host.log()
        assert wait_until(lambda: f"Deactivated service [{TARGET[6]}]:26" in host.log())
        assert host.real_servers() == {f"[{TARGET[6]}]:25": "1"}


@pytest.mark.parametrize(
    "fault", ["missing", "not allowed", "hanging", "no interpreter", "not importable"]
)
def test_what_is_broken_is_down(machine: Machine, farm: Farm, fault: str) -> None:
    with ldirectord(machine) as host:
        assert wait_until(host.has_begun), host.log()
        if fault in ("no interpreter", "not importable"):
            machine.break_halfopen(fault)
        else:
            machine.break_nmap(fault)
        before = len(host.log())
        farm.only(WEB1, WEB2)
        assert wait_until(lambda: host.real_servers() == {}), host.log()
        checks = host.checks_that_failed(WEB2)
        assert wait_until(lambda: host.checks_that_failed(WEB2) > checks), host.log()

        assert "Added real server" not in host.log()[before:]


@pytest.mark.usefixtures("farm")
def test_a_check_that_ldirectord_ends_is_down_and_leaves_no_nmap(machine: Machine) -> None:
    with ldirectord(machine, changed(WITH_PLUGIN, "checktimeout=5", "checktimeout=2")) as host:
        assert wait_until(host.has_begun), host.log()
        machine.break_nmap("hanging")
        assert wait_until(lambda: machine.running("sleep"))
        (hanging,) = machine.running("sleep")
        assert wait_until(lambda: host.real_servers() == {}), host.log()

        assert "timed out, kill -TERM child" in host.log()
        assert wait_until(lambda: hanging not in machine.processes(), 20)


@pytest.mark.usefixtures("farm")
def test_a_check_that_somebody_kills_is_down(machine: Machine) -> None:
    with ldirectord(machine) as host:
        assert wait_until(host.has_begun), host.log()
        machine.break_nmap("hanging")
        for _ in range(2):
            assert wait_until(lambda: machine.running("sleep"))
            killed = {*machine.running("halfopen"), *machine.running("sleep")}
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            assert wait_until(lambda: not killed.intersection(machine.processes()))  # noqa: B023
        assert wait_until(lambda: machine.running("sleep"))

        assert host.real_servers() == {}
