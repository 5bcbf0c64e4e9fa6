"""The only user of subprocess: runs nmap under a hard deadline and leaves none behind.

One nmap may run before this is loaded: head_start.py's.
"""

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import time
from typing import (
    IO,
    Callable,
    Dict,
    Iterator,
    List,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Union,
)

from halfopen.errors import CheckError, HopelessError
from halfopen.model import FLOOD, LATE, ON_TIME, UNSTARTED, NmapRun
from halfopen.scan import head_start
from halfopen.scan.attempts import SIDE_BY_SIDE
from halfopen.scan.head_start import HeadStart

# nmap prints about 600 bytes a host and 1.5 KB around them; far beyond that it has gone mad.
MAX_OUTPUT = 1000000


class _Child:
    """A running nmap and what it has printed so far."""

    def __init__(self, argv: Sequence[str], selector: selectors.BaseSelector) -> None:
        self.argv = argv
        self.started = time.monotonic()
        self.process = _spawn(argv)
        if isinstance(self.process, _Adopted):
            self.started = self.process.started
        self.selector = selector
        self.printed = {"stdout": b"", "stderr": b""}
        self.open_pipes: List[IO[bytes]] = []
        self.cut = ON_TIME
        for name in self.printed:
            pipe = getattr(self.process, name)
            self.open_pipes.append(pipe)
            selector.register(pipe, selectors.EVENT_READ, (self, name))

    def read(self, name: str, pipe: IO[bytes]) -> None:
        """Take what a pipe has; at its end, close it."""
        chunk = os.read(pipe.fileno(), 65536)
        self.printed[name] += chunk
        if len(self.printed[name]) > MAX_OUTPUT:
            self.cut = FLOOD
        if not chunk:
            self._close(pipe)

    def has_ended(self) -> bool:
        """Return whether the run was cut or has ended; it may close its pipes long before that."""
        return bool(self.cut) or (not self.open_pipes and _has_exited(self.process.pid))

    def reap(self) -> NmapRun:
        """End what is left of the run and its group, and return what it gave."""
        for pipe in list(self.open_pipes):
            self._close(pipe)
        _kill(self.process)
        return NmapRun(
            self.argv,
            int(self.process.returncode or 0),
            self.printed["stdout"],
            self.printed["stderr"],
            time.monotonic() - self.started,
            self.cut,
        )

    def _close(self, pipe: IO[bytes]) -> None:
        self.selector.unregister(pipe)
        self.open_pipes.remove(pipe)
        pipe.close()


def _has_exited(pid: int) -> bool:
    # WNOWAIT leaves the zombie, so that its number, and its group's, can't be another's yet.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Adopted:
    """What is needed here of a Popen, for the nmap that head_start.py has started."""

    def __init__(self, early: HeadStart) -> None:
        self.args = early.argv
        self.started = early.started
        self.pid = early.pid
        self.returncode: Optional[int] = None
        self.stdout = os.fdopen(early.stdout, "rb", 0)
        self.stderr = os.fdopen(early.stderr, "rb", 0)

    def wait(self, timeout: float) -> None:
        """Wait for its end, as Popen.wait does."""
        end = time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid and os.WIFSIGNALED(status):
                self.returncode = -os.WTERMSIG(status)
            elif pid:
                self.returncode = os.WEXITSTATUS(status)
            elif time.monotonic() >= end:
                raise subprocess.TimeoutExpired("nmap", timeout)
            else:
                time.sleep(0.001)


_Process = Union["subprocess.Popen[bytes]", _Adopted]

_alive: Set[_Process] = set()
_spawning = False
_signal_while_spawning = 0
_code_on_signal: Optional[int] = None
_interrupted = False


def run_all(
    commands: Sequence[Sequence[str]],
    deadline: float,
    meanwhile: Optional[Callable[[], None]] = None,
) -> List[NmapRun]:
    """Run the commands side by side and return what each gave, in order.

    At `deadline` (`time.monotonic` seconds) every run that has not ended is killed with its whole
    process group; one whose turn had not come by then is returned as UNSTARTED. `meanwhile` is
    called once after the first start: work that needs no answer costs no time then. Raises
    CheckError if a command cannot be started.
    """
    results: Dict[int, NmapRun] = {}
    waiting = list(enumerate(commands))
    running: Dict[int, _Child] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < SIDE_BY_SIDE and _goes_on(deadline):
                    index, argv = waiting.pop(0)
                    running[index] = _Child(argv, selector)
                if meanwhile is not None:
                    meanwhile()
                    meanwhile = None
                left = max(0.0, deadline - time.monotonic()) if _goes_on(deadline) else 0.0
                # No event tells that a process has ended, on every Python: ask again soon.
                ending = any(not child.open_pipes for child in running.values())
                # A signal that comes just before select() is seen when it returns.
                for key, _ in selector.select(min(left, 0.001 if ending else 1.0)):
                    child, name = key.data
                    child.read(name, key.fileobj)
                for index, child in list(running.items()):
                    if child.has_ended():
                        results[index] = running.pop(index).reap()
                if left == 0:  # after a last look at what has been printed
                    break
        finally:
            _kill(*(child.process for child in running.values()))
            for index, child in running.items():
                child.cut = child.cut or LATE
                results[index] = child.reap()
    for index, argv in waiting:
        results[index] = NmapRun(argv, 0, b"", b"", 0.0, UNSTARTED)
    return [results[index] for index in range(len(commands))]


