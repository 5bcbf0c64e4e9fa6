"""Without root: a clear word, or the capability that is enough."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from lab import TARGET, TOOL_PATH, Lab

from .commands import plugin

NOBODY_ELSE = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def as_nobody(*more: str, keep: str = "") -> list[str]:
    """Return the words that make a command run as nobody, with a capability kept for it.

    This Python may lie in root's home, so nobody may also read any file: that opens no socket.
    """
    kept = "-all,+dac_read_search" + (f",+{keep}" if keep else "")
    caps = [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    return ["setpriv", *NOBODY_ELSE, *caps, *more]


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    absent = [tool for tool in ("setcap", "setpriv") if not shutil.which(tool, path=TOOL_PATH)]
    if absent:
        pytest.skip("needs " + ", ".join(absent))


@pytest.fixture(scope="module")
def capable_nmap() -> Iterator[Path]:
    """Return a copy of nmap with the capability; not below /tmp, which may be mounted nosuid."""
    nmap = shutil.which("nmap", path=TOOL_PATH)
    assert nmap
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        copy = Path(shutil.copy(nmap, folder))
        setcap = shutil.which("setcap", path=TOOL_PATH)
        assert setcap
        subprocess.run([setcap, "cap_net_raw+ep", str(copy)], check=True, timeout=30)
        yield copy


def check_unprivileged(lab: Lab, words: list[str]) -> None:
    done = lab.run([*words, *plugin(TARGET[4], 25)])
    assert done.stdout.startswith("TCP HALF-OPEN UNKNOWN - nmap ")
    assert "root or CAP_NET_RAW" in done.stdout
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 3)


def test_nobody_is_told_what_nmap_needs(lab: Lab) -> None:
    check_unprivileged(lab, as_nobody())


def test_nobody_who_calls_himself_privileged_is_told_too(lab: Lab) -> None:
    check_unprivileged(lab, ["env", "NMAP_PRIVILEGED=1", *as_nobody()])


def test_nobody_may_use_an_nmap_that_has_the_capability(lab: Lab, capable_nmap: Path) -> None:
    words = plugin("--nmap", capable_nmap, "-H", TARGET[4], "-p", 25)
    done = lab.run([*as_nobody(), *words])
    assert done.stdout.startswith("TCP HALF-OPEN OK - 192.0.2.25:25 open (syn-ack) smtp")
    assert done.returncode == 0


def test_capable_nmap_is_of_no_use_under_no_new_privs(lab: Lab, capable_nmap: Path) -> None:
    words = plugin("--nmap", capable_nmap, "-H", TARGET[4], "-p", 25)
    done = lab.run([*as_nobody("--no-new-privs"), *words])
    assert "root or CAP_NET_RAW" in done.stdout
    assert done.returncode == 3


@pytest.mark.parametrize("more", [[], ["--no-new-privs"]], ids=["plain", "no_new_privs"])
def test_nobody_with_the_ambient_capability_may_check(lab: Lab, more: list[str]) -> None:
    done = lab.run([*as_nobody(*more, keep="net_raw"), *plugin(TARGET[4], 25)])
    assert done.stdout.startswith("TCP HALF-OPEN OK - 192.0.2.25:25 open (syn-ack) smtp")
    assert done.returncode == 0
