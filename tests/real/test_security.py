"""What SECURITY.md says, shown by running: programs, files, words from outside, forged answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab import NMAP, TARGET, Lab

from halfopen import files
from halfopen.errors import UsageError
from halfopen.formats.registry import FORMATS

from .commands import halfopen, plugin

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "halfopen").rglob("*.py"))
RECORDED = ROOT / "fixtures" / "recorded" / "nmap-7.93"
SILENT = RECORDED / "v4-filtered-no-response-single" / "nmap.xml"
NOBODY_ELSE = 65534
"""A user's number: not ours, not root's."""


def test_security_md_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    files = (ROOT / "tests").rglob("test_*.py")
    there = {
        name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }

    assert len(named) > 20
    assert named - there == set()


# -- the environment ----------------------------------------------------------------------------


def test_these_variables_of_the_environment_are_read_and_no_others() -> None:
    use = re.compile(r'environb?\.get\(([^,)]*)|variable=("\w+")|\b(environb?|getenvb?)\b(?!\.get)')
    read = {
        (path.name, "".join(found))
        for path in MODULES
        for found in use.findall(path.read_text(encoding="utf-8"))
    }

    assert read == {
        ("early.py", '"HALFOPEN_NMAP"'),
        ("options.py", '"HALFOPEN_NMAP"'),
        ("options.py", "self.variable"),
        ("process.py", '"PATH"'),
        ("spawn.py", "environ"),  # handed on to nmap, as it is
        ("parse.py", 'f"HAPROXY_SERVER_{name}"'),  # ADDR and PORT
        ("terminal.py", '"TERM"'),  # and shutil.get_terminal_size's COLUMNS and LINES
    }


@pytest.mark.parametrize("path", [".", "", "bin", "./bin", "..", "bin:"])
def test_a_folder_of_paths_that_is_not_absolute_is_not_looked_at(
    lab: Lab, tmp_path: Path, path: str
) -> None:
    """What lies there is a fake: a trap."""
    trap = f"#!/bin/sh\ntouch {tmp_path}/trapped\n"
    for folder in (tmp_path, tmp_path / "bin", tmp_path / "here", tmp_path / "here" / "bin"):
        folder.mkdir(exist_ok=True)
        (folder / "nmap").write_text(trap, encoding="utf-8")
        (folder / "nmap").chmod(0o755)
    real = tmp_path / "real"
    real.mkdir()
    (real / "nmap").symlink_to(NMAP)
    unnamed = ["env", "-u", "HALFOPEN_NMAP", f"PATH={path}:{real}:/usr/bin:/bin"]
    words = [*unnamed, *plugin(TARGET[4], 25)]
    inside = ["/bin/sh", "-c", f'cd {tmp_path}/here && exec "$@"', "sh", *words]
    done = lab.run(inside)

    assert done.returncode == 0, done
    assert not (tmp_path / "trapped").exists()


# -- what is printed ----------------------------------------------------------------------------

HOSTILE = "a\x1b[31m\r\x07\x9b2J\u202e\u2066\u200b\udcffz"
"""Colours, a bell, both kinds of CSI, text turned round or unseen, a byte that is no character."""

MANY = """
import json, os, sys
from halfopen import main
from halfopen.cli import app
from halfopen.runbook import wait, watch
from halfopen.smoke import report
for name, words in json.load(sys.stdin):
    child = os.fork()
    if not child:
        sys.argv = [name, *words]
        getattr(main, name)()
    os.waitpid(child, 0)
