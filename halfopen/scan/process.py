"""Starts nmap, and kills it: nothing else on the way of a check starts a process.

Loaded before the first nmap starts, so it imports next to nothing.
"""

# signal itself loads enum: 5 ms more before nmap starts.
import _signal as signal  # type: ignore[import-not-found]
import errno
import os
import time

from halfopen.errors import CheckError, HopelessError
from halfopen.scan.spawn import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Set

USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian, Red Hat, Alpine and a local build put programs: some monitors empty PATH."""

ENDING_SIGNALS = tuple(
    getattr(signal, f"SIG{name}")
    for name in ("TERM", "INT", "HUP", "QUIT", "ALRM", "USR1", "USR2", "XCPU")
)
"""What ends us, and nmap with us."""

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


def calling(nmap: str, sudo: bool) -> "List[str]":
    """Return how to call nmap; raise HopelessError if it, or sudo, is not there."""
    path = find_program(nmap)
    if sudo:
        return [find_program("sudo", "install sudo, or leave out --sudo"), "-n", path]
    if os.geteuid() != 0:
        from halfopen.scan.diagnosis import nmap_needs_telling  # noqa: PLC0415  not for root

        if nmap_needs_telling(path):
            return [path, "--privileged"]
    return [path]


early: "List[Process]" = []
"""What start_early() started, until take() has it."""

interrupted = False
"""Whether interrupt() was called; whoever runs more nmap sets it back."""

code_on_signal: "Optional[int]" = None
"""The exit code with which end_by_signal() is to end us, for a caller that runs us in a shell: the
shell makes 128 + N of a death by signal."""

_alive: "Set[Process]" = set()
_mask: "List[Set[int]]" = []
_starting = False
_signal_while_starting = 0


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


def start_early(commands: "Sequence[Sequence[str]]", reckoned: float) -> None:
    """Start nmap before anything takes signals; take() returns each.

    `reckoned`: when their time limit was reckoned (`time.monotonic` seconds).

    Signals wait until let_signals_in(). An nmap that cannot be started is not mentioned: whoever
    calls start() then is told.
    """
    _mask.append(signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS))
    try:
        for argv in commands:
            early.append(start(argv))
            early[-1].started = reckoned
    except Exception:  # noqa: BLE001, S110  see above
        pass


def reckoned() -> float:
    """Return of what time to reckon the next nmap's limit: now, or as the early one's was.

    The limit is exact below 4 s, and take() wants the same arguments.
    """
    return early[0].started if early else time.monotonic()


def let_signals_in() -> None:
    """Undo what start_early() did to signals: from now on end_by_signal() handles them."""
    while _mask:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask.pop())


def take(argv: "Sequence[str]") -> "Optional[Process]":
    """Return the early nmap that has these arguments, once; if none has, kill them all."""
    for process in early:
        if list(process.argv) == list(argv):
            early.remove(process)
            return process
    # Emptied first: a signal's handler must not kill what has been waited for.
    kill(*(early.pop() for _ in early[:]))
    return None


def kill(*processes: Process) -> None:
    """Kill programs with their groups, hear no more of them, and wait a moment for their ends."""
    for process in processes:
        process.close()
        if process.exit_code is None:
            # Before the wait, which frees the number for others.
            _kill_group(process)
            _alive.discard(process)
    until = time.monotonic() + 0.5
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
    try:  # noqa: SIM105  contextlib takes longer to load
        os.killpg(process.pid, signal.SIGKILL)
    except (PermissionError, ProcessLookupError):
        pass  # sudo made it root's: nmap's own --host-timeout ends it; or all have ended


def interrupt() -> None:
    """Kill, from a signal's handler, what runs, and let run_all() start nothing more."""
    global interrupted
    interrupted = True
    for process in tuple(_alive):
        _kill_group(process)


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
    if code_on_signal is not None:
        os._exit(code_on_signal)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # reached only if the signal is blocked
