"""What every monitor host makes of halfopen, read from its own judgement of its example's checks.

A `Host` says how to start a monitor host with its example, and how to read what it judges. Each
`test_*.py` has one, tries it by a subclass of `Contract`, and tests only what is this host's alone.
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, ClassVar, Mapping, Sequence, TypeVar

import pytest
from lab import TARGET, Lab
from support.machine import WEB1, WEB2, Farm, Machine, end, wait_until

ADDRESSES = {"web1": WEB1, "web2": WEB2}
PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"
Judged = Mapping[str, Any]

FAULTS = {
    "nmap missing": "nmap not found",
    "nmap not allowed": "nmap needs root or CAP_NET_RAW",
    "nmap hanging": "nmap did not end within --timeout",
    "halfopen without interpreter": "",
    "halfopen not importable": "",
}
"""What a check can suffer, and what it then says; nothing where it does not start."""


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Return a text with each of these replaced, which it has."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def with_limit(text: str, seconds: int) -> str:
    """Return an example whose checks end after so long, so that a test need not wait."""
    command = r"(/check_tcp_half_open|/halfopen check)\b"
    changed, number = re.subn(command, rf"\1 -t {seconds}", re.sub(r" -t \d+", "", text))
    assert number
    return changed


def many(lab: Lab) -> str:
    """Return a targets file: 299 open targets, one of them IPv6, and a closed one."""
    hosts = [f"[{TARGET[6]}]", *lab.many_addresses(298)]
    return "".join(f"{host}:25\n" for host in hosts) + f"{TARGET[4]}:26\n"


def has_all_of_many(lines: Sequence[str], metrics: Sequence[str]) -> None:
    """Expect of a monitor host all that the plugin says of `many`, in 8,192 bytes."""
    first, culprit, *good, rest = (line.rstrip() for line in lines)
    names = [re.sub(r"^OK - (\S+) open \(syn-ack\) smtp$", r"\1", line) for line in good]
    labels = [re.sub(r"^'?([^' ]+)'?=0\.\d{6}s;;;0$", r"\1", metric) for metric in metrics]

    assert first == f"TCP HALF-OPEN CRITICAL - 1 of 300 not open: {TARGET[4]}:26 closed (reset)"
    assert culprit == f"CRITICAL - {TARGET[4]}:26 closed (reset)"
    assert labels == [name.replace("::", ":0:0:0:0:0:") for name in names]
    assert len(good) > 90
    assert rest == f"and {299 - len(good)} more"


H = TypeVar("H", bound="Host")


class Host(contextlib.ExitStack):
    """A monitor host on a machine; runs while the `with` lasts.

    What it judges is in its own terms. An adapter may change times in an example, and no more.
    """

    CONFIG: ClassVar[str] = ""
    """The example."""
    WEBS: ClassVar[Sequence[str]] = tuple(ADDRESSES)
    """The names of the backends that it checks."""
    ROOT: ClassVar[bool] = True
    """Whether it runs checks as root; other users need an nmap with the capability."""
    UP: ClassVar[Any]
    DOWN: ClassVar[Any]
    FAILED: ClassVar[Any]
    """Of a backend that can't be checked."""
    AT: ClassVar[Mapping[str, Any]] = {}
    """In place of FAILED, at some faults."""
    OPEN: ClassVar[str] = "{}:443 open (syn-ack)"
    CLOSED: ClassVar[str] = "{}:443 closed (reset)"
    """What it shows of a backend at this address."""
    SAYS: ClassVar[Mapping[str, str]] = FAULTS
    """What it shows of each fault."""
    IMPATIENT: ClassVar[Mapping[str, Any]] = {}
    """How to make one that ends a check before the check ends itself."""
    LATE: ClassVar[str] = "slow"
    """The nmap that it has then: one that is slow at port 80, where it may outlive its caller."""
    ENDS: ClassVar[str]
    """What it shows of a check that it has ended."""

    def __init__(self, machine: Machine, config: str = "", settings: str = "") -> None:
        """Start nothing yet; `settings`: of the daemon itself, beside Debian's own."""
        super().__init__()
        self.machine, self.config, self.settings = machine, config or self.CONFIG, settings
        self.output: dict[str, str] = {}
        """What each check has printed, for the adapters that read it."""

    def __enter__(self: H) -> H:
        super().__enter__()
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def start(self) -> None:
        """Put the example in its place and start the daemon."""

    def run_daemon(self, *argv: str, ends_by: int = signal.SIGTERM, **how: Any) -> None:
        """Start it, as `Machine.start` does, and end it at the end by a signal."""
        self.process = self.machine.start(argv, **how)
        self.callback(end, self.process, ends_by)

    def printed(self) -> str:
        return self.machine.printed(self.process)

    def check_now(self) -> None:
        """Have it check at once, where it would take long to."""

    def judged(self) -> Judged:
        """Return its judgement of each backend; a backend it has none of yet may lack."""
        with ThreadPoolExecutor(len(self.WEBS)) as pool:
            return dict(zip(self.WEBS, pool.map(self.judge, self.WEBS)))

    def judge(self, web: str) -> Any:
        """Return its judgement of one backend, where each has to be asked for."""
        raise NotImplementedError

    def shown(self) -> str:
        """Return what it shows of the checks' output by now."""
        return "\n".join(self.output.values())

    def told(self) -> str:
        """Return all that helps to see why it did not come to something."""
        return f"{self.judged()}\n{self.shown()}"

    def open(self, farm: Farm, *webs: str) -> None:
        """Open the port of these backends, and close it at the others."""
        farm.only(*(ADDRESSES[web] for web in webs))

    def comes_to(self, web1: Any, web2: Any, *says: str, never: Any = None) -> bool:
        """Return whether it comes to judge them so, and shows this, and never that of web2."""
        wanted = {web: value for web, value in zip(ADDRESSES, (web1, web2)) if web in self.WEBS}

        def so(judged: Judged) -> bool:
            assert never is None or judged.get("web2") != never, judged
            return judged == wanted and all(text in self.shown() for text in says)

        return self.until(so)

    def until(self, true: Callable[[Judged], bool]) -> bool:
        """Have it check until its judgement is so; return whether it came to that."""
        again = [0.0]

        def so() -> bool:
            # Again now and then: a host may pass over it while an earlier check runs.
            if time.monotonic() >= again[0]:
                self.check_now()
                again[0] = time.monotonic() + 3
            return true(self.judged())

        return wait_until(so)

    def sees(self, farm: Farm, up: str) -> bool:
        """Open this backend alone; return whether it comes to judge and to show that."""
        self.open(farm, up)
        shows = {web: self.OPEN if web == up else self.CLOSED for web in self.WEBS}
        says = [text.format(ADDRESSES[web]) for web, text in shows.items()]
        return self.comes_to(*(self.UP if web == up else self.DOWN for web in ADDRESSES), *says)

    def broken(self, fault: str) -> contextlib.AbstractContextManager[None]:
        """Make a fault until the block ends."""
        if fault == "nmap not allowed" and not self.ROOT:
            fault = "nmap without its capability"
        return self.machine.broken(fault)


