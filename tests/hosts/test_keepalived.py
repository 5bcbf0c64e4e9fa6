"""examples/keepalived, judged by keepalived: its log, and what it tells IPVS."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path
from typing import ClassVar

import pytest
from support.machine import WEB1, WEB2, Farm, Machine, wait_until

from .contract import ADDRESSES, Contract, Host, Judged, changed, example, with_limit

NEEDS = ("keepalived", "cc")

VRRP = example("keepalived/vrrp.conf")
MISC = example("keepalived/misc_check.conf")


class Keepalived(Host):
    """keepalived with both examples: what it says of each script, and each real server's weight."""

    ROOT = False
    OPEN = CLOSED = ""
    SAYS: ClassVar = {}
    UP, DOWN, FAILED = ("succeeded", "1"), ("failed", None), ("failed", None)

    def __init__(self, machine: Machine, vrrp: str = VRRP, misc: str = MISC) -> None:
        """Start nothing yet."""
        super().__init__(machine)
        self._files = {"vrrp.conf": vrrp, "misc_check.conf": misc}

    def start(self) -> None:
        make_the_user(self.machine)
        fake = Path(__file__).with_name("ipvs.c").read_text(encoding="utf-8")
        self.machine.write("/ipvs.c", fake)
        libnl = [f"-l:lib{name}.so.200" for name in ("nl-3", "nl-genl-3")]  # keepalived's
        compiler = ["cc", "-shared", "-fPIC", "-o", "/ipvs.so", "/ipvs.c", *libnl, "-ldl"]
        made = self.machine.run(compiler)
        assert made.returncode == 0, made.stderr
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
    assert machine.run(useradd.split()).returncode == 0
    assert setcap == "setcap cap_net_raw+ep /usr/bin/nmap"
    machine.let_nmap()


class Faster(Keepalived):
    """The same at shorter intervals, and with misc_dynamic, under which 1 alone is down."""

    def __init__(self, machine: Machine) -> None:
        """Start nothing yet."""
        dynamic = ("misc_timeout 3", "misc_timeout 3\n            misc_dynamic")
        super().__init__(
            machine,
            changed(VRRP, ("interval 3", "interval 1")),
            changed(MISC, ("delay_loop 3", "delay_loop 1"), dynamic),
        )


class TestContract(Contract):
    HOST: ClassVar = Faster

    def test_the_priority_goes_by_the_number_of_open_backends(
        self, host: Keepalived, farm: Farm
    ) -> None:
        assert wait_until(lambda: host.priority() == 110), host.told()
        farm.only(WEB1, WEB2)
        assert wait_until(lambda: host.priority() == 120), host.told()
        farm.close()
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
        # After SIGTERM keepalived kills the group: at once if what it started itself has ended,
        # else 2 s later. Here halfopen has its turn in between, as on a busy machine.
        check, nmap = stopped_check(machine)
        with contextlib.suppress(OSError):  # it has been killed: nmap tells whether too soon
            wait_until(lambda: has_pending(check, signal.SIGTERM))
            os.kill(check, signal.SIGCONT)
        assert wait_until(lambda: nmap not in machine.processes()), host.told()

        assert host.comes_to(host.FAILED, host.FAILED), host.told()
        assert host.priority() == 100
        assert wait_until(machine.hanging)
        hanging = set(machine.hanging())
    # When it stops, it sends SIGTERM to the checks that run, too.
    assert wait_until(lambda: not hanging.intersection(machine.processes()))


def stopped_check(machine: Machine) -> tuple[int, int]:
    """Stop a check whose nmap hangs, as SIGSTOP does; return its pid and nmap's."""
    stopped: list[tuple[int, int]] = []

    def stop_one() -> bool:
        for check in machine.running("halfopen"):
            with contextlib.suppress(OSError):  # it has ended
                children = Path(f"/proc/{check}/task/{check}/children").read_text().split()
                for nmap in set(map(int, children)).intersection(machine.hanging()):
                    os.kill(check, signal.SIGSTOP)
                    stopped.append((check, nmap))
                    return True
        return False

    assert wait_until(stop_one)
    return stopped[0]


def has_pending(pid: int, number: signal.Signals) -> bool:
    """Return whether a signal waits for a process to take it; an OSError if it has ended."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(pending, 16) >> number - 1 & 1)
