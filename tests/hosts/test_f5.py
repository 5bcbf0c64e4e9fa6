"""F5's external monitor: a fake bigd, for there is no BIG-IP to test with.

The script of examples/f5, and the plugin with F5's format, as a monitor that needs no script.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from lab import TARGET
from support.machine import WEB1, Machine

from .contract import ADDRESSES, PLUGIN, Contract, Host, Judged, example, side_by_side

EXAMPLE = example("f5/half_open")
SCRIPT = "/config/filestore/files_d/Common_d/external_monitor_d/half_open"
FORMAT = EXAMPLE.rpartition("check_tcp_half_open ")[2].split(' "$1"')[0].split()


class Script(Host):
    """A fake bigd, the daemon that runs BIG-IP's monitors, with the example's script.

    Contract: the program gets the member's address, an IPv4 one as ::ffff:A.B.C.D, its port, and
    what the monitor has in `args`; all of it is in the environment, too. Anything on stdout is up,
    nothing is down, whatever the exit code. What still runs when the next check is due is killed.
    """

    UP, DOWN, FAILED = True, False, False
    OPEN = CLOSED = ""
    SAYS: ClassVar = {}
    PROGRAM = SCRIPT

    def __init__(self, machine: Machine, *args: str) -> None:
        """Give the monitor its `args`."""
        super().__init__(machine)
        self._args = args

    def start(self) -> None:
        self.machine.write(SCRIPT, EXAMPLE, 0o755)

    def judged(self) -> Judged:
        return side_by_side(lambda web: self.up(ADDRESSES[web]))

    def up(self, address: str, port: int = 443) -> bool:
        """Return the state of a member."""
        argv, environment = self.call(address, port)
        done = self.machine.run(argv, env=environment)
        assert done.stdout in ("UP\n", "")
        started = done.returncode not in (1, 127)  # which Python and the kernel say of the others
        assert done.stderr == "" or not started
        return done.stdout != ""

    def call(self, address: str, port: int) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the environment of a check."""
        address = address if ":" in address else "::ffff:" + address
        environment = {
            "PATH": "/bin:/usr/bin:/sbin:/usr/sbin",
            "MON_TMPL_NAME": "/Common/half_open",
            "NODE_IP": address,
            "NODE_PORT": str(port),
            "ARGS_I": " ".join(self._args),
        }
        return [self.PROGRAM, address, str(port), *self._args], environment


class Plugin(Script):
    """The same, with the plugin as the program."""

    PROGRAM = PLUGIN

    def __init__(self, machine: Machine, *args: str) -> None:
        """Give the monitor its `args`, beside the format."""
        super().__init__(machine, *FORMAT, *args)


class TestScript(Contract):
    HOST: ClassVar[type[Script]] = Script

    def test_an_ipv6_member(self, host: Script) -> None:
        assert [host.up(TARGET[6], port) for port in (25, 26, 80)] == [True, False, False]

    def test_what_is_no_address_or_port_is_silence(self, host: Script) -> None:
        for address in (f"::ffff:{WEB1}%1", "2001:db8::25%1", "::", "10.0.0.1-9"):
            assert not host.up(address), address
        for port in (0, 65536):
            assert not host.up(WEB1, port), port


class TestPlugin(TestScript):
    HOST = Plugin

    def test_bad_args_of_the_monitor_are_silence(self, host: Plugin) -> None:
        for more in (("--nope",), ("--expect", "ajar"), ("-t", "soon"), ("443",)):
            assert not Plugin(host.machine, *more).up(WEB1), more


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize(
    "plugin",
    ["", "#!/bin/sh\necho 'UNKNOWN - no such option: --format'; exit 3\n"],
    ids=["no", "older"],
)
def test_the_script_lets_nothing_out_but_the_one_word(machine: Machine, plugin: str) -> None:
    machine.path(PLUGIN).unlink()
    if plugin:
        machine.write(PLUGIN, plugin, 0o755)
    with Script(machine) as host:
        argv, environment = host.call(WEB1, 443)
        done = machine.run(argv, env=environment)

    assert (done.stdout, done.stderr) == ("", "")
