"""The typer apps: words only, no logic. `halfopen` and the full form of check_tcp_half_open."""

import sys
from typing import Any, List, NamedTuple, Optional, Sequence, Type

import typer

from halfopen import __version__, files
from halfopen.check import check
from halfopen.cli import options
from halfopen.deadline import call_by
from halfopen.errors import HalfopenError, UsageError
from halfopen.formats.registry import (
    DEFAULT_FORMAT,
    FORMATS,
    PLUGIN_FORMAT,
    Output,
    asked_for,
    listing,
    output,
    printable,
)
from halfopen.model import PORT_STATES, Report, ScanOptions, Status, Target, failure
from halfopen.replay import replay
from halfopen.scan import head_start
from halfopen.scan.head_start import TIMEOUT
from halfopen.targets.parse import (
    Parse,
    make,
    parse_lines,
    parse_plugin_words,
    parse_port,
    parse_targets,
)

# The base class of click's complaints about words. typer exports only a class derived from it, and
# carries click inside from 0.27 on.
_WordsError: Type[Exception] = typer.BadParameter.__mro__[2]


class _Entry(NamedTuple):
    """What differs between check_tcp_half_open and `halfopen check`."""

    parse: Parse
    format_name: str


_HOSTNAME = typer.Option(None, "--hostname", "-H", metavar="HOST", help="Host, with --port.")
_PORT = typer.Option(None, "--port", "-p", metavar="PORT", help="Port or TCP service name.")
_TARGETS = typer.Option(
    None, "--targets", metavar="FILE", help="Targets, one a line, # comments; - is stdin."
)
_TIMEOUT = typer.Option(
    None,
    "--timeout",
    "-t",
    metavar="S",
    help=f"Seconds for everything; {TIMEOUT:g}, or what the format's caller allows.",
)
_EXPECT = typer.Option("open", "--expect", metavar="STATE", help="open, closed or filtered.")
_EXIT = typer.Option(
    "",
    "--exit",
    metavar="STATE=CODE,...",
    help="Exit codes of your own; states: open, closed, filtered, error.",
)
_WARNING = typer.Option(
    None, "--warning", "-w", metavar="S", help="WARNING above this round trip, in seconds."
)
_CRITICAL = typer.Option(
    None, "--critical", "-c", metavar="S", help="CRITICAL above this round trip, in seconds."
)
_IPV4 = typer.Option(False, "-4", help="IPv4 only.")
_IPV6 = typer.Option(False, "-6", help="IPv6 only.")
_AS = typer.Option(
    None, "--format", metavar="FORMAT", help="What to print: {}.".format(", ".join(FORMATS))
)
_OUTPUT = typer.Option(
    None, "--output", metavar="FILE", help="Write to a file, at once, instead of printing."
)
_PLUS_ONE = typer.Option(
    True, "--plus-one/--no-plus-one", help="Scan the next port as well; it decides nothing."
)
_NMAP = typer.Option(
    "nmap", "--nmap", envvar="HALFOPEN_NMAP", metavar="PATH", help="The nmap to run."
)
_SUDO = typer.Option(False, "--sudo", help="Run nmap with sudo -n.")
_STREAM = typer.Option("text", "--format", metavar="FORM", help="What to print: text or json.")
_FORM = typer.Option("text", "--format", metavar="FORM", help="What to print: text, json, junit.")
_SAVE = typer.Option(
    None, "--save", metavar="DIR", help="Keep nmap's runs as recordings, for a bug report."
)
_VERBOSE = typer.Option(False, "--verbose", "-v", help="Show nmap's command line and messages.")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"halfopen {__version__}")
        raise typer.Exit


_VERSION = typer.Option(
    False,
    "--version",
    "-V",
    callback=_show_version,
    is_eager=True,
    help="Show the version and exit.",
)


def main(words: Sequence[str]) -> Output:
    """Return what `halfopen WORDS` prints, and its exit code; raise UsageError for bad words."""
    # To a monitor help is no verdict; people are not to be told of a failure.
    name = asked_for(words, "")
    help_code = FORMATS[name].codes[Status.UNKNOWN] if name else 0
    return _run(_halfopen, "halfopen", words, _Entry(parse_targets, DEFAULT_FORMAT), help_code)


