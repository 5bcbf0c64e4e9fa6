"""examples/systemd, judged by a real systemd: the states of the units."""

from __future__ import annotations

from typing import ClassVar

from lab import TARGET
from support.booted import EACH_SECOND, UNITS, booted
from support.machine import WEB1, Machine, example, wait_until

from .contract import ADDRESSES, Contract, Host, Judged, changed, with_limit

NEEDS = ("systemd", "systemd-analyze")

CONDITION = example("systemd/only-when-open.conf")
# Somebody's service, which is to start only while web1 is open.
SERVICE = """
[Unit]
StartLimitIntervalSec=0

[Service]
Type=exec
User=daemon
PrivateTmp=yes
ExecStart=/usr/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""


class Timer(Host):
    """The unit that a timer starts, as a user of its own: how it ended, and its exit code."""

    OPEN = CLOSED = ""
    SAYS: ClassVar = {}
    UP, DOWN, FAILED = ("success", "0"), ("exit-code", "2"), ("exit-code", "3")
    AT: ClassVar = {
        "halfopen without interpreter": ("exit-code", "203"),
        "halfopen not importable": ("exit-code", "1"),
    }

    def start(self) -> None:
        self._judged: dict[str, tuple[str, ...]] = {}
        self.system = self.enter_context(booted(self.machine))
        unit = with_limit(example("systemd/halfopen@.service"), 3)
        self.machine.write(f"{UNITS}/halfopen@.service", unit)
        self.machine.install("systemd/halfopen@.timer", f"{UNITS}/halfopen@.timer")
        self.machine.write(f"{UNITS}/halfopen@.timer.d/sooner.conf", EACH_SECOND)
        for address in ADDRESSES.values():
            self.system.do("enable", "--now", f"halfopen@{address}:443.timer")

    def judged(self) -> Judged:
        for web, address in ADDRESSES.items():
            unit = f"halfopen@{address}:443.service"
            state, *result = self.system.show(unit, "ActiveState", "Result", "ExecMainStatus")
            if state != "activating":  # while a check runs, nothing is known of its result
                self._judged[web] = tuple(result)
        return dict(self._judged)


class TestTimer(Contract):
    HOST = Timer


class Condition(Host):
    """A service with the condition: what became of an attempt to start it, web1 being its backend.

    A halfopen that does not start skips the service. That is not what one would wish, but what the
    example warns of: all below 255 is a skip.
    """

    CONFIG = with_limit(CONDITION, 3)
    WEBS = ("web1",)
    UP, DOWN = ("active", "success"), ("inactive", "exec-condition")
    FAILED = ("failed", "exit-code")
    AT: ClassVar = {"halfopen without interpreter": DOWN, "halfopen not importable": DOWN}
    OPEN, CLOSED = "status=0 ", "status=1 "
    SAYS: ClassVar = {
        **dict.fromkeys(("nmap missing", "nmap not allowed", "nmap hanging"), "status=255"),
        "halfopen without interpreter": "status=203",
        "halfopen not importable": "status=1 ",
    }

    def start(self) -> None:
        self.system = self.enter_context(booted(self.machine))
        self.machine.write(f"{UNITS}/app.service", SERVICE)
        self.machine.write(f"{UNITS}/app.service.d/only-when-open.conf", self.config)
        self.system.do("enable", "app.service")  # so that its state is kept
        self.system.do("daemon-reload")

    def judge(self, web: str) -> tuple[str, ...]:
        del web  # there is one alone
        self.system.do("stop", "app.service")
        self.system.run("systemctl", "start", "app.service")
        return self.system.show("app.service", "ActiveState", "Result")

    def shown(self) -> str:
        return self.system.show("app.service", "ExecCondition")[0]


class TestCondition(Contract):
    HOST = Condition

    def test_the_check_may_open_raw_sockets_and_the_service_may_not(self, host: Condition) -> None:
        (pid,) = host.system.show("app.service", "MainPID")
        rights = host.system.run("grep", "^Cap", f"/proc/{pid}/status").stdout.split("\n")

        assert {"CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"} <= set(rights)


def test_when_systemd_ends_a_check_nmap_ends_with_it(machine: Machine) -> None:
    machine.break_nmap("slow")
    condition = changed(with_limit(CONDITION, 100), (f"{WEB1}:443", f"{TARGET[4]}:80"))
    with Condition(machine, condition) as host:
        host.system.do("start", "--no-block", "app.service")

        def runs() -> bool:
            return host.system.run("pidof", "nmap.real").returncode == 0

        assert wait_until(runs)
        host.system.do("stop", "app.service")
        assert wait_until(lambda: not runs(), 30)  # left alone it would take 99 s


def test_systemd_finds_no_fault_with_the_units(machine: Machine) -> None:
    machine.write(f"{UNITS}/app.service", SERVICE)
    machine.install("systemd/only-when-open.conf", f"{UNITS}/app.service.d/only-when-open.conf")
    units = [f"{UNITS}/app.service"]
    for name in ("systemd/halfopen@", "prometheus/halfopen-prometheus"):
        for kind in ("service", "timer"):
            units.append(f"{UNITS}/{name.split('/')[1]}.{kind}")
            machine.install(f"{name}.{kind}", units[-1])
    done = machine.run(["systemd-analyze", "verify", *units])

    # It looks at packages' units as well, and finds some.
    complaints = [line for line in done.stderr.splitlines() if "app" in line or "halfopen" in line]
    assert (complaints, done.returncode) == ([], 0)
