"""examples/keepalived, judged by keepalived: its log, and what it tells IPVS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pytest
from support.machine import WEB1, WEB2, Farm, Machine, example, wait_until

from .contract import ADDRESSES, Contract, Host, Judged, changed, with_limit

NEEDS = ("keepalived", "cc")

VRRP = example("keepalived/vrrp.conf")
MISC = example("keepalived/misc_check.conf")
# At shorter intervals, and with misc_dynamic, under which 1 alone is down.
FASTER = (
    changed(VRRP, ("interval 3", "interval 1")),
    changed(
        MISC,
        ("delay_loop 3", "delay_loop 1"),
        ("misc_timeout 3", "misc_timeout 3\n            misc_dynamic"),
    ),
)


class Keepalived(Host):
    """keepalived with both examples: what it says of each script, and each real server's weight."""

    ROOT = False
    OPEN = CLOSED = ""
    SAYS: ClassVar = {}
    UP, DOWN, FAILED = ("succeeded", "1"), ("failed", None), ("failed", None)

    def __init__(self, machine: Machine, vrrp: str = FASTER[0], misc: str = FASTER[1]) -> None:
        super().__init__(machine)
        self._files = {"vrrp.conf": vrrp, "misc_check.conf": misc}

    def start(self) -> None:
        make_the_user(self.machine)
        fake = Path(__file__).with_name("ipvs.c").read_text(encoding="utf-8")
        self.machine.write("/ipvs.c", fake)
        libnl = [f"-l:lib{name}.so.200" for name in ("nl-3", "nl-genl-3")]  # keepalived's
        self.machine.do("cc", "-shared", "-fPIC", "-o", "/ipvs.so", "/ipvs.c", *libnl, "-ldl")
        for name, text in self._files.items():
            self.machine.write(f"/etc/keepalived/{name}", text)
        include = "".join(f"include {name}\n" for name in self._files)
        self.machine.write("/etc/keepalived/keepalived.conf", include)
        options = ["--dont-fork", "--log-console", "--log-detail", "--no-syslog"]
        self.run_daemon("env", "LD_PRELOAD=/ipvs.so", "keepalived", *options)

    def judged(self) -> Judged:
        log = self.printed()
        scripts = dict(re.findall(r"VRRP_Script\((\w+)\) (\w+)", log))
        servers = dict(re.findall(r"^IPVS: (\S+) has (?:weight )?(\w+)$", log, re.MULTILINE))
        weights = {address: weight for address, weight in servers.items() if weight != "gone"}
        return {
            web: (scripts.get(web, "").replace("timed_out", "failed"), weights.get(address))
            for web, address in ADDRESSES.items()
        }

    def priority(self) -> int:
        """Return the VRRP priority that it has come to by what the scripts said."""
        return int(re.findall(r"effective priority from \d+ to (\d+)", self.printed())[-1])

    shown = Host.printed


def make_the_user(machine: Machine) -> None:
    """Do what the examples' comments say."""
    commands = re.findall("^#     (.*)$", VRRP, re.MULTILINE)
    assert commands == re.findall("^#     (.*)$", MISC, re.MULTILINE)
    useradd, setcap = commands
    machine.do(*useradd.split())
    assert setcap == "setcap cap_net_raw+ep /usr/bin/nmap"
    machine.let_nmap()


class TestContract(Contract):
    HOST = Keepalived

    def test_the_priority_goes_by_the_number_of_open_backends(
        self, host: Keepalived, farm: Farm
    ) -> None:
        assert wait_until(lambda: host.priority() == 110), host.told()
        farm.only(WEB1, WEB2)
        assert wait_until(lambda: host.priority() == 120), host.told()
        farm.only()
        assert wait_until(lambda: host.priority() == 100), host.told()


@pytest.mark.parametrize("example", ["vrrp.conf", "misc_check.conf"])
def test_keepalived_finds_nothing_wrong_with_the_example(machine: Machine, example: str) -> None:
    make_the_user(machine)
    machine.install(f"keepalived/{example}", "/etc/keepalived/keepalived.conf")
    tested = machine.run(["keepalived", "--config-test"])

    assert (tested.returncode, tested.stdout, tested.stderr) == (0, "", "")


def test_a_check_that_keepalived_ends_is_bad_and_leaves_no_nmap(
    machine: Machine, farm: Farm
) -> None:
    # Longer than anything here waits: an nmap that ends is one that keepalived's signal ended.
    with Keepalived(machine, with_limit(VRRP, 300), with_limit(MISC, 300)) as host:
        assert host.sees(farm, up="web1"), host.told()
        machine.break_nmap("hanging")
        assert wait_until(machine.hanging)
        hanging = set(machine.hanging())
        assert host.comes_to(host.FAILED, host.FAILED), host.told()
        assert host.priority() == 100
        assert wait_until(lambda: not hanging.intersection(machine.hanging())), host.told()
        assert wait_until(machine.hanging)
        hanging = set(machine.hanging())
    # When it stops, it sends SIGTERM to the checks that run, too.
    assert wait_until(lambda: not hanging.intersection(machine.processes()))
