"""Throwaway machines to run monitor hosts on: this system's files, and nothing written to them.

A machine is a network namespace of the lab with process and mount namespaces of its own. Its root
is an overlay on `/`: daemons find their packages' files, may write wherever they like, and all of
it is gone when the machine ends, together with every process in it. The nmap to test is installed
on it as /usr/bin/nmap.

Two backends stand in the lab's target: `192.0.2.11` and `192.0.2.12`, port 443. The examples name
them; `Farm` opens and closes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
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

from lab import IP, NMAP, Finished, Lab, Running

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
WEB1, WEB2 = "192.0.2.11", "192.0.2.12"
PORT = 443
VAR_TMP = "/var/tmp"  # noqa: S108  only mkdtemp writes there; /tmp may be mounted nosuid
NMAP_DATA = Path(NMAP).resolve().parents[1] / "share" / "nmap"
PATIENCE = 60.0
"""Seconds in which a daemon must have come to a verdict; it mostly takes a few."""

_BOOT = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --bind /sys "$1/root/sys"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$1/root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
mount -t tmpfs -o mode=1777 tmpfs "$1/root/tmp"
mkdir -p "$1/root/usr/share/nmap"
[ ! -d "$2" ] || mount --bind "$2" "$1/root/usr/share/nmap"
cd "$1/root"
# An ignored SIGCHLD makes the kernel reap what is orphaned.
trap '' CHLD
exec chroot "$1/root" sh -c 'echo booted; exec tail -f /dev/null'
"""

_HANGS = ["/bin/sleep", "600"]
# What takes the place of nmap; the real one is beside it.
_IN_PLACE_OF_NMAP = {
    "hanging": f"exec {' '.join(_HANGS)}",
    "not allowed": "exec /usr/bin/setpriv --bounding-set=-net_raw --inh-caps=-net_raw "
    '/usr/bin/nmap.real "$@"',
    # Its second probe to a silent port is not due within any --host-timeout.
    "slow": 'NMAP_PRIVILEGED=1 exec /usr/bin/nmap.real "$@" --scan-delay 60s',
    # What is stopped can't heed SIGTERM.
    "stopping its caller": 'kill -STOP $PPID; NMAP_PRIVILEGED=1 exec /usr/bin/nmap.real "$@"',
}


class Farm:
    """The two backends, 192.0.2.11:443 and 192.0.2.12:443; both closed at first and at the end."""

    def __init__(self, lab: Lab) -> None:
        """Give the lab's target their addresses."""
        self._lab = lab
        self._listeners: dict[str, socket.socket] = {}
        for address in (WEB1, WEB2):
            _tool(
                [IP, "-n", lab.netns("target"), "addr", "replace", f"{address}/24", "dev", "eth0"]
            )

    def only(self, *addresses: str) -> None:
        """Open the port at these addresses, and close it at the others."""
        for address in list(self._listeners):
            if address not in addresses:
                self._listeners.pop(address).close()
        for address in addresses:
            if address not in self._listeners:
                self._listeners[address] = listener(self._lab, "target", address)

    def close(self) -> None:
        """Close both."""
        self.only()

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def listener(lab: Lab, ns: str, address: str) -> socket.socket:
    """Return a socket that listens on our port in a namespace of the lab."""
    sock = lab.within(ns, socket.socket)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, PORT))
    sock.listen(1024)
    return sock


class Site:
    """An installation that any user may run, as the README tells to make one."""

    def __init__(self, folder: Path) -> None:
        """Name the folder's."""
        self._folder, self.bin = folder, folder / "venv" / "bin"

    def install(self) -> None:
        """Install it."""
        # The one that runs the tests may lie where only root may read.
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        _tool([python, "-m", "venv", "--without-pip", str(self.bin.parent)])
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install"]
        source = self._folder / "source"  # setuptools builds inside it
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(str(ROOT / "halfopen"), str(source / "halfopen"), ignore=unwanted)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(str(ROOT / name), str(source))
        _tool([*pip, "-qq", "--disable-pip-version-check", str(source)], timeout=300)


@contextlib.contextmanager
def site(shared: Path | None = None) -> Iterator[Site]:
    """Use the installation of all processes that share a folder: the first makes it for them.

    The last removes it. Who uses it holds a lock, which even a killed process gives up.
    """
    if shared is None:
        with tempfile.TemporaryDirectory() as private, site(Path(private)) as made:
            yield made
        return
    note = shared / "site"
    with (shared / "site.used").open("w") as used:
        with _locked(shared / "site.lock"):
            if not note.exists():
                _remove_what_is_stale()
                folder = _new_folder("site", VAR_TMP)
                folder.chmod(0o755)
                Site(folder).install()
                note.write_text(str(folder), encoding="utf-8")
            fcntl.flock(used, fcntl.LOCK_SH)
        folder = Path(note.read_text(encoding="utf-8"))
        try:
            yield Site(folder)
        finally:
            with _locked(shared / "site.lock"), contextlib.suppress(BlockingIOError):
                fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else does
                note.unlink()
                shutil.rmtree(str(folder))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _new_folder(kind: str, place: str) -> Path:
    # A worker of pytest-xdist may end before others that use what it made: its parent does not.
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    return Path(tempfile.mkdtemp(prefix=f"halfopen-{kind}-{owner}-", dir=place))


