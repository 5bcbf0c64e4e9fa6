"""What Tab gives in real shells, for both commands, none of which runs for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[2] / "packaging" / "completion"
FIRST = {"check", "replay", "wait", "watch", "smoke", "formats", "help"}

ROWS = {
    "halfopen ": FIRST,
    "halfopen w": {"wait", "watch"},
    "halfopen check --for": {"--format"},
    "halfopen check --no": {"--no-plus-one"},
    "halfopen check --format f": {"farmguardian", "f5"},
    "halfopen check --format=ke": {"keepalived"},
    "halfopen check --expect ": {"open", "closed", "filtered"},
    "halfopen wait a:1 --for ": {"open", "closed", "filtered", "not-open"},
    "halfopen wait --format ": {"text", "json"},
    "halfopen watch --du": {"--duration"},
    "halfopen smoke --format ju": {"junit"},
    "halfopen replay ru": {"run.xml"},
    "halfopen check --targets ru": {"run.xml"},
    "halfopen check --timeout ": set(),
    "check_tcp_half_open --format=ch": {"checkmk"},
    "check_tcp_half_open --wa": {"--warning"},
    "check_tcp_half_open --output ru": {"run.xml"},
}
"""A command line to what may follow."""


def bash(line: str, folder: Path) -> set[str]:
    """Return what bash's completion function gives, called as bash calls it."""
    program = line.split(maxsplit=1)[0]
    words = line.replace("=", " = ").split(" ")
    script = (
        f"source '{FILES}/bash/{program}'; compopt() {{ :; }}; COMP_WORDS=(\"$@\"); "
        f"COMP_CWORD=$(($# - 1)); _{program} {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return set(told(["bash", "--norc", "-c", script, "bash", *words], folder).split())


def fish(line: str, folder: Path) -> set[str]:
    script = f"source '{FILES}/fish/{line.split(maxsplit=1)[0]}.fish'; complete -C '{line}'"
    offered = told(["fish", "--no-config", "-c", script], folder)
    return {each.split("\t")[0].rpartition("=")[2] for each in offered.splitlines()}


def told(command: list[str], folder: Path) -> str:
    env = {"HOME": str(folder), "TERM": "dumb", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=str(folder), env=env, stdout=subprocess.PIPE, timeout=60, check=False
    )
    return done.stdout.decode()


ZSHRC = f"""
fpath=('{FILES}/zsh' $fpath)
autoload -U compinit
compinit -D -u
# Tab prints all that is offered, in <>.
_offered() {{
    local -a offered
    compadd() {{
        local -a matching
        builtin compadd -O matching "$@"
        offered+=($matching)
        builtin compadd "$@"
    }}
    _main_complete
    unfunction compadd
    print -r -- "<${{offered[*]}}>"
}}
zle -C offered list-choices _offered
bindkey '^I' offered
PS1='ready> '
"""
TYPES = """
zmodload zsh/zpty
zpty shell zsh -d -i
zpty -r shell said '*ready> '
zpty -w -n shell "$1"$'\\t'
zpty -r shell said '*<*>'
print -r -- "$said"
"""


def zsh(line: str, folder: Path) -> set[str]:
    """Return what an interactive zsh offers after Tab."""
    (folder / ".zshrc").write_text(ZSHRC)
    offered = re.findall(r"<([^>]*)>", told(["zsh", "-f", "-c", TYPES, "zsh", line], folder))
    return {word.rstrip("=") for word in offered[-1].split()}


@pytest.mark.parametrize("shell", [bash, zsh, fish], ids=lambda shell: shell.__name__)
@pytest.mark.parametrize("line", list(ROWS))
def test_tab_gives_what_may_follow(tmp_path: Path, shell: object, line: str) -> None:
    name = shell.__name__  # type: ignore[attr-defined]
    if not shutil.which(name):
        pytest.skip(f"needs {name}")
    (tmp_path / "run.xml").touch()

    offered = shell(line, tmp_path)  # type: ignore[operator]

    assert {each for each in offered if not each.startswith("-") or "--" in line} == ROWS[line]
