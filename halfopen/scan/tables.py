"""nmap's tables for the single file, empty ones: nmap can't read the package's inside a zip.

They are root's alone, in a folder that only root can write to. Where that can't be, as another
user or with a read-only /run, nmap reads its own, which takes longer and is otherwise the same.
Loaded before nmap starts, so it imports next to nothing.
"""

import os
import stat

RUN = "/run"
NAME = "halfopen-nmap-tables"
TABLES = ("nmap-services", "nmap-mac-prefixes")


def folder() -> str:
    """Return the folder of the tables, which is made if it is not right; "" if there can't be one.

    It is looked at each time: four lstat, and nothing to read, as the tables are empty.
    """
    try:
        if os.geteuid() != 0 or not _is_roots(RUN, stat.S_IFDIR):
            return ""
        path = os.path.join(RUN, NAME)
        if not _is_right(path):
            _make(path)
        return path if _is_right(path) else ""
    except Exception:  # noqa: BLE001  without them a check takes longer, and is as good
        return ""


def _is_right(path: str) -> bool:
    try:
        return _is_roots(path, stat.S_IFDIR) and all(
            _is_roots(os.path.join(path, table), stat.S_IFREG) for table in TABLES
        )
    except OSError:
        return False


def _is_roots(path: str, kind: int) -> bool:
    """Return whether it is a folder, or an empty file, that root alone can write to; no link is."""
    found = os.lstat(path)
    return (
        stat.S_IFMT(found.st_mode) == kind
        and found.st_uid == 0
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and (kind == stat.S_IFDIR or found.st_size == 0)
    )


def _make(path: str) -> None:
    """Make the folder beside, and put it there whole; what was there instead is removed."""
    beside = f"{path}.{os.urandom(8).hex()}"
    before = os.umask(0o022)  # keepalived's would keep nmap out
    try:
        os.mkdir(beside, 0o700)
        new = os.path.join(beside, "new")
        os.mkdir(new)
        for table in TABLES:
            os.close(os.open(os.path.join(new, table), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        if os.path.lexists(path):
            os.rename(path, os.path.join(beside, "old"))
        os.rename(new, path)
    except OSError:
        pass  # /run is read-only; or another check has just put one there
    finally:
        os.umask(before)
        if os.path.exists(beside):
            import shutil  # noqa: PLC0415  once after each boot

            shutil.rmtree(beside, ignore_errors=True)
