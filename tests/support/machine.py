"""Throwaway machines to run monitor hosts on: this system's files, and nothing written to them.

A machine is a network namespace of the lab with process and mount namespaces of its own. Its root
is an overlay on `/`: daemons find their packages' files, may write wherever they like, and all of
it is gone when the machine ends, together with every process in it. The nmap to test is installed
on it as /usr/bin/nmap, and halfopen in /opt/halfopen.

Two backends stand in the lab's target: `192.0.2.11` and `192.0.2.12`, port 443. The examples name
them; `Farm` opens and closes them.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence

from lab import NMAP, Finished, Lab, Running

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
WEB1, WEB2 = "192.0.2.11", "192.0.2.12"
PORT = 443
INSTALLED = "/opt/halfopen"
"""Where a machine has our installation."""
NMAP_DATA = Path(NMAP).resolve().parents[1] / "share" / "nmap"
PATIENCE = 60.0
"""Seconds in which a daemon must have come to a verdict; it mostly takes a few."""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What init gives a daemon, and no more."""

_BOOT = f"""
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root" "$1/our-upper" "$1/our-work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --bind /sys "$1/root/sys"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$1/root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
mount -t tmpfs -o mode=1777 tmpfs "$1/root/tmp"
cd "$1/root"
mkdir -p .{INSTALLED} usr/share/nmap usr/local/bin usr/lib/nagios/plugins
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/our-upper,workdir=$1/our-work" .{INSTALLED}
ln -sf {INSTALLED}/bin/halfopen usr/local/bin
ln -sf {INSTALLED}/bin/check_tcp_half_open usr/lib/nagios/plugins
[ ! -d "$3" ] || mount --bind "$3" usr/share/nmap
# An ignored SIGCHLD makes the kernel reap what is orphaned.
trap '' CHLD
exec chroot . sh -c 'echo booted; exec tail -f /dev/null'
"""

_HANGS = ["/bin/sleep", "600"]
# What takes the place of nmap; the real one is beside it.
_IN_PLACE_OF_NMAP = {
    "without its capability": "",  # the real one, as a package's upgrade leaves it
    "hanging": f"exec {' '.join(_HANGS)}",
    # Not from the bounding set: those that check may have no right to take something away there.
    "not allowed": "exec /usr/bin/setpriv --no-new-privs "
    '/usr/sbin/capsh --caps= --shell=/usr/bin/nmap.real -- "$@"',
    # Its second probe to a silent port is not due within any --host-timeout.
    "slow": 'NMAP_PRIVILEGED=1 exec /usr/bin/nmap.real "$@" --scan-delay 60s',
}
# An upgrade of the system's Python does the one or the other to an installation.
_SET_ASIDE = {
    "nmap missing": "/usr/bin/nmap",
    "halfopen without interpreter": f"{INSTALLED}/bin/python",
    "halfopen not importable": f"{INSTALLED}/lib/*/site-packages/halfopen",
}


