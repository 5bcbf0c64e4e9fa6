"""typer's part: help, version, and what is said of a command line that cannot be parsed."""

import difflib
import shlex
from typing import TYPE_CHECKING, Any, Sequence, Type, Union

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
_ClickError: Type[Exception] = typer.BadParameter.__mro__[2]
_ASKING = {"--help", "-h", "--version", "-V"}
_NEAR = 0.8
"""How like each other two words are, from 0 to 1, for one to be suggested for the other."""


def parse(program: str, typed: Sequence[str], asked: str) -> Union["Parsed", Output]:
    """Return the command and what is typed for it; or, once help or version is printed, its end.

    `asked`: the format that the command line asks for, "" if none. Raises UsageError.
    """
    app = _plugin if program == options.PLUGIN.name else _halfopen
    code = _help_code(program, asked)
    if program == "halfopen" and typed[:1] == ["help"]:
        typed = [*typed[1:], "--help"]
    elif program == "halfopen" and not typed:
        typed, code = ["--help"], 3  # nothing was checked
    asking = _ASKING.intersection(typed)
    if asking and asked and FORMATS[asked].only == ():
        raise UsageError("leave out --format: what is printed would be taken for a verdict")
    result: Any = None
    try:
        result = app(
            list(typed),
            prog_name=program,
            standalone_mode=False,
            complete_var="",  # or else _HALFOPEN_COMPLETE in the environment takes over
        )
    except _ClickError as error:
        raise UsageError(_complaint(error, program, typed)) from None
    except (SystemExit, OSError):  # help went to a full disk, or (click's exit) a closed pipe
        if not asking:
            raise
    return result if isinstance(result, tuple) else Output("", code)


def _help_code(program: str, asked: str) -> int:
    """Return help's exit code: to a monitor it is no verdict, and no failure to people."""
    name = asked or (PLUGIN_FORMAT if program == options.PLUGIN.name else "")
    return FORMATS[name].codes[Status.UNKNOWN] if name else 0


# -- complaints ---------------------------------------------------------------------------------


def _complaint(error: Exception, program: str, typed: Sequence[str]) -> str:
    """Return one line: what is wrong, what it should be, and where to read more."""
    plugin = program == options.PLUGIN.name
    command = options.PLUGIN if plugin else options.COMMANDS.get(typed[0])
    if command is None and typed[0][:1] != "-":
        return _no_command(typed)
    name = getattr(error, "option_name", None)
    known = [each for option in command.options for each in option.all_names] if command else []
    if command is None and name:
        said = f"{name} before the command; write halfopen COMMAND {shlex.quote(typed[0])}"
    elif type(error).__name__ == "NoSuchOption" and name:
        said = _no_option(str(name), typed, known)
    else:
        message: str = getattr(error, "format_message", error.__str__)()
        said = message.replace("\n", " ").rstrip(".")
    asked = program if command is None or plugin else f"halfopen {command.name}"
    return f"{said}; see {asked} --help"


def _no_command(typed: Sequence[str]) -> str:
    near = difflib.get_close_matches(typed[0], options.COMMANDS, 1, _NEAR)
    if near:
        rest = " ".join(map(shlex.quote, typed[1:]))
        return f"no command {typed[0]!r}; did you mean halfopen {near[0]} {rest}".rstrip() + "?"
    if "." in typed[0] or ":" in typed[0]:
        return "no command {!r}; to check a target write halfopen check {}".format(
            typed[0], " ".join(map(shlex.quote, typed))
        )
    return "no command {!r}; there are {}".format(typed[0], ", ".join(options.COMMANDS))


def _no_option(name: str, typed: Sequence[str], known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, _NEAR) if name.startswith("--") else []
    if near:
        return f"no option {name}; did you mean {near[0]}?"
    glued = [word for word in typed if word != name and word.startswith(name)]
    if glued or name[1:].isdigit():
        return f"no option {name} in {(glued or [name])[0]!r} (no host or port begins with '-')"
    return f"no option {name}"


# -- the declarations, for typer ----------------------------------------------------------------


def _option(option: Option) -> typer.core.TyperOption:
    flag = not option.metavar
    names = [f"{option.names[0]}/{option.off}"] if option.off else option.names
    return typer.core.TyperOption(
        param_decls=[option.key, *names],
        is_flag=flag,
        type=bool if flag else str,
        default=option.untyped() if flag else option.default,
        metavar=option.metavar or None,
        envvar=option.variable or None,
        show_default=bool(option.off or option.default),
        show_envvar=bool(option.variable),
        help=option.about,
    )


def _version() -> typer.core.TyperOption:
    def show(_context: object, _option: object, wanted: bool) -> None:
        if wanted:
            typer.echo(f"halfopen {__version__}")
            raise typer.Exit

    return typer.core.TyperOption(
        param_decls=["version", "--version", "-V"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version and exit.",
    )


def _made(command: Command) -> typer.core.TyperCommand:
    """Return typer's command, which returns what is typed for it."""

    def parsed(arguments: Sequence[str] = (), **raw: object) -> "Parsed":
        return command, {**raw, "arguments": tuple(arguments)}

    arguments = [
        typer.core.TyperArgument(
            param_decls=["arguments"], nargs=-1, required=False, metavar=command.arguments
        )
    ]
    return typer.core.TyperCommand(
        command.name,
        callback=parsed,
        params=[
            *(arguments if command.arguments else []),
            *map(_option, command.options),
            _version(),
        ],
        help=command.about,
        short_help=command.about.partition("\n")[0],
        epilog=_after_options(command.codes, command.examples),
        context_settings=_SETTINGS,
        rich_markup_mode=None,
    )


def _after_options(codes: str, examples: Sequence[str]) -> str:
    # \b: the lines stay as they are.
    lines = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
    return f"Exit code: {codes}.\n\n{lines}"


# Without rich: plain help, and half the start-up. No completion: it writes to dot files.
typer.core.HAS_RICH = False  # typer 0.19 escapes for rich all the same: "\\[default: open]"
_SETTINGS = {"help_option_names": ["--help", "-h"]}
_plugin = _made(options.PLUGIN)
_halfopen = typer.core.TyperGroup(
    name="halfopen",
    commands={name: _made(command) for name, command in options.COMMANDS.items()},
    params=[_version()],
    help="TCP half-open health check: nmap's SYN scan as a monitoring plugin.",
    epilog=_after_options(
        "each command's help has its own; 3 if nothing was checked",
        (options.CHECK.examples[0], options.WAIT.examples[0]),
    ),
    context_settings=_SETTINGS,
    rich_markup_mode=None,
)
