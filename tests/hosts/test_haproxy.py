"""examples/haproxy, judged by HAProxy: `show stat` on its stats socket."""

from __future__ import annotations

import contextlib
import csv
import os
import socket
from pathlib import Path
from typing import Iterator, Mapping, NamedTuple, Sequence

import pytest
from lab import Running

from .machine import EXAMPLES, WEB1, WEB2, Farm, Machine, end, wait_until

NEEDS = ("haproxy",)

EXAMPLE = (EXAMPLES / "haproxy/haproxy.cfg").read_text(encoding="utf-8")
PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"
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
    """HAProxy's words on a server: UP or DOWN, and how the check that said so has ended."""

    status: str
    check: str
    exit_code: str = ""


UP, CLOSED = Server("UP", "PROCOK", "0"), Server("DOWN", "PROCERR", "2")
FAILED, TIMED_OUT = Server("DOWN", "PROCERR", "3"), Server("DOWN", "PROCTOUT")
NOT_STARTED = Server("DOWN", "SOCKERR")


def _server(row: Mapping[str, str]) -> Server:
    check = row["check_status"].lstrip("* ")  # the star: the next one is running
    ended = check in ("PROCOK", "PROCERR")  # or else the exit code is an earlier check's
    return Server(row["status"], check, row["check_code"] if ended else "")


class HAProxy:
    """A running HAProxy."""

    def __init__(self, machine: Machine, process: Running[str]) -> None:
        self._machine, self._process = machine, process

    def judged(self) -> dict[str, Server]:
        """Return what it says of each server by now; nothing as long as it doesn't answer."""
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.connect(str(self._machine.path("/run/haproxy.sock")))
            sock.sendall(b"show stat web 4 -1\n")
            with sock.makefile() as lines:
                rows = csv.DictReader(line.lstrip("# ") for line in lines if line.strip())
                return {row["svname"]: _server(row) for row in rows}
        return {}

    def comes_to(self, web1: Server, web2: Server) -> bool:
        """Return whether it comes to judge them so."""
        return wait_until(lambda: self.judged() == {"web1": web1, "web2": web2})

    def printed(self) -> str:
        return self._machine.printed(self._process)


@contextlib.contextmanager
def haproxy(
    machine: Machine,
    config: str = EXAMPLE,
    options: Sequence[str] = ("-db",),
    before: Sequence[str] = (),
) -> Iterator[HAProxy]:
    """Run HAProxy with this configuration."""
    machine.write("/etc/haproxy/haproxy.cfg", config)
    machine.write("/etc/haproxy/stats.cfg", STATS)
    files = ["-f", "/etc/haproxy/haproxy.cfg", "-f", "/etc/haproxy/stats.cfg"]
    process = machine.start([*before, "haproxy", *options, *files])
    try:
        yield HAProxy(machine, process)
    finally:
        with contextlib.suppress(FileNotFoundError):  # -D has forked, and the first has ended
            end(process)


def changed(config: str, old: str, new: str) -> str:
    assert config.count(old) == 1
    return config.replace(old, new)


def orphans(machine: Machine, *names: str) -> set[int]:
    """Return the pids of these programs' processes whose parent has gone."""
    (init,) = (pid for pid, words in machine.processes().items() if words[0] == "tail")
    found = set()
    for name in names:
        for pid in machine.running(name):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                if f"\nPPid:\t{init}\n" in status:
                    found.add(pid)
    return found


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (["-W"], "PATH="),
        (["-D"], "PATH=, 0 closed, 1 closed, 2 closed"),
        (["-q", "-db"], "PATH=, 0 closed, 1 closed, 2 closed"),
    ],
    ids=["master-worker", "daemon", "quiet"],
)
@pytest.mark.usefixtures("farm")
def test_a_check_needs_neither_path_nor_descriptors(
    machine: Machine, options: list[str], given: str
) -> None:
    machine.let_nmap()
    plugin = machine.path(PLUGIN)
    target = os.readlink(str(plugin))
    plugin.unlink()
    machine.write(PLUGIN, RECORDER.format(target), 0o755)
    machine.write("/var/given", "", owner="haproxy")
    with haproxy(machine, options=options) as host:
        assert host.comes_to(UP, CLOSED), host.judged()

    assert set(machine.read("/var/given").splitlines()) == {given}


@pytest.mark.usefixtures("farm")
def test_a_check_gets_along_with_what_haproxy_opens_in_place_of_closed_descriptors(
    machine: Machine,
) -> None:
    machine.let_nmap()
    with haproxy(machine, before=WITHOUT_DESCRIPTORS) as host:
        assert host.comes_to(UP, CLOSED), host.judged()


def test_haproxy_takes_open_for_up_and_closed_for_down(machine: Machine, farm: Farm) -> None:
    machine.let_nmap()
    with haproxy(machine) as host:
        assert host.comes_to(UP, CLOSED), host.judged()
        farm.only(WEB2)
        assert host.comes_to(CLOSED, UP), host.judged()

        assert "TCP HALF-OPEN CRITICAL - 192.0.2.11:443 closed (reset)\n" in host.printed()