def plugin(words: Sequence[str]) -> Output:
    """Return what `check_tcp_half_open WORDS` prints, and its exit code.

    Help and version are UNKNOWN, as the monitoring plugins guidelines want them.
    """
    entry = _Entry(parse_plugin_words, PLUGIN_FORMAT)
    name = asked_for(words, PLUGIN_FORMAT)
    help_code = FORMATS[name].codes[Status.UNKNOWN]
    return _run(_plugin, "check_tcp_half_open", words, entry, help_code)


def _run(
    app: typer.Typer, name: str, words: Sequence[str], entry: _Entry, help_code: int
) -> Output:
    asking = {"--help", "-h", "--version", "-V"}.intersection(words)
    if asking and FORMATS[asked_for(words, entry.format_name)].only == ():
        raise UsageError("leave out --format: what is printed would be taken for a verdict")
    try:
        result: Any = app(
            list(words),
            prog_name=name,
            obj=entry,
            standalone_mode=False,
            complete_var="",  # or else _HALFOPEN_COMPLETE in the environment takes over
        )
    except _WordsError as error:
        raise UsageError(_complaint(error, words, name)) from None
    except (SystemExit, OSError):  # help went to a full disk, or (click's exit) a closed pipe
        if not asking:
            raise
        result = None
    if isinstance(result, Output):
        return result
    if not asking:
        raise UsageError(f"nothing was checked; see {name} --help")
    return Output("", help_code)


def _complaint(error: Exception, words: Sequence[str], name: str) -> str:
    """Return click's complaint as one line that names the whole word, and where to read more."""
    message: str = getattr(error, "format_message", error.__str__)().replace("\n", " ").rstrip(".")
    option = getattr(error, "option_name", None)
    whole = [word for word in words if option and word != option and word.startswith(option)]
    if whole:
        message += f" in {whole[0]!r} (no host or port begins with '-')"
    command = words[0] if name == "halfopen" and words and not words[0].startswith("-") else ""
    known = {info.name for info in _halfopen.registered_commands}
    return f"{message}; see {name} {command + ' ' if command in known else ''}--help"


def _targets(  # noqa: PLR0913  the three ways to name targets
    parse: Parse,
    words: Sequence[str],
    hostname: Optional[str],
    port: Optional[str],
    file: Optional[str],
    family: Optional[int],
) -> List[Target]:
    """Return the targets from the one place where the user gave them."""
    by_option = hostname is not None or port is not None
    if bool(words) + by_option + (file is not None) > 1:
        raise UsageError("targets given in two ways; give words, or -H and -p, or --targets")
    if file is not None:
        lines = files.read(file).decode("utf-8-sig", "surrogateescape").splitlines()
        return parse_lines(lines, "standard input" if file == "-" else file, family)
    if not by_option:
        return parse(words, family)
    if hostname is None or port is None:
        raise UsageError(
            "-H and -p go together; add {}".format("-p PORT" if hostname else "-H HOST")
        )
    return [make(hostname, port, family)]


def check_command(  # noqa: PLR0913  one parameter an option: typer reads them from here
    context: typer.Context,
    words: List[str] = typer.Argument(None, metavar="TARGET...", show_default=False),
    hostname: Optional[str] = _HOSTNAME,
    port: Optional[str] = _PORT,
    targets: Optional[str] = _TARGETS,
    timeout: Optional[str] = _TIMEOUT,
    expect: str = _EXPECT,
    exit_codes: str = _EXIT,
    warning: Optional[str] = _WARNING,
    critical: Optional[str] = _CRITICAL,
    ipv4: bool = _IPV4,
    ipv6: bool = _IPV6,
    format_name: Optional[str] = _AS,
    file: Optional[str] = _OUTPUT,
    plus_one: bool = _PLUS_ONE,
    nmap: str = _NMAP,
    sudo: bool = _SUDO,
    verbose: bool = _VERBOSE,
    version: bool = _VERSION,  # noqa: ARG001  its callback has done it
) -> Output:
    """Check whether TCP ports are open, with a SYN that no server ever logs.

    A TARGET is HOST:PORT, [IPV6]:PORT, or the two words HOST PORT.
    """
    entry: _Entry = context.obj
    want = options.wording(format_name or entry.format_name, expect, exit_codes, warning, critical)
    deadline = head_start.began + _seconds(timeout, want.format_name)
    family = options.family(ipv4, ipv6)
    parse = FORMATS[want.format_name].parse or entry.parse
    try:
        asked = call_by(
            lambda: _targets(parse, words or [], hostname, port, targets, family),
            deadline,
            "reading the targets",
        )
    except HalfopenError as error:
        found = Report((failure(error),), want.expectation)
    else:
        found = check(
            asked, deadline, ScanOptions(nmap or "nmap", sudo, plus_one), want.expectation
        )
    return output(want.format_name, found, want.exit_map, verbose)._replace(file=file)


