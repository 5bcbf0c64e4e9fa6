"""What lets nmap open raw sockets without root, and what keeps it from that."""

import os
import struct
from typing import Dict, Optional, Sequence

SEE_README = 'see "Privileges" in the README'

_NET_RAW = 1 << 13  # CAP_NET_RAW, linux/capability.h
_EFFECTIVE = 1  # VFS_CAP_FLAGS_EFFECTIVE


def nmap_needs_telling(nmap: str) -> bool:
    """Return whether nmap at this path may open raw sockets but would not believe it.

    nmap looks at the user id alone, and ignores capabilities unless told by --privileged.
    True when we are not root and either CAP_NET_RAW is ambient (as systemd's
    AmbientCapabilities sets it), or the file has it and the kernel will honour that.
    """
    if os.geteuid() == 0:
        return False
    status = _process_status()
    if _has_net_raw(status, "CapAmb"):
        return True
    # Under no_new_privs the kernel ignores a file's capabilities: HAProxy's default.
    return not _no_new_privileges(status) and _file_flags(nmap) == _EFFECTIVE


def why_not(argv: Sequence[str]) -> str:
    """Return why this nmap, that was run just now, may not open raw sockets, and the way out.

    Empty argv: a recording, of which nothing more is known.
    """
    program = argv[0] if argv else ""
    status, flags, root = _process_status(), _file_flags(program), os.geteuid() == 0
    as_root = root or os.path.basename(program) == "sudo"
    has_it, barred = _has_net_raw(status, "CapEff"), _no_new_privileges(status)
    causes = (
        (not argv, f"run as root, or {SEE_README}"),
        (root and has_it, "it is root and was refused; run it by hand to see why"),
        (as_root, "root has lost it here; containers drop it: --cap-add NET_RAW"),
        (flags == 0, f"its own is not effective: setcap cap_net_raw+ep {program}"),
        (
            flags and barred,
            "no_new_privs hides its own: HAProxy's insecure-setuid-wanted, or an ambient one",
        ),
        (flags, f"its own is ignored: is {program} on a nosuid mount?"),
        (
            has_it and not _has_net_raw(status, "CapAmb"),
            "ours is not handed on: make it ambient (setpriv --ambient-caps)",
        ),
        (_is_script(program), "if the nmap behind this script has it, set NMAP_PRIVILEGED=1"),
        (barred, f"no_new_privs leaves an ambient one; {SEE_README}"),
        (True, f"run as root, or {SEE_README}"),
    )
    return "nmap needs root or CAP_NET_RAW; " + next(cause for so, cause in causes if so)


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _has_net_raw(status: Dict[str, str], field: str) -> bool:
    return bool(int(status.get(field, "0"), 16) & _NET_RAW)


def _no_new_privileges(status: Dict[str, str]) -> bool:
    return status.get("NoNewPrivs", "0") != "0"


def _process_status() -> Dict[str, str]:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            pairs = (line.partition(":") for line in lines)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


def _file_flags(path: str) -> Optional[int]:
    """Return the flags of a file's capabilities if CAP_NET_RAW is among them, else None."""
    try:
        # struct vfs_cap_data: magic_etc, then permitted and inheritable of capabilities 0 to 31
        magic, permitted = struct.unpack_from("<II", os.getxattr(path, "security.capability"))
    except (OSError, struct.error):
        return None
    return magic & _EFFECTIVE if permitted & _NET_RAW else None
