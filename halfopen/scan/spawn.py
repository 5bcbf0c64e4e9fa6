"""One program in a session of its own: posix_spawn, or fork where that can't.

Loaded before the first nmap starts, so it imports next to nothing.
"""

import errno
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, NoReturn, Optional, Sequence

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class Process:
    """A program that runs in a session, and so a process group, of its own."""

    def __init__(self, argv: "Sequence[str]") -> None:
        """Start it; raise OSError if that fails."""
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
            stdin, self.stdout, stdout, self.stderr, stderr = to_close
            self.pid = _spawn(argv, (stdin, stdout, stderr))
            to_close = [stdin, stdout, stderr]
        finally:
            for descriptor in to_close:
                os.close(descriptor)

    def has_exited(self) -> bool:
        """Return whether it has ended, and leave its zombie: its number can't be another's yet."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self, until: float) -> None:
        """Wait for its end until then (`time.monotonic` seconds), and no longer."""
        while self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid and os.WIFSIGNALED(status):
                self.exit_code = -os.WTERMSIG(status)
            elif pid:
                self.exit_code = os.WEXITSTATUS(status)
            elif time.monotonic() >= until:
                # It is in an uninterruptible system call, or root's by sudo.
                self.exit_code = -signal.SIGKILL
            else:
                time.sleep(0.001)


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
        try:
            return os.posix_spawn(  # novm
                argv[0],
                list(argv),
                {**os.environ, **_for_sudo(argv)},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stream, number)  # novm
                    for number, stream in enumerate(streams)
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=_IGNORED_BY_PYTHON,
            )
        except NotImplementedError:
            pass  # a Python built with a C library older than glibc 2.26 has no setsid in it
        except ValueError:
            pass  # it does not take an environment that has a variable without a name
        except PermissionError as error:
            # glibc before 2.36 says EPERM of any failed clone(), where fork says what is lacking.
            if error.errno != errno.EPERM:
                raise
    return _fork(argv, streams)


def _for_sudo(argv: "Sequence[str]") -> "Dict[str, str]":
    """Return what sudo has to find in its environment: diagnosis.py reads what it says."""
    by_sudo = any(os.path.basename(word) == "sudo" for word in argv)
    return {"LC_ALL": "C"} if by_sudo else {}


def _fork(argv: "Sequence[str]", streams: "Sequence[int]") -> int:
    """Do what posix_spawn does, where it can't: on Python 3.7, for one."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, streams, writing)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        failed = os.read(reading, 10)
    finally:
        os.close(reading)
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
    except OSError as error:
        os.write(failing, b"%d" % (error.errno or errno.EINVAL))
    except BaseException:  # noqa: BLE001  the child must not go on as a second halfopen
        os.write(failing, b"%d" % errno.EINVAL)
    finally:
        os._exit(127)
