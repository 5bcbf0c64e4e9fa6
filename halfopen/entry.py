"""The entry points of both commands. Imports come late: they are what _prepare() is for."""

import gc
import signal
from typing import NoReturn


def check_tcp_half_open() -> NoReturn:
    """Run the command check_tcp_half_open; never returns."""
    _prepare()
    from halfopen import drop_in, leave  # noqa: PLC0415

    leave.leave(drop_in.main, drop_in.PLUGIN_CONVENTION)


def halfopen() -> NoReturn:
    """Run the command halfopen; never returns."""
    _prepare()
    from halfopen import drop_in, leave  # noqa: PLC0415

    leave.leave(drop_in.main_halfopen, drop_in.CONVENTION)


def _prepare() -> None:
    # Until leave.py takes the signals: Ctrl-C ends us, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A check ends before its garbage could matter; looking for it is 4% of the CPU time.
    gc.disable()
