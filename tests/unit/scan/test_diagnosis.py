"""When nmap has to be told that it may open raw sockets, and why it failed."""

import errno
import io
import os
import struct
from typing import IO, Any, NoReturn, Optional, Sequence, Type

import pytest

from halfopen.errors import CheckError, HopelessError, NotAllowedError
from halfopen.model import NmapRun
from halfopen.scan import diagnosis, process
from halfopen.scan.diagnosis import failure

NET_RAW, NET_ADMIN, NET_BIND, BPF, EFFECTIVE = 1 << 13, 1 << 12, 1 << 10, 1 << 39, 1


def file_capability(permitted: int, flags: int = EFFECTIVE) -> bytes:
    """Return what setcap leaves on a file (struct vfs_cap_data, revision 2)."""
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    return struct.pack("<IIIII", 0x02000000 | flags, low, 0, high, 0)


SETCAP = file_capability(NET_RAW)


def machine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    user: int = 1000,
    status: Optional[str],
    on_file: Optional[bytes] = None,
) -> None:
    """Put a user, a /proc/self/status and an nmap in the place of the real ones."""

    def open_file(path: str, *_: str, **__: str) -> IO[Any]:
        if path != "/proc/self/status":
            return io.BytesIO(b"#!/bin/sh" if "wrapper" in path else b"\x7fELF")
        if status is None:
            raise FileNotFoundError(path)
        return io.StringIO(status)

    def getxattr(path: str, name: str) -> bytes:
        assert not path.startswith("/proc")
        assert name == "security.capability"
        if on_file is None:
            raise OSError("no such attribute")
        return on_file

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "getxattr", getxattr, raising=False)
    monkeypatch.setattr(diagnosis, "open", open_file, raising=False)


def proc_status(
    ambient: int = 0, no_new_privileges: int = 0, effective: int = 0, bounding: int = 2**41 - 1
) -> str:
    """Return the lines of /proc/self/status that matter, among others."""
    return (
        f"Name:\tpython3\nCapEff:\t{effective:016x}\nCapBnd:\t{bounding:016x}\n"
        f"CapAmb:\t{ambient:016x}\nNoNewPrivs:\t{no_new_privileges}\nSeccomp:\t0\n"
    )


@pytest.mark.parametrize(
    ("status", "on_file", "needs"),
    [
        (proc_status(), None, False),
        (proc_status(ambient=NET_RAW), None, True),
        (proc_status(ambient=NET_RAW | NET_BIND), None, True),
        (proc_status(ambient=NET_BIND), None, False),
        (proc_status(), SETCAP, True),
        (proc_status(), file_capability(NET_BIND), False),
        (proc_status(), file_capability(NET_RAW, 0), False),  # not effective
        (proc_status(), SETCAP[:6], False),
        (proc_status(no_new_privileges=1), SETCAP, False),
        (proc_status(NET_RAW, no_new_privileges=1), None, True),
        (None, SETCAP, True),  # /proc is not mounted
        (None, None, False),
        ("Name:\tpython3\n", None, False),  # a kernel without ambient capabilities
    ],
)
def test_nmap_is_told_what_it_would_not_believe_except_to_root(
    monkeypatch: pytest.MonkeyPatch, status: Optional[str], on_file: Optional[bytes], needs: bool
) -> None:
    machine(monkeypatch, status=status, on_file=on_file)
    assert process.calling("/opt/nmap", sudo=False)[1:] == ["--privileged"] * needs

    machine(monkeypatch, user=0, status=status, on_file=on_file)
    assert process.calling("/opt/nmap", sudo=False)[1:] == []


REFUSED = "dnet: Failed to open device eth9"
NEEDS = "nmap needs root or CAP_NET_RAW"
SETCAP_LINE = "sudo setcap cap_net_raw+ep /opt/nmap, or run as root"
SEE = 'see "Privileges" in the README'


def why(
    stderr: str = "",
    errormsg: str = "",
    argv: Sequence[str] = ("/opt/nmap", "-n"),
    *,
    code: int = 1,
    stdout: bytes = b"",
    kind: Type[CheckError] = CheckError,
) -> str:
    """Return why a run failed that said this."""
    run = NmapRun(argv, code, stdout, stderr.encode("utf-8", "surrogateescape"), 0.1)
    error = failure(run, errormsg)
    assert type(error) is kind
    assert "\n" not in str(error)
    return str(error)


