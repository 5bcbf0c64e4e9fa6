"""The entry points of both commands. Imports come late: nmap gets a head start on them."""

import gc
import os
import signal
import sys

from halfopen.scan import head_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

UNKNOWN = 3


def check_tcp_half_open() -> "NoReturn":
    """Run the command check_tcp_half_open; never returns."""
    _prepare()
    head_start.start(sys.argv[1:])
    try:
        from halfopen.cli import fast_path  # noqa: PLC0415
        from halfopen.cli.exit import leave  # noqa: PLC0415
        from halfopen.formats import registry  # noqa: PLC0415
    except BaseException as error:  # noqa: BLE001  whatever it is, the server is not to blame
        _give_up(error)
    try:
        leave(fast_path.main, registry.PLUGIN_FORMAT)
    except Exception as error:  # noqa: BLE001  not enough memory even to say so, perhaps
        _give_up(error)


def halfopen() -> "NoReturn":
    """Run the command halfopen; never returns."""
    _prepare()
    if sys.argv[1:2] == ["check"] and len(sys.argv) == 4:
        head_start.start(sys.argv[2:])
    try:
        from halfopen.cli import fast_path  # noqa: PLC0415
        from halfopen.cli.exit import leave  # noqa: PLC0415
        from halfopen.formats import registry  # noqa: PLC0415
    except BaseException as error:  # noqa: BLE001
        _give_up(error)
    try:
        leave(fast_path.main_halfopen, registry.DEFAULT_FORMAT)
    except Exception as error:  # noqa: BLE001
        _give_up(error)


def _prepare() -> None:
    head_start.begin()
    # Until exit.py takes the signals: Ctrl-C ends us, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # An ignored SIGCHLD, inherited, would hide every exit code.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A check ends before its garbage could matter; looking for it is 4% of the CPU time.
    gc.disable()
    _open_standard_descriptors()


def _open_standard_descriptors() -> None:
    """Put /dev/null where 0, 1 or 2 is closed, as HAProxy may leave them.

    Or else a socket of the resolver's lands there, and what we print goes into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            try:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
            except OSError:
                return


def _give_up(error: BaseException) -> "NoReturn":
    """Say that our own modules can't be loaded, or have no memory, by means that need none."""
    code = UNKNOWN
    try:
        # What registry.py would see to: to F5 any output is up, to keepalived any code
        # above 1, and systemd takes all but 255 for a reason to skip.
        asked = " ".join(sys.argv).lower().replace("--format=", "--format ")
        code = (
            1 if "--format keepalived" in asked else 255 if "--format systemd" in asked else UNKNOWN
        )
        head_start.abandon()
        advice = "install it again"
        if isinstance(error, (MemoryError, OSError)):
            advice = "free some memory, or raise the limits (ulimit -n, -v)"
        line = f"TCP HALF-OPEN UNKNOWN - cannot load halfopen ({error!r}); {advice}\n"
        os.write(2 if "--format f5" in asked else 1, line.encode("ascii", "backslashreplace"))
    finally:
        os._exit(code)  # whatever went wrong on the way here
