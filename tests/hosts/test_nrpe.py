"""NRPE: its contract, and what is its own."""

from __future__ import annotations

import re

from lab import TARGET
from support.machine import WEB1, Machine, wait_until

from .contract import Contract, changed
from .nrpe import CHECK_NRPE, EXAMPLE, NEEDS, NRPE

__all__ = ["NEEDS"]


class TestContract(Contract):
    HOST = NRPE

    def test_the_line_passes_through_whole(self, host: NRPE) -> None:
        line = r"TCP HALF-OPEN OK - 192.0.2.11:443 open \(syn-ack\) https \| time=0\.\d{6}s;;;0\n"
        assert re.fullmatch(line, host.ask("-c", "half_open_web1").stdout)


def test_a_check_that_nrpe_kills_leaves_no_nmap_beyond_its_time(machine: Machine) -> None:
    machine.break_nmap("slow")
    commands = changed(EXAMPLE, ("-p 443", "-p 80"), (WEB1, TARGET[4]))
    with NRPE(machine, commands, "command_timeout=2\n"):
        # NRPE sends SIGTERM, and SIGKILL at once: only sometimes there is time to take nmap along.
        words = [CHECK_NRPE, "-H", "127.0.0.1", "-c", "half_open_web1"]
        asking = [machine.start(words) for _ in range(4)]
        assert wait_until(lambda: machine.running("nmap.real"))
        for process in asking:
            assert process.wait(60) != 0
            assert machine.printed(process) == "NRPE: Command timed out after 2 seconds\n"

    assert wait_until(lambda: not machine.nmaps(), 20)
    assert machine.running("check_tcp_half_open") == []
