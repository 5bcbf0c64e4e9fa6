"""Why nmap failed, by what it, pcap and sudo say, and what lets it open raw sockets."""

import os
import struct
from typing import Dict, Sequence, Tuple

from halfopen.errors import CheckError, NotAllowedError
from halfopen.model import NmapRun

SEE_README = 'see "Privileges" in the README'

_REFUSALS = (
    "requires root privileges",
    "open a raw socket",
    "dnet: Failed to open",
    "Operation not permitted",
    "permission to capture",
)
"""What nmap 7.70 to 7.991 says on stderr or as errormsg when it may not scan."""

_FIRST_HAND = ("pcap_", "route_dst_netlink")
"""How a line begins in which pcap or netlink names the cause. After it, nmap lists every cause
that it knows of, on every system."""

_SUDO = ("sudo: ", "is not allowed to execute")
"""What is in each line of sudo 1.9 with LC_ALL=C, under which spawn.py runs it."""

_NO_SUCH_SOCKET = ("Address family not supported", "PF_PACKET sockets not supported")
"""The kernel's own words, and what pcap says in their place from Debian 13 (1.10.5) on."""

_BARRED = f"sudo is barred by no_new_privs; run as root, or {SEE_README}"
_PASSWORD = f"sudo wants a password; allow nmap with NOPASSWD, {SEE_README}"
_NOT_THIS = f"sudo does not allow this nmap; {SEE_README}"
_FAMILIES = "{}; allow AF_PACKET and AF_NETLINK (RestrictAddressFamilies=)"
_CAUSES = (
    (_SUDO, ("no new privileges",), NotAllowedError, _BARRED),
    (_SUDO, ("password", "tty", "askpass"), NotAllowedError, _PASSWORD),
    (_SUDO, ("not allowed",), NotAllowedError, _NOT_THIS),
    (_FIRST_HAND, _NO_SUCH_SOCKET, NotAllowedError, _FAMILIES),
    (_FIRST_HAND, ("not up",), CheckError, "{}; see ip link"),
)
"""Whose line it is, what else is in it, and what helps then; {} is what broke."""


def failure(run: NmapRun, errormsg: str) -> CheckError:
    """Return why a run failed that printed no complete report, or one that ends in `errormsg`."""
    printed = run.stderr.decode("utf-8", "replace")
    said = [line.strip() for line in f"{errormsg}\n{printed}".splitlines() if line.strip()]
    refusals = [line for line in said if _any(_REFUSALS, line)]
    if refusals:
        return NotAllowedError(why_not(run.argv, refusals[0]))
    first_hand = [line for line in said if line.startswith(_FIRST_HAND)]
    what = _what_broke(run, [*first_hand, *said, ""][0][:200])
    for whose, words, kind, advice in _CAUSES:
        lines = first_hand[:1] if whose is _FIRST_HAND else said
        if any(_any(whose, line) and _any(words, line) for line in lines):
            return kind(advice.format(what))
    return CheckError(f"{what}; {'run it by hand to see why' if run.argv else 'record it again'}")


def _any(words: Sequence[str], line: str) -> bool:
    return any(word in line for word in words)


def _what_broke(run: NmapRun, cause: str) -> str:
    ways = (
        (run.exit_code < 0, f"was killed by signal {-run.exit_code}"),
        (run.exit_code > 0, f"failed with exit code {run.exit_code}"),
        (not run.stdout.strip(), "printed nothing"),
        (cause, "failed"),
        (True, "printed no complete XML"),
    )
    what = next(way for so, way in ways if so)
    return f"nmap {what} ({cause})" if cause else f"nmap {what}"


# -- privileges ---------------------------------------------------------------------------------