def _seconds(timeout: Optional[str], format_name: str) -> float:
    if timeout is None:
        return FORMATS[format_name].timeout
    return options.seconds("--timeout", timeout)


def replay_command(  # noqa: PLR0913  one parameter an option: typer reads them from here
    context: typer.Context,
    recordings: List[str] = typer.Argument(None, metavar="RUN.xml...", show_default=False),
    hostname: Optional[str] = _HOSTNAME,
    port: Optional[str] = _PORT,
    timeout: Optional[str] = _TIMEOUT,
    expect: str = _EXPECT,
    exit_codes: str = _EXIT,
    warning: Optional[str] = _WARNING,
    critical: Optional[str] = _CRITICAL,
    format_name: Optional[str] = _AS,
    verbose: bool = _VERBOSE,
) -> Output:
    """Judge nmap's recorded XML, without nmap; - is standard input.

    Judges the port first named in the recorded command line, or --port.
    """
    entry: _Entry = context.obj
    want = options.wording(format_name or entry.format_name, expect, exit_codes, warning, critical)
    deadline = head_start.began + _seconds(timeout, want.format_name)
    try:
        found = call_by(
            lambda: replay(
                recordings or [],
                deadline,
                hostname,
                None if port is None else parse_port(port),
                want.expectation,
            ),
            deadline,
            "reading the recordings",
        )
    except HalfopenError as error:
        found = Report((failure(error),), want.expectation)
    return output(want.format_name, found, want.exit_map, verbose)


def wait_command(  # noqa: PLR0913  one parameter an option: typer reads them from here
    words: List[str] = typer.Argument(None, metavar="TARGET...", show_default=False),
    targets: Optional[str] = _TARGETS,
    state: str = typer.Option(
        "open", "--for", metavar="STATE", help="open, closed, filtered or not-open."
    ),
    within_: str = typer.Option("60", "--timeout", metavar="SPAN", help="Give up after so long."),
    every: str = typer.Option("1", "--interval", metavar="SPAN", help="From look to look."),
    times: str = typer.Option(
        "1", "--successes", metavar="N", help="So many looks in a row have to agree."
    ),
    one_is_enough: bool = typer.Option(False, "--any", help="One target is enough."),
    ipv4: bool = _IPV4,
    ipv6: bool = _IPV6,
    form: str = _STREAM,
    plus_one: bool = _PLUS_ONE,
    nmap: str = _NMAP,
    sudo: bool = _SUDO,
) -> Output:
    """Wait until ports are open, or whatever else --for says; all of them at once.

    Exit code: 0 they are, 2 the time ran out, 3 nothing can be checked. A SPAN is seconds, or a
    number with s, m, h or d.
    """
    from halfopen.runbook import operate, schedule  # noqa: PLC0415  what only this command needs

    options.one_of("--format", form, operate.FORMS)
    wish = schedule.Wish(
        options.one_of("--for", state, (*PORT_STATES, "not-open")),
        options.span("--timeout", within_),
        options.span("--interval", every, 0.1),
        options.count("--successes", times),
        one_is_enough,
    )
    asked = _read_targets(words, targets, options.family(ipv4, ipv6))
    return operate.wait(asked, wish, ScanOptions(nmap or "nmap", sudo, plus_one), form)


