"""examples/keepalived, judged by keepalived: its log, and what it tells IPVS."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from lab import Running
from support.machine import EXAMPLES, WEB1, WEB2, Farm, Machine, end, wait_until

NEEDS = ("keepalived", "cc")

VRRP = (EXAMPLES / "keepalived/vrrp.conf").read_text(encoding="utf-8")
MISC = (EXAMPLES / "keepalived/misc_check.conf").read_text(encoding="utf-8")

# A fake of the kernel's IPVS, which few kernels for tests have: keepalived's messages to it come
# here. It writes to keepalived's log what becomes of the real servers. In place of each message it
# sends an empty one, which the kernel acknowledges. Nothing of keepalived is replaced: it runs the
# checks and judges them as ever.
#
# It fakes IPVS's netlink family: keepalived 2.3 falls back to the older socket options no more.
IPVS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>

/* libnl's, whose headers are in a package of their own. */
struct nlmsghdr *nlmsg_hdr(void *message);
struct nlattr *nlmsg_find_attr(struct nlmsghdr *header, int length, int type);
struct nlattr *nla_find(const struct nlattr *first, int length, int type);
void *nla_data(const struct nlattr *attribute);
int nla_len(const struct nlattr *attribute);

enum { FAMILY = 0x7fff };

static const void *value(const struct nlattr *dest, int type)
{
    return nla_data(nla_find(nla_data(dest), nla_len(dest), type));
}

int genl_ctrl_resolve(void *sock, const char *name)
{
    int (*real)(void *, const char *) = dlsym(RTLD_NEXT, "genl_ctrl_resolve");

    return strcmp(name, IPVS_GENL_NAME) == 0 ? FAMILY : real(sock, name);
}

int nl_send_auto(void *sock, void *message)
{
    int (*real)(void *, void *) = dlsym(RTLD_NEXT, "nl_send_auto");
    struct nlmsghdr *header = nlmsg_hdr(message);
    const struct genlmsghdr *command = NLMSG_DATA(header);
    const struct nlattr *dest;

    if (header->nlmsg_type != FAMILY)
        return real(sock, message);
    dest = nlmsg_find_attr(header, sizeof *command, IPVS_CMD_ATTR_DEST);
    if (command->cmd == IPVS_CMD_NEW_DEST || command->cmd == IPVS_CMD_SET_DEST)
        fprintf(stderr, "IPVS: %s has weight %d\n",
                inet_ntoa(*(const struct in_addr *) value(dest, IPVS_DEST_ATTR_ADDR)),
                *(const int *) value(dest, IPVS_DEST_ATTR_WEIGHT));
    if (command->cmd == IPVS_CMD_DEL_DEST)
        fprintf(stderr, "IPVS: %s has gone\n",
                inet_ntoa(*(const struct in_addr *) value(dest, IPVS_DEST_ATTR_ADDR)));
    header->nlmsg_type = NLMSG_NOOP;
    return real(sock, message);
}
"""
FAKE_IPVS = "/usr/local/lib/ipvs.so"


