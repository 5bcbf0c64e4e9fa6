"""NRPE with Debian's nrpe.cfg and the example in its nrpe.d, asked by the real check_nrpe."""

from __future__ import annotations

import contextlib
import re
from typing import Iterator

import pytest
from lab import Finished

from .machine import EXAMPLES, WEB1, WEB2, Farm, Machine, end, wait_until

NEEDS = ("nrpe", "check_nrpe")

EXAMPLE = "nrpe/half_open.cfg"
COMMANDS = "/etc/nagios/nrpe.d/half_open.cfg"
CHECK_NRPE = "/usr/lib/nagios/plugins/check_nrpe"
LOCAL = "/etc/nagios/nrpe_local.cfg"  # Debian's place for settings of one's own


@contextlib.contextmanager
def running_nrpe(machine: Machine) -> Iterator[None]:
    """Run NRPE as its systemd unit does, as the user nagios, and with an empty environment."""
    machine.path("/run/nagios").mkdir()
    machine.run(["chown", "nagios:", "/run/nagios"])
    argv = ["/usr/sbin/nrpe", "-c", "/etc/nagios/nrpe.cfg", "-f"]
    process = machine.start(argv, "nagios", env={})
    try:
        assert wait_until(lambda: ask(machine).stdout.startswith("NRPE v")), machine.printed(
            process
        )
        yield
    finally:
        end(process)


def ask(machine: Machine, command: str = "") -> Finished[str]:
    """Ask NRPE as the monitoring server does; without a command, for its version."""
    words = ["-c", command] if command else []
    return machine.run([CHECK_NRPE, "-H", "127.0.0.1", *words])


def both(machine: Machine) -> list[tuple[int, str]]:
    """Return what check_nrpe makes of the two backends: exit code and line."""
    answers = [ask(machine, f"half_open_{web}") for web in ("web1", "web2")]
    return [(answer.returncode, answer.stdout.strip()) for answer in answers]


@pytest.fixture
def asked(machine: Machine) -> Iterator[Machine]:
    """Return a machine where NRPE runs with the example, and nmap has the capability."""
    machine.let_nmap()
    machine.install(EXAMPLE, COMMANDS)
    with running_nrpe(machine):
        yield machine


def test_exit_codes_and_lines_pass_through(asked: Machine, farm: Farm) -> None:
    before = both(asked)
    farm.only(WEB2)
    after = both(asked)

    up = r"TCP HALF-OPEN OK - {}:443 open \(syn-ack\) https \| time=0\.\d{{6}}s;;;0"
    down = r"TCP HALF-OPEN CRITICAL - {}:443 closed \(reset\)"
    expected = [(0, up, WEB1), (2, down, WEB2), (2, down, WEB1), (0, up, WEB2)]
    for (code, line), (wanted_code, wanted, address) in zip(before + after, expected):
        assert code == wanted_code, line
        assert re.fullmatch(wanted.format(re.escape(address)), line)


@pytest.mark.usefixtures("farm")
def test_a_broken_nmap_is_unknown_and_never_empty(asked: Machine) -> None:
    """Empty output would be NRPE's own UNKNOWN, `Unable to read output`."""
    said = {}
    asked.mend_nmap()
    said["nmap needs root or CAP_NET_RAW"] = both(asked)
    asked.break_nmap("missing")
    said["nmap not found"] = both(asked)
    asked.break_nmap("not allowed")
    said["nmap "] = both(asked)
    for cause, answers in said.items():
        for code, line in answers:
            assert line.startswith("TCP HALF-OPEN UNKNOWN - " + cause)
            assert code == 3
    # Last, and without the package first: the commands can't be mended. Nothing is printed then.
    for fault in ("not importable", "no interpreter"):
        asked.break_halfopen(fault)
        assert [line for code, line in both(asked) if code == 0] == [], fault


@pytest.mark.usefixtures("farm")
def test_a_hanging_nmap_is_unknown_before_check_nrpe_gives_up(asked: Machine) -> None:
    asked.break_nmap("hanging")
    answer = ask(asked, "half_open_web1")

    line = "TCP HALF-OPEN UNKNOWN - nmap did not end within --timeout"
    assert answer.stdout.startswith(line)
    assert answer.returncode == 3


@pytest.mark.usefixtures("farm")
def test_a_check_that_nrpe_kills_leaves_no_nmap_beyond_its_time(machine: Machine) -> None:
    machine.slow_nmap()
    text = (EXAMPLES / EXAMPLE).read_text(encoding="utf-8")
    assert "-p 443" in text
    machine.write(COMMANDS, text.replace("-p 443", "-p 80"))  # which the lab's target drops
    machine.write(LOCAL, "command_timeout=4\n")
    with running_nrpe(machine):
        # NRPE sends SIGTERM, and SIGKILL at once: only sometimes there is time to take nmap along.
        words = [CHECK_NRPE, "-H", "127.0.0.1", "-c", "half_open_web1"]
        asking = [machine.start(words) for _ in range(4)]
        assert wait_until(lambda: machine.running("nmap.real"))
        for process in asking:
            assert process.wait(60) != 0
            assert machine.printed(process) == "NRPE: Command timed out after 4 seconds\n"

    assert wait_until(lambda: not machine.running("nmap.real"), 20)
    assert machine.running("check_tcp_half_open") == []
