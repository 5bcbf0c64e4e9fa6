"""The entry points of both commands. Imports come late: they are what _prepare() is for."""

import contextlib
import gc
import os
import signal
from typing import NoReturn

UNKNOWN = 3


def check_tcp_half_open() -> NoReturn:
    """Run the command check_tcp_half_open; never returns."""
    _prepare()
    try:
        from halfopen import drop_in, leave  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001  whatever it is, the server is not to blame
        _give_up(error)
    leave.leave(drop_in.main, drop_in.PLUGIN_CONVENTION)


def halfopen() -> NoReturn:
    """Run the command halfopen; never returns."""
    _prepare()
    try:
        from halfopen import drop_in, leave  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001
        _give_up(error)
    leave.leave(drop_in.main_halfopen, drop_in.CONVENTION)


def _prepare() -> None:
    # Until leave.py takes the signals: Ctrl-C ends us, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A check ends before its garbage could matter; looking for it is 4% of the CPU time.
    gc.disable()


def _give_up(error: Exception) -> NoReturn:
    """Say that not even our own modules can be loaded, by means that need none of them."""
    line = f"TCP HALF-OPEN UNKNOWN - cannot load halfopen ({error!r}); install it again\n"
    with contextlib.suppress(OSError):
        os.write(1, line.encode("ascii", "backslashreplace"))
    os._exit(UNKNOWN)