NOT_EFFECTIVE = "its own is not effective: sudo setcap cap_net_raw+ep /opt/nmap"
HIDDEN = "no_new_privs hides its own: HAProxy's insecure-setuid-wanted, or an ambient one"
IGNORED = "its own is ignored: is /opt/nmap on a nosuid mount?"
NOT_HANDED_ON = "ours is not handed on: make it ambient (setpriv --ambient-caps)"
BARRED = f"no_new_privs leaves an ambient one; {SEE}"
LOST = "root has lost it here; containers drop it: --cap-add NET_RAW"
WRAPPED = "if the nmap behind this script has it, set NMAP_PRIVILEGED=1"
ROOTS = f"it is root and was refused ({REFUSED}); run it by hand to see why"


@pytest.mark.parametrize(
    ("user", "program", "status", "on_file", "said"),
    [
        (1000, "/opt/nmap", proc_status(), None, SETCAP_LINE),
        (1000, "/opt/nmap", None, None, SETCAP_LINE),
        (1000, "/opt/nmap", proc_status(), file_capability(NET_BIND), SETCAP_LINE),
        (1000, "/opt/nmap", proc_status(), file_capability(NET_RAW, 0), NOT_EFFECTIVE),
        (1000, "/opt/nmap", proc_status(no_new_privileges=1), SETCAP, HIDDEN),
        (1000, "/opt/nmap", proc_status(), SETCAP, IGNORED),
        (1000, "/opt/nmap", proc_status(effective=NET_RAW), None, NOT_HANDED_ON),
        (1000, "/opt/nmap", proc_status(NET_RAW, effective=NET_RAW), None, SETCAP_LINE),
        (1000, "/opt/nmap", proc_status(no_new_privileges=1), None, BARRED),
        (1000, "/opt/wrapper", proc_status(), None, WRAPPED),
        (0, "/opt/nmap", proc_status(), None, LOST),
        (0, "/opt/nmap", proc_status(effective=NET_RAW), None, ROOTS),
        (1000, "/usr/bin/sudo", proc_status(), None, LOST),
        (0, "", proc_status(effective=NET_RAW), None, f"run as root, or {SEE}"),
    ],
)
def test_who_may_not_scan_is_told_what_keeps_nmap_from_it(
    monkeypatch: pytest.MonkeyPatch,
    user: int,
    program: str,
    status: Optional[str],
    on_file: Optional[bytes],
    said: str,
) -> None:
    machine(monkeypatch, user=user, status=status, on_file=on_file)
    argv = [program, "-n"] if program else []  # a recording has none

    assert why(REFUSED, argv=argv, kind=NotAllowedError) == f"{NEEDS}; {said}"


NEEDS_2 = "allow CAP_NET_ADMIN and CAP_NET_RAW here, which its file asks for (containers: "
NEEDS_1 = "allow CAP_{0} here, which its file asks for (containers: --cap-add {0})"
OR_SETCAP = ", or sudo setcap cap_net_raw+ep /opt/nmap"
BY_HAND = "check that nmap runs by hand"


@pytest.mark.parametrize(
    ("asked", "bounding", "said"),
    [
        (NET_RAW | NET_ADMIN, NET_RAW, NEEDS_1.format("NET_ADMIN") + OR_SETCAP),
        (NET_RAW | NET_ADMIN, NET_BIND, NEEDS_2 + "--cap-add NET_ADMIN --cap-add NET_RAW)"),
        (NET_RAW | BPF, 2**39 - 1, NEEDS_1.format("BPF") + OR_SETCAP),  # above number 31
        (NET_RAW, NET_RAW, BY_HAND),
        (None, NET_RAW, BY_HAND),
    ],
)
def test_an_exec_that_the_kernel_refuses_is_told_by_what_is_not_allowed_here(
    monkeypatch: pytest.MonkeyPatch, asked: Optional[int], bounding: int, said: str
) -> None:
    def refuse() -> NoReturn:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    on_file = None if asked is None else file_capability(asked)
    machine(monkeypatch, status=proc_status(bounding=bounding), on_file=on_file)
    monkeypatch.setattr(os, "pipe", refuse)  # on the way there

    with pytest.raises(HopelessError) as raised:
        process.start(["/opt/nmap"])

    assert str(raised.value) == f"cannot start /opt/nmap: Operation not permitted; {said}"


