"""Both commands' own parser: what it knows for certain goes without typer, and nmap starts early.

typer takes longer to load than nmap to scan. What is not certain (help, mistakes, flags in one
word) is left to it, and so the complaints are typer's alone.
"""

from halfopen.cli import early, options, values
from halfopen.errors import UsageError
from halfopen.scan import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

    Parsed = Tuple[options.Command, values.Raw]


def begin(program: str, typed: "Sequence[str]") -> "Optional[Parsed]":
    """Parse the command line; start nmap if it is a check of addresses, good in all its parts."""
    parsed = parse(program, typed)
    if parsed and parsed[0] in (options.PLUGIN, options.CHECK) and not process.early:
        try:
            early.start(values.read(*parsed), plugin=parsed[0] is options.PLUGIN)
        except UsageError:
            return parsed  # the command comes upon it again, and says so
    return parsed


def parse(program: str, typed: "Sequence[str]") -> "Optional[Parsed]":
    """Return the command and what is typed for it, or None where typer has to see to it.

    As click does: the last of a repeated option wins, and any text can be a value.
    """
    command, words = options.split(program, typed)
    if command is options.OVERVIEW:
        return None
    raw: values.Raw = {option.key: option.untyped() for option in command.options}
    known = {name: option for option in command.options for name in option.names}
    arguments: List[str] = []
    rest = list(reversed(words))
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
        option = known.get(name)
        if option is None or (glued and not option.metavar):
            return None
        if not option.metavar:
            raw[option.key] = True
        elif glued or rest:
            raw[option.key] = value if glued else rest.pop()
        else:
            return None
    if arguments and not command.arguments:
        return None
    raw["arguments"] = tuple(arguments)
    return command, raw