@pytest.mark.parametrize("fault", ["missing", "not allowed", "hanging"])
def test_a_broken_nmap_is_down(machine: Machine, farm: Farm, fault: str) -> None:
    machine.let_nmap()
    down = TIMED_OUT if fault == "hanging" else FAILED
    with haproxy(machine) as host:
        assert host.comes_to(UP, CLOSED), host.judged()
        if fault == "not allowed":
            machine.mend_nmap()  # as a package's upgrade does: without the capability
        else:
            machine.break_nmap(fault)
        farm.only(WEB1, WEB2)
        statuses = set()

        def both_are_down() -> bool:
            judged = host.judged()
            statuses.add(judged["web2"].status)
            return judged == {"web1": down, "web2": down}

        assert wait_until(both_are_down), host.judged()
    assert statuses == {"DOWN"}


@pytest.mark.usefixtures("farm")
def test_a_halfopen_that_does_not_start_is_down(machine: Machine) -> None:
    machine.let_nmap()
    with haproxy(machine) as host:
        assert host.comes_to(UP, CLOSED), host.judged()
        # Without the package first: the commands can't be mended.
        for fault, code in (("not importable", "1"), ("no interpreter", "255")):
            machine.break_halfopen(fault)
            down = FAILED._replace(exit_code=code)
            assert host.comes_to(down, down), host.judged()


# A hanging nmap, and the real one that waits for the answer of a port that drops everything:
# first one nmap, then three side by side.
@pytest.mark.parametrize("nmap", ["hanging", "real"])
@pytest.mark.usefixtures("farm")
def test_a_check_that_haproxy_ends_leaves_no_nmap(machine: Machine, nmap: str) -> None:
    machine.let_nmap()
    if nmap == "hanging":
        machine.break_nmap("hanging")
    config = changed(EXAMPLE, "inter 3s", "inter 1s")
    config = changed(changed(config, WEB1, "192.0.2.25"), "192.0.2.25:443", "192.0.2.25:80")
    config = changed(changed(config, WEB2, "192.0.2.25"), "192.0.2.25:443", "192.0.2.25:8091")
    seen: set[int] = set()
    left: set[int] = set()
    with haproxy(machine, config) as host:

        def both_have_timed_out() -> bool:
            seen.update(machine.running("nmap"), machine.running("sleep"))
            left.update(orphans(machine, "nmap", "sleep"))
            return host.judged() == {"web1": TIMED_OUT, "web2": TIMED_OUT}

        assert wait_until(both_have_timed_out), host.judged()
        first = set(seen)
        assert wait_until(lambda: both_have_timed_out() and len(seen - first) >= 2)
        assert not first.intersection(machine.processes())
    assert not left


@pytest.mark.parametrize(
    ("line", "down"), [("insecure-setuid-wanted", FAILED), ("insecure-fork-wanted", NOT_STARTED)]
)
@pytest.mark.usefixtures("farm")
def test_without_these_lines_all_is_down(machine: Machine, line: str, down: Server) -> None:
    machine.let_nmap()
    with haproxy(machine, changed(EXAMPLE, f"    {line}\n", "")) as host:
        assert host.comes_to(down, down), host.judged()

        said = {line for line in host.printed().splitlines() if "HALF-OPEN" in line}
    if down == FAILED:
        (line_with_the_cause,) = said
        assert line_with_the_cause.startswith("TCP HALF-OPEN UNKNOWN - nmap needs root or CAP_NET")
        assert "no_new_privs hides its own" in line_with_the_cause
        assert "insecure-setuid-wanted" in line_with_the_cause


@pytest.mark.usefixtures("farm")
def test_an_ambient_capability_does_under_no_new_privs(machine: Machine) -> None:
    kept = "-all,+net_raw,+net_bind_service"
    machine.path("/run").chmod(0o777)  # for the stats socket: systemd would give it a folder
    with haproxy(
        machine,
        changed(EXAMPLE, "    insecure-setuid-wanted\n", ""),
        before=[*AS_HAPROXY, f"--inh-caps={kept}", f"--ambient-caps={kept}"],
    ) as host:
        assert host.comes_to(UP, CLOSED), host.judged()


@pytest.mark.usefixtures("farm")
def test_the_wrapper_adds_options(machine: Machine) -> None:
    nmap = "/usr/local/lib/nmap-haproxy"
    machine.install("haproxy/check_half_open", WRAPPER, 0o755)
    machine.break_nmap("hanging")
    machine.path("/usr/bin/nmap").rename(machine.path(nmap))
    machine.mend_nmap()
    with haproxy(machine, changed(EXAMPLE, PLUGIN, WRAPPER)) as host:
        # HAProxy need not end it, for --timeout is below `inter`.
        failed = FAILED._replace(exit_code="1")
        assert host.comes_to(failed, failed), host.judged()
        assert "TCP HALF-OPEN UNKNOWN - nmap did not end within --timeout" in host.printed()

        for command in (
            f"install -o root -g haproxy -m 0750 /usr/bin/nmap {nmap}",
            f"setcap cap_net_raw+ep {nmap}",
        ):
            assert f"#     {command}\n" in machine.read(WRAPPER)
            assert machine.run(command.split()).returncode == 0
        assert host.comes_to(UP, CLOSED._replace(exit_code="1")), host.judged()
