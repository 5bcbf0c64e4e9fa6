"""What the commands do with a command line that was read: from values to what is printed."""

import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from halfopen.check import check
from halfopen.cli import options
from halfopen.cli.options import Command
from halfopen.cli.values import read, refuse_command_after_targets
from halfopen.deadline import call_by
from halfopen.errors import HalfopenError, UsageError
from halfopen.formats import registry
from halfopen.formats.registry import FORMATS, Output, output, printable
from halfopen.model import Expectation, Report, ScanOptions, Target, Verdict, failure
from halfopen.scan import head_start
from halfopen.targets.parse import (
    BadLinesError,
    Parse,
    make,
    parse_lines,
    parse_plugin_words,
    parse_port,
    parse_targets,
)

if TYPE_CHECKING:
    from halfopen.cli.fast_path import Parsed
    from halfopen.cli.values import Values

_WITH_FORMATS_OF_THEIR_OWN = (options.WAIT.name, options.WATCH.name, options.SMOKE.name)


def format_asked_for(program: str, typed: Sequence[str], name: str) -> str:
    """Return the format's name if the command knows it, else "".

    `name` is what stands after --format; the command line may not have been parsed, or be wrong.
    """
    own = program == "halfopen" and typed[:1] and typed[0] in _WITH_FORMATS_OF_THEIR_OWN
    return name if name in (("json",) if own else FORMATS) else ""


def default_format(program: str) -> str:
    """Return the format that counts if none is asked for."""
    return registry.PLUGIN_FORMAT if program == options.PLUGIN.name else registry.DEFAULT_FORMAT


def main(
    program: str, typed: Sequence[str], parsed: Optional["Parsed"] = None, asked: str = ""
) -> Output:
    """Return what a command line prints, and its exit code; raise UsageError for a wrong one.

    `parsed`: what fast_path.py made of it; `asked`: the format that it asks for.
    """
    if parsed is None:
        from halfopen.cli import app  # noqa: PLC0415  slow to import

        given = app.parse(program, typed, asked)
        if isinstance(given, Output):
            return given
        parsed = given
    command, raw = parsed
    if command in (options.WAIT, options.WATCH):
        refuse_command_after_targets(typed, raw["arguments"])
    return _RUN[command](command, read(command, raw))


def read_targets(values: "Values", parse: Parse) -> List[Target]:
    """Return the targets from the one place where the user gave them."""
    host, port, file = values["hostname"], values["port"], values["targets"]
    by_option = host is not None or port is not None
    if bool(values["arguments"]) + by_option + (file is not None) > 1:
        raise UsageError("targets given in two ways; give arguments, or -H and -p, or --targets")
    if file is not None:
        return _from_file(file, values["family"])
    if not by_option:
        return parse(values["arguments"], values["family"])
    if host is None or port is None:
        raise UsageError("-H and -p go together; add {}".format("-p PORT" if host else "-H HOST"))
    return [make(host, port, values["family"])]


def _from_file(file: str, family: Optional[int]) -> List[Target]:
    from halfopen import files  # noqa: PLC0415  what only --targets needs

    source = "standard input" if file == "-" else printable(file)
    data = files.read(file)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:2].count(0) == 1:
        raise UsageError(f"{source} is UTF-16; save it as UTF-8")
    return parse_lines(data.decode("utf-8-sig", "surrogateescape").splitlines(), source, family)


def _targets(values: "Values", parse: Parse, deadline: float) -> List[Target]:
    return call_by(lambda: read_targets(values, parse), deadline, "reading the targets")


def _scan_options(values: "Values") -> ScanOptions:
    return ScanOptions(values["nmap"] or "nmap", values["sudo"], values.get("plus_one", True))


def _expectation(values: "Values") -> Expectation:
    return Expectation(values["expect"], values["warning"], values["critical"])


def _check(command: Command, values: "Values") -> Output:
    name, deadline = _format_and_deadline(command, values)
    parse = parse_plugin_words if command is options.PLUGIN else parse_targets
    targets: Sequence[Target] = ()
    errors: Sequence[HalfopenError] = ()
    try:
        targets = _targets(values, FORMATS[name].parse or parse, deadline)
    except HalfopenError as error:
        errors = [error]
        if FORMATS[name].good_lines_count and isinstance(error, BadLinesError):
            targets, errors = error.targets, error.errors
    found = Report((), _expectation(values))
    if targets:
        terminal = _terminal(name, values)
        ask: Callable[..., Report] = terminal.with_progress(check) if terminal else check
        found = ask(targets, deadline, _scan_options(values), found.expectation)
    printed = _output(name, found, map(failure, errors), values, deadline)
    return printed._replace(file=values["output"])