def example(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


class Farm:
    """The two backends, 192.0.2.11:443 and 192.0.2.12:443; both closed at first and at the end."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._listeners: dict[str, socket.socket] = {}
        lab.ip("target", *(f"addr replace {each}/24 dev eth0" for each in (WEB1, WEB2)))

    def only(self, *addresses: str) -> None:
        """Open the port at these addresses, and close it at the others."""
        for address in self._listeners.keys() - addresses:
            self._listeners.pop(address).close()
        for address in set(addresses).difference(self._listeners):
            self._listeners[address] = self._lab.listen(PORT, address)

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, *exc: object) -> None:
        self.only()


def install(folder: Path) -> Path:
    """Make an installation as the README tells to, and return its folder, for machines."""
    # The one that runs the tests may lie where only root may read.
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    folder.chmod(0o755)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    with tempfile.TemporaryDirectory() as source:  # setuptools builds inside it
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(str(ROOT / "halfopen"), f"{source}/halfopen", ignore=unwanted)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(str(ROOT / name), source)
        quiet = ["-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *quiet, source], check=True, timeout=300)
    for command in ("check_tcp_half_open", "halfopen"):
        script = folder / "bin" / command
        script.write_text(script.read_text().replace(str(folder), INSTALLED))
    return folder


def remove_what_is_stale() -> None:
    """Remove what a killed run left behind: folders named after a dead pid."""
    for place in ("/var/tmp", tempfile.gettempdir()):  # noqa: S108  tests/install has its own there
        for folder in Path(place).glob("halfopen-*-*-*"):
            pid = folder.name.split("-")[2]
            if pid.isdigit() and not Path("/proc", pid).exists():
                shutil.rmtree(str(folder), ignore_errors=True)


class Machine:
    """A throwaway machine in one of the lab's namespaces, as a context manager."""

    def __init__(self, lab: Lab, installed: Path, ns: str = "scanner") -> None:
        self.lab, self.installed, self.ns = lab, installed, ns
        self._stack = contextlib.ExitStack()
        self._started: list[Running[str]] = []
        self._pids = ""
        self._may_open_raw_sockets = False

    def __enter__(self) -> Machine:
        """Boot it, with both commands where the examples expect them."""
        with contextlib.ExitStack() as stack:
            self._boot(stack)
            self.restore_nmap()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill all that runs on it, and with that remove what was written."""
        self._stack.close()

    def _boot(self, stack: contextlib.ExitStack) -> None:
        temporary = tempfile.TemporaryDirectory(prefix=f"halfopen-machine-{os.getpid()}-")
        self._folder = Path(stack.enter_context(temporary))
        mountpoint = self._folder / "mnt"
        mountpoint.mkdir()
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
        words = [str(mountpoint), str(self.installed), str(NMAP_DATA)]
        stack.callback(self._reap)
        holder = stack.enter_context(
            self.lab.popen([*unshare, "sh", "-c", _BOOT, "sh", *words], self.ns)
        )
        stack.callback(holder.kill)  # and the kernel kills the init, and with it everything
        assert holder.stdout is not None
        ready = select.select([holder.stdout], [], [], 30)[0]
        if not ready or holder.stdout.readline() != "booted\n":
            holder.kill()
            raise RuntimeError(f"the machine does not boot: {holder.communicate()}")
        (self._init,) = children(holder.pid)
        self._pids = os.readlink(f"/proc/{self._init}/ns/pid")

    def _reap(self) -> None:
        wait_until(lambda: not self.processes(), 10)
        for process in self._started:
            process.wait(10)

    # -- files ----------------------------------------------------------------------------------

    def path(self, *parts: str) -> Path:
        """Return a path of the machine's, as it is to be reached from outside.

        Not for a symbolic link: that would lead to this system's file.
        """
        return Path(f"/proc/{self._init}/root", *(part.lstrip("/") for part in parts))

    def write(self, name: str, text: str, mode: int = 0o644, owner: str = "root") -> None:
        """Write a file of the machine's, making its folder."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        shutil.chown(str(path), owner)

    def read(self, name: str) -> str:
        """Return a file's text; empty if it is not there (yet)."""
        path = self.path(name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def install(self, name: str, destination: str, mode: int = 0o644) -> None:
        """Put a file of examples/ where its comment says that it belongs, unchanged."""
        self.write(destination, example(name), mode)

    # -- programs -------------------------------------------------------------------------------

    def _argv(self, argv: Sequence[str], user: str | None) -> list[str]:
        enter = ["nsenter", f"--target={self._init}", "--mount", "--net", "--pid", "--root", "--wd"]
        if user is None:
            return [*enter, *argv]
        group = pwd.getpwnam(user).pw_gid
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups"]
        return [*enter, *become, *argv]

    def run(
        self,
        argv: Sequence[str],
        user: str | None = None,
        timeout: float = 60,
        env: Mapping[str, str] = ENVIRONMENT,
    ) -> Finished[str]:
        """Run a program on the machine to its end, as root or as another user."""
        return run(self._argv(argv, user), timeout, env)

    def do(self, *argv: str, timeout: float = 60) -> str:
        """Run a program as root, which is to succeed; return what it printed."""
        done = self.run(argv, timeout=timeout)
        assert done.returncode == 0, done
        return done.stdout

    def start(
        self, argv: Sequence[str], user: str | None = None, env: Mapping[str, str] = ENVIRONMENT
    ) -> Running[str]:
        """Start a daemon in the foreground; what it prints goes to `printed()`."""
        with tempfile.NamedTemporaryFile(dir=str(self._folder), delete=False) as log:
            process = subprocess.Popen(
                self._argv(argv, user),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env=env,
            )
        Path(log.name).rename(self._folder / f"{process.pid}.log")
        self._started.append(process)
        return process

    def printed(self, process: Running[str]) -> str:
        """Return what a started program has printed so far."""
        log = self._folder / f"{process.pid}.log"
        return log.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> dict[int, list[str]]:
        """Return the live processes on the machine: pid (as seen from outside) to words."""
        found: dict[int, list[str]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(str(folder / "ns/pid")) == self._pids:
                    words = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
                    if words:  # a zombie has none
                        found[int(folder.name)] = words.rstrip("\0").split("\0")
        return found

    def running(self, *names: str) -> list[int]:
        """Return the pids (as seen from outside) of the live processes of programs or scripts."""
        return [
            pid
            for pid, words in self.processes().items()
            # Python, its flags, the script.
            if not {os.path.basename(word) for word in words[:3]}.isdisjoint(names)
        ]

    def nmaps(self) -> list[int]:
        """Return the pids (as seen from outside) of all nmaps, hanging ones as well."""
        return [*self.running("nmap", "nmap.real"), *self.hanging()]

    def hanging(self) -> list[int]:
        """Return the pids (as seen from outside) of the fakes that hang."""
        return [pid for pid, words in self.processes().items() if words == _HANGS]

    # -- faults ---------------------------------------------------------------------------------

    def let_nmap(self) -> None:
        """Give nmap the capability to open raw sockets, for every user."""
        self._may_open_raw_sockets = True
        self.restore_nmap()

    def break_nmap(self, fault: str) -> None:
        """Break nmap in a way of its own, or as a fake would: those that are told above."""
        self._put_nmap(_IN_PLACE_OF_NMAP[fault], fault == "slow")

    def restore_nmap(self) -> None:
        """Put the real nmap back."""
        self._put_nmap("", self._may_open_raw_sockets)

    def _put_nmap(self, script: str, capable: bool) -> None:
        """Put the real nmap in its place, or a script, at once: checks go on all the time."""
        new = self.path("/usr/bin/nmap.new")
        shutil.copy(NMAP, str(new))
        if capable:
            self.do("setcap", "cap_net_raw+ep", "/usr/bin/nmap.new")
        if script:
            new.rename(new.with_name("nmap.real"))
            self.write("/usr/bin/nmap.new", f"#!/bin/sh\n{script}\n", 0o755)
        new.rename(new.with_name("nmap"))

    @contextlib.contextmanager
    def broken(self, fault: str) -> Iterator[None]:
        """Make one of the faults told above until the block ends, "nmap hanging" or another."""
        if fault in _SET_ASIDE:
            with self.without(_SET_ASIDE[fault]):
                yield
            return
        self.break_nmap(fault[len("nmap ") :])
        try:
            yield
        finally:
            self.restore_nmap()

    @contextlib.contextmanager
    def without(self, pattern: str) -> Iterator[None]:
        """Set the one file or folder of this name aside until the block ends."""
        (path,) = map(str, self.path("/").glob(pattern.lstrip("/")))
        # Not by rename: an overlay can't do that to a folder that is below it.
        aside = shutil.move(path, f"{path}.aside")
        try:
            yield
        finally:
            shutil.move(aside, path)


def run(argv: Sequence[str], timeout: float, env: Mapping[str, str] | None = None) -> Finished[str]:
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=env,
        check=False,
    )


def children(pid: int) -> list[int]:
    """Return the numbers of a process's children; none if it has ended."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Return whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def end(process: Running[str], number: int = signal.SIGTERM) -> None:
    """End the program that `start` started (nsenter's child), if it still runs; wait for it."""
    for child in children(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)
    process.wait(20)