def _kill(*processes: _Process) -> None:
    for process in processes:
        if process.returncode is not None:
            continue
        # The group, for nmap may be a script with children; SIGKILL, for nmap has nothing to tidy
        # up and a SIGTERM can be ignored. Before the wait, which frees the number for others.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError as error:
            # EPERM: sudo made it root's; nmap's own --host-timeout ends it. ESRCH: all ended.
            if error.errno not in (errno.EPERM, errno.ESRCH):
                raise
        _alive.discard(process)
    patience = time.monotonic() + 0.2
    for process in processes:
        try:
            process.wait(max(0.0, patience - time.monotonic()))
        except subprocess.TimeoutExpired:  # in an uninterruptible system call, or sudo's
            process.returncode = -signal.SIGKILL


@contextlib.contextmanager
def _signals_waiting() -> Iterator[None]:
    """Put off what end_by_signal() does: a child may run that _alive does not name yet."""
    global _spawning
    _spawning = True
    try:
        yield
    finally:
        _spawning = False
        if _signal_while_spawning:
            end_by_signal(_signal_while_spawning)


def _spawn(argv: Sequence[str]) -> _Process:
    """Start nmap, or take the one that head_start.py has started with the same words."""
    with _signals_waiting():
        early = _adopt()
        if early is not None and list(early.args) == list(argv):
            return early
        if early is not None:
            _dismiss(early)
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A group of its own, to be killed whole; and Ctrl-C reaches us alone.
                start_new_session=True,
            )
        except OSError as error:
            kind = CheckError if error.errno in _PASSING else HopelessError
            raise kind(_cannot_start(argv[0], error)) from error
        _alive.add(process)
        return process


def _adopt() -> Optional[_Adopted]:
    """Return the nmap that head_start.py has started, if there is one that nobody has taken."""
    early = head_start.take()
    if early is None:
        return None
    process = _Adopted(early)
    _alive.add(process)
    return process


def _dismiss(early: _Adopted) -> None:
    early.stdout.close()
    early.stderr.close()
    _kill(early)


_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Why a program can't be started now, but perhaps can later."""


def _cannot_start(program: str, error: OSError) -> str:
    if error.filename == os.devnull and error.errno == errno.ENOENT:
        return f"cannot open {os.devnull} for nmap; mount /dev"
    advice = {
        errno.ENOENT: "install nmap, or name it with --nmap",
        errno.EACCES: "make it executable for this user, or name another with --nmap",
        # It has a capability that our bounding set lacks.
        errno.EPERM: "allow CAP_NET_RAW here; containers drop it: --cap-add NET_RAW",
        errno.ENOEXEC: "it is not a program for this machine; reinstall nmap",
        errno.EAGAIN: "raise the limit of processes (ulimit -u)",
        errno.ENOMEM: "free some memory",
        errno.EMFILE: "raise the limit (ulimit -n)",
    }.get(error.errno or 0, "check that nmap runs by hand")
    # Not strerror: Python 3.7 puts the path into it.
    why = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot start {program}: {why}; {advice}"


def kill_all() -> None:
    """Kill every nmap that still runs, with its group."""
    with _signals_waiting():
        early = _adopt()
    if early is not None:
        _dismiss(early)
    _kill(*_alive)


def _goes_on(deadline: float) -> bool:
    return not _interrupted and time.monotonic() < deadline


def be_uninterrupted() -> None:
    """Forget an interrupt(): what runs from now on runs to its end."""
    global _interrupted
    _interrupted = False


def interrupt() -> None:
    """End run_all() from a signal's handler: kill what runs, start nothing more."""
    global _interrupted
    _interrupted = True
    for process in tuple(_alive):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def end_by_signal(number: int, _frame: object = None) -> None:
    """Handle a signal that ends us: take nmap along, and die by that signal.

    The caller then sees what it did to us, never an exit code that means something.
    """
    global _signal_while_spawning
    if _spawning:  # between fork and our knowing the child's pid; _signals_waiting comes back
        _signal_while_spawning = number
        return
    _signal_while_spawning = 0
    kill_all()
    _die(number)


def exit_on_signals(code: int) -> None:
    """Let end_by_signal() end us with an exit code instead.

    For a caller that runs us in a shell: the shell makes 128 + N of a death by signal.
    """
    global _code_on_signal
    _code_on_signal = code


def _die(number: int) -> NoReturn:
    if _code_on_signal is not None:
        os._exit(_code_on_signal)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # never reached, unless the signal is blocked
