"""Without root: a clear word, or the capability that is enough."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from lab import NMAP, TARGET, TOOL_PATH, Lab

from .commands import plugin

NOBODY_ELSE = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def as_nobody(*more: str, keep: str = "") -> list[str]:
    """Return the words that make a command run as nobody, with a capability kept for it.

    This Python may lie in root's home, so nobody may also read any file: that opens no socket.
    """
    kept = "-all,+dac_read_search" + (f",+{keep}" if keep else "")
    caps = [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    return ["setpriv", *NOBODY_ELSE, *caps, *more]


def setcap(path: Path, capability: str) -> None:
    tool = shutil.which("setcap", path=TOOL_PATH)
    assert tool
    subprocess.run([tool, capability, str(path)], check=True, timeout=30)


@pytest.fixture(scope="module")
def capable_nmap() -> Iterator[Path]:
    """Return a copy of nmap with the capability; not below /tmp, which may be mounted nosuid."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        copy = Path(shutil.copy(NMAP, folder))
        setcap(copy, "cap_net_raw+ep")
        yield copy


def check_unprivileged(lab: Lab, words: list[str]) -> None:
    done = lab.run([*words, *plugin(TARGET[4], 25)])
    assert done.stdout.startswith("TCP HALF-OPEN UNKNOWN - nmap ")
    assert "root or CAP_NET_RAW" in done.stdout
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 3)


def test_nobody_is_told_what_nmap_needs(lab: Lab) -> None:
    check_unprivileged(lab, as_nobody())


def test_nobody_who_calls_himself_privileged_is_told_too(lab: Lab) -> None:
    check_unprivileged(lab, ["env", "NMAP_PRIVILEGED=1", *as_nobody()])


def test_nobody_may_use_an_nmap_that_has_the_capability(lab: Lab, capable_nmap: Path) -> None:
    words = plugin("--nmap", capable_nmap, "-H", TARGET[4], "-p", 25)
    done = lab.run([*as_nobody(), *words])
    assert done.stdout.startswith("TCP HALF-OPEN OK - 192.0.2.25:25 open (syn-ack) smtp")
    assert done.returncode == 0


def test_capable_nmap_is_of_no_use_under_no_new_privs(lab: Lab, capable_nmap: Path) -> None:
    words = plugin("--nmap", capable_nmap, "-H", TARGET[4], "-p", 25)
    done = lab.run([*as_nobody("--no-new-privs"), *words])
    assert (
        "CAP_NET_RAW; no_new_privs hides its own: HAProxy's insecure-setuid-wanted" in done.stdout
    )
    assert done.returncode == 3


def test_a_capability_that_is_not_effective_is_named(lab: Lab, capable_nmap: Path) -> None:
    half = Path(shutil.copy(str(capable_nmap), str(capable_nmap.with_name("half"))))
    setcap(half, "cap_net_raw+p")
    done = lab.run([*as_nobody(), *plugin("--nmap", half, "-H", TARGET[4], "-p", 25)])
    assert done.stdout == (
        "TCP HALF-OPEN UNKNOWN - nmap needs root or CAP_NET_RAW; "
        f"its own is not effective: sudo setcap cap_net_raw+ep {half}\n"
    )
    assert done.returncode == 3


def test_a_capability_beyond_the_bounding_set_is_named(lab: Lab, capable_nmap: Path) -> None:
    words = plugin("--nmap", capable_nmap, "-H", TARGET[4], "-p", 25)
    done = lab.run([*as_nobody("--bounding-set=-net_raw"), *words])
    assert "Operation not permitted; allow CAP_NET_RAW here, which its file asks" in done.stdout
    assert done.returncode == 3


