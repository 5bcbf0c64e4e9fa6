"""One program in a session of its own: posix_spawn, or fork where that can't.

Loaded before the first nmap starts, so it imports next to nothing.
"""

# signal itself loads enum: 5 ms more before nmap starts.
import _signal as signal  # type: ignore[import-not-found]
import errno
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, NoReturn, Optional, Sequence

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

_late: "List[Process]" = []
"""Those that outlasted wait(). A watch of days looks for their ends again at each start, for a
zombie stays in the table of processes until then."""


class Process:
    """A program that runs in a session, and so a process group, of its own."""

    def __init__(self, argv: "Sequence[str]") -> None:
        """Start it; raise OSError if that fails."""
        try:
            _late[:] = [process for process in _late if not process._reap()]
        except ChildProcessError:  # who imports us waits for children as well
            _late.clear()
        self.argv = argv
        self.started = time.monotonic()
        self.exit_code: Optional[int] = None
        """None until it has been waited for; -N if signal N ended it."""
        _keep_descriptors()
        to_close: List[int] = []
        try:
            to_close.append(os.open(os.devnull, os.O_RDONLY))
            to_close += os.pipe()
            to_close += os.pipe()
            stdin, from_stdout, stdout, from_stderr, stderr = to_close
            self.pid = _spawn(argv, (stdin, stdout, stderr))
            to_close = [stdin, stdout, stderr]
            self.printed = {from_stdout: b"", from_stderr: b""}
            self.pipes = [from_stdout, from_stderr]
            """Those that are still open."""
        finally:
            for descriptor in to_close:
                os.close(descriptor)

    def read(self, pipe: int) -> None:
        """Take what a pipe has; at its end, close it."""
        chunk = os.read(pipe, 65536)
        self.printed[pipe] += chunk
        if not chunk:
            self.pipes.remove(pipe)
            os.close(pipe)

    def close(self) -> None:
        """Close the pipes that are still open."""
        while self.pipes:
            os.close(self.pipes.pop())

    def has_exited(self) -> bool:
        """Return whether it has ended, and leave its zombie: its number can't be another's yet."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self, until: float) -> None:
        """Wait for its end until then (`time.monotonic` seconds), and no longer."""
        while self.exit_code is None:
            late = time.monotonic() >= until  # before the last look, should we be held up
            if self._reap():
                return
            if late:
                # It is in an uninterruptible system call, or root's by sudo.
                self.exit_code = -signal.SIGKILL
                _late.append(self)
            else:
                time.sleep(0.001)

    def _reap(self) -> bool:
        """Take the exit code of a program that has ended; return whether it has."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:  # a program that ended by itself has the signal 0
            self.exit_code = -os.WTERMSIG(status) or os.WEXITSTATUS(status)
        return bool(pid)


def _keep_descriptors() -> None:
    """See to it that nmap does not inherit what our caller left open."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # /proc is not mounted: what a caller leaves open has small numbers
        numbers = list(range(1024))
    for number in numbers:
        if number > 2:
            try:  # noqa: SIM105  contextlib takes longer to load
                os.set_inheritable(number, False)
            except OSError:
                pass  # not open, or listdir's own


def _spawn(argv: "Sequence[str]", streams: "Sequence[int]") -> int:
    """Start a program with these descriptors as 0, 1 and 2; return its pid."""
    if hasattr(os, "posix_spawn"):
        dup2 = os.POSIX_SPAWN_DUP2  # novm
        try:
            return os.posix_spawn(  # novm
                argv[0],
                list(argv),
                {**os.environ, **_for_sudo(argv)},
                file_actions=[(dup2, stream, number) for number, stream in enumerate(streams)],
                setsid=True,
                setsigmask=[],
                setsigdef=_IGNORED_BY_PYTHON,
            )
        except (NotImplementedError, ValueError):
            # A Python built with a C library older than glibc 2.26 has no setsid in it; and none
            # takes an environment that has a variable without a name.
            pass
        except PermissionError as error:
            # glibc before 2.36 says EPERM of any failed clone(), where fork says what is lacking.
            if error.errno != errno.EPERM:
                raise
    return _fork(argv, streams)


def _for_sudo(argv: "Sequence[str]") -> "Dict[str, str]":
    """Return what sudo has to find in its environment: diagnosis.py reads what it says."""
    return {"LC_ALL": "C"} if any(os.path.basename(word) == "sudo" for word in argv) else {}


def _fork(argv: "Sequence[str]", streams: "Sequence[int]") -> int:
    """Do what posix_spawn does, where it can't: on Python 3.7, for one."""
    reading, writing = os.pipe()
    with open(reading, "rb") as failing:
        try:
            pid = os.fork()
            if pid == 0:
                _become(argv, streams, writing)
        finally:
            os.close(writing)
        failed = failing.read(10)
    if not failed:  # exec has closed the other end
        return pid
    os.waitpid(pid, 0)
    raise OSError(int(failed), os.strerror(int(failed)), argv[0])


def _become(argv: "Sequence[str]", streams: "Sequence[int]", failing: int) -> "NoReturn":
    """Become the program, in the child; write to `failing` why not."""
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for ignored in _IGNORED_BY_PYTHON:
            signal.signal(ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.environ.update(_for_sudo(argv))
        os.execv(argv[0], list(argv))  # noqa: S606  no shell is wanted
    except BaseException as error:  # noqa: BLE001  the child must not go on as a second halfopen
        os.write(failing, b"%d" % (getattr(error, "errno", None) or errno.EINVAL))
    finally:
        os._exit(127)
