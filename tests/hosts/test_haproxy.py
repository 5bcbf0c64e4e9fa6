"""examples/haproxy, judged by HAProxy: `show stat` on its stats socket."""

from __future__ import annotations

import contextlib
import csv
import re
import socket
from typing import ClassVar, Mapping, NamedTuple, Sequence

import pytest
from support.machine import WEB2, Machine, example

from .contract import FAULTS, PLUGIN, EndingContract, Host, Judged, changed

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
WITHOUT_DESCRIPTORS = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")


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
    FAILED = DOWN._replace(exit_code="3")
    LATE, ENDS = "hanging", "External check timeout"
    AT: ClassVar = {
        "nmap hanging": Server("DOWN", "PROCTOUT"),
        "halfopen without interpreter": DOWN._replace(exit_code="255"),
        "halfopen not importable": DOWN._replace(exit_code="1"),
    }
    SAYS: ClassVar = {**FAULTS, "nmap hanging": ""}

    def __init__(
        self, machine: Machine, config: str = CONFIG, argv: Sequence[str] = ("haproxy", "-db")
    ) -> None:
        super().__init__(machine, config)
        self._argv = argv

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


class TestContract(EndingContract):
    HOST = HAProxy


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """Return a machine whose nmap has the capability."""
    machine.let_nmap()
    return machine


# By itself, HAProxy gives a check no PATH, and in the last three no descriptors or others' ones.
@pytest.mark.parametrize(
    "argv",
    [
        ("haproxy", "-W"),
        ("haproxy", "-D"),
        ("haproxy", "-q", "-db"),
        (*WITHOUT_DESCRIPTORS, "haproxy", "-db"),
    ],
    ids=["master-worker", "daemon", "quiet", "closed"],
)
@pytest.mark.usefixtures("farm")
def test_the_example_as_it_is_in_each_mode(machine: Machine, argv: tuple[str, ...]) -> None:
    with HAProxy(machine, EXAMPLE, argv) as host:
        assert host.comes_to(host.UP, host.DOWN), host.told()


NO_RIGHTS = "TCP HALF-OPEN UNKNOWN - nmap needs root or CAP_NET.*no_new_privs hides its own.*"


@pytest.mark.parametrize(
    ("setting", "state", "says"),
    [
        ("insecure-setuid-wanted", HAProxy.FAILED, NO_RIGHTS + "insecure-setuid-wanted"),
        ("insecure-fork-wanted", Server("DOWN", "SOCKERR"), ""),
    ],
)
@pytest.mark.usefixtures("farm")
def test_without_its_settings_all_is_down_and_the_cause_is_told(
    machine: Machine, setting: str, state: Server, says: str
) -> None:
    with HAProxy(machine, changed(CONFIG, (f"    {setting}\n", ""))) as host:
        assert host.comes_to(state, state), host.told()
        assert re.search(says, host.printed()), host.told()


@pytest.mark.usefixtures("farm")
def test_an_ambient_capability_does_under_no_new_privs(machine: Machine) -> None:
    machine.break_nmap("without its capability")
    kept = "-all,+net_raw,+net_bind_service"
    machine.path("/run").chmod(0o777)  # for the stats socket: systemd would give it a folder
    config = changed(CONFIG, ("    insecure-setuid-wanted\n", ""))
    user = ["setpriv", "--reuid=haproxy", "--regid=haproxy", "--clear-groups"]
    argv = [*user, f"--inh-caps={kept}", f"--ambient-caps={kept}", "haproxy", "-db"]
    with HAProxy(machine, config, argv) as host:
        assert host.comes_to(host.UP, host.DOWN), host.told()


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
            machine.do(*command.split())
        assert host.comes_to(host.UP, failed, f"{WEB2}:443 closed"), host.told()
