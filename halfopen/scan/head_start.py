"""The commonest check, of an IPv4 address by root, starts nmap before all else is loaded.

Loading Python's modules takes half as long as the scan; loaded while it runs, they cost nothing,
and the check takes a tenth less. Nothing else changes: check.py builds its command as ever, and
runner.py takes this run if it has the very same words; if not, it kills it and starts another.
"""

import os
import signal
import time

from halfopen.scan import command, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, NoReturn, Optional, Sequence, Set, Union

TIMEOUT = 10.0
"""Seconds that a check may take by default, as the monitoring plugins guidelines have it."""

began = time.monotonic()
"""When this command began (`time.monotonic` seconds): its time limit counts Python's start, too."""

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
"""What ends us; exit.py takes them, and nmap along. Until then they wait."""


class HeadStart:
    """An nmap that runs already."""

    def __init__(self, argv: "Sequence[str]") -> None:
        """Start it; raise what posix_spawn raises, or OSError, if that fails."""
        self.argv = argv
        self.started = time.monotonic()
        _keep_descriptors()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        try:
            self.pid = _spawn(argv, stdout, stderr)
        except BaseException:
            os.close(self.stdout)
            os.close(self.stderr)
            raise
        finally:
            os.close(stdout)
            os.close(stderr)


_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def _spawn(argv: "Sequence[str]", stdout: int, stderr: int) -> int:
    """Start nmap in a session of its own; return its pid."""
    if not hasattr(os, "posix_spawn"):
        return _fork(argv, stdout, stderr)
    return os.posix_spawn(  # novm
        argv[0],
        list(argv),
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),  # novm
            (os.POSIX_SPAWN_DUP2, stdout, 1),  # novm
            (os.POSIX_SPAWN_DUP2, stderr, 2),  # novm
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=_IGNORED_BY_PYTHON,
    )


def _fork(argv: "Sequence[str]", stdout: int, stderr: int) -> int:
    """Do what posix_spawn does where there is none: on Python 3.7."""
    failed, failing = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, stdout, stderr, failing)
    except BaseException:
        os.close(failed)
        raise
    finally:
        os.close(failing)
    try:
        if not os.read(failed, 1):  # exec has closed the other end
            return pid
    finally:
        os.close(failed)
    os.waitpid(pid, 0)
    raise OSError("exec failed")


def _become(argv: "Sequence[str]", stdout: int, stderr: int, failing: int) -> "NoReturn":
    """Become nmap, in the child; on `failing` say that it can't be."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execv(argv[0], list(argv))  # noqa: S606  no shell is wanted
    except BaseException:  # noqa: BLE001  whatever it is, the child goes no further
        os.write(failing, b"!")
    finally:
        os._exit(127)


def _keep_descriptors() -> None:
    # There is no close_fds here: nmap would inherit what our caller left open.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:  # noqa: SIM105  contextlib takes longer to load
                os.set_inheritable(int(name), False)
            except OSError:
                pass  # listdir's own


_running: "List[HeadStart]" = []
_mask: "List[Set[Union[int, signal.Signals]]]" = []


def begin() -> None:
    """Begin a command now: another may have run in this process before."""
    global began
    began = time.monotonic()


def start(words: "Sequence[str]") -> None:
    """Start nmap if the words are a plain IPv4 address and a number, and we are root."""
    if len(words) not in (2, 4) or os.geteuid() != 0:
        return
    host, port = words[-2:]
    if any(word.startswith("-") for word in words):
        return  # four words can be options
    if not _is_ipv4(host) or not _is_number(port, 1, 65535):
        return
    # A signal that came now would leave nmap behind. exit.py lets them in again.
    _mask.append(signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS))
    try:
        nmap = programs.find_program(os.environ.get("HALFOPEN_NMAP") or "nmap")
        arguments = command.argv(
            [host],
            int(port),
            version=4,
            rtt_timeout=command.QUICK_RTT_TIMEOUT,
            time_left=TIMEOUT - 0.001,
        )
        _running.append(HeadStart([nmap, *arguments]))
    except Exception:  # noqa: BLE001, S110  whatever it is: check.py starts nmap as ever, and says
        pass


def take() -> "Optional[HeadStart]":
    """Return the nmap that runs already, once; None if there is none."""
    return _running.pop() if _running else None


def let_signals_in() -> None:
    """Undo start()'s blocking of signals."""
    while _mask:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask.pop())


def abandon() -> None:
    """Kill the nmap that runs already, if there is one, with its group."""
    early = take()
    if early is not None:
        os.killpg(early.pid, signal.SIGKILL)


def _is_ipv4(word: str) -> bool:
    """Return whether the word is an address in canonical form that one host can have."""
    numbers = word.split(".")
    return (
        len(numbers) == 4
        and _is_number(numbers[0], 1, 223)
        and all(_is_number(number, 0, 255) for number in numbers)
    )


def _is_number(word: str, least: int, most: int) -> bool:
    digits = word.isascii() and word.isdigit() and len(word) <= 5
    return digits and str(int(word)) == word and least <= int(word) <= most