def watch_command(  # noqa: PLR0913  one parameter an option: typer reads them from here
    words: List[str] = typer.Argument(None, metavar="TARGET...", show_default=False),
    targets: Optional[str] = _TARGETS,
    every: str = typer.Option("2", "--interval", metavar="SPAN", help="From look to look."),
    lasting: Optional[str] = typer.Option(
        None, "--duration", metavar="SPAN", help="End after so long."
    ),
    count: Optional[str] = typer.Option(
        None, "--count", metavar="N", help="End after so many looks."
    ),
    ipv4: bool = _IPV4,
    ipv6: bool = _IPV6,
    form: str = _STREAM,
    plus_one: bool = _PLUS_ONE,
    nmap: str = _NMAP,
    sudo: bool = _SUDO,
) -> Output:
    """Watch ports until Ctrl-C: a live table, or a line a change where there is no terminal.

    Exit code: that of the worst last state, 0 open, 2 closed or filtered, 3 unknown. A SPAN is
    seconds, or a number with s, m, h or d.
    """
    from halfopen.runbook import operate  # noqa: PLC0415  what only this command needs

    options.one_of("--format", form, operate.FORMS)
    span = operate.Span(
        options.span("--interval", every, 0.1),
        None if count is None else options.count("--count", count),
        None if lasting is None else options.span("--duration", lasting),
    )
    asked = _read_targets(words, targets, options.family(ipv4, ipv6))
    return operate.watch(asked, span, ScanOptions(nmap or "nmap", sudo, plus_one), form)


def _read_targets(
    words: Optional[List[str]], file: Optional[str], family: Optional[int]
) -> List[Target]:
    """Return the targets, before nmap is asked for the first time."""
    asked = call_by(
        lambda: _targets(parse_targets, words or [], None, None, file, family),
        head_start.began + TIMEOUT,
        "reading the targets",
    )
    return list(dict.fromkeys(asked))  # one that is named twice is still one


def smoke_command(
    timeout: str = typer.Option("15", "--timeout", "-t", metavar="S", help="Seconds for it all."),
    form: str = _FORM,
    folder: Optional[str] = _SAVE,
    nmap: str = _NMAP,
    sudo: bool = _SUDO,
) -> Output:
    """Find out whether this nmap can be trusted for half-open checks.

    It is asked about targets of our own, on loopback and in network namespaces. Exit code: 0 fit,
    2 not fit, 3 could not tell.
    """
    from halfopen.smoke import probes, report  # noqa: PLC0415  what only this command needs

    options.one_of("--format", form, list(report.FORMATS))
    deadline = head_start.began + options.seconds("--timeout", timeout)
    if folder is not None:
        report.make_folder(folder)
    found = probes.examine(ScanOptions(nmap or "nmap", sudo), deadline, _progress)
    if folder is not None:
        try:
            report.save(found, folder)
        except UsageError as error:  # what was found is told all the same
            typer.echo(printable(f"halfopen: not saved: {error}"), err=True)
    return Output(report.FORMATS[form](found), report.CODES[found.verdict])


def _progress(doing: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        typer.echo(f"smoke: {doing} ...", err=True)


def conventions_command() -> Output:
    """List what --format takes, and the exit codes of each."""
    return Output(listing(), 0)


def _overview(version: bool = _VERSION) -> None:
    """TCP half-open health check: nmap's SYN scan as a monitoring plugin."""


_PLUGIN_HELP = """Check whether a TCP port is open, with a SYN that no server ever logs.

The target is HOST PORT, or VIP VPORT RIP RPORT, or -H HOST -p PORT.
"""


def _app() -> typer.Typer:
    # Without rich: plain help, and half the start-up. No completion: it writes to dot files.
    typer.core.HAS_RICH = False  # typer 0.19 escapes for rich all the same: "\\[default: open]"
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )


_halfopen = _app()
_halfopen.callback()(_overview)
_halfopen.command("check")(check_command)
_halfopen.command("replay")(replay_command)
_halfopen.command("wait")(wait_command)
_halfopen.command("watch")(watch_command)
_halfopen.command("smoke")(smoke_command)
_halfopen.command("formats")(conventions_command)

_plugin = _app()
_plugin.command(help=_PLUGIN_HELP)(check_command)
