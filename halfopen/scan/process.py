"""Starts nmap, and kills it: nothing else on the way of a check starts a process.

Loaded before the first nmap starts, so it imports next to nothing.
"""

import errno
import os
import signal
import time

from halfopen.errors import CheckError, HopelessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, NoReturn, Optional, Sequence, Set, Union

USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian, Red Hat, Alpine and a local build put programs: some monitors empty PATH."""

ENDING_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGALRM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""What ends us, and nmap with us."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
"""Why a program cannot be started now, but perhaps can later."""


def find_program(name: str, advice: str = "install nmap, or name it with --nmap") -> str:
    """Return the path of a program, from PATH's absolute folders, then the usual ones.

    A name with a slash is returned as it is. Raises HopelessError with the advice if there is none.
    """
    if "/" in name:
        return name
    folders = [f for f in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(f)]
    for folder in folders + [usual for usual in USUAL_FOLDERS if usual not in folders]:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    usual = ", ".join(USUAL_FOLDERS[:3])
    raise HopelessError(f"{name} not found on PATH, nor in {usual}; {advice}")


def calling(nmap: str, sudo: bool, needs_telling: "Callable[[str], bool]") -> "List[str]":
    """Return how to call nmap; raise HopelessError if it, or sudo, is not there.

    needs_telling: diagnosis.nmap_needs_telling, which root need not load.
    """
    path = find_program(nmap)
    if sudo:
        return [find_program("sudo", "install sudo, or leave out --sudo"), "-n", path]
    return [path, *(["--privileged"] if needs_telling(path) else [])]


# -- one process --------------------------------------------------------------------------------


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
    return _fork(argv, streams)


def _for_sudo(argv: "Sequence[str]") -> "Dict[str, str]":
    """Return what sudo has to find in its environment: diagnosis.py reads what it says."""
    by_sudo = any(os.path.basename(word) == "sudo" for word in argv)
    return {"LC_ALL": "C"} if by_sudo else {}


def _fork(argv: "Sequence[str]", streams: "Sequence[int]") -> int:
    """Do what posix_spawn does where there is none: on Python 3.7."""
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


# -- all of them, and signals -------------------------------------------------------------------

_alive: "Set[Process]" = set()
_early: "Optional[Process]" = None
_mask: "List[Set[Union[int, signal.Signals]]]" = []
_starting = False
_signal_while_starting = 0
_code_on_signal: "Optional[int]" = None
_interrupted = False


def start(argv: "Sequence[str]") -> Process:
    """Start a program; raise CheckError, or HopelessError, if it cannot be started."""
    global _starting
    _starting = True
    try:
        process = Process(argv)
        _alive.add(process)
        return process
    except OSError as error:
        kind = CheckError if error.errno in _PASSING else HopelessError
        raise kind(_cannot_start(argv[0], error)) from error
    finally:
        _starting = False
        if _signal_while_starting:
            end_by_signal(_signal_while_starting)


def _cannot_start(program: str, error: OSError) -> str:
    if error.filename == os.devnull and error.errno == errno.ENOENT:
        return f"cannot open {os.devnull} for nmap; mount /dev"
    advice = {
        errno.ENOENT: "install nmap, or name it with --nmap",
        errno.EACCES: "make it executable for this user, or name another with --nmap",
        errno.ENOEXEC: "it is not a program for this machine; reinstall nmap",
        errno.EAGAIN: "raise the limit of processes (ulimit -u)",
        errno.ENOMEM: "free some memory",
        errno.EMFILE: "raise the limit (ulimit -n)",
        errno.ETXTBSY: "it is being written; try again after that",
    }.get(error.errno or 0, "check that nmap runs by hand")
    if error.errno == errno.EPERM:
        from halfopen.scan.diagnosis import why_no_exec  # noqa: PLC0415  not before nmap starts

        advice = why_no_exec(program)
    # Not strerror: Python 3.7 puts the path into it.
    why = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot start {program}: {why}; {advice}"


def start_early(argv: "Sequence[str]", reckoned: float) -> None:
    """Start nmap before anything takes signals; take() returns it.

    `reckoned`: when its time limit was reckoned (`time.monotonic` seconds).

    Signals wait until let_signals_in(). An nmap that cannot be started is not mentioned: whoever
    calls start() then is told.
    """
    global _early
    _mask.append(signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS))
    try:
        _early = start(argv)
        _early.started = reckoned
    except Exception:  # noqa: BLE001, S110  see above
        pass


def started_early() -> bool:
    """Return whether an early nmap waits to be taken."""
    return _early is not None


def reckoned() -> float:
    """Return of what time to reckon the next nmap's limit: now, or as the early one's was.

    The limit is exact below 4 s, and take() wants the same arguments.
    """
    return _early.started if _early else time.monotonic()


def let_signals_in() -> None:
    """Undo what start_early() did to signals: from now on end_by_signal() handles them."""
    while _mask:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask.pop())


def take(argv: "Sequence[str]") -> "Optional[Process]":
    """Return the nmap that start_early() started, once; kill it if its arguments are others."""
    global _early
    early, _early = _early, None
    if early is not None and list(early.argv) != list(argv):
        os.close(early.stdout)
        os.close(early.stderr)
        kill(early)
        return None
    return early


def kill(*processes: Process) -> None:
    """Kill programs with their groups, and wait a moment for their ends."""
    for process in processes:
        if process.exit_code is None:
            # Before the wait, which frees the number for others.
            _kill_group(process)
            _alive.discard(process)
    until = time.monotonic() + 0.2
    for process in processes:
        process.wait(until)


def kill_all() -> None:
    """Kill every nmap that still runs, with its group."""
    take(())
    kill(*_alive)


def _kill_group(process: Process) -> None:
    """Kill a program and its children: nmap may be a script.

    By SIGKILL, for nmap has nothing to tidy up, and a SIGTERM can be ignored.
    """
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except PermissionError:
        pass  # sudo made it root's; nmap's own --host-timeout ends it
    except ProcessLookupError:
        pass  # all have ended


def interrupt() -> None:
    """Kill, from a signal's handler, what runs, and let run_all() start nothing more."""
    global _interrupted
    _interrupted = True
    for process in tuple(_alive):
        _kill_group(process)


def interrupted() -> bool:
    """Return whether interrupt() was called."""
    return _interrupted


def be_uninterrupted() -> None:
    """Forget an interrupt(): what runs from now on runs to its end."""
    global _interrupted
    _interrupted = False


def end_by_signal(number: int, _frame: object = None) -> None:
    """Handle a signal that ends us: kill nmap, and die by that signal.

    The caller then sees what it did to us, never an exit code that means something.
    """
    global _signal_while_starting
    if _starting:  # a child may run that _alive does not name yet: start() comes back to this
        _signal_while_starting = number
        return
    _signal_while_starting = 0
    kill_all()
    if _code_on_signal is not None:
        os._exit(_code_on_signal)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # reached only if the signal is blocked


def exit_on_signals(code: int) -> None:
    """Let end_by_signal() end us with an exit code instead.

    For a caller that runs us in a shell: the shell makes 128 + N of a death by signal.
    """
    global _code_on_signal
    _code_on_signal = code