def _remove_what_is_stale() -> None:
    """Remove what a killed run left behind: folders and control groups named after a dead pid."""
    for place in (VAR_TMP, tempfile.gettempdir()):
        for folder in Path(place).glob("halfopen-*-*-*"):
            if _is_stale(folder.name.split("-")[2]):
                shutil.rmtree(str(folder), ignore_errors=True)
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    for hierarchy in (words[1] for words in mounts if words[2] == "cgroup2"):
        for group in Path(hierarchy).glob("halfopen-*-*"):
            if _is_stale(group.name.split("-")[1]):
                remove_group(group)


def _is_stale(pid: str) -> bool:
    return pid.isdigit() and not Path("/proc", pid).exists()


def remove_group(group: Path) -> bool:
    """Remove a control group and those in it, and return whether they are gone."""
    with contextlib.suppress(OSError):  # busy until the last process is gone
        for folder, _, _ in os.walk(str(group), topdown=False):
            os.rmdir(folder)
    return not group.exists()


class Machine:
    """A throwaway machine in one of the lab's namespaces, as a context manager."""

    def __init__(self, lab: Lab, site: Site, ns: str = "scanner") -> None:
        """Build nothing yet: that is for the `with`."""
        self.lab, self.site, self._ns = lab, site, ns
        self._folder = _new_folder("machine", tempfile.gettempdir())
        self._holder: Running[str] | None = None
        self._init = 0
        self._pids = ""
        self._logs: dict[int, Path] = {}
        self._started: list[Running[str]] = []
        self._numbers = itertools.count()
        self._may_open_raw_sockets = False

    def __enter__(self) -> Machine:
        """Boot it, with both commands where the examples expect them."""
        try:
            self._boot()
            self.restore_nmap()
            for command, folder in (
                ("check_tcp_half_open", "/usr/lib/nagios/plugins"),
                ("halfopen", "/usr/local/bin"),
            ):
                self.path(folder).mkdir(parents=True, exist_ok=True)
                self.path(folder, command).symlink_to(self.site.bin / command)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill all that runs on it, and with that remove what was written."""
        self.close()

    def close(self) -> None:
        """End it."""
        if self._holder is not None:
            self._holder.kill()  # and the kernel kills the init, and with it everything
            self._holder.wait()
            for pipe in (self._holder.stdout, self._holder.stderr):
                if pipe is not None:
                    pipe.close()
            wait_until(lambda: not self.processes(), 10)
        for process in self._started:
            process.wait(10)
        shutil.rmtree(str(self._folder))

    def _boot(self) -> None:
        mountpoint = self._folder / "mnt"
        mountpoint.mkdir()
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
        self._holder = self.lab.popen(
            [*unshare, "sh", "-c", _BOOT, "sh", str(mountpoint), str(NMAP_DATA)], self._ns
        )
        assert self._holder.stdout is not None
        ready = select.select([self._holder.stdout], [], [], 30)[0]
        if not ready or self._holder.stdout.readline() != "booted\n":
            self._holder.kill()
            raise RuntimeError(f"the machine does not boot: {self._holder.communicate()}")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self._init = int(children.read_text())
        self._pids = os.readlink(f"/proc/{self._init}/ns/pid")

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

    def make_folder(self, name: str, owner: str) -> None:
        """Make a folder as systemd does for a service."""
        self.path(name).mkdir(exist_ok=True)
        shutil.chown(str(self.path(name)), owner, _group(owner))

    def read(self, name: str) -> str:
        """Return a file's text; empty if it is not there (yet)."""
        path = self.path(name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def install(
        self, example: str, destination: str, mode: int = 0o644, owner: str = "root"
    ) -> None:
        """Put a file of examples/ where its comment says that it belongs, unchanged."""
        text = (EXAMPLES / example).read_text(encoding="utf-8")
        self.write(destination, text, mode, owner)

    # -- programs -------------------------------------------------------------------------------

    def _argv(self, argv: Sequence[str], user: str | None) -> list[str]:
        enter = ["nsenter", f"--target={self._init}", "--mount", "--net", "--pid", "--root", "--wd"]
        become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={_group(user)}"]
        return [*enter, *become, *(["--init-groups"] if user else []), *argv]

    def run(
        self,
        argv: Sequence[str],
        user: str | None = None,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> Finished[str]:
        """Run a program on the machine to its end, as root or as another user."""
        return subprocess.run(
            self._argv(argv, user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=_environment(env),
            check=False,
        )

    def start(
        self,
        argv: Sequence[str],
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Running[str]:
        """Start a daemon in the foreground; what it prints goes to `printed()`."""
        log = self._folder / f"{next(self._numbers)}.log"
        with log.open("wb") as handle:
            process = subprocess.Popen(
                self._argv(argv, user),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                text=True,
                env=_environment(env),
            )
        self._logs[process.pid] = log
        self._started.append(process)
        return process

    def printed(self, process: Running[str]) -> str:
        """Return what a started program has printed so far."""
        return self._logs[process.pid].read_text(encoding="utf-8", errors="replace")

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

    def orphans(self) -> set[int]:
        """Return the nmaps whose parent has gone, without those that are being killed."""
        found = set()
        for pid in self.nmaps():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                (parent,) = re.findall(r"^PPid:\t(\d+)$", status, re.MULTILINE)
                pending = re.findall(r"^S\w+Pnd:\t(\w+)$", status, re.MULTILINE)
                killed = any(int(each, 16) >> signal.SIGKILL - 1 & 1 for each in pending)
                if int(parent) == self._init and not killed:
                    found.add(pid)
        return found

    def running(self, name: str) -> list[int]:
        """Return the pids (as seen from outside) of the live processes of a program or script."""
        return [
            pid
            for pid, words in self.processes().items()
            # Python, its flags, the script.
            if name in {os.path.basename(word) for word in words[:3]}
        ]

    # -- faults ---------------------------------------------------------------------------------

    def let_nmap(self) -> None:
        """Give nmap the capability to open raw sockets, for every user."""
        self._may_open_raw_sockets = True
        self.restore_nmap()

    def break_nmap(self, fault: str) -> None:
        """Break nmap in a way of its own, or as a fake would: all but "missing" are told above.

        "without its capability" is what a package's upgrade leaves.
        """
        if fault == "missing":
            self.path("/usr/bin/nmap").unlink()
        elif fault == "without its capability":
            self._put_nmap()
        else:
            self._put_nmap(
                _IN_PLACE_OF_NMAP[fault], capable=fault in ("slow", "stopping its caller")
            )

    def restore_nmap(self) -> None:
        """Put the real nmap back."""
        self._put_nmap(capable=self._may_open_raw_sockets)

    def _put_nmap(self, script: str = "", capable: bool = False) -> None:
        """Put the real nmap in its place, or a script, at once: checks go on all the time."""
        new = self.path("/usr/bin/nmap.new")
        shutil.copy(NMAP, str(new))
        if capable:
            done = self.run(["setcap", "cap_net_raw+ep", "/usr/bin/nmap.new"])
            assert done.returncode == 0, done.stderr
        if script:
            new.rename(new.with_name("nmap.real"))
            self.write("/usr/bin/nmap.new", f"#!/bin/sh\n{script}\n", 0o755)
        new.rename(new.with_name("nmap"))

    def nmaps(self) -> list[int]:
        """Return the pids (as seen from outside) of all nmaps, hanging ones as well."""
        return [*self.running("nmap"), *self.running("nmap.real"), *self.hanging()]

    def hanging(self) -> list[int]:
        """Return the pids (as seen from outside) of the fakes that hang."""
        return [pid for pid, words in self.processes().items() if words == _HANGS]

    def break_halfopen(self, fault: str) -> None:
        """Let neither command start: it is "without interpreter" or "not importable".

        An upgrade of the system's Python does the one or the other to an installation.
        """
        script = self._script()
        if fault == "without interpreter":
            broken = self.path(self.read(script).split("\n", 1)[0][len("#!") :])
        else:
            (broken,) = self.path(script).parents[1].glob("lib/*/site-packages/halfopen")
        self._set_aside = broken
        # An overlay can't rename what is below it.
        shutil.move(str(broken), f"{broken}.aside")

    def restore_halfopen(self) -> None:
        """Let both commands start again."""
        shutil.move(f"{self._set_aside}.aside", str(self._set_aside))

    def _script(self) -> str:
        # Links lead to paths of the machine's, which are the overlay's when taken from its root.
        return os.readlink(str(self.path("/usr/local/bin/halfopen")))


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
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in map(int, children):
            os.kill(child, number)
    process.wait(20)


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Return what init gives a daemon, and no more."""
    standard = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return standard if env is None else dict(env)


def _group(user: str) -> str:
    import grp  # noqa: PLC0415
    import pwd  # noqa: PLC0415

    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def _tool(argv: Sequence[str], timeout: float = 60) -> None:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv}\n{done.stdout}")
