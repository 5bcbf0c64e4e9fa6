"""Files that the user names, and standard input as `-`."""

import errno
import os
import stat
import sys
from typing import IO

from halfopen.errors import UsageError

MAX_SIZE = 64000000
"""Bytes; a recording of all hosts that an argv can name is smaller. /dev/zero never ends."""


def read(path: str) -> bytes:
    """Return all of a file, or of standard input for `-`; raise UsageError if it can't be read."""
    try:
        if path == "-":
            if sys.stdin is None:
                raise UsageError("standard input is closed; name a file instead of -")
            return _all_of(sys.stdin.buffer, path)
        with open(path, "rb") as file:
            return _all_of(file, path)
    except (OSError, ValueError) as error:
        raise _refusal("read", path, error, "name a readable file") from None


def replace(path: str, data: bytes) -> None:
    """Put the data where the file is, at once: who reads it sees all of the old or of the new.

    Raises UsageError if it can't be written, or is there and is no regular file: a rename would
    put a file in the place of /dev/null. A symbolic link stays one, if it is ours or root's.
    """
    try:
        path = _followed(path)
        # /dev/stdout leads to /proc: a rename would replace the caller's log.
        if path.startswith("/proc/") or (os.path.exists(path) and not os.path.isfile(path)):
            raise UsageError(f"cannot write {path!r}: not a regular file; name a file")
        # In a folder that others may write to, too, nobody can have put something there before.
        beside = f"{path}.{os.urandom(8).hex()}.tmp"
        # Readable for others, as the umask allows: the one who collects it is another user.
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
            os.replace(beside, path)
        except OSError as error:
            os.unlink(beside)
            if error.errno == errno.EPERM and _only_its_owner_may_replace(path):
                raise UsageError(
                    f"cannot write {path!r}: another user's file in a sticky folder; name another "
                    "file, or remove this one as its owner"
                ) from None
            raise
    except (OSError, ValueError) as error:
        raise _refusal("write", path, error, "name a file in a writable folder") from None


def _refusal(what: str, path: str, error: Exception, advice: str) -> UsageError:
    # A ValueError is a NUL in the name.
    why = error.strerror if isinstance(error, OSError) else "not a file name"
    return UsageError(f"cannot {what} {path!r}: {why}; {advice}")


def _only_its_owner_may_replace(path: str) -> bool:
    """Return whether the file is another user's, in a folder as /tmp."""
    folder = os.stat(os.path.dirname(path) or ".")
    return bool(folder.st_mode & stat.S_ISVTX) and os.lstat(path).st_uid != os.geteuid()


def _followed(path: str) -> str:
    """Return what a symbolic link leads to; raise UsageError if it is another user's.

    In /tmp anybody can put one there. The kernel refuses to follow it (fs.protected_symlinks), but
    is not asked: a rename replaces what the link leads to.
    """
    for _ in range(40):  # as the kernel has it
        if path.startswith("/proc/") or not os.path.islink(path):
            return path
        if os.lstat(path).st_uid not in (0, os.geteuid()):
            raise UsageError(f"cannot write {path!r}: another user's link; name a file")
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _all_of(file: IO[bytes], path: str) -> bytes:
    data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise UsageError(f"{path!r} is over {MAX_SIZE // 1000000} MB; name a smaller file")
    return data
