"""examples/haproxy, judged by HAProxy: `show stat` on its stats socket."""

from __future__ import annotations

import contextlib
import csv
import os
import socket
from typing import ClassVar, Mapping, NamedTuple, Sequence

import pytest
from support.machine import WEB1, WEB2, Machine, wait_until

from .contract import FAULTS, PLUGIN, SILENT, Contract, Host, Judged, changed, example

NEEDS = ("haproxy",)

EXAMPLE = example("haproxy/haproxy.cfg")
# Times of its own, so that one check decides: HAProxy's counting of several is not ours to test.
CONFIG = changed(EXAMPLE, ("inter 3s fastinter 1s", "inter 2s fall 1 rise 1"))
WRAPPER = "/usr/local/bin/check_half_open"
# What the example does without: the way to ask HAProxy what it has judged.
STATS = """
global
    stats socket /run/haproxy.sock mode 600
"""

AS_HAPROXY = ["setpriv", "--reuid=haproxy", "--regid=haproxy", "--clear-groups"]
WITHOUT_DESCRIPTORS = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]

# In the plugin's place: says what HAProxy gives to a check, and is the plugin then.
RECORDER = """#!/bin/sh
given="PATH=$PATH"
for number in 0 1 2; do
    [ -e "/proc/$$/fd/$number" ] || given="$given, $number closed"
done
echo "$given" >>/var/given
exec {} "$@"
"""


class Server(NamedTuple):
    """What HAProxy says of a server: UP or DOWN, and how the check that said so has ended."""

    status: str
    check: str
    exit_code: str = ""


def _server(row: Mapping[str, str]) -> Server:
    check = row["check_status"].lstrip("* ")  # the star: the next one is running
    ended = check in ("PROCOK", "PROCERR")  # or else the exit code is an earlier check's
    return Server(row["status"], check, row["check_code"] if ended else "")


class HAProxy(Host):
    ROOT = False
    UP, DOWN = Server("UP", "PROCOK", "0"), Server("DOWN", "PROCERR", "2")
    FAILED, TIMED_OUT = DOWN._replace(exit_code="3"), Server("DOWN", "PROCTOUT")
    AT: ClassVar = {
        "nmap hanging": TIMED_OUT,
        "halfopen without interpreter": DOWN._replace(exit_code="255"),
        "halfopen not importable": DOWN._replace(exit_code="1"),
    }
    SAYS: ClassVar = {**FAULTS, "nmap hanging": ""}

    def __init__(
        self,
        machine: Machine,
        config: str = CONFIG,
        options: Sequence[str] = ("-db",),
        before: Sequence[str] = (),
    ) -> None:
        """Start nothing yet; `before`: what runs it."""
        super().__init__(machine, config)
        self._argv = [*before, "haproxy", *options]

    def start(self) -> None:
        self.machine.write("/etc/haproxy/haproxy.cfg", self.config)
        self.machine.write("/etc/haproxy/stats.cfg", STATS)
        files = ["-f", "/etc/haproxy/haproxy.cfg", "-f", "/etc/haproxy/stats.cfg"]
        self.run_daemon(*self._argv, *files)

    def judged(self) -> Judged:
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.connect(str(self.machine.path("/run/haproxy.sock")))
            sock.sendall(b"show stat web 4 -1\n")
            with sock.makefile() as lines:
                rows = csv.DictReader(line.lstrip("# ") for line in lines if line.strip())
                return {row["svname"]: _server(row) for row in rows}
        return {}

    shown = Host.printed


class TestContract(Contract):
    HOST = HAProxy


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """Return a machine whose nmap has the capability."""
    machine.let_nmap()
    return machine


def up_and_down(host: HAProxy) -> bool:
    return host.comes_to(host.UP, host.DOWN)


@pytest.mark.usefixtures("farm")
def test_the_example_as_it_is(machine: Machine) -> None:
    with HAProxy(machine, EXAMPLE) as host:
        assert up_and_down(host), host.told()


