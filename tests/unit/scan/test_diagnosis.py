"""When nmap has to be told that it may open raw sockets, and why it may not."""

import io
import os
import struct
from typing import IO, Any, Optional

import pytest

from halfopen.scan import diagnosis
from halfopen.scan.diagnosis import nmap_needs_telling, why_not

NET_RAW, NET_BIND, EFFECTIVE = 1 << 13, 1 << 10, 1


def file_capability(permitted: int, flags: int = EFFECTIVE) -> bytes:
    """Return what setcap leaves on a file (struct vfs_cap_data, revision 2)."""
    return struct.pack("<IIIII", 0x02000000 | flags, permitted, 0, 0, 0)


SETCAP = file_capability(NET_RAW)


def machine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    user: int = 1000,
    status: Optional[str],
    on_file: Optional[bytes] = None,
    head: bytes = b"\x7fELF",
) -> None:
    """Put a user, a /proc/self/status and an nmap in the place of the real ones."""

    def open_file(path: str, *_: str, **__: str) -> IO[Any]:
        if path != "/proc/self/status":
            return io.BytesIO(head)
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


def proc_status(ambient: int = 0, no_new_privileges: int = 0, effective: int = 0) -> str:
    """Return the lines of /proc/self/status that matter, among others."""
    return (
        f"Name:\tpython3\nCapEff:\t{effective:016x}\nCapAmb:\t{ambient:016x}\n"
        f"NoNewPrivs:\t{no_new_privileges}\nSeccomp:\t0\n"
    )


@pytest.mark.parametrize(
    ("status", "on_file", "needs"),
    [
        pytest.param(proc_status(), None, False, id="nothing-gives-it-the-right"),
        pytest.param(proc_status(ambient=NET_RAW), None, True, id="ambient"),
        pytest.param(proc_status(ambient=NET_RAW | NET_BIND), None, True, id="ambient-of-several"),
        pytest.param(proc_status(ambient=NET_BIND), None, False, id="another-ambient"),
        pytest.param(proc_status(), SETCAP, True, id="setcap"),
        pytest.param(proc_status(), file_capability(NET_BIND), False, id="another-setcap"),
        pytest.param(proc_status(), file_capability(NET_RAW, 0), False, id="setcap-not-effective"),
        pytest.param(proc_status(), SETCAP[:6], False, id="setcap-too-short"),
        pytest.param(proc_status(0, 1), SETCAP, False, id="setcap-under-no-new-privileges"),
        pytest.param(proc_status(NET_RAW, 1), None, True, id="ambient-under-no-new-privileges"),
        pytest.param(None, SETCAP, True, id="setcap-without-proc"),
        pytest.param(None, None, False, id="nothing-without-proc"),
        pytest.param("Name:\tpython3\n", None, False, id="old-kernel-without-ambient"),
    ],
)
def test_nmap_is_told_what_it_would_not_believe(
    monkeypatch: pytest.MonkeyPatch, status: Optional[str], on_file: Optional[bytes], needs: bool
) -> None:
    machine(monkeypatch, status=status, on_file=on_file)

    assert nmap_needs_telling("/opt/nmap") is needs


def test_root_needs_no_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, user=0, status=proc_status(ambient=NET_RAW), on_file=SETCAP)

    assert nmap_needs_telling("/opt/nmap") is False


NEEDS = "nmap needs root or CAP_NET_RAW"
PLAIN = 'run as root, or see "Privileges" in the README'


@pytest.mark.parametrize(
    ("status", "on_file", "said"),
    [
        pytest.param(proc_status(), None, PLAIN, id="nothing"),
        pytest.param(None, None, PLAIN, id="nothing-without-proc"),
        pytest.param(proc_status(), file_capability(NET_BIND), PLAIN, id="another-setcap"),
        pytest.param(
            proc_status(),
            file_capability(NET_RAW, 0),
            "its own is not effective: setcap cap_net_raw+ep /opt/nmap",
            id="setcap-not-effective",
        ),
        pytest.param(
            proc_status(no_new_privileges=1),
            SETCAP,
            "no_new_privs hides its own: HAProxy's insecure-setuid-wanted, or an ambient one",
            id="setcap-under-no-new-privileges",
        ),
        pytest.param(
            proc_status(),
            SETCAP,
            "its own is ignored: is /opt/nmap on a nosuid mount?",
            id="setcap-ignored",
        ),
        pytest.param(
            proc_status(effective=NET_RAW),
            None,
            "ours is not handed on: make it ambient (setpriv --ambient-caps)",
            id="effective-not-ambient",
        ),
        pytest.param(
            proc_status(NET_RAW, effective=NET_RAW), None, PLAIN, id="ambient-and-still-refused"
        ),
        pytest.param(
            proc_status(no_new_privileges=1),
            None,
            'no_new_privs leaves an ambient one; see "Privileges" in the README',
            id="no-new-privileges",
        ),
    ],
)
def test_an_ordinary_user_is_told_what_keeps_nmap_from_it(
    monkeypatch: pytest.MonkeyPatch, status: Optional[str], on_file: Optional[bytes], said: str
) -> None:
    machine(monkeypatch, status=status, on_file=on_file)

    assert why_not(["/opt/nmap", "-n"]) == f"{NEEDS}; {said}"


def test_a_wrapper_script_is_told_how_to_say_that_its_nmap_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, status=proc_status(), head=b"#!/bin/sh")

    said = "if the nmap behind this script has it, set NMAP_PRIVILEGED=1"

    assert why_not(["/opt/nmap"]) == f"{NEEDS}; {said}"


@pytest.mark.parametrize(
    ("user", "program", "effective", "said"),
    [
        (0, "/opt/nmap", 0, "root has lost it here; containers drop it: --cap-add NET_RAW"),
        (0, "/opt/nmap", NET_RAW, "it is root and was refused; run it by hand to see why"),
        (1000, "/usr/bin/sudo", 0, "root has lost it here; containers drop it: --cap-add NET_RAW"),
    ],
)
def test_root_is_told_of_a_capability_that_was_taken_away(
    monkeypatch: pytest.MonkeyPatch, user: int, program: str, effective: int, said: str
) -> None:
    machine(monkeypatch, user=user, status=proc_status(effective=effective))

    assert why_not([program, "-n"]) == f"{NEEDS}; {said}"


def test_a_recording_has_the_plain_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, user=0, status=proc_status(effective=NET_RAW))

    assert why_not([]) == f"{NEEDS}; {PLAIN}"
