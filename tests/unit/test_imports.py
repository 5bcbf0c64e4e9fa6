"""What a check must not import: typer and its kin take longer than nmap."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import List, Sequence

import pytest

from halfopen.formats.registry import FORMATS
from halfopen.model import Status

RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "recorded" / "nmap-7.93"
SLOW = ["typer", "rich", "pydantic", "click", "dataclasses", "importlib.metadata", "json"]

PROGRAM = """
import sys
before = set(sys.modules)
from halfopen.cli import fast_path
program, typed = sys.argv[1], sys.argv[2:]
parsed = fast_path.begin(program, typed)
from halfopen.cli import commands
printed = commands.main(program, typed, parsed)
imported = sorted(set(sys.modules) - before)
import json
print(json.dumps([printed.text, printed.code, imported]))
"""


@pytest.fixture
def nmap(tmp_path: Path) -> str:
    """Return a program that prints a recording, whatever it is asked."""
    program = tmp_path / "nmap"
    recording = RECORDED / "v4-open-plus-one" / "nmap.xml"
    program.write_text(f"#!/bin/sh\nexec cat '{recording}'\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def imported(nmap: str, *line: str) -> List[str]:
    """Return what a command line imports for a whole check that finds the port open."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *line],
        env=dict(os.environ, HALFOPEN_NMAP=nmap),
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    *lines, last = done.stdout.decode().splitlines()
    text, code, modules = json.loads(last)
    text = "\n".join([*lines, text])
    assert "192.0.2.25" in text
    assert "open" in text
    assert code == 0
    return [str(module) for module in modules]


PLUGIN, CHECK = "check_tcp_half_open", ("halfopen", "check")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param((PLUGIN, "192.0.2.25", "25"), id="plugin-two-arguments"),
        pytest.param((PLUGIN, "NOT_USED", "NOT_USED", "192.0.2.25", "25"), id="plugin-four"),
        pytest.param((PLUGIN, "-H", "192.0.2.25", "-p", "25", "-t", "5s"), id="plugin-options"),
        pytest.param((PLUGIN, "-t5", "--exit", "error=0", "192.0.2.25", "25"), id="plugin-exit"),
        pytest.param((*CHECK, "192.0.2.25:25"), id="check"),
        pytest.param((*CHECK, "192.0.2.25", "25", "--format", "haproxy"), id="check-format"),
    ],
)
def test_a_check_imports_nothing_that_is_slow_to_start(nmap: str, line: Sequence[str]) -> None:
    modules = imported(nmap, *line)

    assert "halfopen.scan.reader" in modules, "a check has to have been made"
    assert [module for module in modules if module in SLOW] == []


def test_flags_in_one_word_are_what_imports_typer_and_never_pydantic(nmap: str) -> None:
    modules = imported(nmap, PLUGIN, "-4v", "192.0.2.25", "25")

    assert "typer" in modules
    assert "pydantic" not in modules


@pytest.mark.parametrize("command", ["wait", "watch --count 1 --format json"])
def test_rich_is_for_tables_alone(nmap: str, command: str) -> None:
    modules = imported(nmap, "main_halfopen", *command.split(), "192.0.2.25:25")

    assert "halfopen.runbook.schedule" in modules
    assert [module for module in modules if module.partition(".")[0] == "rich"] == []


def ended(code: str, *typed: str) -> "subprocess.CompletedProcess[bytes]":
    """Run some Python, with a command line that asks for a check."""
    words = ["check", *typed, "192.0.2.25", "25"]
    code = f"import sys; sys.argv = {words}\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], stdout=-1, stderr=-1, check=False, timeout=60
    )


@pytest.mark.parametrize("entry", ["check_tcp_half_open", "halfopen"])
@pytest.mark.parametrize(
    "broken",
    [
        "sys.modules['select'] = None",
        "sys.modules['socket'] = None",
        "from halfopen.cli import early; early.start_plain = None",  # a bug: Python would exit by 1
    ],
)
def test_what_fails_before_the_start_of_nmap_is_unknown_in_one_line(
    entry: str, broken: str
) -> None:
    done = ended(f"{broken}\nfrom halfopen.main import {entry}\n{entry}()")

    assert done.returncode == 3
    assert done.stdout.startswith(b"TCP HALF-OPEN UNKNOWN - cannot load halfopen (")
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


@pytest.mark.parametrize("name", FORMATS)
def test_where_even_giving_up_fails_one_line_says_so_with_the_code_of_a_failed_check(
    name: str,
) -> None:
    """Python would exit with 1, Nagios's WARNING."""
    broken = (
        "from halfopen import main; from halfopen.cli import early\n"
        "def fail(*_): raise MemoryError\n"
        "early.start_plain = main._give_up = fail\n"
        "main.check_tcp_half_open()"
    )

    done = ended(broken, "--format", name)

    said = b"TCP HALF-OPEN UNKNOWN - no memory to say why; free some, or raise ulimit -v\n"
    # Whoever goes by what is printed is told of the failure by the exit code.
    code = FORMATS[name].codes[Status.UNKNOWN] or 3
    assert done.returncode == code
    assert (done.stdout, done.stderr) == ((b"", said) if name == "f5" else (said, b""))
