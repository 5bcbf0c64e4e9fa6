"""Keeps nmap's runs as recordings, FOLDER/nmap-VERSION/CASE/{nmap.xml,run.json}.

The layout is that of fixtures/recorded, so that `halfopen replay` and the tests read it.
"""

import json
import os
import platform
import stat
import time
from typing import Dict, Sequence

from halfopen import __version__
from halfopen.errors import UsageError
from halfopen.smoke.findings import Examination, Trial


def make_folder(folder: str) -> None:
    """Make the folder for save(), before the work begins; raise UsageError if that fails."""
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _cannot_write(folder, error) from None


def save(found: Examination, folder: str) -> None:
    """Write each run as a recording; raise UsageError if it can't be written."""
    trials = [trial for finding in found.findings for trial in finding.trials]
    if not trials:
        return
    nmap = f"nmap-{found.nmap.version}"
    top = os.path.join(folder, nmap)
    _make_ours(top)
    recorded = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for case, trial in _numbered(trials).items():
        run = {
            "argv": list(trial.run.argv),
            "returncode": trial.run.exit_code,
            "seconds": round(trial.run.seconds, 3),
            "stderr": trial.run.stderr.decode("utf-8", "replace"),
            "truth": f"{trial.port} {trial.state}",
            "nmap": nmap,
            "recorded": recorded,
            "kernel": platform.release().split("-", 1)[0],
            "user": "root" if os.geteuid() == 0 else "another",
            "halfopen": __version__,
        }
        place = os.path.join(top, case)
        try:
            os.makedirs(place, exist_ok=True)
            with open(os.path.join(place, "nmap.xml"), "wb") as xml:
                xml.write(trial.run.stdout)
            with open(os.path.join(place, "run.json"), "w", encoding="utf-8") as facts:
                facts.write(json.dumps(run, indent=2) + "\n")
        except (OSError, ValueError) as error:
            raise _cannot_write(folder, error) from None


def _make_ours(folder: str) -> None:
    """Make the folder; raise UsageError if another user can have put links into it, as in /tmp."""
    make_folder(folder)
    there = os.lstat(folder)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise UsageError(f"{folder!r} is another user's; name another folder")


def _cannot_write(folder: str, error: Exception) -> UsageError:
    return UsageError(f"cannot write to {folder!r} ({error}); name another folder")


def _numbered(trials: Sequence[Trial]) -> Dict[str, Trial]:
    """Return the runs by name: their case, with a number from the second on."""
    found: Dict[str, Trial] = {}
    for trial in trials:
        names = (trial.case if n == 1 else f"{trial.case}-{n}" for n in range(1, len(trials) + 1))
        found[next(name for name in names if name not in found)] = trial
    return found
