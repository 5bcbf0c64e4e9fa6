"""Builds all that a release hands out into dist/, with SHA256SUMS, and runs it.

Without Debian's tools there is no package, and a line says so. With TAG in the environment the tag
must be this version's, and CHANGELOG.md must have the version's date.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import venv
from pathlib import Path

import dist
from dist import must

from halfopen import __version__

RECORDING = "fixtures/recorded/nmap-7.93/v4-open-single/nmap.xml"
DEBIAN_TOOLS = ("dpkg-buildpackage", "dh", "dh_python3")


def main() -> None:
    """Build, run and list the files."""
    tag = os.environ.get("TAG", "")
    if tag:
        check_tag(tag)
    shutil.rmtree(str(dist.DIST), ignore_errors=True)
    dist.packages(dist.DIST)
    for file in dist.single_files(dist.DIST):
        check_command(file)
    for package in (*dist.DIST.glob("*.whl"), *dist.DIST.glob("*.tar.gz")):
        check_package(package)
    if all(map(shutil.which, DEBIAN_TOOLS)):
        must(sys.executable, str(dist.ROOT / "tools" / "make_deb.py"), str(dist.DIST))
        (deb,) = dist.DIST.glob("*.deb")  # tests/install/test_deb.py installs one in a bare Debian
        must("dpkg-deb", "--contents", str(deb))
        if must("dpkg-deb", "--field", str(deb), "Version").strip() != __version__:
            sys.exit(f"{deb} is not {__version__}")
    else:
        print("no .deb: it needs", ", ".join(DEBIAN_TOOLS))
    names = sorted(path.name for path in dist.DIST.iterdir())
    sums = [f"{hashlib.sha256((dist.DIST / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    dist.DIST.joinpath("SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    print("".join(sums), end="")


def check_tag(tag: str) -> None:
    """End if this is not the tag of the version that is written in the sources."""
    changes = dist.ROOT.joinpath("CHANGELOG.md").read_text(encoding="utf-8")
    if tag != f"v{__version__}":
        sys.exit(f"the tag is {tag}, the version {__version__}")
    if not re.search(rf"^## {re.escape(__version__)} - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        sys.exit(f"CHANGELOG.md has no date for {__version__}")


def check_package(package: Path) -> None:
    """Install a wheel or an sdist into a fresh virtual environment, and run both commands."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        must(f"{folder}/bin/pip", "install", "-qq", "--disable-pip-version-check", str(package))
        for command in dist.COMMANDS:
            check_command(Path(folder, "bin", command))


def check_command(command: Path) -> None:
    """Have a command say its version; `halfopen` also judges what an nmap has said."""
    said = must(str(command), "--version", code=3 if command.name != "halfopen" else 0)
    if __version__ not in said.split():
        sys.exit(f"{command} says it is {said!r}")
    if command.name == "halfopen":
        must(str(command), "replay", str(dist.ROOT / RECORDING))


if __name__ == "__main__":
    main()
