"""Writes packaging/completion/*: for bash, zsh and fish, what can be typed after each command.

    make_completion.py [FOLDER]

Options and values are those that halfopen/cli/options.py declares. Nothing of halfopen runs when
somebody presses Tab.
"""

from __future__ import annotations

import sys
from pathlib import Path

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
            text = "\n".join(WRITERS[shell](program, commands)) + "\n"
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


def _declared(command: Command) -> tuple[Option, ...]:
    return (*command.options, options.VERSION, options.HELP)


def _summary(command: Command) -> str:
    return command.about.partition("\n")[0]


def _bash(program: str, commands: tuple[Command, ...]) -> list[str]:
    several = program == "halfopen"
    cases = []
    for command in commands:
        files: list[str] = []
        nothing: list[str] = []
        for option in filter(lambda option: option.metavar, command.options):
            before = [f"'{command.name} {name}'" for name in option.names]
            if values(option):
                cases.append(f"        {'|'.join(before)}) words='{values(option)}' ;;")
            elif option.metavar in FILES:
                files += before
            else:
                nothing += before
        for patterns, action in ((files, "files=yes "), (nothing, "")):
            cases += [f"        {'|'.join(patterns)}) {action};;"] if patterns else []
        names = " ".join(name for option in _declared(command) for name in option.names)
        files_too = " files=yes" if command.name == "replay" else ""
        cases.append(f"        '{command.name} '*) words='{names}'{files_too} ;;")
    first = " ".join([*options.COMMANDS, "help", "--help", "--version"])
    return [
        f"# bash completion for {program}. {HEAD}",
        f"_{program}() {{",
        "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}",
        f"    local command={'${COMP_WORDS[1]}' if several else program} words='' files=''",
        "    # bash makes three words of --format=json.",
        "    [[ $before != = ]] || before=${COMP_WORDS[COMP_CWORD - 2]}",
        "    [[ $current != = ]] || current=",
        '    case "$command $before" in',
        *cases,
        "    esac",
        *([f"    ((COMP_CWORD > 1)) || words='{first}' files=''"] if several else []),
        """    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")""",
        "    if [[ $files && $current != -* ]]; then",
        "        compopt -o filenames",
        """        mapfile -t COMPREPLY < <(compgen -f -- "$current")""",
        "    fi",
        "}",
        f"complete -F _{program} {program}",
    ]


def _zsh(program: str, commands: tuple[Command, ...]) -> list[str]:
    head = [f"#compdef {program}", f"# {HEAD}"]
    if program != "halfopen":
        return [*head, *_zsh_arguments(commands[0])]
    cases = []
    for command in commands:
        cases += [f"    {command.name})", *_zsh_arguments(command), "        ;;"]
    return [
        *head,
        "if (( CURRENT == 2 )); then",
        "    local -a commands=(",
        *(f"        {_zsh_quoted(f'{each.name}:{_summary(each)}')}" for each in commands),
        "        'help:Show what halfopen takes.'",
        "    )",
        "    _describe command commands",
        "    return",
        "fi",
        "shift words",
        "(( CURRENT-- ))",
        "case $words[1] in",
        *cases,
        "esac",
    ]


def _zsh_arguments(command: Command) -> list[str]:
    specs = []
    for option in _declared(command):
        about = option.about.replace("[", "(").replace("]", ")").replace(":", "\\:")
        for name in option.names:
            glue, value = "", ""
            if option.metavar:
                glue = "=" if name.startswith("--") else "+"
                listed = "_files" if option.metavar in FILES else f"({values(option)})"
                value = f":{option.metavar.split('=')[0].lower()}:{listed.replace('()', ' ')}"
            specs.append(f"({' '.join(option.names)}){name}{glue}[{about}]{value}")
    if command.arguments:
        specs.append("*:argument:" + ("_files" if command.name == "replay" else " "))
    lines = ["        _arguments -s -S", *(f"            {_zsh_quoted(spec)}" for spec in specs)]
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def _zsh_quoted(text: str) -> str:
    return "'{}'".format(text.replace("'", r"'\''"))


def _fish(program: str, commands: tuple[Command, ...]) -> list[str]:
    lines = [f"# fish completion for {program}. {HEAD}", f"complete -c {program} -f"]
    if program == "halfopen":
        first = [*((each.name, _summary(each)) for each in commands)]
        lines += [
            f"complete -c {program} -n __fish_use_subcommand -a {name} -d {_fish_quoted(about)}"
            for name, about in [*first, ("help", "Show what halfopen takes.")]
        ]
    for command in commands:
        when = f" -n '__fish_seen_subcommand_from {command.name}'" if len(commands) > 1 else ""
        start = f"complete -c {program}{when}"
        lines += [f"{start} -F"] if command.name == "replay" else []
        for option in _declared(command):
            takes = ""
            if option.metavar:
                takes = " -r -F" if option.metavar in FILES else f" -x -a '{values(option)}'"
            names = "".join(
                f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
                for name in option.names
            )
            about = f" -d {_fish_quoted(option.about)}"
            lines.append(f"{start}{names}{takes}{about}")
    return lines


def _fish_quoted(text: str) -> str:
    return "'{}'".format(text.replace("\\", "\\\\").replace("'", "\\'"))


WRITERS = {"bash": _bash, "zsh": _zsh, "fish": _fish}


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