def _replay(command: Command, values: "Values") -> Output:
    from halfopen.replay import replay  # noqa: PLC0415  what only this command needs

    name, deadline = _format_and_deadline(command, values)
    expectation = _expectation(values)

    def replayed() -> Report:  # the name of a service may take long to find
        port = None if values["port"] is None else parse_port(values["port"])
        return replay(values["arguments"], deadline, values["hostname"], port, expectation)

    try:
        found = call_by(replayed, deadline, "reading the recordings")
    except HalfopenError as error:
        return _output(name, Report((), expectation), [failure(error)], values, deadline)
    return _output(name, found, (), values, deadline)


def _format_and_deadline(command: Command, values: "Values") -> Tuple[str, float]:
    name = values["format"] or default_format(command.name)
    return name, head_start.began + (values["timeout"] or FORMATS[name].timeout)


def _output(
    name: str, found: Report, failures: Iterable[Verdict], values: "Values", deadline: float
) -> Output:
    found = found._replace(verdicts=(*found.verdicts, *failures))
    printed = output(name, found, values["exit"] or {}, values["verbose"])
    terminal = _terminal(name, values)
    if not terminal:
        return printed
    return terminal.with_table(printed, found, values["verbose"], deadline)  # type: ignore[no-any-return]


def _terminal(name: str, values: "Values") -> Any:  # noqa: ANN401  a module
    """Return the module that draws on a terminal if that is wanted here."""
    if name != registry.DEFAULT_FORMAT or values.get("output") or not os.isatty(1):
        return None
    from halfopen.cli import terminal  # noqa: PLC0415  what only a terminal needs

    return terminal if terminal.wants_table() else None


def _rounds(values: "Values") -> Tuple[List[Target], ScanOptions]:
    """Return what is asked, and how, before nmap runs for the first time."""
    targets = _targets(values, parse_targets, head_start.began + head_start.TIMEOUT)
    return list(dict.fromkeys(targets)), _scan_options(values)  # one named twice is one


def _wait(_: Command, values: "Values") -> Output:
    from halfopen.runbook import wait  # noqa: PLC0415  what only this command needs

    names = ("state", "timeout", "interval", "successes", "any")
    condition = wait.Condition(*(values[name] for name in names))
    targets, scan = _rounds(values)
    return wait.run(targets, condition, scan, values["format"], values["verbose"])


def _watch(_: Command, values: "Values") -> Output:
    from halfopen.runbook import schedule, watch  # noqa: PLC0415  what only this command needs

    names = ("interval", "count", "duration", "timeout")
    planned = schedule.Schedule(*(values[name] for name in names))
    targets, scan = _rounds(values)
    return watch.run(targets, planned, scan, values["format"], values["verbose"])


def _smoke(_: Command, values: "Values") -> Output:
    from halfopen.smoke import probes, recordings, report  # noqa: PLC0415  what only this command needs

    deadline, folder = head_start.began + values["timeout"], values["save"]
    if folder is not None:
        recordings.make_folder(folder)
    found = probes.examine(_scan_options(values), deadline, _progress)
    if folder is not None:
        try:
            recordings.save(found, folder)
        except (UsageError, OSError) as error:  # what was found is told all the same
            _say(f"halfopen: not saved: {error}")
    return report.output(
        found, values["format"], verbose=values["verbose"], strict=values["strict"]
    )


def _progress(doing: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        _say(f"smoke: {doing} ...")


def _say(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def _formats(_: Command, __: "Values") -> Output:
    return Output(registry.listing(), 0)


_RUN: Dict[Command, Callable[[Command, "Values"], Output]] = {
    options.PLUGIN: _check,
    options.CHECK: _check,
    options.REPLAY: _replay,
    options.WAIT: _wait,
    options.WATCH: _watch,
    options.SMOKE: _smoke,
    options.FORMATS: _formats,
}
