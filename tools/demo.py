"""What `make run` does: one check, its command and its line.

HALFOPEN_TARGET holds the check's words, such as "192.0.2.25 25"; without it the check meets a
listener of our own, which lives as long as this does. Exits as the check does; make then says so
and exits with 2, as it does for every failure.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

LONGEST_S = 120


def main() -> int:
    """Run the check and return its exit code."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        words = os.environ.get("HALFOPEN_TARGET", "").split()
        return show(words or ["127.0.0.1", str(listener.getsockname()[1])])


def show(words: list[str]) -> int:
    """Print the command, let it print its line, return its exit code."""
    check = os.path.relpath(Path(sys.executable).with_name("check_tcp_half_open"))
    command = [*sudo(), check, *words]
    print("$", " ".join(map(shlex.quote, command)), flush=True)
    code = subprocess.run(command, check=False, timeout=LONGEST_S).returncode
    print("exit code", code)
    return code


def sudo() -> list[str]:
    """Return what makes us root, if that works; if not, the check itself says what it needs."""
    if os.geteuid() == 0 or not shutil.which("sudo"):
        return []
    ask = ["sudo", "-n", "true"]
    granted = subprocess.run(ask, check=False, stderr=subprocess.DEVNULL, timeout=10).returncode
    return ["sudo"] if granted == 0 or sys.stdin.isatty() else []


if __name__ == "__main__":
    sys.exit(main())
