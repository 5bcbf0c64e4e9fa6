"""What `make run` does: one check, its command and its line.

HALFOPEN_TARGET holds the check's words, such as "192.0.2.25 25"; without it the check meets a
listener of our own, which lives as long as this does. Exits as the check does; make then says so
and exits with 2, as it does for every failure.
"""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    words = os.environ.get("HALFOPEN_TARGET", "").split()
    words = words or ["127.0.0.1", str(listener.getsockname()[1])]
    check = os.path.relpath(Path(sys.executable).with_name("check_tcp_half_open"))
    sudo = ["sudo"] if "SUDO_USER" in os.environ else []  # as the user may type it
    print("$", " ".join(map(shlex.quote, [*sudo, check, *words])), flush=True)
    code = subprocess.run([check, *words], check=False, timeout=120).returncode
    print("exit code", code)
    sys.exit(code)