"""
"""Runs commands one after the other, loaded once."""


def fake_nmap(folder: Path, *, reason: str, stderr: str = "", code: int = 0) -> str:
    """Write a fake of an nmap that has gone mad, or that another has put there."""
    folder.mkdir()
    xml = (RECORDED / "v4-open-single" / "nmap.xml").read_text(encoding="utf-8")
    xml = xml.replace('reason="syn-ack"', f'reason="{reason}"')
    (folder / "xml").write_text(xml, encoding="utf-8", errors="surrogateescape")
    (folder / "stderr").write_text(stderr, encoding="utf-8", errors="surrogateescape")
    script = f"#!/bin/sh\ncat {folder}/stderr >&2\ncat {folder}/xml\nexit {code}\n"
    (folder / "nmap").write_text(script, encoding="utf-8")
    (folder / "nmap").chmod(0o755)
    return str(folder / "nmap")


def test_no_control_character_reaches_a_terminal_or_a_log(tmp_path: Path) -> None:
    good = ["-H", TARGET[4], "-p", "25"]
    odd_reason = fake_nmap(tmp_path / "reason", reason="&#x9b;&#x202e;syn")
    failing = fake_nmap(tmp_path / "failing", reason="", stderr=HOSTILE * 3 + "\n", code=1)
    warning = fake_nmap(tmp_path / "warning", reason="syn-ack", stderr=HOSTILE * 3)
    odd_place = tmp_path / f"{HOSTILE}\nTCP HALF-OPEN OK"
    shutil.copytree(str(tmp_path / "warning"), str(odd_place))
    labels = tmp_path / "labels"
    labels.write_text(f"{HOSTILE} = {TARGET[4]}:25\n", errors="surrogateescape")
    checks = [
        ["-H", HOSTILE, "-p", "25"],
        ["-H", TARGET[4], "-p", HOSTILE],
        [*good, "--nmap", f"/no/{HOSTILE}"],
        [*good, "--nmap", odd_reason, "-v"],
        [*good, "--nmap", failing, "-v"],
        [*good, "--nmap", warning, "-v"],
        [*good, "--nmap", str(odd_place / "nmap"), "-v"],
        [*good, "--nmap", warning, "--output", f"/no/{HOSTILE}/x"],
        ["--targets", f"/no/{HOSTILE}"],
        ["--targets", str(labels)],
        [*good, "--expect", HOSTILE],
        [*good, f"--{HOSTILE}"],
    ]
    runs = [
        ("check_tcp_half_open", ["--format", format_name, *words])
        for words in checks
        for format_name in FORMATS
    ]
    others = [["--nmap", f"/no/{HOSTILE}"], ["--nmap", failing], ["--format", HOSTILE]]
    for words in others:
        runs += [("halfopen", ["wait", f"{TARGET[4]}:25", "--timeout", "0.5", *words])]
        runs += [("halfopen", ["watch", f"{TARGET[4]}:25", "--count", "1", *words])]
        runs += [("halfopen", ["smoke", "--timeout", "5", *words])]
    runs += [("halfopen", ["smoke", "--format", "junit", "--nmap", f"/no/{HOSTILE}"])]
    runs += [("halfopen", ["replay", f"/no/{HOSTILE}"]), ("halfopen", [HOSTILE])]

    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", MANY],
        input=json.dumps(runs).encode(),
        capture_output=True,
        env=env,
        timeout=300,
        check=True,
    )
    for printed in (done.stdout.decode("utf-8"), done.stderr.decode("utf-8")):
        lines = printed.split("\n")
        assert [line for line in lines if not line.isprintable()] == []
        # No line of the caller's making: that one would be taken for a verdict.
        assert not [line for line in lines if line.startswith("TCP HALF-OPEN OK/")]
    assert done.stdout.count(b"a\\x1b[31m") > len(FORMATS) * 5


# -- words that look like options, files that another has put there -------------------------------


@pytest.mark.parametrize("host", ["--output={}", "--output", "-oX", "--format=f5", "--help", "-v"])
def test_a_host_after_its_option_is_never_an_option(tmp_path: Path, host: str) -> None:
    file = tmp_path / "written"
    word = host.format(file)
    for words in (["-H", word, "-p", "25"], ["--", word, "25"]):
        done = subprocess.run(plugin(*words), stdout=-1, stderr=-1, text=True, check=False)

        assert done.returncode == 3
        assert done.stdout.startswith(f"TCP HALF-OPEN UNKNOWN - host '{word[:40]}")
        assert "' begins with '-'; give a name or an IP address\n" in done.stdout
        assert not file.exists()


def test_a_link_that_another_has_put_there_is_not_followed(tmp_path: Path) -> None:
    victim, everyones = tmp_path / "victim", tmp_path / "everyones"
    victim.write_text("precious", encoding="utf-8")
    everyones.mkdir()
    everyones.chmod(0o1777)
    planted, ours = everyones / "result", everyones / "ours"
    planted.symlink_to(victim)
    os.lchown(str(planted), NOBODY_ELSE, NOBODY_ELSE)
    ours.symlink_to(planted)
    for name in (planted, ours):
        with pytest.raises(UsageError, match="another user's link"):
            files.replace(str(name), b"up")
        done = subprocess.run(
            plugin("-H", "192.0.2.25", "-p", "0", "--output", name), stderr=-1, check=False
        )
        assert (done.returncode, b"another user's link" in done.stderr) == (3, True)

    assert victim.read_text(encoding="utf-8") == "precious"
    assert sorted(path.name for path in everyones.iterdir()) == ["ours", "result"]


@pytest.mark.parametrize("folder", [".", "inside"])
def test_another_users_file_in_a_sticky_folder_is_named_as_such_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the folders above are closed to others
    tmp_path.chmod(0o711)
    everyones = Path(folder)
    everyones.mkdir(exist_ok=True)
    everyones.chmod(0o1777)
    roots = everyones / "result"
    roots.write_text("precious", encoding="utf-8")
    os.seteuid(NOBODY_ELSE)
    try:
        with pytest.raises(UsageError) as caught:
            files.replace(str(roots), b"up")
        files.replace(str(everyones / "ours"), b"down")
        files.replace(str(everyones / "ours"), b"up")
    finally:
        os.seteuid(0)

    assert str(caught.value) == (
        f"cannot write {str(roots)!r}: another user's file in a sticky folder; name another file, "
        "or remove this one as its owner"
    )
    assert roots.read_text(encoding="utf-8") == "precious"
    assert (everyones / "ours").read_bytes() == b"up"
    assert sorted(path.name for path in everyones.glob("*r*")) == ["ours", "result"]


@pytest.mark.parametrize("name", ["nmap-7.93", "link"])
def test_recordings_are_not_kept_in_a_folder_that_another_has_made(
    tmp_path: Path, name: str
) -> None:
    from halfopen.model import NmapRun  # noqa: PLC0415
    from halfopen.smoke import findings, recordings  # noqa: PLC0415

    theirs = tmp_path / name
    theirs.mkdir()
    os.chown(str(theirs), NOBODY_ELSE, NOBODY_ELSE)
    if name == "link":
        (tmp_path / "nmap-7.93").symlink_to(theirs)
    run = NmapRun(("nmap",), 0, b"", b"", 0.1)
    finding = findings.Finding("states", "port", findings.Outcome.OK, "", runs=(run,))
    found = findings.Examination("nmap", [finding], "7.93")
    with pytest.raises(UsageError, match="another user's"):
        recordings.save(found, str(tmp_path))

    assert list(theirs.iterdir()) == []


# -- an nmap gone mad ---------------------------------------------------------------------------


def test_messages_without_end_do_not_keep_a_check_from_ending(tmp_path: Path) -> None:
    """The fake says the beginning of a message 300,000 times, where silence makes us read it."""
    script = tmp_path / "nmap"
    repeat = "head -c 900000 /dev/zero | sed 's/\\x00\\x00\\x00/=> /g' >&2"
    script.write_text(f"#!/bin/sh\ncat {SILENT}\n{repeat}\n", encoding="utf-8")
    script.chmod(0o755)
    words = plugin("--nmap", script, "--no-plus-one", "-H", TARGET[4], "-p", 80, "-t", 8)
    done = subprocess.run(words, stdout=-1, text=True, timeout=30, check=False)

    assert done.returncode in (2, 3), done


DECLARATIONS = {
    "attribute": '<!ATTLIST state reason CDATA "syn-ack">',
    "entity": '<!ENTITY e "open">',
    "file": '<!ENTITY e SYSTEM "file:///etc/passwd">',
    "parameter": '<!ENTITY % e SYSTEM "file:///etc/passwd"> %e;',
    "laughs": '<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 30}">' for a, b in zip("abcdefg", "bcdefgh")),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("declared", DECLARATIONS.values(), ids=DECLARATIONS)
def test_xml_with_declarations_of_its_own_is_never_open(
    tmp_path: Path, declared: str, encoding: str
) -> None:
    xml = (RECORDED / "v4-open-single" / "nmap.xml").read_text(encoding="utf-8")
    odd = xml.replace("<!DOCTYPE nmaprun>", f"<!DOCTYPE nmaprun [{declared}]>")
    assert odd != xml
    file = tmp_path / "odd.xml"
    file.write_text(odd.replace("UTF-8", encoding), encoding=encoding)
    done = subprocess.run(
        halfopen("replay", file), stdout=-1, stderr=-1, text=True, timeout=30, check=False
    )

    assert done.returncode == 3, done
    assert "root:" not in done.stdout + done.stderr


# -- an attacker on the network -----------------------------------------------------------------


FORGED = """
table inet forged {
    chain output {
        type filter hook output priority 0
        tcp sport { 123, 8090 } CHANGE counter
    }
}
"""
"""What the target answers for two ports is changed on its way, as if another had sent it."""


def asked_with(lab: Lab, change: str, port: int) -> str:
    """Return the state of a port while the answers from there are so changed."""
    with lab.rules(FORGED.replace("CHANGE", change), "target"):
        done = lab.run(halfopen("check", f"{TARGET[4]}:{port}"))
        counted = lab.run(["nft", "list", "table", "inet", "forged"], "target").stdout
    assert re.search(r"counter packets [1-9]", counted), counted
    return done.stdout.split()[1]


@pytest.mark.parametrize(("port", "state"), [(8090, "open"), (123, "closed")])
def test_a_forged_answer_to_the_right_port_is_believed_whatever_it_acknowledges(
    lab: Lab, port: int, state: str
) -> None:
    """What nmap does, and SECURITY.md warns of: should it ever look closer, tell so there."""
    assert asked_with(lab, "tcp ackseq set 0xdeadbeef", port) == state


@pytest.mark.parametrize("port", [8090, 123])
def test_a_forged_answer_to_another_port_is_not_believed(lab: Lab, port: int) -> None:
    assert asked_with(lab, "tcp dport set 9", port) == "filtered"
