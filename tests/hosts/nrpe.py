"""NRPE with Debian's nrpe.cfg and the example in its nrpe.d, asked by the real check_nrpe."""

from __future__ import annotations

from typing import ClassVar

from lab import Finished
from support.machine import example, wait_until

from .contract import FAULTS, Host, changed

NEEDS = ("nrpe", "check_nrpe")

EXAMPLE = example("nrpe/half_open.cfg")
CHECK_NRPE = "/usr/lib/nagios/plugins/check_nrpe"


class NRPE(Host):
    """NRPE, started as its systemd unit does, as the user nagios and with an empty environment."""

    ROOT = False
    CONFIG = EXAMPLE
    UP, DOWN, FAILED = 0, 2, 3
    # NRPE sends SIGTERM, and SIGKILL at once: only sometimes there is time to take nmap along.
    ENDS = "NRPE: Command timed out after 2 seconds"
    IMPATIENT: ClassVar = {
        "config": changed(EXAMPLE, ("-p 443", "-p 80")),
        "settings": "command_timeout=2\n",
    }
    # NRPE's own UNKNOWN is for a check that prints nothing.
    SAYS: ClassVar = {fault: says or "Unable to read output" for fault, says in FAULTS.items()}

    def start(self) -> None:
        self.machine.write("/etc/nagios/nrpe.d/half_open.cfg", self.config)
        self.machine.write("/etc/nagios/nrpe_local.cfg", self.settings)
        self.machine.do("install", "-d", "-o", "nagios", "-g", "nagios", "/run/nagios")
        argv = ["/usr/sbin/nrpe", "-c", "/etc/nagios/nrpe.cfg", "-f"]
        self.run_daemon(*argv, user="nagios", env={})
        assert wait_until(lambda: self.ask().stdout.startswith("NRPE v")), self.printed()

    def ask(self, *words: str) -> Finished[str]:
        """Ask NRPE as the monitoring server does; without a command, for its version."""
        return self.machine.run([CHECK_NRPE, "-H", "127.0.0.1", *words])

    def judge(self, web: str) -> int:
        answer = self.ask("-c", f"half_open_{web}")
        self.output[web] = answer.stdout
        return answer.returncode
