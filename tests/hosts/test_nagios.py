"""Nagios 4, started on Debian's own nagios.cfg, with the example in its conf.d.

The verdicts are read from the status file and the log that Nagios itself writes.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import Iterator

import pytest

from .machine import EXAMPLES, PATIENCE, WEB1, WEB2, Farm, Machine, end, wait_until

NEEDS = ("nagios4", "check_ping")

EXAMPLE = "nagios/half_open.cfg"
OBJECTS = "/etc/nagios4/conf.d/half_open.cfg"
MAIN = "/etc/nagios4/nagios.cfg"
COMMANDS = "/var/lib/nagios4/rw/nagios.cmd"
SERVICE = "HTTPS half-open"
PORT_STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

# Later lines win. Debian's nagios.cfg tells of what it has found every 10 s only.
PROMPT = "\nstatus_update_interval=1\ncheck_result_reaper_frequency=1\n"


class Nagios:
    """A running nagios4, started by root: it becomes the user nagios by itself."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def comes_to(self, **wanted: str) -> bool:
        """Return whether the services come to these states in time, checked at once."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for host in wanted:
                # By itself, it would check a service a minute later.
                self.check_now(host)
            # Again, if a check was already running: that one's result is an older one.
            if wait_until(lambda: wanted.items() <= self.states().items(), 15):
                return True
        return False

    def states(self) -> dict[str, str]:
        """Return the state of each service that it has checked, by host name."""
        return {
            host: PORT_STATES[int(found["current_state"])]
            for host, found in self.found("service").items()
            if found["has_been_checked"] == "1"
        }

    def found(self, kind: str) -> dict[str, dict[str, str]]:
        """Return what it has found out about each "host" or "service", by host name."""
        text = self._machine.read("/var/lib/nagios4/status.dat")
        blocks = re.findall(rf"^{kind}status {{\n(.*?)^\t}}", text, re.DOTALL | re.MULTILINE)
        pairs = [dict(re.findall(r"^\t(\w+)=(.*)$", block, re.MULTILINE)) for block in blocks]
        return {block["host_name"]: block for block in pairs if block["host_name"] != "localhost"}

    def turned_up(self) -> list[str]:
        """Return the host names of the services that it has ever logged as recovered."""
        log = self._machine.read("/var/log/nagios4/nagios.log")
        return re.findall(rf"SERVICE ALERT: (\w+);{SERVICE};OK;", log)

    def check_now(self, host: str, service: str = SERVICE) -> None:
        """Have it check a service now; "" is the host itself."""
        now = int(time.time())
        kind = f"SVC_CHECK;{host};{service}" if service else f"HOST_CHECK;{host}"
        command = f"SCHEDULE_FORCED_{kind}"
        line = f"[{now}] {command};{now}"
        self._machine.run(["sh", "-c", f'echo "$1" >{COMMANDS}', "sh", line], timeout=20)


@contextlib.contextmanager
def running(machine: Machine, settings: str = "") -> Iterator[Nagios]:
    """Run nagios4 with what is in its conf.d, and these settings beside Debian's own."""
    machine.write(MAIN, machine.read(MAIN) + PROMPT + settings)
    process = machine.start(["nagios4", MAIN])
    try:
        assert wait_until(lambda: machine.path(COMMANDS).is_fifo()), machine.printed(process)
        yield Nagios(machine)
    finally:
        end(process)


@pytest.fixture
def nagios(machine: Machine) -> Iterator[Nagios]:
    """Return Nagios with the example, on a machine whose nmap has the capability."""
    machine.let_nmap()
    machine.install(EXAMPLE, OBJECTS)
    with running(machine) as made:
        yield made


def test_the_example_has_no_warnings(machine: Machine) -> None:
    machine.install(EXAMPLE, OBJECTS)
    done = machine.run(["nagios4", "-v", MAIN])

    assert "Total Warnings: 0" in done.stdout, done.stdout
    assert done.returncode == 0


