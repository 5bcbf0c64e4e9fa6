"""Files that the user names: what is read, and what is written in whose place."""

import os
import sys
import types
from pathlib import Path

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
    monkeypatch.setattr(files, "MAX_SIZE", 2000000)
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"x" * 2000002)
    Path("small").write_bytes(b"x" * 2000000)
    with open("file", "rb") as opened:
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=opened))

        with pytest.raises(UsageError) as caught:
            files.read(path)

        assert opened.tell() == (2000001 if path == "-" else 0)
    assert str(caught.value) == f"{path!r} is over 2 MB; name a smaller file"
    assert files.read("small") == b"x" * 2000000


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


def test_a_link_is_followed_from_its_own_folder_and_one_of_a_circle_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, target in (("link", "../file"), ("a", "b"), ("b", "a")):
        tmp_path.joinpath("links").mkdir(exist_ok=True)
        tmp_path.joinpath("links", name).symlink_to(target)
    monkeypatch.chdir(tmp_path / "links")

    files.replace("../links/link", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"
    assert Path("link").is_symlink()
    assert "Too many levels of symbolic links" in refused("a")


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
