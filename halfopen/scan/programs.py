"""Where programs are. Loaded before nmap starts (head_start.py), so it imports next to nothing."""

import os

from halfopen.errors import HopelessError

# Where Debian, Red Hat, Alpine and a local build put programs: some monitors empty PATH.
USUAL_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")


def find_program(name: str, advice: str = "install nmap, or name it with --nmap") -> str:
    """Return the path of a program, from PATH's absolute folders, then the usual ones.

    A name with a slash is taken as it is. Raises HopelessError with the advice if there is none.
    """
    if "/" in name:
        return name
    folders = [f for f in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(f)]
    for folder in folders + [place for place in USUAL_PLACES if place not in folders]:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise HopelessError(f"{name} not found on PATH, nor in {', '.join(USUAL_PLACES[:3])}; {advice}")
