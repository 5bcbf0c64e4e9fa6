"""Files that the user names: what is read, and what is written in whose place."""

import io
import os
import sys
import types
from pathlib import Path
from typing import List

import pytest

from halfopen import files
from halfopen.errors import UsageError


def refused(path: object, data: bytes = b"new") -> str:
    """Return why a file can't be written."""
    with pytest.raises(UsageError) as caught:
        files.replace(str(path), data)
    return str(caught.value)


@pytest.mark.parametrize("path", ["-", "file"])
def test_what_is_over_the_limit_is_refused_and_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str
) -> None:
    asked: List[int] = []

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            asked.append(size)
            assert 0 < size <= 2000001
            return b"x" * size

    monkeypatch.setattr(files, "MAX_SIZE", 2000000)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=Endless()))
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"x" * 2000001)

    with pytest.raises(UsageError) as caught:
        files.read(path)

    assert str(caught.value) == f"{path!r} is over 2 MB; name a smaller file"
    assert asked == ([2000001] if path == "-" else [])


def test_what_is_at_the_limit_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "MAX_SIZE", 5)
    (tmp_path / "file").write_bytes(b"12345")

    assert files.read(str(tmp_path / "file")) == b"12345"


def test_a_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(UsageError) as caught:
        files.read("-")

    assert str(caught.value) == "standard input is closed; name a file instead of -"


def test_what_lies_where_the_new_file_is_made_is_neither_followed_nor_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"\x01" * size)
    victim, link = tmp_path / "victim", tmp_path / f"file.{'01' * 8}.tmp"
    victim.write_text("mine")
    link.symlink_to(victim)

    assert "File exists" in refused(tmp_path / "file")
    assert victim.read_text() == "mine"
    assert link.is_symlink()


def test_what_cannot_be_put_in_place_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "file"
    file.write_text("old")
    monkeypatch.setattr(os, "replace", full)

    assert refused(file) == (
        f"cannot write {str(file)!r}: No space left on device; name a file in a writable folder"
    )
    assert os.listdir(tmp_path) == ["file"]
    assert file.read_text() == "old"


def test_a_nul_is_in_no_files_name() -> None:
    assert "cannot write 'a\\x00b': not a file name; name a file" in refused("a\0b")


def test_a_link_in_another_folder_is_followed_from_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "links" / "link").symlink_to("../file")
    monkeypatch.chdir(tmp_path / "here")

    files.replace("../links/link", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "links" / "link").is_symlink()


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert "Too many levels of symbolic links" in refused(tmp_path / "a")


@pytest.mark.parametrize(("owner", "followed"), [(0, True), (1001, True), (1002, False)])
def test_links_are_followed_if_they_are_ours_or_roots(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: int, followed: bool
) -> None:
    found = os.lstat

    def lstat(path: str) -> os.stat_result:
        return os.stat_result([*found(path)[:4], owner, *found(path)[5:10]])

    monkeypatch.setattr(os, "lstat", lstat)
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    link, file = tmp_path / "link", tmp_path / "file"
    file.write_text("old")
    link.symlink_to(file)

    if followed:
        files.replace(str(link), b"new")
    else:
        assert refused(link) == f"cannot write {str(link)!r}: another user's link; name a file"

    assert file.read_text() == ("new" if followed else "old")
    assert link.is_symlink()
