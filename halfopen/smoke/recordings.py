"""Keeps nmap's runs as recordings, FOLDER/nmap-VERSION/CASE/{nmap.xml,run.json}.

The layout is that of fixtures/recorded, so that `halfopen replay` and the tests read it.
"""

import json
import os
import platform
import re
import stat
import time
from pathlib import Path

from halfopen import __version__
from halfopen.errors import UsageError
from halfopen.smoke.findings import Examination


def make_folder(folder: str) -> None:
    """Make the folder for save(), before the work begins; raise UsageError if that fails."""
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write to {folder!r} ({error}); name another folder") from None


def save(found: Examination, folder: str) -> None:
    """Write each run as a recording, named as its finding.

    Raises OSError if that fails, UsageError if another user's folder is in the place.
    """
    top = Path(folder, f"nmap-{found.version}")
    for finding in found.findings:
        case = re.sub(r"\W+", "-", f"{finding.group} {finding.name}")
        for number, run in enumerate(finding.runs, 1):
            _make_ours(top)
            facts = {
                "argv": list(run.argv),
                "returncode": run.exit_code,
                "seconds": round(run.seconds, 3),
                "stderr": run.stderr.decode("utf-8", "replace"),
                "truth": finding.truth,
                "nmap": top.name,
                "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "kernel": platform.release().split("-", 1)[0],
                "user": "root" if os.geteuid() == 0 else "another",
                "halfopen": __version__,
            }
            place = top / (f"{case}-{number}" if number > 1 else case)
            place.mkdir(exist_ok=True)
            (place / "nmap.xml").write_bytes(run.stdout)
            (place / "run.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def _make_ours(folder: Path) -> None:
    """Make the folder; raise UsageError if another user can have put links into it, as in /tmp."""
    folder.mkdir(parents=True, exist_ok=True)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise UsageError(f"{str(folder)!r} is another user's; name another folder")
