"""Trees to build packages from, the single files, built once, and a network to run them in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.fixtures import able, lab

__all__ = ["able", "lab"]

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # for dist


def build(tree: Path, tool: str, *words: object, **env: str) -> None:
    """Run a tree's own tool; what it imports is the tree's as well."""
    command = [sys.executable, "-B", str(tree / "tools" / tool), *map(str, words)]
    env = {**os.environ, "PYTHONPATH": str(tree), **env}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, check=False, env=env
    )
    assert done.returncode == 0, done.stdout.decode()


def copy(tree: Path, place: Path) -> Path:
    """Copy what packages are made of."""
    unwanted = shutil.ignore_patterns(
        "__pycache__", ".*", "*.egg-info", "build", "dist", "recorded", "synthetic", "tests"
    )
    shutil.copytree(str(tree), str(place), ignore=unwanted)
    return place


def build_elsewhere(tree: Path, place: Path, tool: str, *words: object, **env: str) -> None:
    """Build from a copy in another place, of another time and with other permissions."""
    for path in copy(tree, place).rglob("*"):
        # Before SOURCE_DATE_EPOCH: dpkg itself sets back what is later.
        os.utime(str(path), (1e9, 1e9))
    before = os.umask(0o077)
    try:
        build(place, tool, *words, **env)
    finally:
        os.umask(before)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the single files."""
    folder = tmp_path_factory.mktemp("files")
    build(ROOT, "dist.py", "files", folder)
    return folder