def test_of_several_capabilities_only_the_one_beyond_the_bounding_set_is_named(
    lab: Lab, capable_nmap: Path
) -> None:
    both = Path(shutil.copy(str(capable_nmap), str(capable_nmap.with_name("both"))))
    setcap(both, "cap_net_raw,cap_net_admin+eip")
    words = plugin("--nmap", both, "-H", TARGET[4], "-p", 25)
    done = lab.run([*as_nobody("--bounding-set=-net_admin"), *words])
    assert done.stdout == (
        f"TCP HALF-OPEN UNKNOWN - cannot start {both}: Operation not permitted; allow "
        "CAP_NET_ADMIN here, which its file asks for (containers: --cap-add NET_ADMIN), or sudo "
        f"setcap cap_net_raw+ep {both}\n"
    )
    assert done.returncode == 3


NO_SOCKETS = """\
import ctypes, errno, os, platform, struct, sys
SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
family = int(sys.argv[1])
# Linux's BPF: load the call's number; if it is socket, load its first argument; compare; return.
code = b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 3, SOCKET), (0x20, 0, 0, 16), (0x15, 0, 1, family),
    (0x06, 0, 0, 0x00050000 | errno.EAFNOSUPPORT), (0x06, 0, 0, 0x7FFF0000)])
lines = ctypes.create_string_buffer(code)
program = struct.pack("HL", 6, ctypes.addressof(lines))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Makes socket() fail for a family, as systemd's RestrictAddressFamilies= does."""


@pytest.mark.parametrize(
    ("family", "said"),
    [
        # The second is libpcap's from 1.10.5 on.
        (
            17,
            r"pcap_activate\(lo\) FAILED: (socket: Address family not supported by protocol"
            r"|PF_PACKET sockets not supported - is this WSL1\?)\.",
        ),
        (16, r"AF_NETLINK socket: Address family not supported by protocol"),
    ],
    ids=["no-af-packet", "no-af-netlink"],
)
def test_a_family_of_sockets_that_is_not_allowed_is_named(lab: Lab, family: int, said: str) -> None:
    words = plugin("127.0.0.1", 25)
    done = lab.run([sys.executable, "-c", NO_SOCKETS, str(family), *words])
    advice = re.escape("); allow AF_PACKET and AF_NETLINK (RestrictAddressFamilies=)\n")
    assert re.search(said + advice, done.stdout), done
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 3)


def test_an_interface_that_is_down_is_told_in_pcaps_own_words(lab: Lab) -> None:
    make = "ip link add eth0 type veth peer name eth1; ip addr add 192.0.2.25 dev eth0"
    words = " ".join(map(str, plugin("192.0.2.25", 25)))
    done = lab.run(["unshare", "--net", "sh", "-c", f"{make}; ip link set eth0 up; {words}"])
    assert "(pcap_activate(lo) FAILED: That device is not up.); see ip link\n" in done.stdout
    assert (done.stderr, done.returncode) == ("", 3)


def test_root_without_the_capability_is_told_of_containers(lab: Lab) -> None:
    words = plugin(TARGET[4], 25)
    done = lab.run(["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", *words])
    assert "root or CAP_NET_RAW; root has lost it here; containers drop it" in done.stdout
    assert done.returncode == 3


def test_a_wrapper_of_a_capable_nmap_is_told_of_nmap_privileged(
    lab: Lab, capable_nmap: Path
) -> None:
    wrapper = capable_nmap.with_name("wrapper")
    wrapper.write_text(f'#!/bin/sh\nexec {capable_nmap} "$@"\n')
    wrapper.chmod(0o755)
    words = [*as_nobody(), *plugin("--nmap", wrapper, "-H", TARGET[4], "-p", 25)]
    untold, told = lab.run(words), lab.run(["env", "NMAP_PRIVILEGED=1", *words])
    assert "if the nmap behind this script has it, set NMAP_PRIVILEGED=1" in untold.stdout
    assert (untold.returncode, told.returncode) == (3, 0)


@pytest.mark.parametrize("more", [[], ["--no-new-privs"]], ids=["plain", "no_new_privs"])
def test_nobody_with_the_ambient_capability_may_check(lab: Lab, more: list[str]) -> None:
    done = lab.run([*as_nobody(*more, keep="net_raw"), *plugin(TARGET[4], 25)])
    assert done.stdout.startswith("TCP HALF-OPEN OK - 192.0.2.25:25 open (syn-ack) smtp")
    assert done.returncode == 0
