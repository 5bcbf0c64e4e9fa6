"""Nagios 4, started on Debian's own nagios.cfg, with the example in its conf.d.

The verdicts are read from the status file and the log that Nagios itself writes.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import ClassVar

import pytest
from lab import Lab
from support.machine import Machine, example, wait_until

from .contract import (
    EndingContract,
    Host,
    Judged,
    changed,
    has_all_of_many,
    many,
    with_limit,
)

NEEDS = ("nagios4", "check_ping")

EXAMPLE = example("nagios/half_open.cfg")
OBJECTS = "/etc/nagios4/conf.d/half_open.cfg"
MAIN = "/etc/nagios4/nagios.cfg"
COMMANDS = "/var/lib/nagios4/rw/nagios.cmd"
SERVICE = "HTTPS half-open"
STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

# Later lines win. Debian's nagios.cfg tells of what it has found every 10 s only.
PROMPT = "\nstatus_update_interval=1\ncheck_result_reaper_frequency=1\n"


class Nagios(Host):
    """nagios4, started by root: it becomes the user nagios by itself."""

    ROOT = False
    UP, DOWN, FAILED = "OK", "CRITICAL", "UNKNOWN"
    AT: ClassVar = {
        "halfopen without interpreter": "CRITICAL",
        "halfopen not importable": "WARNING",
    }

    CONFIG = with_limit(EXAMPLE, 3)
    ENDS = "timed out"
    IMPATIENT: ClassVar = {
        "config": changed(with_limit(EXAMPLE, 7), ("!443", "!80")),
        "settings": "service_check_timeout=2\n",
    }

    def start(self) -> None:
        self.machine.write(OBJECTS, self.config)
        self.machine.write(MAIN, self.machine.read(MAIN) + PROMPT + self.settings)
        self.run_daemon("nagios4", MAIN)
        assert wait_until(lambda: self.machine.path(COMMANDS).is_fifo()), self.printed()

    def check_now(self) -> None:
        for web in self.WEBS:
            # By itself, it would check a service a minute later.
            self.force(f"SVC_CHECK;{web};{SERVICE}")

    def force(self, check: str) -> None:
        """Have it check something now."""
        now = int(time.time())
        line = f"[{now}] SCHEDULE_FORCED_{check};{now}"
        self.machine.run(["sh", "-c", f'echo "$1" >{COMMANDS}', "sh", line], timeout=20)

    def judged(self) -> Judged:
        return {
            host: STATES[int(found["current_state"])]
            for host, found in self.found("service").items()
            if found["has_been_checked"] == "1"
        }

    def found(self, kind: str) -> dict[str, dict[str, str]]:
        """Return what it has found out about each "host" or "service", by host name."""
        text = self.machine.read("/var/lib/nagios4/status.dat")
        blocks = re.findall(rf"^{kind}status {{\n(.*?)^\t}}", text, re.DOTALL | re.MULTILINE)
        pairs = [dict(re.findall(r"^\t(\w+)=(.*)$", block, re.MULTILINE)) for block in blocks]
        return {block["host_name"]: block for block in pairs if block["host_name"] in self.WEBS}

    def shown(self) -> str:
        return "\n".join(found["plugin_output"] for found in self.found("service").values())


class TestContract(EndingContract):
    HOST = Nagios

    def test_performance_data_and_user(self, host: Nagios) -> None:
        web1 = host.found("service")["web1"]
        owners = {Path(f"/proc/{pid}").owner() for pid in host.machine.running("nagios4")}

        assert re.fullmatch(r"time=0\.\d{6}s;;;0", web1["performance_data"])
        assert owners == {"nagios"}
        # Hosts without a check of their own.
        assert {found["has_been_checked"] for found in host.found("host").values()} == {"0"}


def test_the_example_has_no_warnings(machine: Machine) -> None:
    machine.write(OBJECTS, EXAMPLE)
    done = machine.run(["nagios4", "-v", MAIN])

    assert "Total Warnings: 0" in done.stdout, done.stdout
    assert done.returncode == 0


@pytest.mark.usefixtures("farm")
def test_a_host_knows_no_unknown(machine: Machine) -> None:
    """What the example says of this check as a host's own."""
    check = r"\1    check_command  check_tcp_half_open!443\n"
    text, number = re.subn(r"(^ +host_name +web1\n)", check, EXAMPLE, flags=re.MULTILINE)
    assert number == 1
    with Nagios(machine, text) as host:  # and nmap has no capability

        def web1() -> tuple[str | None, str]:
            found = host.found("host").get("web1", {})
            return found.get("current_state"), found.get("plugin_output", "")

        host.force("HOST_CHECK;web1")
        assert wait_until(lambda: web1()[0] == "1"), host.found("host")
        assert web1()[1].startswith("TCP HALF-OPEN UNKNOWN - ")
        with machine.broken("halfopen not importable"):
            host.force("HOST_CHECK;web1")
            assert wait_until(lambda: web1()[0] == "0"), host.found("host")


def test_all_that_is_said_of_300_targets_arrives(machine: Machine, lab: Lab) -> None:
    machine.let_nmap()
    machine.write("/etc/farm", many(lab))
    text = changed(EXAMPLE, ("-H $HOSTADDRESS$ -p $ARG1$ -t 10", "--targets /etc/farm -t 50"))
    with Nagios(machine, text) as host:
        host.check_now()
        assert wait_until(lambda: "web1" in host.judged()), host.told()
        found = host.found("service")["web1"]

    lines = [found["plugin_output"], *found["long_plugin_output"].split(r"\n")]
    has_all_of_many(lines, found["performance_data"].split(" "))
