"""Files that the user names, and standard input as `-`."""

import sys

from halfopen.errors import UsageError


def read(path: str) -> bytes:
    """Return all of a file, or of standard input for `-`; raise UsageError if it can't be read."""
    try:
        if path == "-":
            if sys.stdin is None:
                raise UsageError("standard input is closed; name a file instead of -")
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else "not a file name"
        raise UsageError(f"cannot read {path!r}: {why}; name a readable file") from None
