"""F5's external monitor: a fake bigd, for there is no BIG-IP to test with.

The script of examples/f5, and the plugin with F5's format, as a monitor that needs no script.
"""

from __future__ import annotations

from typing import ClassVar, Sequence

import pytest
from lab import TARGET
from support.machine import WEB1, Machine, example

from .contract import ADDRESSES, PLUGIN, Contract, Host

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
    PROGRAM: ClassVar[str] = SCRIPT
    ARGS: ClassVar[Sequence[str]] = ()

    def start(self) -> None:
        self.machine.write(SCRIPT, EXAMPLE, 0o755)

    def judge(self, web: str) -> bool:
        return self.up(ADDRESSES[web])

    def up(self, address: str, port: int = 443) -> bool:
        """Return the state of a member."""
        address = address if ":" in address else "::ffff:" + address
        environment = {
            "PATH": "/bin:/usr/bin:/sbin:/usr/sbin",
            "MON_TMPL_NAME": "/Common/half_open",
            "NODE_IP": address,
            "NODE_PORT": str(port),
            "ARGS_I": " ".join(self.ARGS),
        }
        done = self.machine.run([self.PROGRAM, address, str(port), *self.ARGS], env=environment)
        assert done.stdout in ("UP\n", "")
        started = done.returncode not in (1, 127)  # which Python and the kernel say of the others
        assert done.stderr == "" or not (started or self.PROGRAM == SCRIPT)
        return done.stdout != ""


class Plugin(Script):
    """The same, with the plugin as the program."""

    PROGRAM, ARGS = PLUGIN, FORMAT


class TestScript(Contract):
    HOST: ClassVar[type[Script]] = Script

    def test_an_ipv6_member(self, host: Script) -> None:
        assert [host.up(TARGET[6], port) for port in (25, 26, 80)] == [True, False, False]


class TestPlugin(TestScript):
    HOST = Plugin


@pytest.mark.usefixtures("farm")
def test_the_script_is_silent_with_an_older_plugin(machine: Machine) -> None:
    machine.path(PLUGIN).unlink()
    machine.write(PLUGIN, "#!/bin/sh\necho UNKNOWN - no such option: --format; exit 3\n", 0o755)
    with Script(machine) as host:
        assert not host.up(WEB1)
