"""When the command began: its time limit counts the start of Python as well."""

import time

TIMEOUT = 10.0
"""Seconds that a check may take by default, as the monitoring plugins guidelines have it."""

began = time.monotonic()
"""When this command began (`time.monotonic` seconds)."""


def begin() -> None:
    """Begin a command now: another may have run in this process before."""
    global began
    began = time.monotonic()
