"""A machine whose first process is systemd: the real one, with few units and away from the kernel.

It has process, control group, host name and IPC namespaces of its own, no devices but /dev/null
and its like, and reads no units but those in /etc/systemd/system, which hold nothing that would
change this system (sysctl, udev, journald). Nothing is logged: `show` tells what it judged.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Iterator

from lab import Finished, Running

from .machine import Machine, Site, end, remove_group, wait_until

UNITS = "/etc/systemd/system"
EACH_SECOND = """
[Timer]
OnActiveSec=
OnUnitInactiveSec=
OnActiveSec=100ms
OnUnitInactiveSec=1s
AccuracySec=100ms
"""
"""A drop-in for the examples' timers, which check each minute."""
# What units refer to by default, and what the examples are enabled for.
_TARGETS = ("sysinit", "basic", "multi-user", "timers", "shutdown", "network", "network-online")

_BOOT = """
set -e
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
exec unshare --mount --pid --fork --kill-child=KILL --mount-proc --cgroup --uts --ipc sh -c '
    set -e
    umount /sys/fs/cgroup
    mount --bind /sys /sys
    mount -o remount,bind,ro /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # As root of this system, it would raise fs.file-max.
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mkdir /run/dev
    mount -t tmpfs -o mode=755 tmpfs /run/dev
    for node in null zero full random urandom tty; do
        touch "/run/dev/$node"
        mount --bind "/dev/$node" "/run/dev/$node"
    done
    mount --move /run/dev /dev
    exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH=/etc/systemd/system \\
        SYSTEMD_GENERATOR_PATH=/nowhere SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/nowhere \\
        /lib/systemd/systemd --system --unit=multi-user.target --show-status=no
'
"""

_numbers = itertools.count()


class Booted:
    """The systemd of a machine."""

    def __init__(self, machine: Machine, process: Running[str]) -> None:
        """Take over the process that is about to become systemd."""
        self.machine = machine
        self._process = process

    def run(self, *argv: str, timeout: float = 90) -> Finished[str]:
        """Run a program beside the services."""
        spaces = ["--mount", "--net", "--pid", "--cgroup", "--uts", "--ipc", "--root", "--wd"]
        enter = ["nsenter", f"--target={self._init()}", *spaces]
        return subprocess.run(
            [*enter, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def systemctl(self, *words: str) -> Finished[str]:
        """Run systemctl."""
        return self.run("systemctl", *words)

    def show(self, unit: str, *properties: str) -> tuple[str, ...]:
        """Return properties of a unit."""
        said = self.systemctl("show", unit, "-p", ",".join(properties)).stdout.splitlines()
        values = dict(line.split("=", 1) for line in said)
        return tuple(values.get(name, "") for name in properties)

    def is_up(self) -> bool:
        """Return whether it has booted."""
        return bool(self._init()) and self.systemctl("is-system-running").returncode == 0

    def _init(self) -> int:
        """Return systemd's pid, nsenter's grandchild; 0 if it is not there yet."""
        pid = self._process.pid
        for _ in range(2):
            children = _children(pid)
            pid = children[0] if children else 0
        return pid


@contextlib.contextmanager
def booted(machine: Machine) -> Iterator[Booted]:
    """Run systemd on a machine until the block ends."""
    _move_the_installation(machine, machine.site)
    shutil.rmtree(str(machine.path(UNITS)))
    for target in _TARGETS:
        machine.write(f"{UNITS}/{target}.target", "[Unit]\nDefaultDependencies=no\n")
    group = f"halfopen-{os.getpid()}-{next(_numbers)}"
    process = machine.start(["sh", "-c", _BOOT, "sh", group])
    try:
        system = Booted(machine, process)
        assert wait_until(system.is_up), machine.printed(process)
        yield system
    finally:
        end(process, signal.SIGKILL)  # and with it goes all that it has started
        # The kernel has it, so it does not go with the machine.
        folder = machine.path("/sys/fs/cgroup", group)
        assert wait_until(lambda: remove_group(folder), 20), f"{folder} is still in use"


def _move_the_installation(machine: Machine, site: Site) -> None:
    """Put it where the README does: PrivateTmp= hides /var/tmp, and DynamicUser= implies it."""
    venv = site.bin.parent
    done = machine.run(["cp", "-a", str(venv), "/opt/halfopen"])
    assert done.returncode == 0, done.stderr
    for command, folder in (
        ("check_tcp_half_open", "/usr/lib/nagios/plugins"),
        ("halfopen", "/usr/local/bin"),
    ):
        script = machine.path("/opt/halfopen/bin", command)
        script.write_text(script.read_text().replace(str(venv), "/opt/halfopen"))
        link = machine.path(folder, command)
        link.unlink()
        link.symlink_to(f"/opt/halfopen/bin/{command}")


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
