"""The machines that the monitor hosts run on, and what the commands do there as each user."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.machine import WEB1, WEB2, Farm, Machine, Site

PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"


def test_a_machine_leaves_no_trace_on_this_system(machine: Machine) -> None:
    traces = ["/usr/bin/trace", "/etc/trace", "/var/trace", "/run/trace"]
    done = machine.run(["sh", "-c", 'touch "$@"; pwd', "sh", *traces])

    assert (done.stdout, done.stderr, done.returncode) == ("/\n", "", 0)
    assert all(machine.path(trace).exists() for trace in traces)
    assert not any(Path(trace).exists() for trace in traces)


def test_root_checks_the_backends(machine: Machine, farm: Farm) -> None:
    checks = [machine.run([PLUGIN, address, "443"]).returncode for address in (WEB1, WEB2)]
    farm.only(WEB2)
    checks += [machine.run([PLUGIN, address, "443"]).returncode for address in (WEB1, WEB2)]

    assert checks == [0, 2, 2, 0]


@pytest.mark.parametrize("user", ["daemon", "nobody"])
@pytest.mark.usefixtures("farm")
def test_a_daemons_user_checks_with_an_nmap_that_has_the_capability(
    machine: Machine, user: str
) -> None:
    machine.let_nmap()
    checks = [machine.run([PLUGIN, address, "443"], user) for address in (WEB1, WEB2)]

    assert [check.returncode for check in checks] == [0, 2], checks


@pytest.mark.parametrize("fault", ["missing", "not allowed", "hanging"])
@pytest.mark.parametrize("user", [None, "daemon"])
@pytest.mark.usefixtures("farm")
def test_a_broken_nmap_is_unknown(machine: Machine, fault: str, user: str | None) -> None:
    machine.break_nmap(fault)
    done = machine.run([PLUGIN, "-H", WEB1, "-p", "443", "-t", "2"], user)

    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("TCP HALF-OPEN UNKNOWN - ")
    assert machine.running("nmap") == machine.running("sleep") == []


@pytest.mark.parametrize(("fault", "code"), [("without interpreter", 127), ("not importable", 1)])
def test_a_halfopen_that_does_not_start_says_nothing_and_is_still_installed_elsewhere(
    machine: Machine, installed: Site, fault: str, code: int
) -> None:
    machine.break_halfopen(fault)
    for command in ([PLUGIN, WEB1, "443"], ["/usr/local/bin/halfopen", "check", f"{WEB1}:443"]):
        done = machine.run(command)

        assert (done.returncode, done.stdout) == (code, "")
    assert subprocess.run([installed.bin / "halfopen", "--help"], check=False).returncode == 0
