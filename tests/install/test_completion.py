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


BASH = """
source "$FILES/bash/$1"
compopt() { :; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"_$1" "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "source $FILES/fish/$argv[1].fish; complete -C $argv[2]"
ZSHRC = """
fpath=($FILES/zsh $fpath)
autoload -U compinit
compinit -D -u
# Tab prints all that is offered, in <>.
_offered() {
    local -a offered
    compadd() {
        local -a matching
        builtin compadd -O matching "$@"
        offered+=($matching)
        builtin compadd "$@"
    }
    _main_complete
    unfunction compadd
    print -r -- "<${offered[*]}>"
}
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


def offered(shell: str, line: str, folder: Path) -> set[str]:
    """Return what an interactive zsh offers, or the functions that bash and fish call for Tab."""
    program = line.split(maxsplit=1)[0]
    (folder / ".zshrc").write_text(ZSHRC)
    commands = {
        "bash": ["bash", "--norc", "-c", BASH, "bash", *line.replace("=", " = ").split(" ")],
        "fish": ["fish", "--no-config", "-c", FISH, program, line],
        "zsh": ["zsh", "-f", "-c", TYPES, "zsh", line],
    }
    env = {"HOME": str(folder), "TERM": "dumb", "PATH": os.environ["PATH"], "FILES": str(FILES)}
    done = subprocess.run(
        commands[shell], cwd=str(folder), env=env, stdout=subprocess.PIPE, timeout=60, check=False
    )
    said = done.stdout.decode()
    if shell == "zsh":
        return {word.rstrip("=") for word in re.findall(r"<([^>]*)>", said)[-1].split()}
    return {word.split("\t")[0].rpartition("=")[2] for word in said.splitlines() if word}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("line", list(ROWS))
def test_tab_gives_what_may_follow(tmp_path: Path, shell: str, line: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    (tmp_path / "run.xml").touch()

    given = offered(shell, line, tmp_path)

    assert {each for each in given if not each.startswith("-") or "--" in line} == ROWS[line]
