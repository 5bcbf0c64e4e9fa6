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
OK = "TCP HALF-OPEN OK - 192.0.2.25:25 open (syn-ack) smtp"


def as_nobody(*more: str, keep: str = "") -> list[str]:
    """Return the words that make a command run as nobody, with a capability kept for it.

    This Python may lie in root's home, so nobody may also read any file: that opens no socket.
    """
    kept = "-all,+dac_read_search" + (f",+{keep}" if keep else "")
    caps = [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    return ["setpriv", *NOBODY_ELSE, *caps, *more]


def copy_of_nmap(folder: Path, name: str, capabilities: str) -> Path:
    """Return a copy of nmap whose file has these capabilities."""
    copy = Path(shutil.copy(NMAP, str(folder / name)))
    tool = shutil.which("setcap", path=TOOL_PATH)
    assert tool
    subprocess.run([tool, capabilities, str(copy)], check=True, timeout=30)
    return copy


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder that nobody may read, not below /tmp, which may be mounted nosuid."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


TOLD = "TCP HALF-OPEN UNKNOWN - nmap needs root or CAP_NET_RAW; "
REFUSED = "TCP HALF-OPEN UNKNOWN - cannot start {}: Operation not permitted; allow "
HIDDEN = TOLD + "no_new_privs hides its own: HAProxy's insecure-setuid-wanted"
NOT_EFFECTIVE = TOLD + "its own is not effective: sudo setcap cap_net_raw+ep {}\n"
BEYOND = REFUSED + "CAP_NET_RAW here, which its file asks"
ONE_BEYOND = (
    REFUSED + "CAP_NET_ADMIN here, which its file asks for (containers: --cap-add NET_ADMIN), "
    "or sudo setcap cap_net_raw+ep {}\n"
)
LOST = TOLD + "root has lost it here; containers drop it"
ROOT_WITHOUT = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
BOTH = "cap_net_raw,cap_net_admin+eip"


@pytest.mark.parametrize(
    ("how", "capabilities", "says"),
    [
        pytest.param(as_nobody(), "", TOLD, id="nobody"),
        pytest.param(["env", "NMAP_PRIVILEGED=1", *as_nobody()], "", TOLD, id="called-privileged"),
        pytest.param(as_nobody(), "cap_net_raw+ep", OK, id="nmap-with-it"),
        pytest.param(as_nobody(keep="net_raw"), "", OK, id="ambient"),
        pytest.param(as_nobody("--no-new-privs", keep="net_raw"), "", OK, id="ambient-no-new"),
        pytest.param(as_nobody("--no-new-privs"), "cap_net_raw+ep", HIDDEN, id="hidden"),
        pytest.param(as_nobody(), "cap_net_raw+p", NOT_EFFECTIVE, id="not-effective"),
        pytest.param(as_nobody("--bounding-set=-net_raw"), "cap_net_raw+ep", BEYOND, id="beyond"),
        pytest.param(as_nobody("--bounding-set=-net_admin"), BOTH, ONE_BEYOND, id="one-beyond"),
        pytest.param(ROOT_WITHOUT, "", LOST, id="root-without-it"),
    ],
)
def test_what_is_lacking_is_named_and_the_capability_is_enough(
    lab: Lab, folder: Path, how: list[str], capabilities: str, says: str
) -> None:
    """`capabilities`: those of nmap's file; `{}` in what is said is the nmap."""
    nmap = copy_of_nmap(folder, "copy", capabilities) if capabilities else Path(NMAP)
    done = lab.run([*how, *plugin("--nmap", nmap, "-H", TARGET[4], "-p", 25)])

    assert done.stdout.startswith(says.replace("{}", str(nmap))), done
    code = 0 if says == OK else 3
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", code)


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
        (
            17,
            r"pcap_activate\(lo\) FAILED: (socket: Address family not supported by protocol|"
            r"PF_PACKET sockets not supported - is this WSL1\?)\.",
        ),
        (16, "AF_NETLINK socket: Address family not supported by protocol"),
    ],
    ids=["no-af-packet", "no-af-netlink"],
)
def test_a_family_of_sockets_that_is_not_allowed_is_named(lab: Lab, family: int, said: str) -> None:
    words = plugin("127.0.0.1", 25)
    done = lab.run([sys.executable, "-c", NO_SOCKETS, str(family), *words])
    advice = r"\); allow AF_PACKET and AF_NETLINK \(RestrictAddressFamilies=\)"
    assert re.search(said + advice, done.stdout), done.stdout
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 3)


def test_an_interface_that_is_down_is_told_in_pcaps_own_words(lab: Lab) -> None:
    make = "ip link add eth0 type veth peer name eth1; ip addr add 192.0.2.25 dev eth0"
    words = " ".join(map(str, plugin("192.0.2.25", 25)))
    done = lab.run(["unshare", "--net", "sh", "-c", f"{make}; ip link set eth0 up; {words}"])
    assert "(pcap_activate(lo) FAILED: That device is not up.); see ip link\n" in done.stdout
    assert (done.stderr, done.returncode) == ("", 3)


def test_a_wrapper_of_a_capable_nmap_is_told_of_nmap_privileged(lab: Lab, folder: Path) -> None:
    capable_nmap = copy_of_nmap(folder, "wrapped", "cap_net_raw+ep")
    wrapper = folder / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec {capable_nmap} "$@"\n')
    wrapper.chmod(0o755)
    words = [*as_nobody(), *plugin("--nmap", wrapper, "-H", TARGET[4], "-p", 25)]
    untold, told = lab.run(words), lab.run(["env", "NMAP_PRIVILEGED=1", *words])
    assert "if the nmap behind this script has it, set NMAP_PRIVILEGED=1" in untold.stdout
    assert (untold.returncode, told.returncode) == (3, 0)
