"""Makes halfopen_VERSION_all.deb with Debian's own tools, in a temporary folder.

    make_deb.py [FOLDER]      into FOLDER; dist/ if none is named

The version is halfopen's own: debian/changelog is written from it. The same commit gives the same
bytes: every date is SOURCE_DATE_EPOCH's, or else the last commit's, and the modules that come along
are those that tools/dist.py stages.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import dist
from make_man import write_pages

from halfopen import __version__

ROOT = dist.ROOT
NAME = f"halfopen_{__version__}_all.deb"
PARTS = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "fixtures/README.md"),
    *("docs", "examples", "packaging/completion"),
)
"""What halfopen.install of packaging/debian installs as it is."""

START = """\
#!/usr/bin/python3
import sys

sys.path.insert(0, "/usr/share/halfopen")

from halfopen.main import {0}

{0}()
"""
"""A command. Its first line gets -I and -S from packaging/debian/rules; what they are for
tools/dist.py says."""

CHANGELOG = """\
halfopen ({version}) unstable; urgency=medium

  * What is new is in /usr/share/doc/halfopen/CHANGELOG.md.

 -- {maintainer}  {date}
"""

LICENCES = {
    "click": ("BSD-3-Clause", "click/*"),
    "markdown_it_py": ("Expat", "markdown_it/*"),
    "mdurl": ("Expat", "mdurl/*"),
    "pygments": ("BSD-2-Clause", "pygments/*"),
    "rich": ("Expat", "rich/*"),
    "shellingham": ("ISC", "shellingham/*"),
    "typer": ("Expat", "typer/*"),
    "typing_extensions": ("PSF-2", "typing_extensions.py"),
    "zipp": ("Expat", "zipp/*"),
}
"""The distributions whose licences packaging/debian/copyright leaves to us; a new one is for
somebody to look at first."""
IN_COPYRIGHT = ("importlib_metadata", "python_nmap")

LICENCE = """
Files: usr/share/halfopen/{files}
Copyright: {holders}
License: {name}~{distribution}
{text}
"""


def main() -> None:
    """Make the package, and say where it is."""
    destination = Path(sys.argv[1]) if sys.argv[1:] else dist.DIST
    epoch = int(dist.epoch())
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="halfopen-deb-") as folder:
        lay_out(Path(folder, "halfopen"), epoch)
        # Nothing of the caller's: Debian's own Python, no language, no options, no time zone.
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        env = {"PATH": path, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(epoch)}
        build = ("/usr/bin/dpkg-buildpackage", "--build=binary", "--no-sign")
        dist.must(*build, cwd=f"{folder}/halfopen", env=env)
        destination.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(Path(folder, NAME)), str(destination))
    print(destination / NAME)


def lay_out(source: Path, epoch: int) -> None:
    """Put all that the package is made of where packaging/debian expects it."""
    shutil.copytree(str(ROOT / "packaging" / "debian"), str(source / "debian"))
    for name in PARTS:
        dist.copy(ROOT / name, source / name)
    for folder in ("man", "bin"):
        (source / folder).mkdir()
    write_pages(source / "man", epoch)
    for command in dist.COMMANDS:
        start = source / "bin" / command
        start.write_text(START.format(command))
        start.chmod(dist.EXECUTABLE)
    _examples(source / "examples")
    _changelog(source / "debian", epoch)
    _modules(source, source / "modules" / "halfopen")
    # Those of a checkout say when it was made; children before their folders.
    for path in sorted(source.rglob("*"), reverse=True):
        os.utime(str(path), (epoch, epoch))


def _changelog(debian: Path, epoch: int) -> None:
    control = debian.joinpath("control").read_text(encoding="utf-8")
    text = CHANGELOG.format(
        version=__version__,
        maintainer=re.findall(r"^Maintainer: (.*)$", control, re.MULTILINE)[0],
        date=time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(epoch)),
    )
    debian.joinpath("changelog").write_text(text, encoding="utf-8")


def _examples(folder: Path) -> None:
    """Name the places of the package."""
    for path in folder.rglob("*"):
        # A container's image has its own places.
        if path.is_file() and path.parent.name != "kubernetes":
            text = path.read_text(encoding="utf-8")
            text = re.sub(r"/usr/local(/bin/halfopen\b)", r"/usr\1", text)
            text = re.sub(
                r"/opt/halfopen/lib/\S+(/halfopen/nmap_data)", r"/usr/share/halfopen\1", text
            )
            path.write_text(text, "utf-8")


def _modules(source: Path, folder: Path) -> None:
    """Put the modules into the folder, and their licences into debian/copyright."""
    staged = source / "staged"
    dist.stage(staged)
    with source.joinpath("debian", "copyright").open("a", encoding="utf-8") as out:
        out.writelines(map(_licence, sorted(staged.glob("*.dist-info"))))
    unwanted = shutil.ignore_patterns("*.dist-info", "LICENSE*", "LICENCE*", "COPYING*")
    shutil.copytree(str(staged), str(folder), ignore=unwanted)
    shutil.rmtree(str(staged))
    for path in folder.rglob("*.py"):
        path.chmod(dist.READABLE)
        data = path.read_bytes()
        if data.startswith(b"#!"):  # none of them is a program here
            path.write_bytes(data[data.index(b"\n") :])


def _licence(info: Path) -> str:
    """Return the stanza of debian/copyright for a distribution that comes along."""
    distribution = info.name.split("-")[0]
    if distribution in IN_COPYRIGHT:
        return ""
    name, files = LICENCES[distribution]
    found = [path for path in info.rglob("*") if re.match("LICEN[SC]E|COPYING", path.name)]
    lines = "\n\n".join(
        path.read_text(encoding="utf-8").strip() for path in sorted(found)
    ).splitlines()
    holders = [line.strip() for line in lines if re.match(r"Copyright\b.*\w", line)]
    return LICENCE.format(
        files=files,
        holders="\n ".join(holders),
        name=name,
        distribution=distribution,
        text="\n".join(f" {line.rstrip() or '.'}" for line in lines),
    )


if __name__ == "__main__":
    main()
