"""Both commands' own parser: what it knows for certain goes without typer, and nmap starts early.

typer takes longer to load than nmap to scan. What is not certain (help, mistakes, flags in one
word) is left to it, and so the complaints are typer's alone.
"""

import time

from halfopen.cli import early, options, values
from halfopen.errors import HalfopenError
from halfopen.scan import head_start, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple

    Parsed = Tuple[options.Command, values.Raw]


def begin(program: str, typed: "Sequence[str]") -> "Optional[Parsed]":
    """Parse the command line; start nmap if it is a check of one address, good in all its parts."""
    parsed = parse(program, typed)
    if parsed is not None and parsed[0].checks and process.early is None:
        try:
            now = time.monotonic()
            argv = early.argv(parsed[0], values.read(*parsed), head_start.began, now)
        except HalfopenError:
            return parsed  # the command comes upon it again, and says so
        if argv:
            process.start_early(argv, now)
    return parsed


def parse(program: str, typed: "Sequence[str]") -> "Optional[Parsed]":
    """Return the command and what is typed for it, or None where typer has to see to it."""
    if program == options.PLUGIN.name:
        return _parse(options.PLUGIN, typed)
    if typed and typed[0] in options.COMMANDS:
        return _parse(options.COMMANDS[typed[0]], typed[1:])
    return None


def _parse(command: "options.Command", typed: "Sequence[str]") -> "Optional[Parsed]":
    """Do as click does: the last of a repeated option wins, and any text can be a value."""
    raw: values.Raw = {option.key: option.untyped() for option in command.options}
    known: Dict[str, Tuple[options.Option, bool]] = {}
    for option in command.options:
        known.update(dict.fromkeys(option.names, (option, True)))
        known[option.off] = (option, False)
    arguments: List[str] = []
    rest = list(reversed(typed))
    while rest:
        word = rest.pop()
        if word == "--":
            arguments += reversed(rest)
            break
        if len(word) < 2 or word[0] != "-":
            arguments.append(word)
            continue
        # -p=25 is the value "=25".
        name, glued, value = (
            word.partition("=") if word[1] == "-" else (word[:2], word[2:], word[2:])
        )
        if name not in known:
            return None
        option, on = known[name]
        if not option.metavar and not glued:
            raw[option.key] = on
        elif option.metavar and (glued or rest):
            raw[option.key] = value if glued else rest.pop()
        else:
            return None
    if arguments and not command.arguments:
        return None
    raw["arguments"] = tuple(arguments)
    return command, raw
