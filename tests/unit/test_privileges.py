"""When nmap has to be told that it may open raw sockets."""

import io
import os
import struct
from typing import Optional

import pytest

from halfopen import privileges
from halfopen.privileges import nmap_needs_telling

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
) -> None:
    """Put a user, a /proc/self/status and a file's capability in the place of the real ones."""

    def open_status(path: str, **_: str) -> io.StringIO:
        assert path == "/proc/self/status"
        if status is None:
            raise FileNotFoundError(path)
        return io.StringIO(status)

    def getxattr(path: str, name: str) -> bytes:
        assert (path, name) == ("/opt/nmap", "security.capability")
        if on_file is None:
            raise OSError("no such attribute")
        return on_file

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "getxattr", getxattr, raising=False)
    monkeypatch.setattr(privileges, "open", open_status, raising=False)


def proc_status(ambient: int = 0, no_new_privileges: int = 0) -> str:
    """Return the lines of /proc/self/status that matter, among others."""
    return (
        f"Name:\tpython3\nCapEff:\t{NET_RAW:016x}\nCapAmb:\t{ambient:016x}\n"
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
