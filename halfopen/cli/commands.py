"""What the commands do with a command line that was read: from values to what is printed."""

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Union

from halfopen.check import check
from halfopen.cli import options
from halfopen.cli.options import Command
from halfopen.cli.values import read
from halfopen.deadline import call_by
from halfopen.errors import HalfopenError, UsageError
from halfopen.formats import registry
from halfopen.formats.registry import FORMATS, Output, output, printable
from halfopen.model import Expectation, Report, ScanOptions, Target, failure
from halfopen.scan import head_start
from halfopen.targets import parse

if TYPE_CHECKING:
    from halfopen.cli.fast_path import Parsed
    from halfopen.cli.values import Values


def format_asked_for(program: str, typed: Sequence[str], name: str) -> str:
    """Return the format's name if the command knows it, else "".

    `name` is what stands after --format; the command line may not have been parsed, or be wrong.
    """
    command, _ = options.split(program, typed)
    own = command is not options.OVERVIEW and options.FORMAT not in command.options
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
    given: Union[Parsed, Output, None] = parsed
    if given is None:
        from halfopen.cli import app  # noqa: PLC0415  slow to import

        given = app.parse(program, typed, asked)
    if isinstance(given, Output):
        return given
    command, raw = given
    after = len(typed) - typed.index("--") if "--" in typed else len(typed)
    if command in (options.WAIT, options.WATCH) and after <= len(raw["arguments"]):
        # `wait A B -- COMMAND`: other programs of this kind would run it.
        raise UsageError("no command is run here; write `&& COMMAND` after it, in place of `--`")
    return _RUN[command](command, read(command, raw))


def read_targets(values: "Values", parse_arguments: parse.Parse) -> List[Target]:
    """Return the targets from the one place where the user gave them."""
    if values["targets"] is not None:
        return _from_file(values["targets"], values["family"])
    if values["hostname"] is not None:
        return [parse.make(values["hostname"], values["port"], values["family"])]
    return parse_arguments(values["arguments"], values["family"])


def _from_file(file: str, family: Optional[int]) -> List[Target]:
    from halfopen import files  # noqa: PLC0415  what only --targets needs

    source = "standard input" if file == "-" else printable(file)
    data = files.read(file)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or data[:2].count(0) == 1:
        raise UsageError(f"{source} is UTF-16; save it as UTF-8")
    lines = data.decode("utf-8-sig", "surrogateescape").splitlines()
    return parse.parse_lines(lines, source, family)


def _targets(values: "Values", parse_arguments: parse.Parse, deadline: float) -> List[Target]:
    return call_by(lambda: read_targets(values, parse_arguments), deadline, "reading the targets")


def _scan_options(values: "Values") -> ScanOptions:
    return ScanOptions(values["nmap"] or "nmap", values["sudo"], not values.get("no_plus_one"))


# -- check and replay ---------------------------------------------------------------------------


def _judge(command: Command, values: "Values") -> Output:
    name = values["format"] or default_format(command.name)
    form = FORMATS[name]
    deadline = head_start.began + (values["timeout"] or form.timeout)
    found = Report((), Expectation(values["expect"], values["warning"], values["critical"]))
    targets: Sequence[Target] = ()
    errors: Sequence[HalfopenError] = ()
    try:
        if command is options.REPLAY:
            found = _replay(values, deadline, found.expectation)
        else:
            usual = parse.parse_plugin_words if command is options.PLUGIN else parse.parse_targets
            targets = _targets(values, form.parse or usual, deadline)
    except HalfopenError as error:
        errors = [error]
        if form.good_lines_count and isinstance(error, parse.BadLinesError):
            targets, errors = error.targets, error.errors
    terminal = _terminal(values, name)
    if targets:
        line = (
            terminal.Progress(len(targets), deadline) if terminal else nullcontext(lambda _: None)
        )
        scan = _scan_options(values)
        with line as progress:
            found = check(targets, deadline, scan, found.expectation, progress=progress)
    found = found._replace(verdicts=(*found.verdicts, *map(failure, errors)))
    printed = output(name, found, values["exit"] or {}, values["verbose"])
    if terminal:
        printed = terminal.with_table(printed, found, values["verbose"], deadline)
    return printed._replace(file=values.get("output"))


def _replay(values: "Values", deadline: float, expectation: Expectation) -> Report:
    from halfopen.replay import replay  # noqa: PLC0415  what only this command needs

    def replayed() -> Report:  # the name of a service may take long to find
        asked = (values["hostname"], values["port"])
        return replay(values["arguments"], deadline, *asked, expectation)

    return call_by(replayed, deadline, "reading the recordings")


def _terminal(values: "Values", name: str) -> Any:  # noqa: ANN401  a module
    """Return the module that draws on a terminal if that is wanted here."""
    if name != registry.DEFAULT_FORMAT or values.get("output") or not os.isatty(1):
        return None
    from halfopen.cli import terminal  # noqa: PLC0415  what only a terminal needs

    return terminal if terminal.wants_table() else None


# -- the others ---------------------------------------------------------------------------------


def _wait(_: Command, values: "Values") -> Output:
    from halfopen.runbook import wait  # noqa: PLC0415  what only this command needs

    return _in_rounds(wait.run, wait.Condition, values)


def _watch(_: Command, values: "Values") -> Output:
    from halfopen.runbook import schedule, watch  # noqa: PLC0415  what only this command needs

    return _in_rounds(watch.run, schedule.Schedule, values)


def _in_rounds(run: Callable[..., Output], plan: Any, values: "Values") -> Output:  # noqa: ANN401  a class
    """Read the targets, and hand over: `plan` has the fields that are options of the command."""
    targets = _targets(values, parse.parse_targets, head_start.began + head_start.TIMEOUT)
    targets = list(dict.fromkeys(targets))  # one named twice is one
    planned = plan(*(values[name] for name in plan._fields))
    return run(targets, planned, _scan_options(values), values["format"], values["verbose"])


def _smoke(_: Command, values: "Values") -> Output:
    from halfopen.smoke import probes, recordings, report  # noqa: PLC0415  what only this command needs

    deadline, folder = head_start.began + values["timeout"], values["save"]
    if folder is not None:
        recordings.make_folder(folder)
    found = probes.examine(_scan_options(values), deadline, _progress)
    printed = report.output(
        found, values["format"], verbose=values["verbose"], strict=values["strict"]
    )
    if folder is not None:
        try:
            recordings.save(found, folder)
        except (UsageError, OSError) as error:  # what was found is told all the same
            return printed._replace(note=printable(f"halfopen: not saved: {error}"))
    return printed


def _progress(doing: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"smoke: {doing} ...", file=sys.stderr, flush=True)  # noqa: T201  nothing of others'


_RUN: Dict[Command, Callable[[Command, "Values"], Output]] = {
    **dict.fromkeys((options.PLUGIN, options.CHECK, options.REPLAY), _judge),
    options.WAIT: _wait,
    options.WATCH: _watch,
    options.SMOKE: _smoke,
    options.FORMATS: lambda *_: Output(registry.listing(), 0),
}