_CAPABILITIES = (  # noqa: SIM905  as a list of quoted words it is a page long
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
"""Their names by number (linux/capability.h)."""

_NET_RAW = 1 << _CAPABILITIES.index("NET_RAW")
_EFFECTIVE = 1  # VFS_CAP_FLAGS_EFFECTIVE
_STATUS = ("CapAmb", "CapBnd", "CapEff", "NoNewPrivs")


def nmap_needs_telling(nmap: str) -> bool:
    """Return whether nmap at this path may open raw sockets but would not believe it.

    nmap looks at the user id alone, and ignores capabilities unless told by --privileged.
    For whoever is not root. True when either CAP_NET_RAW is ambient (as systemd's
    AmbientCapabilities sets it), or the file has it and the kernel will honour that.
    """
    status = _process_status()
    permitted, effective = _on_file(nmap)
    # Under no_new_privs the kernel ignores a file's capabilities: HAProxy's default.
    honoured = effective and not status["NoNewPrivs"]
    return bool((status["CapAmb"] | permitted * honoured) & _NET_RAW)


def why_not(argv: Sequence[str], said: str) -> str:
    """Return why this nmap, that was run just now, may not open raw sockets, and the way out.

    `said`: nmap's own message. Empty argv: a recording, of which nothing more is known.
    """
    program = os.path.realpath(argv[0]) if argv else ""
    status, root = _process_status(), os.geteuid() == 0
    permitted, effective = _on_file(program)
    given = permitted & _NET_RAW
    as_root = root or os.path.basename(argv[0] if argv else "") == "sudo"
    has_it, barred = status["CapEff"] & _NET_RAW, status["NoNewPrivs"]
    not_ambient = has_it and not status["CapAmb"] & _NET_RAW
    causes = (
        (not argv, f"run as root, or {SEE_README}"),
        (root and has_it, f"it is root and was refused ({said}); run it by hand to see why"),
        (as_root, "root has lost it here; containers drop it: --cap-add NET_RAW"),
        (given and not effective, f"its own is not effective: {_setcap(program)}"),
        (
            given and barred,
            "no_new_privs hides its own: HAProxy's insecure-setuid-wanted, or an ambient one",
        ),
        (given, f"its own is ignored: is {program} on a nosuid mount?"),
        (not_ambient, "ours is not handed on: make it ambient (setpriv --ambient-caps)"),
        (_is_script(program), "if the nmap behind this script has it, set NMAP_PRIVILEGED=1"),
        (barred, f"no_new_privs leaves an ambient one; {SEE_README}"),
        (True, f"{_setcap(program)}, or run as root"),
    )
    return "nmap needs root or CAP_NET_RAW; " + next(cause for so, cause in causes if so)


def why_no_exec(program: str) -> str:
    """Return what helps where the kernel refuses to start a program, by EPERM.

    It does so if the program's file asks for a capability that nobody may have here.
    """
    program = os.path.realpath(program)
    barred = _on_file(program)[0] & ~_process_status()["CapBnd"]
    names = [name for number, name in enumerate(_CAPABILITIES) if barred >> number & 1]
    if not names:
        return "check that nmap runs by hand"
    here = " and ".join(f"CAP_{name}" for name in names)
    containers = " ".join(f"--cap-add {name}" for name in names)
    instead = "" if barred & _NET_RAW else f", or {_setcap(program)}"
    return f"allow {here} here, which its file asks for (containers: {containers}){instead}"


def _setcap(program: str) -> str:
    return f"sudo setcap cap_net_raw+ep {program}"


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _process_status() -> Dict[str, int]:
    found: Dict[str, str] = {}
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            found.update(line.partition(":")[::2] for line in lines)
    except OSError:
        pass
    return {name: int(found.get(name, "0"), 16) for name in _STATUS}


def _on_file(path: str) -> Tuple[int, bool]:
    """Return the capabilities that setcap gave to a program, and whether they are effective."""
    try:
        # struct vfs_cap_data: magic_etc, then permitted and inheritable of capabilities 0 to 31,
        # and those of 32 to 63
        raw = os.getxattr(path, "security.capability")
        magic, low, _, high, _ = struct.unpack_from("<IIIII", raw)
    except (OSError, struct.error):
        return 0, False
    return high << 32 | low, bool(magic & _EFFECTIVE)
