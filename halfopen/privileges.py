"""What lets nmap open raw sockets without root."""

import os
import struct
from typing import Dict

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
    if int(status.get("CapAmb", "0"), 16) & _NET_RAW:
        return True
    # Under no_new_privs the kernel ignores a file's capabilities: HAProxy's default.
    return status.get("NoNewPrivs", "0") == "0" and _file_has_net_raw(nmap)


def _process_status() -> Dict[str, str]:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            pairs = (line.partition(":") for line in lines)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


def _file_has_net_raw(path: str) -> bool:
    try:
        # struct vfs_cap_data: magic_etc, then permitted and inheritable of capabilities 0 to 31
        magic, permitted = struct.unpack_from("<II", os.getxattr(path, "security.capability"))
    except (OSError, struct.error):
        return False
    return bool(magic & _EFFECTIVE and permitted & _NET_RAW)
