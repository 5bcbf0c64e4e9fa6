"""The single files, built once, and a network to run them in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from lab import Lab, why_no_lab

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # for dist


def build(tree: Path, *what: object) -> None:
    """Run a tree's own tools/dist.py; it needs pip, and its folders are its own."""
    command = [sys.executable, str(tree / "tools" / "dist.py"), *map(str, what)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout.decode()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the single files: HALFOPEN_FILES, or one where they are built."""
    if "HALFOPEN_FILES" in os.environ:
        return Path(os.environ["HALFOPEN_FILES"])
    folder = tmp_path_factory.mktemp("files")
    build(ROOT, "files", folder)
    return folder


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Return a network; a test leaves it as it was."""
    reason = why_no_lab()
    if reason:
        pytest.skip(reason)
    with Lab() as lab:
        yield lab
