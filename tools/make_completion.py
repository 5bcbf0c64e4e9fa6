"""Writes packaging/completion/*: for bash, zsh and fish, what can be typed after each command.

    make_completion.py [FOLDER]

Options and values are those that halfopen/cli/options.py declares. Nothing of halfopen runs when
somebody presses Tab.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence

from halfopen.cli import options
from halfopen.cli.options import Command, Option
from halfopen.errors import UsageError

FOLDER = Path(__file__).resolve().parents[1] / "packaging" / "completion"
NAMES = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}
HEAD = "Written by tools/make_completion.py."
FILES = ("FILE", "PATH", "DIR")
"""Metavars of what the shell can list itself."""


def main(folder: Path) -> None:
    """Write a file for each command and shell."""
    for shell, name in NAMES.items():
        folder.joinpath(shell).mkdir(parents=True, exist_ok=True)
        for program, commands in PROGRAMS.items():
            text = WRITERS[shell](program, commands)
            folder.joinpath(shell, name.format(program)).write_text(text, encoding="utf-8")


PROGRAMS = {
    "halfopen": tuple(options.COMMANDS.values()),
    options.PLUGIN.name: (options.PLUGIN,),
}


def values(option: Option) -> str:
    """Return the values that an option takes if they can be listed: an error lists them."""
    try:
        if option.read is not None:
            option.read("")
    except UsageError as error:
        return str(error).partition(" is not one of ")[2].replace(",", "")
    return ""


def _declared(command: Command) -> list[tuple[Option, str]]:
    """Return the options of a command, each with what comes after it: FILE, or the values."""
    declared = (*command.options, options.VERSION, options.HELP)
    return [(each, "FILE" if each.metavar in FILES else values(each)) for each in declared]


def _first(commands: Sequence[Command]) -> list[tuple[str, str]]:
    """Return what `halfopen` can be followed by, and what that is."""
    summaries = [(command.name, command.about.partition("\n")[0]) for command in commands]
    return [*summaries, ("help", "Show what halfopen takes.")]


BASH = """\
# bash completion for @. Written by tools/make_completion.py.
_@() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=COMMAND words='' files=''
    # bash makes three words of --format=json.
    [[ $before != = ]] || before=${COMP_WORDS[COMP_CWORD - 2]}
    [[ $current != = ]] || current=
    case "$command $before" in
CASES
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    if [[ $files && $current != -* ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -F _@ @
"""


def _bash(program: str, commands: Sequence[Command]) -> str:
    cases = []
    for command in commands:
        for option, listed in _declared(command):
            before = "|".join(f"'{command.name} {name}'" for name in option.names)
            action = "files=yes" if listed == "FILE" else f"words='{listed}'"
            cases += [f"        {before}) {action} ;;"] if option.metavar else []
        names = " ".join(name for option, _ in _declared(command) for name in option.names)
        files = " files=yes" if command.name == "replay" else ""
        cases.append(f"        '{command.name} '*) words='{names}'{files} ;;")
    text = BASH.replace("CASES", "\n".join(cases)).replace("@", program)
    if program != "halfopen":
        return text.replace("COMMAND", program)
    first = " ".join([*options.COMMANDS, "help", "--help", "--version"])
    alone = f"    esac\n    ((COMP_CWORD > 1)) || words='{first}' files=''\n"
    return text.replace("=COMMAND", "=${COMP_WORDS[1]}").replace("    esac\n", alone)


ZSH = """\
if (( CURRENT == 2 )); then
    local -a commands=(
FIRST
    )
    _describe command commands
    return
fi
shift words
(( CURRENT-- ))
case $words[1] in
CASES
esac
"""


def _zsh(program: str, commands: Sequence[Command]) -> str:
    head = f"#compdef {program}\n# {HEAD}\n"
    if program != "halfopen":
        return f"{head}{_zsh_arguments(commands[0])}\n"
    first = [f"        {_quoted(f'{name}:{about}')}" for name, about in _first(commands)]
    cases = [f"    {each.name})\n{_zsh_arguments(each)}\n        ;;" for each in commands]
    return head + ZSH.replace("FIRST", "\n".join(first)).replace("CASES", "\n".join(cases))


def _zsh_arguments(command: Command) -> str:
    lines = ["        _arguments -s -S"]
    for option, listed in _declared(command):
        about = option.about.replace("[", "(").replace("]", ")").replace(":", "\\:")
        action = "_files" if listed == "FILE" else f"({listed})" if listed else " "
        value = f":{option.metavar.split('=')[0].lower()}:{action}" if option.metavar else ""
        for name in option.names:
            glue = ("=" if name.startswith("--") else "+") if option.metavar else ""
            spec = f"({' '.join(option.names)}){name}{glue}[{about}]{value}"
            lines.append(f"            {_quoted(spec)}")
    if command.arguments:
        rest = "*:argument:" + ("_files" if command.name == "replay" else " ")
        lines.append(f"            {_quoted(rest)}")
    return " \\\n".join(lines)


def _fish(program: str, commands: Sequence[Command]) -> str:
    lines = [f"# fish completion for {program}. {HEAD}", f"complete -c {program} -f"]
    for name, about in _first(commands) if program == "halfopen" else ():
        start = f"complete -c {program} -n __fish_use_subcommand"
        lines.append(f"{start} -a {name} -d {_quoted(about)}")
    for command in commands:
        when = f" -n '__fish_seen_subcommand_from {command.name}'" if len(commands) > 1 else ""
        start = f"complete -c {program}{when}"
        lines += [f"{start} -F"] if command.name == "replay" else []
        for option, listed in _declared(command):
            value = " -r -F" if listed == "FILE" else f" -x -a '{listed}'"
            names = (
                f"l {name[2:]}" if name[:2] == "--" else f"s {name[1:]}" for name in option.names
            )
            line = " -".join([start, *names]) + (value if option.metavar else "")
            lines.append(f"{line} -d {_quoted(option.about)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return the text for zsh and fish."""
    return "'{}'".format(text.replace("'", r"'\''"))


WRITERS = {"bash": _bash, "zsh": _zsh, "fish": _fish}


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
