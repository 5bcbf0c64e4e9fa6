"""examples/systemd, judged by a real systemd: the states of the units."""

from __future__ import annotations

import time
from typing import Iterator

import pytest
from support.booted import EACH_SECOND, UNITS, Booted, booted
from support.machine import WEB1, WEB2, Farm, Machine, Site, wait_until

NEEDS = ("systemd", "systemd-analyze")

# Somebody's service, which is to start only while web1 is open.
SERVICE = """
[Service]
Type=exec
User=daemon
PrivateTmp=yes
ExecStart=/usr/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""

STARTED = ("active", "success")
SKIPPED = ("inactive", "exec-condition")
FAILED = ("failed", "exit-code")
FAULTS = ("missing", "not allowed", "hanging")


@pytest.fixture
def system(machine: Machine, installed: Site) -> Iterator[Booted]:
    with booted(machine) as made:
        yield made


def start(system: Booted) -> tuple[str, ...]:
    """Start the service anew and return what became of it."""
    system.systemctl("stop", "app.service")
    system.systemctl("start", "app.service")
    return system.show("app.service", "ActiveState", "Result")


def add_service(system: Booted, text: str = SERVICE) -> None:
    """Install the service with the example as its drop-in; enabled, so that its state is kept."""
    system.machine.write(f"{UNITS}/app.service", text)
    system.machine.install(
        "systemd/only-when-open.conf", f"{UNITS}/app.service.d/only-when-open.conf"
    )
    assert system.systemctl("enable", "app.service").returncode == 0
    assert system.systemctl("daemon-reload").returncode == 0


def check_unit(address: str, kind: str = "service") -> str:
    return f"halfopen@{address}:443.{kind}"


def checked(system: Booted, address: str) -> tuple[str, ...]:
    return system.show(check_unit(address), "Result", "ExecMainStatus")


def test_a_service_starts_only_while_its_backend_is_open(system: Booted, farm: Farm) -> None:
    add_service(system)

    assert start(system) == STARTED
    farm.only(WEB2)
    assert start(system) == SKIPPED
    farm.only(WEB1)
    assert start(system) == STARTED
    # The check had the right to open raw sockets, the service has none.
    pid = system.show("app.service", "MainPID")[0]
    rights = system.run("grep", "^Cap", f"/proc/{pid}/status").stdout.split("\n")
    assert {"CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"} <= set(rights)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("farm")
def test_a_broken_nmap_fails_the_service_and_does_not_skip_it(system: Booted, fault: str) -> None:
    add_service(system)
    assert start(system) == STARTED
    system.machine.break_nmap(fault)

    assert start(system) == FAILED
    assert "status=255" in system.show("app.service", "ExecCondition")[0]


@pytest.mark.parametrize(("fault", "code"), [("no interpreter", 203), ("not importable", 1)])
@pytest.mark.usefixtures("farm")
def test_a_halfopen_that_does_not_start_skips_the_service(
    system: Booted, fault: str, code: int
) -> None:
    """Not what one would wish, but what the example warns of: all below 255 is a skip."""
    add_service(system)
    system.machine.break_halfopen(fault)

    assert start(system) == SKIPPED
    assert f"status={code} " in system.show("app.service", "ExecCondition")[0]


@pytest.mark.usefixtures("farm")
def test_when_systemd_ends_a_check_nmap_ends_with_it(system: Booted) -> None:
    add_service(system)
    dropin = f"{UNITS}/app.service.d/only-when-open.conf"
    text = system.machine.read(dropin)
    slow = text.replace("192.0.2.11:443", "192.0.2.25:80").replace("-t 5", "-t 30")
    system.machine.write(dropin, slow)
    system.systemctl("daemon-reload")
    system.machine.slow_nmap()

    def running() -> bool:
        return system.run("pidof", "nmap.real").returncode == 0

    system.systemctl("start", "--no-block", "app.service")
    assert wait_until(running)
    since = time.monotonic()
    system.systemctl("stop", "app.service")
    assert wait_until(lambda: not running(), 15)
    assert time.monotonic() - since < 8  # left alone it would be 29


def test_a_timer_checks_again_and_again_as_a_user_of_its_own(system: Booted, farm: Farm) -> None:
    machine = system.machine
    for kind in ("service", "timer"):
        machine.install(f"systemd/halfopen@.{kind}", f"{UNITS}/halfopen@.{kind}")
    machine.write(f"{UNITS}/halfopen@.timer.d/sooner.conf", EACH_SECOND)
    for address in (WEB1, WEB2):
        done = system.systemctl("enable", "--now", check_unit(address, "timer"))
        assert done.returncode == 0, done.stderr

    def judged(*codes: str) -> bool:
        """Return whether both checks ended with these exit codes."""
        wanted = [("success" if code == "0" else "exit-code", code) for code in codes]
        return [checked(system, address) for address in (WEB1, WEB2)] == wanted

    assert wait_until(lambda: judged("0", "2"))
    assert system.show(check_unit(WEB2), "ActiveState") == ("failed",)
    farm.only(WEB2)
    assert wait_until(lambda: judged("2", "0"))
    for fault in FAULTS:
        machine.break_nmap(fault)
        assert wait_until(lambda: judged("3", "3")), fault
        assert system.show(check_unit(WEB2), "ActiveState") == ("failed",)
        machine.mend_nmap()
        assert wait_until(lambda: judged("2", "0")), fault
    # Without the package first: the commands can't be mended.
    for fault, code in (("not importable", "1"), ("no interpreter", "203")):
        machine.break_halfopen(fault)
        assert wait_until(lambda: judged(code, code)), fault  # noqa: B023


def test_systemd_finds_no_fault_with_the_units(machine: Machine) -> None:
    for kind in ("service", "timer"):
        machine.install(f"systemd/halfopen@.{kind}", f"{UNITS}/halfopen@.{kind}")
    machine.write(f"{UNITS}/app.service", SERVICE)
    machine.install("systemd/only-when-open.conf", f"{UNITS}/app.service.d/only-when-open.conf")
    names = ["app.service", "halfopen@.service", "halfopen@.timer"]
    done = machine.run(["systemd-analyze", "verify", *(f"{UNITS}/{name}" for name in names)])

    # It looks at packages' units as well, and finds some.
    complaints = [line for line in done.stderr.splitlines() if "app" in line or "halfopen" in line]
    assert (complaints, done.returncode) == ([], 0)
