"""The entry points of both commands. Imports come late, so that they come after gc.disable()."""

import gc
from typing import NoReturn


def check_tcp_half_open() -> NoReturn:
    """Run the command check_tcp_half_open; never returns."""
    _spare_the_collector()
    from halfopen import drop_in, leave  # noqa: PLC0415

    leave.leave(drop_in.main, drop_in.PLUGIN_CONVENTION)


def halfopen() -> NoReturn:
    """Run the command halfopen; never returns."""
    _spare_the_collector()
    from halfopen import drop_in, leave  # noqa: PLC0415

    leave.leave(drop_in.main_halfopen, drop_in.CONVENTION)


def _spare_the_collector() -> None:
    # A check ends before its garbage could matter; looking for it is 4% of the CPU time.
    gc.disable()