def test_services_are_judged_by_their_ports(nagios: Nagios, machine: Machine, farm: Farm) -> None:
    assert nagios.comes_to(web1="OK", web2="CRITICAL"), nagios.found("service")
    before = nagios.found("service")
    farm.only(WEB2)
    assert nagios.comes_to(web1="CRITICAL", web2="OK"), nagios.found("service")
    after = nagios.found("service")

    up = "TCP HALF-OPEN OK - {}:443 open (syn-ack) https"
    down = "TCP HALF-OPEN CRITICAL - {}:443 closed (reset)"
    said = [seen[host]["plugin_output"] for seen in (before, after) for host in ("web1", "web2")]
    assert said == [up.format(WEB1), down.format(WEB2), down.format(WEB1), up.format(WEB2)]
    assert re.fullmatch(r"time=0\.\d{6}s;;;0", before["web1"]["performance_data"])
    assert {found["has_been_checked"] for found in nagios.found("host").values()} == {"0"}
    owners = {Path(f"/proc/{pid}").owner() for pid in machine.running("nagios4")}
    assert owners == {"nagios"}


FAULTS = {
    "missing": "nmap not found",
    "not allowed": "nmap ",
    "without the capability": "nmap needs root or CAP_NET_RAW",
    "hanging": "nmap did not end within --timeout",
}


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.usefixtures("farm")
def test_a_broken_nmap_is_unknown(nagios: Nagios, machine: Machine, fault: str) -> None:
    assert nagios.comes_to(web1="OK", web2="CRITICAL"), nagios.found("service")
    if fault == "without the capability":
        machine.mend_nmap()
    else:
        machine.break_nmap(fault)

    assert nagios.comes_to(web1="UNKNOWN", web2="UNKNOWN"), nagios.found("service")
    for found in nagios.found("service").values():
        assert found["plugin_output"].startswith("TCP HALF-OPEN UNKNOWN - " + FAULTS[fault])
    assert nagios.turned_up() == []


@pytest.mark.parametrize(
    ("fault", "state"), [("no interpreter", "CRITICAL"), ("not importable", "WARNING")]
)
@pytest.mark.usefixtures("farm")
def test_a_halfopen_that_does_not_start_is_no_ok(
    nagios: Nagios, machine: Machine, fault: str, state: str
) -> None:
    machine.break_halfopen(fault)

    assert nagios.comes_to(web1=state, web2=state), nagios.found("service")
    assert nagios.turned_up() == []


@pytest.mark.usefixtures("farm")
def test_a_host_knows_no_unknown(machine: Machine) -> None:
    """What the example says of this check as a host's own."""
    text = (EXAMPLES / EXAMPLE).read_text(encoding="utf-8")
    check = r"\1    check_command  check_tcp_half_open!443\n"
    text, changed = re.subn(r"(^ +host_name +web1\n)", check, text, flags=re.MULTILINE)
    assert changed == 1
    machine.write(OBJECTS, text)  # and nmap has no capability
    with running(machine) as nagios:
        nagios.check_now("web1", "")
        down = wait_until(lambda: nagios.found("host").get("web1", {}).get("current_state") == "1")

        assert down, nagios.found("host")
        assert nagios.found("host")["web1"]["plugin_output"].startswith("TCP HALF-OPEN UNKNOWN - ")
        machine.break_halfopen("not importable")
        nagios.check_now("web1", "")
        up = wait_until(lambda: nagios.found("host")["web1"]["current_state"] == "0")
        assert up, nagios.found("host")


@pytest.mark.usefixtures("farm")
def test_a_check_that_nagios_kills_leaves_no_nmap_beyond_its_time(machine: Machine) -> None:
    machine.slow_nmap()
    text = (EXAMPLES / EXAMPLE).read_text(encoding="utf-8")
    assert text.count("!443") == 1
    machine.write(OBJECTS, text.replace("!443", "!80"))  # which the lab's target drops
    with running(machine, "service_check_timeout=5\n") as nagios:
        nagios.check_now("web1")
        assert wait_until(lambda: machine.running("nmap.real"))
        assert nagios.comes_to(web1="CRITICAL"), nagios.found("service")
        assert "timed out" in nagios.found("service")["web1"]["plugin_output"]

    assert wait_until(lambda: not machine.running("nmap.real"), 20)
    assert machine.running("check_tcp_half_open") == []