@pytest.mark.parametrize(
    "said",
    [
        "You requested a scan type which requires root privileges.\nQUITTING!",
        "Couldn't open a raw socket. Error: (1) Operation not permitted",
        "Couldn't open a raw socket. Error: Permission denied (13)",
        "socket troubles in Init: Operation not permitted (1)",
        REFUSED,
        "eth0: You don't have permission to capture on that device",
    ],
)
def test_an_nmap_that_is_not_allowed_is_told_so_on_stderr_and_in_the_report(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    machine(monkeypatch, status=proc_status())

    assert why(said, kind=NotAllowedError) == f"{NEEDS}; {SETCAP_LINE}"
    assert why("odd", said, kind=NotAllowedError) == f"{NEEDS}; {SETCAP_LINE}"


PASSWORD = f"sudo wants a password; allow nmap with NOPASSWD, {SEE}"
NOT_ALLOWED = f"sudo does not allow this nmap; {SEE}"
NO_NEW_PRIVS = (
    'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.'
)
EXECUTE = "Sorry, user www-data is not allowed to execute '/usr/bin/nmap' as root on lb1."


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (NO_NEW_PRIVS, f"sudo is barred by no_new_privs; run as root, or {SEE}"),
        ("sudo: a password is required", PASSWORD),
        ("sudo: sorry, you must have a tty", PASSWORD),
        ("sudo: www-data is not allowed to run sudo.", NOT_ALLOWED),
        (EXECUTE, NOT_ALLOWED),
    ],
)
def test_what_sudo_says_becomes_advice(stderr: str, said: str) -> None:
    assert why(stderr, kind=NotAllowedError) == said


LIST_OF_CAUSES = (
    "Call to pcap_open_live() failed three times. There are several possible reasons for this, "
    "depending on your operating system:\nLINUX: If you are getting Socket type not supported, "
    "try modprobe af_packet or recompile your kernel with PACKET enabled."
)


NO_SOCKET = "allow AF_PACKET and AF_NETLINK (RestrictAddressFamilies=)"
NO_FAMILY = "Address family not supported by protocol"
PCAP = "pcap_activate(lo) FAILED"


@pytest.mark.parametrize(
    ("first", "advice", "kind"),
    [
        (f"{PCAP}: socket: {NO_FAMILY}.", NO_SOCKET, NotAllowedError),
        # pcap 1.10.5
        (f"{PCAP}: PF_PACKET sockets not supported - is this WSL1?.", NO_SOCKET, NotAllowedError),
        (f"route_dst_netlink: cannot create: {NO_FAMILY}", NO_SOCKET, NotAllowedError),
        (f"{PCAP}: That device is not up.", "see ip link", CheckError),
        (f"{PCAP}: odd", "run it by hand to see why", CheckError),
    ],
)
def test_the_line_that_names_the_cause_goes_before_nmaps_list_of_causes(
    first: str, advice: str, kind: Type[CheckError]
) -> None:
    # As nmap 7.93 says it: the list twice.
    told = why(f"{first}\n{LIST_OF_CAUSES}\n\nQUITTING!", LIST_OF_CAUSES, kind=kind)

    assert told == f"nmap failed with exit code 1 ({first}); {advice}"


@pytest.mark.parametrize(
    ("first", "advice"),
    [
        (f"{PCAP}: That device is not up", "see ip link"),
        ("Omitting future messages", "run it by hand to see why"),
    ],
)
def test_advice_fits_the_line_that_is_quoted(first: str, advice: str) -> None:
    told = why(f"{first}\nxroute_dst_netlink: {NO_FAMILY}", kind=CheckError)

    assert told == f"nmap failed with exit code 1 ({first}); {advice}"


@pytest.mark.parametrize(
    ("stderr", "errormsg", "code", "stdout", "said"),
    [
        (
            "\n  Illegal argument  \nQUITTING!",
            "",
            1,
            b"",
            "failed with exit code 1 (Illegal argument)",
        ),
        (f"odd: {NO_FAMILY}", "", 1, b"", f"failed with exit code 1 (odd: {NO_FAMILY})"),
        ("x" * 999, "", 1, b"", "failed with exit code 1 (" + "x" * 200 + ")"),
        ("sudo: " * 100000, "", 1, b"", "failed with exit code 1 (" + ("sudo: " * 34)[:200] + ")"),
        ("\udcff\udcfe", "", 1, b"", "failed with exit code 1 (\ufffd\ufffd)"),  # not UTF-8
        ("", "", -9, b"", "was killed by signal 9"),
        ("", "", 139, b"", "failed with exit code 139"),
        ("", "", 0, b"", "printed nothing"),
        ("", "", 0, b"not XML", "printed no complete XML"),
        ("odd", "Too tired", 0, b"<nmaprun/>", "failed (Too tired)"),
        ("odd", "", 0, b"<nmaprun/>", "failed (odd)"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_failure_is_told_by_how_it_ended_and_what_the_report_or_nmap_says_first(
    stderr: str, errormsg: str, code: int, stdout: bytes, said: str
) -> None:
    for argv, advice in (("/opt/nmap", "run it by hand to see why"), ("", "record it again")):
        told = why(stderr, errormsg, argv.split(), code=code, stdout=stdout)
        assert told == f"nmap {said}; {advice}"
