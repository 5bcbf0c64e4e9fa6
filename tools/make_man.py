"""Fills in the man pages, packaging/man/*.1: the options and exit codes are what the code has."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import Any, Mapping

import typer
from typer.core import TyperCommand, TyperOption

from halfopen import __version__
from halfopen.cli import app
from halfopen.formats.registry import FORMATS
from halfopen.model import Status

SOURCES = Path(__file__).resolve().parents[1] / "packaging" / "man"
# Neither adjusted nor hyphenated: it is too narrow for either.
_CELL = "T{{\n.ad l\n.nh\n{}\nT}}"
_HELP = ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow what the command takes, and exit."


def write_pages(folder: Path, epoch: int) -> None:
    """Write the pages into the folder, dated (seconds since 1970)."""
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    halfopen: Any = typer.main.get_command(app._halfopen)
    plugin: Any = typer.main.get_command(app._plugin)
    commands = halfopen.commands.values()
    parts = {
        "@SYNOPSIS": "\n".join(map(_synopsis, commands)),
        "@COMMANDS": "\n".join(map(_command, commands)),
        "@FORMATS": _formats(),
    }
    for source in SOURCES.glob("*.1"):
        parts["@OPTIONS"] = _options(halfopen if source.stem == "halfopen" else plugin)
        text = source.read_text(encoding="utf-8")
        text = text.replace("@VERSION", __version__).replace("@DATE", date)
        page = "\n".join(parts.get(line, line) for line in text.splitlines())
        folder.joinpath(source.name).write_text(page + "\n", encoding="utf-8")


def _synopsis(command: TyperCommand) -> str:
    words = [rf"\fBhalfopen {command.name}\fR"]
    if command.params:
        words.append(r"[\fIOPTION\fR]...")
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    words += [rf"\fI{_escaped(each.metavar or '')}\fR" for each in arguments]
    return " ".join(words)


def _command(command: TyperCommand) -> str:
    paragraphs = textwrap.dedent(command.help or "").strip().split("\n\n")
    said = "\n.PP\n".join(_escaped(" ".join(each.split())) for each in paragraphs)
    return f".SS {command.name}\n{said}\n{_options(command)}"


def _options(command: TyperCommand) -> str:
    options = [each for each in command.params if isinstance(each, TyperOption)]
    return "\n".join([*map(_option, options), _HELP])


def _option(option: TyperOption) -> str:
    names = sorted([*option.opts, *option.secondary_opts], key=len)
    head = ", ".join(rf"\fB{_escaped(name)}\fR" for name in names)
    if option.metavar:
        head += rf" \fI{_escaped(option.metavar)}\fR"
    text = option.help or ""
    if isinstance(option.default, str) and option.default:
        text += f" Default: {option.default}."
    elif option.secondary_opts:
        text += f" Default: {(option.opts if option.default else option.secondary_opts)[0]}."
    if option.envvar:
        text += f" Also: {option.envvar} in the environment."
    return f".TP\n{head}\n{_escaped(text)}"


def _formats() -> str:
    head = "\\fB\\-\\-as\\fR\topen\tclosed\tfiltered\tfailed\tfor"
    rows = [
        "\t".join([rf"\fB{name}\fR", *_codes(each.codes), _CELL.format(_escaped(each.about))])
        for name, each in FORMATS.items()
    ]
    return "\n".join([".TS", "l r r r r lx.", head, *rows, ".TE"])


def _codes(codes: Mapping[Status, int]) -> list[str]:
    down = str(codes[Status.CRITICAL])
    return [str(codes[Status.OK]), down, down, str(codes[Status.UNKNOWN])]


def _escaped(text: str) -> str:
    """Return the text for troff: its hyphens are minus signs, and no line is a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return r"\&" + text if text.startswith(".") else text
