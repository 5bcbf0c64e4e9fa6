"""What SECURITY.md says, seen with strace: which programs run, and which files are written."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import NamedTuple, Sequence

import pytest
from lab import NMAP, TARGET, Lab
from real.commands import halfopen, plugin

NEEDS = ("strace", "sudo")
RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "recorded" / "nmap-7.93"


class Trace(NamedTuple):
    """What a command and all that it started have asked of the kernel."""

    code: int
    stdout: str
    programs: list[str]
    """Paths, in the order in which they were started; the command itself is the first."""
    written: list[str]
    """Files that were opened for writing, and names that were made, changed or removed."""
    calls: str


# strace prints a call's words before it ends, so half of one that others interrupt is enough.
_CALL = re.compile(r"^\d+ +(\w+)\((.*)", re.M)
_PATHS = re.compile(r'"((?:[^"\\]|\\.)*)"')
_HARMLESS = re.compile("f?access.*|.*stat.*|getcwd|readlink.*|chdir|l?getxattr")


def traced(lab: Lab, folder: Path, words: Sequence[str]) -> Trace:
    log = folder / "strace"
    tracer = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file,execve,execveat"]
    done = lab.run([*tracer, "-e", "signal=none", "-o", str(log), *words])
    calls = log.read_text(encoding="utf-8", errors="replace")
    programs, written = [], []
    for name, rest in _CALL.findall(calls):
        paths = _PATHS.findall(rest)
        if name in ("execve", "execveat"):
            programs.append(paths[0])
        elif name in ("open", "openat", "openat2"):
            if re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", rest):
                written.append(paths[0])
        elif not _HARMLESS.fullmatch(name):
            written += paths
    return Trace(done.returncode, done.stdout, programs, written, calls)


COMMANDS = {
    "plugin": (plugin(TARGET[4], 25), 0),
    "plugin-options": (plugin("-H", TARGET[6], "-p", "smtp", "-v"), 0),
    "plugin-name-silent": (plugin("-H", "mail.example", "-p", 80), 2),
    "check": (halfopen("check", f"{TARGET[4]}:25", f"{TARGET[4]}:123"), 2),
    "wait": (halfopen("wait", f"{TARGET[4]}:25"), 0),
    "watch": (halfopen("watch", f"{TARGET[4]}:25", "--count", 1), 0),
    "replay": (halfopen("replay", RECORDED / "v4-open-single" / "nmap.xml"), 0),
}


@pytest.mark.parametrize(("words", "code"), COMMANDS.values(), ids=COMMANDS)
def test_nothing_runs_but_nmap_and_nothing_is_written(
    lab: Lab, tmp_path: Path, words: list[str], code: int
) -> None:
    lab.set_hosts(f"{TARGET[4]} mail.example\n")
    seen = traced(lab, tmp_path, words)

    assert seen.code == code, seen.stdout
    assert seen.programs[0] == words[0]
    assert set(seen.programs[1:]) == (set() if "replay" in words else {NMAP})
    assert set(seen.written) <= {"/dev/null"}


def test_smoke_runs_its_tools_by_their_paths_and_no_shell(lab: Lab, tmp_path: Path) -> None:
    seen = traced(lab, tmp_path, halfopen("smoke", "--verbose", "--timeout", 60))

    assert re.search(r"^two hosts +halfopen's own scan +ok ", seen.stdout, re.M), seen.stdout
    names = {os.path.basename(path) for path in seen.programs[1:]}
    assert names == {"nmap", "ip", "nsenter"}
    assert all(map(os.path.isabs, seen.programs))
    assert set(seen.written) <= {"/dev/null"}


def test_sudo_runs_nmap_without_a_shell(lab: Lab, tmp_path: Path) -> None:
    lab.set_hosts(f"127.0.0.1 localhost {socket.gethostname()}\n")  # or else sudo sends a mail
    seen = traced(lab, tmp_path, plugin("-H", TARGET[4], "-p", 25, "--sudo"))

    assert seen.code == 0, seen.stdout
    names = [os.path.basename(path) for path in seen.programs[1:]]
    # PAM's own helper: sudo's check of the account runs it on Debian 13, and not on 12.
    assert [name for name in names if name != "unix_chkpwd"] == ["sudo", "nmap"]
    assert seen.programs[-1] == NMAP


def test_a_file_is_made_under_a_name_that_nobody_can_have_taken(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "result"
    names = set()
    for _ in range(2):
        seen = traced(lab, tmp_path, plugin("-H", TARGET[4], "-p", 25, "--output", file))
        (made,) = {path for path in seen.written if "result." in path}
        assert re.search(re.escape(f'"{made}", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW'), seen.calls)
        assert set(seen.written) == {"/dev/null", str(file), made}
        assert os.path.dirname(made) == str(tmp_path)
        names.add(made)

    assert len(names) == 2
    assert file.read_text(encoding="utf-8").startswith("TCP HALF-OPEN OK")