# With its own descriptors closed, HAProxy opens others in their place.
@pytest.mark.parametrize(
    ("options", "before", "given"),
    [
        (["-W"], [], "PATH="),
        (["-D"], [], "PATH=, 0 closed, 1 closed, 2 closed"),
        (["-q", "-db"], [], "PATH=, 0 closed, 1 closed, 2 closed"),
        (["-db"], WITHOUT_DESCRIPTORS, "PATH="),
    ],
    ids=["master-worker", "daemon", "quiet", "closed"],
)
@pytest.mark.usefixtures("farm")
def test_a_check_needs_neither_path_nor_descriptors(
    machine: Machine, options: list[str], before: list[str], given: str
) -> None:
    plugin = machine.path(PLUGIN)
    target = os.readlink(str(plugin))
    plugin.unlink()
    machine.write(PLUGIN, RECORDER.format(target), 0o755)
    machine.write("/var/given", "", owner="haproxy")
    with HAProxy(machine, options=options, before=before) as host:
        assert up_and_down(host), host.told()

    assert set(machine.read("/var/given").splitlines()) == {given}


# A hanging nmap, and the real one that waits for the answer of a port that drops everything:
# first one nmap, then three side by side.
@pytest.mark.parametrize("nmap", ["hanging", "real"])
def test_a_check_that_haproxy_ends_leaves_no_nmap(machine: Machine, nmap: str) -> None:
    if nmap == "hanging":
        machine.break_nmap("hanging")
    config = changed(
        CONFIG, ("inter 2s", "inter 1s"), (f"{WEB1}:443", SILENT), (f"{WEB2}:443", SILENT)
    )
    seen: set[int] = set()
    orphans: list[set[int]] = [set()]
    with HAProxy(machine, config) as host:

        def both_have_timed_out() -> bool:
            seen.update(machine.nmaps())
            orphans.append(machine.orphans())
            assert not orphans[-2] & orphans[-1]
            return host.judged() == {"web1": host.TIMED_OUT, "web2": host.TIMED_OUT}

        assert wait_until(both_have_timed_out), host.told()
        first = set(seen)
        assert wait_until(lambda: both_have_timed_out() and len(seen - first) >= 2)
        assert not first.intersection(machine.processes())


@pytest.mark.usefixtures("farm")
def test_without_insecure_setuid_wanted_all_is_down_and_the_cause_is_told(machine: Machine) -> None:
    with HAProxy(machine, changed(CONFIG, ("    insecure-setuid-wanted\n", ""))) as host:
        assert host.comes_to(host.FAILED, host.FAILED), host.told()
        (line,) = {line for line in host.printed().splitlines() if "HALF-OPEN" in line}

    assert line.startswith("TCP HALF-OPEN UNKNOWN - nmap needs root or CAP_NET")
    assert "no_new_privs hides its own" in line
    assert "insecure-setuid-wanted" in line


@pytest.mark.usefixtures("farm")
def test_without_insecure_fork_wanted_all_is_down(machine: Machine) -> None:
    with HAProxy(machine, changed(CONFIG, ("    insecure-fork-wanted\n", ""))) as host:
        not_started = Server("DOWN", "SOCKERR")
        assert host.comes_to(not_started, not_started), host.told()


@pytest.mark.usefixtures("farm")
def test_an_ambient_capability_does_under_no_new_privs(machine: Machine) -> None:
    machine.break_nmap("without its capability")
    kept = "-all,+net_raw,+net_bind_service"
    machine.path("/run").chmod(0o777)  # for the stats socket: systemd would give it a folder
    config = changed(CONFIG, ("    insecure-setuid-wanted\n", ""))
    user = [*AS_HAPROXY, f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    with HAProxy(machine, config, before=user) as host:
        assert up_and_down(host), host.told()


@pytest.mark.usefixtures("farm")
def test_the_wrapper_adds_options(machine: Machine) -> None:
    nmap = "/usr/local/lib/nmap-haproxy"
    machine.install("haproxy/check_half_open", WRAPPER, 0o755)
    machine.break_nmap("hanging")
    machine.path("/usr/bin/nmap").rename(machine.path(nmap))
    machine.restore_nmap()
    config = changed(EXAMPLE, ("fastinter 1s", "fall 1 rise 1"), (PLUGIN, WRAPPER))
    with HAProxy(machine, config) as host:
        # HAProxy need not end it, for --timeout is below `inter`.
        failed = host.DOWN._replace(exit_code="1")
        assert host.comes_to(failed, failed, "nmap did not end within --timeout"), host.told()

        for command in (
            f"install -o root -g haproxy -m 0750 /usr/bin/nmap {nmap}",
            f"setcap cap_net_raw+ep {nmap}",
        ):
            assert f"#     {command}\n" in machine.read(WRAPPER)
            assert machine.run(command.split()).returncode == 0
        assert host.comes_to(host.UP, failed, f"{WEB2}:443 closed"), host.told()
