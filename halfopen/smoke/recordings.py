"""Keeps nmap's runs as recordings, FOLDER/nmap-VERSION/CASE/{nmap.xml,run.json}.

The layout is that of fixtures/recorded, so that `halfopen replay` and the tests read it.
"""

import contextlib
import json
import os
import platform
import stat
import time
from typing import Dict, Iterator

from halfopen import __version__
from halfopen.errors import UsageError
from halfopen.smoke.findings import Examination


def make_folder(folder: str) -> None:
    """Make the folder for save(), before the work begins; raise UsageError if that fails."""
    with _named(folder):
        os.makedirs(folder, exist_ok=True)


@contextlib.contextmanager
def _named(folder: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write to {folder!r} ({error}); name another folder") from None


def save(found: Examination, folder: str) -> None:
    """Write each run as a recording; raise UsageError if it can't be written."""
    nmap = f"nmap-{found.nmap.version}"
    top = os.path.join(folder, nmap)
    numbers: Dict[str, int] = {}
    with _named(folder):
        for trial in (trial for finding in found.findings for trial in finding.trials):
            if not numbers:
                _make_ours(top)
            number = numbers[trial.case] = numbers.get(trial.case, 0) + 1
            place = os.path.join(top, trial.case + (f"-{number}" if number > 1 else ""))
            run = {
                "argv": list(trial.run.argv),
                "returncode": trial.run.exit_code,
                "seconds": round(trial.run.seconds, 3),
                "stderr": trial.run.stderr.decode("utf-8", "replace"),
                "truth": f"{trial.port} {trial.state}",
                "nmap": nmap,
                "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "kernel": platform.release().split("-", 1)[0],
                "user": "root" if os.geteuid() == 0 else "another",
                "halfopen": __version__,
            }
            os.makedirs(place, exist_ok=True)
            with open(os.path.join(place, "nmap.xml"), "wb") as xml:
                xml.write(trial.run.stdout)
            with open(os.path.join(place, "run.json"), "w", encoding="utf-8") as facts:
                facts.write(json.dumps(run, indent=2) + "\n")


def _make_ours(folder: str) -> None:
    """Make the folder; raise UsageError if another user can have put links into it, as in /tmp."""
    os.makedirs(folder, exist_ok=True)
    there = os.lstat(folder)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise UsageError(f"{folder!r} is another user's; name another folder")