class Contract:
    """The tests; one machine and one run of the monitor host for all of them."""

    HOST: ClassVar[type[Host]]

    @pytest.fixture(autouse=True)
    def _web1_is_up(self, host: Host, farm: Farm) -> None:
        assert host.sees(farm, up="web1"), host.told()

    def test_open_is_up_and_closed_is_down_and_the_reverse(self, host: Host, farm: Farm) -> None:
        assert host.sees(farm, up="web2"), host.told()

    @pytest.mark.parametrize("fault", FAULTS)
    def test_what_cannot_be_checked_is_not_up_until_it_can_be(self, host: Host, fault: str) -> None:
        failed = host.AT.get(fault, host.FAILED)
        assert failed != host.UP
        with host.broken(fault):
            came = host.comes_to(failed, failed, host.SAYS.get(fault, ""), never=host.UP)
            assert came, host.told()
        assert host.comes_to(host.UP, host.DOWN, never=host.UP), host.told()
        assert wait_until(lambda: not host.machine.hanging())


class EndingContract(Contract):
    """The same, and what becomes of a check that the host ends, on a machine of its own."""

    def test_a_check_that_it_ends_is_not_up_and_leaves_no_nmap(
        self, lab: Lab, installed: Path
    ) -> None:
        # In another network, for the class's own daemon listens in the first.
        with Machine(lab, installed, "third") as machine:
            machine.break_nmap(self.HOST.LATE)
            with self.HOST(machine, **self.HOST.IMPATIENT) as host:
                assert host.until(lambda _: host.ENDS in host.shown()), host.told()
                assert host.UP not in host.judged().values(), host.told()
            checks = ("check_tcp_half_open", "halfopen")
            # Unlimited, each nmap would take a minute or more.
            assert wait_until(lambda: not (machine.nmaps() or machine.running(*checks)), 20)
