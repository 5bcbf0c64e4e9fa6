"""typer's part: help, version, and what is said of a command line that cannot be parsed."""

import difflib
import shlex
from typing import TYPE_CHECKING, Any, Sequence, Union

import typer
import typer.core

from halfopen import __version__
from halfopen.cli import options
from halfopen.cli.options import Command, Option
from halfopen.errors import UsageError
from halfopen.formats.registry import FORMATS, PLUGIN_FORMAT, Output
from halfopen.model import Status

if TYPE_CHECKING:
    from halfopen.cli.fast_path import Parsed

# The base class of click's usage errors. typer exports only a class derived from it, and carries
# click inside from 0.27 on.
_ClickError: Any = typer.BadParameter.__mro__[2]
_NEAR = 0.8
"""How like each other two words are, from 0 to 1, for one to be suggested for the other."""


def parse(program: str, typed: Sequence[str], asked: str) -> Union["Parsed", Output]:
    """Return the command and what is typed for it; or, once help or version is printed, its end.

    `asked`: the format that the command line asks for, "" if none. Raises UsageError.
    """
    plugin = program == options.PLUGIN.name
    name = asked or (PLUGIN_FORMAT if plugin else "")
    # Help is no verdict to a monitor, and no failure to people.
    code = FORMATS[name].codes[Status.UNKNOWN] if name else 0
    if not plugin and typed[:1] == ["help"]:
        typed = [*typed[1:], "--help"]
    elif not plugin and not typed:
        typed, code = ["--help"], 3  # nothing was checked
    asking = {*options.HELP.names, *options.VERSION.names}.intersection(typed)
    if asking and asked and FORMATS[asked].only == ():
        raise UsageError("leave out --format: what is printed would be taken for a verdict")
    command, words = options.split(program, typed)
    program_alone = command in (options.PLUGIN, options.OVERVIEW)
    path = command.name if program_alone else f"halfopen {command.name}"
    try:
        raw = _parser(command).make_context(path, list(words)).params
    except _ClickError as error:
        raise UsageError(f"{_complaint(error, command, typed)}; see {path} --help") from None
    except (typer.Exit, OSError):  # OSError: help went to a full disk, or a closed pipe
        return Output("", code)
    if raw.pop("version"):
        return Output(f"halfopen {__version__}", code)
    if command is options.OVERVIEW:
        raise UsageError(_no_command(typed))
    return command, {"arguments": (), **raw}


# -- complaints ---------------------------------------------------------------------------------


def _complaint(error: Any, command: Command, typed: Sequence[str]) -> str:  # noqa: ANN401  see _ClickError
    """Return what is wrong, and what it should be."""
    if command is options.OVERVIEW:
        advice = f"write halfopen COMMAND {shlex.quote(typed[0])}"
        return f"{error.option_name} before the command; {advice}"
    if not hasattr(error, "possibilities"):
        return str(error.format_message()).replace("\n", " ").rstrip(".")
    name: str = error.option_name
    near = difflib.get_close_matches(name, error.possibilities or (), 1, _NEAR)
    if near and near[0] != name.replace("--", "--no-", 1):  # not its opposite
        return f"no option {name}; did you mean {near[0]}?"
    glued = [word for word in typed if word != name and word.startswith(name)]
    if glued or name[1:].isdigit():
        return f"no option {name} in {(glued or [name])[0]!r} (no host or port begins with '-')"
    return f"no option {name}"


def _no_command(typed: Sequence[str]) -> str:
    said = f"no command {typed[0]!r};"
    line = " ".join(map(shlex.quote, typed))
    near = difflib.get_close_matches(typed[0], options.COMMANDS, 1, _NEAR)
    if near:
        return f"{said} did you mean halfopen {' '.join([*near, *map(shlex.quote, typed[1:])])}?"
    if "." in typed[0] or ":" in typed[0]:
        return f"{said} to check a target write halfopen check {line}"
    return f"{said} there are {', '.join(options.COMMANDS)}"


# -- the declarations, for typer ----------------------------------------------------------------


def _option(option: Option) -> typer.core.TyperOption:
    flag = not option.metavar
    return typer.core.TyperOption(
        param_decls=[option.key, *option.names],
        is_flag=flag,
        type=bool if flag else str,
        default=option.default,
        metavar=option.metavar or None,
        envvar=option.variable or None,
        show_default=bool(option.default),
        show_envvar=bool(option.variable),
        help=option.about,
    )


def _parser(command: Command) -> Union[typer.core.TyperCommand, typer.core.TyperGroup]:
    """Return the command as typer has it."""
    arguments = typer.core.TyperArgument(
        param_decls=["arguments"], nargs=-1, required=False, metavar=command.arguments
    )
    # \b: the lines stay as they are.
    examples = "\n".join(["\b", "Examples:", *(f"  {example}" for example in command.examples)])
    declared: Any = {
        "name": command.name,
        "params": [
            *([arguments] if command.arguments else []),
            *map(_option, (*command.options, options.VERSION)),
        ],
        "help": command.about,
        "short_help": command.about.partition("\n")[0],
        "epilog": f"Exit code: {command.codes}.\n\n{examples}",
        "context_settings": {"help_option_names": list(options.HELP.names)},
        "rich_markup_mode": None,
    }
    if command is options.OVERVIEW:
        commands: Any = {each.name: _parser(each) for each in options.COMMANDS.values()}
        return typer.core.TyperGroup(commands=commands, **declared)
    return typer.core.TyperCommand(**declared)


# Without rich: plain help, and half the start-up. No completion: it writes to dot files.
typer.core.HAS_RICH = False  # typer 0.19 escapes for rich all the same: "\\[default: open]"
