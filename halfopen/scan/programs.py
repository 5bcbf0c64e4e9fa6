"""Where programs are. Loaded before nmap starts (head_start.py), so it imports next to nothing."""

import os

from halfopen.errors import HopelessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List

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


def calling(nmap: str, sudo: bool, needs_telling: "Callable[[str], bool]") -> "List[str]":
    """Return how to call nmap; raise HopelessError if it, or sudo, is not there.

    needs_telling: diagnosis.nmap_needs_telling, which root need not load.
    """
    path = find_program(nmap)
    if sudo:
        return [find_program("sudo", "install sudo, or leave out --sudo"), "-n", path]
    return [path, *(["--privileged"] if needs_telling(path) else [])]
