"""The single file's tables for nmap: root's alone, and made again when they are not."""

import os
import shutil
from pathlib import Path
from typing import Callable, Dict

import pytest

from halfopen.scan import command, tables

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose tables they are")
TABLE = tables.TABLES[0]
NOBODY = 65534


def swap(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in a path's place."""
    path.rename(path.with_name("elsewhere"))
    make(path)


WRONG: Dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "a link to such a folder": lambda f: swap(f, lambda p: p.symlink_to("elsewhere")),
    "a link that leads nowhere": lambda f: swap(f, lambda p: p.symlink_to("nowhere")),
    "a file": lambda f: swap(f, Path.touch),
    "another's folder": lambda f: os.chown(str(f), NOBODY, 0),
    "a folder of a group": lambda f: f.chmod(0o775),
    "a folder of all": lambda f: f.chmod(0o1757),
    "no table": lambda f: (f / TABLE).unlink(),
    "another's table": lambda f: os.chown(str(f / TABLE), NOBODY, 0),
    "a table of all": lambda f: (f / TABLE).chmod(0o646),
    "a table with something in it": lambda f: (f / TABLE).write_text("x"),
    "a link to such a table": lambda f: swap(f / TABLE, lambda p: p.symlink_to("elsewhere")),
    "a folder for a table": lambda f: swap(f / TABLE, Path.mkdir),
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return what stands for /run."""
    monkeypatch.setattr(tables, "RUN", str(tmp_path))
    return tmp_path


def is_right(folder: Path) -> bool:
    """Return whether it has the two tables and nothing else, with the rights that they get."""
    return (
        not folder.is_symlink()
        and {p.name: (oct(p.lstat().st_mode), p.read_bytes()) for p in folder.iterdir()}
        == dict.fromkeys(tables.TABLES, ("0o100644", b""))
        and {(p.lstat().st_uid, p.lstat().st_mode & 0o777) for p in [folder, folder / TABLE]}
        == {(0, 0o755), (0, 0o644)}
    )


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_right_is_made_again(run: Path, wrong: str) -> None:
    folder = Path(tables.folder())
    WRONG[wrong](folder)

    before = os.umask(0o177)
    try:
        assert tables.folder() == str(folder)
    finally:
        assert os.umask(before) == 0o177

    assert is_right(folder)
    assert {path.name for path in run.iterdir()} <= {folder.name, "elsewhere"}


def test_what_is_right_is_used_as_it_is(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside_a_zip = run / "halfopen.pyz" / "halfopen" / "scan" / "command.py"
    monkeypatch.setattr(command, "__file__", str(inside_a_zip))
    folder = Path(tables.folder())
    made = folder.stat().st_ino

    assert command.data_folder() == ["--datadir", str(folder)]
    assert folder.stat().st_ino == made


def test_one_that_another_check_has_just_made_is_used(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tables.folder())
    folder.rename(run / "theirs")
    rename = os.rename

    def late(source: str, target: str) -> None:
        rename(str(run / "theirs"), str(folder))
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)

    assert tables.folder() == str(folder)
    assert list(run.iterdir()) == [folder]


def test_without_root_or_a_run_of_roots_alone_there_are_none(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.chmod(0o757)
    assert tables.folder() == ""
    monkeypatch.setattr(tables, "RUN", str(run / "absent"))
    assert tables.folder() == ""
    run.chmod(0o755)
    monkeypatch.setattr(tables, "RUN", str(run))
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: NOBODY)
        assert tables.folder() == ""
    assert list(run.iterdir()) == []
    assert tables.folder() != ""
