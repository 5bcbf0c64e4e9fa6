"""A machine whose first process is systemd: the real one, with few units and away from the kernel.

It has process, control group, host name and IPC namespaces of its own, no devices but /dev/null
and its like, and reads no units but those in /etc/systemd/system, which hold nothing that would
change this system (sysctl, udev, journald). Nothing is logged: `show` tells what it judged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Iterator

from lab import Finished, Running

from .machine import Machine, children, end, run, wait_until

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


class Booted:
    """The systemd of a machine."""

    def __init__(self, machine: Machine, process: Running[str]) -> None:
        self.machine = machine
        self._process = process

    def run(self, *argv: str) -> Finished[str]:
        """Run a program beside the services."""
        (nsenter,) = children(self._process.pid)
        (init,) = children(nsenter)
        spaces = ["--mount", "--net", "--pid", "--cgroup", "--uts", "--ipc", "--root", "--wd"]
        return run(["nsenter", f"--target={init}", *spaces, *argv], timeout=90)

    def do(self, *words: str) -> None:
        """Run systemctl, which is to succeed."""
        done = self.run("systemctl", *words)
        assert done.returncode == 0, done.stderr

    def show(self, unit: str, *properties: str) -> tuple[str, ...]:
        """Return properties of a unit."""
        said = self.run("systemctl", "show", unit, "-p", ",".join(properties)).stdout
        values = dict(line.split("=", 1) for line in said.splitlines())
        return tuple(values.get(name, "") for name in properties)

    def is_up(self) -> bool:
        """Return whether it has booted."""
        with contextlib.suppress(ValueError):  # there is no systemd yet
            return self.run("systemctl", "is-system-running").returncode == 0
        return False


@contextlib.contextmanager
def booted(machine: Machine) -> Iterator[Booted]:
    """Run systemd on a machine until the block ends."""
    shutil.rmtree(str(machine.path(UNITS)))
    for target in _TARGETS:
        machine.write(f"{UNITS}/{target}.target", "[Unit]\nDefaultDependencies=no\n")
    group = f"halfopen-{os.getpid()}-{id(machine)}"
    process = machine.start(["sh", "-c", _BOOT, "sh", group])
    try:
        system = Booted(machine, process)
        assert wait_until(system.is_up), machine.printed(process)
        yield system
    finally:
        end(process, signal.SIGKILL)  # and with it goes all that it has started
        # The kernel has it, so it does not go with the machine.
        assert wait_until(lambda: _are_gone(machine.path("/sys/fs/cgroup"), group), 20), group


def _are_gone(hierarchy: Path, ours: str) -> bool:
    """Remove our control group and those that killed runs left; return whether ours is gone."""
    for group in hierarchy.glob("halfopen-*-*"):
        pid = group.name.split("-")[1]
        if group.name == ours or (pid.isdigit() and not Path("/proc", pid).exists()):
            with contextlib.suppress(OSError):  # busy until the last process is gone
                for folder, _, _ in os.walk(str(group), topdown=False):
                    os.rmdir(folder)
    return not (hierarchy / ours).exists()
