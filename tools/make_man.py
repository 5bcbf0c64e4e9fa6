"""Fills in the man pages, packaging/man/*.1: the options and exit codes are what the code has."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Mapping, Sequence

from halfopen import __version__
from halfopen.cli import options
from halfopen.cli.options import Command, Option
from halfopen.formats.registry import FORMATS
from halfopen.model import Status

SOURCES = Path(__file__).resolve().parents[1] / "packaging" / "man"
# Neither adjusted nor hyphenated: it is too narrow for either.
_CELL = "T{{\n.ad l\n.nh\n{}\nT}}"


def write_pages(folder: Path, epoch: int) -> None:
    """Write the pages into the folder, dated (seconds since 1970)."""
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    commands = options.COMMANDS.values()
    parts = {
        "@SYNOPSIS": "\n".join(map(_synopsis, commands)),
        "@COMMANDS": "\n".join(map(_command, commands)),
        "@FORMATS": _formats(),
    }
    for source in SOURCES.glob("*.1"):
        parts["@OPTIONS"] = _options(() if source.stem == "halfopen" else options.PLUGIN.options)
        text = source.read_text(encoding="utf-8")
        text = text.replace("@VERSION", __version__).replace("@DATE", date)
        page = "\n".join(parts.get(line, line) for line in text.splitlines())
        folder.joinpath(source.name).write_text(page + "\n", encoding="utf-8")


def _synopsis(command: Command) -> str:
    words = [rf"\fBhalfopen {command.name}\fR"]
    if command.options:
        words.append(r"[\fIOPTION\fR]...")
    if command.arguments:
        words.append(rf"\fI{_escaped(command.arguments)}\fR")
    return " ".join(words)


def _command(command: Command) -> str:
    codes = f"Exit code: {command.codes}."
    said = "\n.PP\n".join(map(_escaped, [*command.about.split("\n\n"), codes]))
    return f".SS {command.name}\n{said}\n{_options(command.options)}"


def _options(declared: Sequence[Option]) -> str:
    return "\n".join(map(_option, [*declared, options.VERSION, options.HELP]))


def _option(option: Option) -> str:
    names = sorted(sorted(option.names), key=len)
    head = ", ".join(rf"\fB{_escaped(name)}\fR" for name in names)
    if option.metavar:
        head += rf" \fI{_escaped(option.metavar)}\fR"
    text = option.about
    if option.default:
        text += f" Default: {option.default}."
    if option.variable:
        text += f" Also: {option.variable} in the environment."
    return f".TP\n{head}\n{_escaped(text)}"


def _formats() -> str:
    head = "\\fB\\-\\-format\\fR\topen\tclosed\tfiltered\tfailed\tfor"
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
