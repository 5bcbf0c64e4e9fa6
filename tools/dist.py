"""Builds what is handed out, into dist/: wheel, sdist, and each command as a single file.

    dist.py                   the lot
    dist.py packages FOLDER   wheel and sdist only, into FOLDER
    dist.py files FOLDER      the single files only

A single file is a zip application: Python imports out of it, and nothing is unpacked. What a check
loads is also there compiled, by each Python that this machine has; other Pythons read the sources.
Its bytes depend on the sources and on those Pythons alone: neither on the time, nor on the place,
nor on a zlib (nothing is compressed).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Mapping

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
COMMANDS = ("check_tcp_half_open", "halfopen")
COMPILED = ("halfopen", "nmap")
"""What a check loads; typer and rich are for help, mistakes and terminals."""
VERSIONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

# An absolute path, for some monitors run checks without a PATH. -I: a caller's PYTHONPATH and
# folder have no say; -S: nor have the system's own packages, and it starts sooner.
SHEBANG = b"#!/usr/bin/python3 -IS\n"
# An older Python can't read our modules, and would end with 1: a WARNING to Nagios. On stderr, for
# to F5 any output is up. A magic number, not a version, says which compiled code a Python can read;
# the module that has it is always loaded, importlib.util takes 2 ms.
MAIN = """\
import sys

if sys.version_info < (3, 7):
    sys.stderr.write("TCP HALF-OPEN UNKNOWN - this is Python %d.%d; use 3.7 or later\\n"
                     % sys.version_info[:2])
    sys.exit(3)

from _frozen_importlib_external import MAGIC_NUMBER

sys.path.insert(0, "%s/pyc-%s" % (sys.path[0], MAGIC_NUMBER[:2].hex()))

from halfopen.main import {0}

{0}()
"""

WANTED = ("*.py", "LICENSE*", "LICENCE*", "COPYING*", "py.typed")
# python-nmap's tests; what rich needs pygments for are neither its 500 languages nor its styles.
UNWANTED = (
    "nmap/test*",
    "nmap/example*",
    "pygments/lexers/[a-z]*",
    "pygments/lexers/_*_builtins.py",
    "pygments/styles/[a-z]*",
    "bin/*",
)

# The oldest time that a zip can hold.
EPOCH = (1980, 1, 1, 0, 0, 0)
READABLE, EXECUTABLE = 0o644, 0o755


def main() -> None:
    """Build what is asked for."""
    parts = {"packages": packages, "files": single_files}
    if len(sys.argv) == 3 and sys.argv[1] in parts:
        parts[sys.argv[1]](Path(sys.argv[2]))
    elif len(sys.argv) == 1:
        packages(DIST)
        for file in single_files(DIST):
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1e6:.1f} MB")
    else:
        sys.exit(__doc__)


def packages(folder: Path) -> None:
    """Build wheel and sdist from a copy of what belongs to them: setuptools works inside it."""
    with tempfile.TemporaryDirectory() as source:
        pages = ("README.md", "LICENSE", "CHANGELOG.md")
        for name in ("halfopen", "pyproject.toml", *pages, "packaging/completion"):
            copy(ROOT / name, Path(source, name))
        env = {**os.environ, "PIP_USER": "0", "SOURCE_DATE_EPOCH": epoch()}
        must(sys.executable, "-m", "build", "--outdir", str(folder), source, env=env)


def single_files(folder: Path) -> list[Path]:
    """Build each command as one file that needs Python and nmap alone; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with tempfile.TemporaryDirectory() as temporary:
        contents = Path(temporary, "contents")
        stage(contents)
        for python in pythons().values():
            _compile(python, contents)
        paths = sorted(filter(Path.is_file, contents.rglob("*")), key=lambda path: path.parts)
        parts = {path.relative_to(contents).as_posix(): path.read_bytes() for path in paths}
        for command in COMMANDS:
            file, main = folder / command, MAIN.format(command).encode()
            with file.open("wb") as out:
                out.write(SHEBANG)
                with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                    for name, data in {"__main__.py": main, **parts}.items():
                        entry = zipfile.ZipInfo(name, EPOCH)
                        entry.create_system = 3  # Unix, on whatever this runs
                        entry.external_attr = READABLE << 16
                        archive.writestr(entry, data)
            file.chmod(EXECUTABLE)
            files.append(file)
    return files


def pythons() -> dict[str, str]:
    """Return the Pythons of this machine: version to path."""
    which = str(ROOT / "tools" / "which_python.sh")
    found = {}
    for version in VERSIONS:
        done = subprocess.run([which, version], stdout=subprocess.PIPE, timeout=60, check=False)
        if done.returncode == 0:
            found[version] = done.stdout.decode().strip()
    return found


def _compile(python: str, contents: Path) -> None:
    """Put what this Python makes of the modules into a folder that is named by its magic number."""
    with tempfile.TemporaryDirectory() as temporary:
        for name in COMPILED:
            shutil.copytree(str(contents / name), str(Path(temporary, name)))
        # The code names its files as they are named here. Unchecked: a zip has no time to compare.
        compiler = [python, "-S", "-m", "compileall", "-q", "-b", "--invalidation-mode"]
        env = {"PYTHONHASHSEED": "0"}  # a set's order is the hashes'
        must(*compiler, "unchecked-hash", *COMPILED, cwd=temporary, env=env)
        for path in Path(temporary).rglob("*.pyc"):
            magic = path.read_bytes()[:2].hex()
            target = contents / f"pyc-{magic}" / path.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(path), str(target))


def stage(folder: Path) -> None:
    """Put the product and all that it imports into the folder, from sources that hashes fix."""
    with tempfile.TemporaryDirectory() as temporary:
        everything = Path(temporary, "everything")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
        exactly = ["--no-deps", "--no-compile", "--require-hashes", "--target", str(everything)]
        env = {**os.environ, "PIP_USER": "0"}  # --user and --target exclude each other
        must(*pip, *exactly, "-r", str(ROOT / "packaging" / "bundle.txt"), env=env)
        copy(ROOT / "halfopen", everything / "halfopen")
        for path in everything.rglob("*"):
            name = path.relative_to(everything)
            if name.parts[0] == "halfopen" or _is_wanted(name):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_file():
                    shutil.copy(str(path), str(target))
    shutil.copy(str(ROOT / "LICENSE"), str(folder / "halfopen"))


def _is_wanted(name: Path) -> bool:
    # match() compares from the right; a pattern with a folder names the whole path here.
    return any(map(name.match, WANTED)) and not any(map(name.match, UNWANTED))


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        # Neither what Python nor what an editor leaves.
        unwanted = shutil.ignore_patterns("__pycache__", ".*", "*~", "*.orig", "*.rej")
        shutil.copytree(str(source), str(target), ignore=unwanted)
    else:
        shutil.copy(str(source), str(target))


def epoch() -> str:
    """Return SOURCE_DATE_EPOCH, or when the last commit was made, or the oldest time of a zip."""
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    said = ""
    if shutil.which("git"):
        said = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return os.environ.get("SOURCE_DATE_EPOCH") or said or "315532800"


def must(
    *argv: str, code: int = 0, cwd: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a program and return what it printed; end if its exit code is another."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
        check=False,
        cwd=cwd,
        env=env,
    )
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != code:
        sys.exit(f"{' '.join(argv[:4])} ended with {done.returncode}:\n{said}")
    return said


if __name__ == "__main__":
    main()
