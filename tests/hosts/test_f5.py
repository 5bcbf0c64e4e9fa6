"""F5's external monitor: a fake bigd, for a BIG-IP can't be had.

The script of examples/f5, and the plugin itself with `--format f5`, as a monitor without a script.
"""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

import pytest
from lab import TARGET, Running

from .machine import WEB1, WEB2, Farm, Machine, wait_until

SCRIPT = "/config/filestore/files_d/Common_d/external_monitor_d/half_open"
PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"
FAULTS = ["missing", "not allowed", "hanging"]


class Bigd(NamedTuple):
    """A fake bigd, the daemon that runs BIG-IP's monitors.

    Contract: the program gets the member's address, an IPv4 one as ::ffff:A.B.C.D, its port, and
    what the monitor has in `args`; all of it is in the environment, too. Anything on stdout is up,
    nothing is down, whatever the exit code. What still runs when the next check is due is killed.
    """

    machine: Machine
    program: str
    args: tuple[str, ...] = ()

    def up(self, address: str, port: int = 443) -> bool:
        """Return the state of a member."""
        argv, environment = self.call(address, port)
        done = self.machine.run(argv, env=environment)
        assert done.stdout in ("UP\n", "")
        assert done.stderr == ""
        return done.stdout != ""

    def start(self, address: str, port: int = 443) -> Running[str]:
        """Begin a check."""
        argv, environment = self.call(address, port)
        return self.machine.start(argv, env=environment)

    def call(self, address: str, port: int) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the environment of a check."""
        address = address if ":" in address else "::ffff:" + address
        environment = {
            "PATH": "/bin:/usr/bin:/sbin:/usr/sbin",
            "MON_TMPL_NAME": "/Common/half_open",
            "NODE_IP": address,
            "NODE_PORT": str(port),
            "ARGS_I": " ".join(self.args),
        }
        return [self.program, address, str(port), *self.args], environment


@pytest.fixture(params=["script", "plugin"])
def bigd(request: pytest.FixtureRequest, machine: Machine) -> Bigd:
    """Return a monitor that is the example's script, and one that is the plugin with `args`."""
    if request.param == "plugin":
        return Bigd(machine, PLUGIN, ("--format", "f5"))
    machine.install("f5/half_open", SCRIPT, 0o755)
    return Bigd(machine, SCRIPT)


def test_members_come_and_go(bigd: Bigd, farm: Farm) -> None:
    seen = [[bigd.up(WEB1), bigd.up(WEB2)]]
    farm.only(WEB2)
    seen.append([bigd.up(WEB1), bigd.up(WEB2)])

    assert seen == [[True, False], [False, True]]


def test_an_ipv6_member(bigd: Bigd) -> None:
    assert [bigd.up(TARGET[6], port) for port in (25, 26, 80)] == [True, False, False]


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_nmap_is_silence(machine: Machine, bigd: Bigd, fault: str) -> None:
    machine.break_nmap(fault)

    assert not bigd.up(WEB1)
    assert machine.running("nmap") == machine.running("sleep") == []


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize("fault", ["no interpreter", "not importable"])
def test_a_halfopen_that_does_not_start_is_no_up(machine: Machine, bigd: Bigd, fault: str) -> None:
    machine.break_halfopen(fault)
    argv, environment = bigd.call(WEB1, 443)

    assert machine.run(argv, env=environment).stdout == ""


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize(
    "address", [f"::ffff:{WEB1}%1", "2001:db8::25%1", "::", "10.0.0.1-9"], ids=str
)
def test_what_is_no_address_is_silence(bigd: Bigd, address: str) -> None:
    assert not bigd.up(address)


@pytest.mark.parametrize("port", [0, 65536])
def test_what_is_no_port_is_silence(bigd: Bigd, port: int) -> None:
    assert not bigd.up(WEB1, port)


@pytest.mark.parametrize(
    "more", [("--nope",), ("--expect", "ajar"), ("-t", "soon"), ("443",)], ids=str
)
@pytest.mark.usefixtures("farm")
def test_bad_args_of_the_monitor_are_silence(machine: Machine, more: tuple[str, ...]) -> None:
    assert not Bigd(machine, PLUGIN, ("--format", "f5", *more)).up(WEB1)


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize(
    "plugin",
    [
        pytest.param("no such file", id="missing"),
        pytest.param("#!/no/such/python\n", id="no Python"),
        pytest.param("#!/bin/sh\necho 'UNKNOWN - no such option: --format'; exit 3\n", id="older"),
    ],
)
def test_the_script_lets_nothing_out_but_the_one_word(machine: Machine, plugin: str) -> None:
    machine.install("f5/half_open", SCRIPT, 0o755)
    machine.path("/usr/lib/nagios/plugins/check_tcp_half_open").unlink()
    if plugin.startswith("#!"):
        machine.write(PLUGIN, plugin, 0o755)

    assert not Bigd(machine, SCRIPT).up(WEB1)


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_check_that_is_killed_says_nothing_and_leaves_nothing(
    machine: Machine, bigd: Bigd, number: int
) -> None:
    machine.slow_nmap()
    if bigd.args:
        bigd = bigd._replace(args=(*bigd.args, "-t", "10"))
    else:
        script = machine.read(SCRIPT)
        assert script.count("--format f5 ") == 1 + script.count("`--format f5 ")
        machine.write(SCRIPT, script.replace("--format f5 ", "--format f5 -t 10 "), 0o755)
    check = bigd.start(TARGET[4], 80)
    assert wait_until(lambda: machine.running("nmap.real"))
    (pid,) = machine.running(os.path.basename(bigd.program))
    os.kill(pid, number)
    check.wait(20)

    # An nmap whose parent was killed ends by itself, with its --host-timeout.
    assert wait_until(lambda: not machine.running("nmap.real"), 30)
    assert wait_until(lambda: not machine.running("check_tcp_half_open"), 30)
    assert machine.printed(check) == ""