@pytest.fixture(scope="session")
def ipvs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the fake of IPVS, to be preloaded."""
    if not Path("/usr/include/linux/ip_vs.h").exists():
        pytest.skip("needs the kernel's headers, for a fake of IPVS")
    folder = tmp_path_factory.mktemp("ipvs")
    source, library = folder / "ipvs.c", folder / "ipvs.so"
    source.write_text(IPVS, encoding="utf-8")
    libnl = [f"-l:lib{name}.so.200" for name in ("nl-3", "nl-genl-3")]  # keepalived's
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), *libnl, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


@pytest.fixture
def host(machine: Machine, ipvs: Path) -> Machine:
    """Return a machine with the user of the examples' comments, and something of an IPVS."""
    commands = re.findall("^#     (.*)$", VRRP, re.MULTILINE)
    assert commands == re.findall("^#     (.*)$", MISC, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["useradd", "setcap"]
    for command in commands:
        assert machine.run(command.split()).returncode == 0
    shutil.copy(str(ipvs), str(machine.path(FAKE_IPVS)))
    return machine


class Keepalived:
    """A running keepalived."""

    def __init__(self, machine: Machine, process: Running[str]) -> None:
        self._machine, self._process = machine, process

    def log(self) -> str:
        return self._machine.printed(self._process)

    def scripts(self) -> dict[str, str]:
        """Return what it has said last of each vrrp_script."""
        said = re.findall(r"VRRP_Script\((\w+)\) (\w+)", self.log())
        return dict(said)

    def priority(self) -> int:
        """Return the VRRP priority that it has come to by what the scripts said."""
        return int(re.findall(r"effective priority from \d+ to (\d+)", self.log())[-1])

    def real_servers(self) -> dict[str, str]:
        """Return the real servers that IPVS has, and their weights."""
        table = dict(re.findall(r"^IPVS: (\S+) has (?:weight )?(\w+)$", self.log(), re.MULTILINE))
        return {address: weight for address, weight in table.items() if weight != "gone"}


@contextlib.contextmanager
def keepalived(machine: Machine, vrrp: str = VRRP, misc: str = MISC) -> Iterator[Keepalived]:
    """Run keepalived with both examples."""
    machine.write("/etc/keepalived/vrrp.conf", vrrp)
    machine.write("/etc/keepalived/misc_check.conf", misc)
    machine.write("/etc/keepalived/keepalived.conf", "include vrrp.conf\ninclude misc_check.conf\n")
    preload = ["env", f"LD_PRELOAD={FAKE_IPVS}"]
    options = ["--dont-fork", "--log-console", "--log-detail", "--no-syslog"]
    process = machine.start([*preload, "keepalived", *options])
    try:
        yield Keepalived(machine, process)
    finally:
        end(process)


def changed(config: str, old: str, new: str) -> str:
    assert old in config
    return config.replace(old, new)


@pytest.mark.parametrize("example", ["vrrp.conf", "misc_check.conf"])
def test_keepalived_finds_nothing_wrong_with_the_example(host: Machine, example: str) -> None:
    host.install(f"keepalived/{example}", "/etc/keepalived/keepalived.conf")
    tested = host.run(["keepalived", "--config-test"])

    assert (tested.returncode, tested.stdout, tested.stderr) == (0, "", "")


def test_open_is_good_and_up_closed_is_bad_and_down(host: Machine, farm: Farm) -> None:
    with keepalived(host) as daemon:
        assert wait_until(lambda: daemon.scripts() == {"web1": "succeeded", "web2": "failed"})
        assert wait_until(lambda: daemon.real_servers() == {WEB1: "1"}), daemon.log()
        assert daemon.priority() == 110
        farm.only(WEB2)
        assert wait_until(lambda: daemon.scripts() == {"web1": "failed", "web2": "succeeded"})
        assert wait_until(lambda: daemon.real_servers() == {WEB2: "1"}), daemon.log()
        assert daemon.priority() == 110
        farm.only(WEB1, WEB2)
        assert wait_until(lambda: daemon.priority() == 120), daemon.log()


@pytest.mark.parametrize(
    "fault", ["missing", "not allowed", "hanging", "no interpreter", "not importable"]
)
def test_what_is_broken_is_bad_and_down(host: Machine, farm: Farm, fault: str) -> None:
    # Under misc_dynamic 1 alone is down: the nagios format's 3 would be up.
    dynamic = changed(MISC, "misc_timeout 3", "misc_timeout 3\n            misc_dynamic")
    with keepalived(host, misc=dynamic) as daemon:
        assert wait_until(lambda: daemon.scripts() == {"web1": "succeeded", "web2": "failed"})
        assert wait_until(lambda: daemon.real_servers() == {WEB1: "1"}), daemon.log()
        if fault in ("no interpreter", "not importable"):
            host.break_halfopen(fault)
        elif fault == "not allowed":
            host.mend_nmap()  # as a package's upgrade does: without the capability
        else:
            host.break_nmap(fault)
        assert wait_until(lambda: set(daemon.scripts().values()) <= {"failed", "timed_out"})
        assert wait_until(lambda: not daemon.real_servers()), daemon.log()
        farm.only(WEB1, WEB2)  # only now: a check that had begun before would be right to say so
        web2_is_up = rf"VRRP_Script\(web2\) succeeded|IPVS: {WEB2} has weight"
        # Long enough for one more check of each kind.
        assert not wait_until(lambda: re.search(web2_is_up, daemon.log()), 4), daemon.log()

        assert daemon.priority() == 100


@pytest.mark.usefixtures("farm")
def test_a_check_that_keepalived_ends_is_bad_and_leaves_no_nmap(host: Machine) -> None:
    # Longer than anything here waits: an nmap that ends is one that keepalived's signal ended.
    vrrp, misc = (changed(text, "-t 2 ", "-t 300 ") for text in (VRRP, MISC))
    with keepalived(host, vrrp, misc) as daemon:
        assert wait_until(lambda: daemon.scripts() == {"web1": "succeeded", "web2": "failed"})
        assert wait_until(lambda: daemon.real_servers() == {WEB1: "1"}), daemon.log()
        host.break_nmap("hanging")
        # After SIGTERM keepalived kills the group: at once if what it started itself has ended,
        # else 2 s later. Here halfopen has its turn in between, as on a busy machine.
        check, nmap = stopped_check(host)
        with contextlib.suppress(OSError):  # it has been killed: nmap tells whether too soon
            wait_until(lambda: has_pending(check, signal.SIGTERM))
            os.kill(check, signal.SIGCONT)
        assert wait_until(lambda: nmap not in host.processes()), daemon.log()

        assert wait_until(lambda: daemon.scripts()["web1"] != "succeeded"), daemon.log()
        assert wait_until(lambda: not daemon.real_servers()), daemon.log()
        assert daemon.priority() == 100
        assert wait_until(lambda: host.running("sleep"))
        hanging = set(host.running("sleep"))
    # When it stops, it sends SIGTERM to the checks that run, too.
    assert wait_until(lambda: not hanging.intersection(host.processes()))


def stopped_check(host: Machine) -> tuple[int, int]:
    """Stop a check whose nmap hangs, as SIGSTOP does; return its pid and nmap's."""
    stopped: list[tuple[int, int]] = []

    def stop_one() -> bool:
        for check in host.running("halfopen"):
            with contextlib.suppress(OSError):  # it has ended
                children = Path(f"/proc/{check}/task/{check}/children").read_text().split()
                for nmap in set(map(int, children)).intersection(host.running("sleep")):
                    os.kill(check, signal.SIGSTOP)
                    stopped.append((check, nmap))
                    return True
        return False

    assert wait_until(stop_one)
    return stopped[0]


def has_pending(pid: int, number: signal.Signals) -> bool:
    """Return whether a signal waits for a process to take it; an OSError if it has ended."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(pending, 16) >> number - 1 & 1)
