"""Every option and command, declared once: for our parser, for typer, and for the man pages.

Loaded before nmap starts (fast_path.py): classes of their own, for typing's NamedTuple takes as
long to load as all of this. Nobody changes them.
"""

import os

from halfopen.cli import values
from halfopen.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Sequence, Tuple, Union

    Raw = Dict[str, Any]
    """Option's key to what was typed: a text or None, True or False; "words": the arguments."""
    Values = Dict[str, Any]
    """The same after reading; "family" in place of -4 and -6."""


class Option:
    """An option: with a metavar it takes a value, without one it is a flag."""

    def __init__(  # noqa: PLR0913  what an option is made of
        self,
        key: str,
        *names: str,
        about: str,
        metavar: str = "",
        default: "Optional[str]" = None,
        read: "Optional[values.Reader]" = None,
        on: bool = False,
        off: str = "",
        variable: str = "",
    ) -> None:
        """Declare it; `on` is a flag's default, `off` its opposite, `variable` one that sets it."""
        self.key, self.names, self.about = key, names, about
        self.metavar, self.default, self.read = metavar, default, read
        self.on, self.off, self.variable = on, off, variable

    def untyped(self) -> "Union[bool, str, None]":
        """Return what counts if the option is not typed."""
        if not self.metavar:
            return self.on
        return (self.variable and os.environ.get(self.variable)) or self.default


class Command:
    """A command: its options, its arguments' metavar, and what its help says."""

    def __init__(
        self,
        name: str,
        *options: Option,
        about: str,
        arguments: str = "",
        codes: str,
        examples: "Tuple[str, str]",
    ) -> None:
        """Declare it; `codes` says what its exit codes mean."""
        self.name, self.options, self.about = name, options, about
        self.arguments, self.codes, self.examples = arguments, codes, examples

    @property
    def checks(self) -> bool:
        """Whether it is one of the two names of the check."""
        return self.name in (PLUGIN.name, CHECK.name)


HOST = Option("host", "--hostname", "-H", metavar="HOST", about="Host, with --port.")
PORT = Option("port", "--port", "-p", metavar="PORT", about="Port or TCP service name.")
TARGETS = Option(
    "targets", "--targets", metavar="FILE", about="Targets, one a line, # comments; - is stdin."
)
IPV4 = Option("ipv4", "-4", about="IPv4 only.")
IPV6 = Option("ipv6", "-6", about="IPv6 only.")
PLUS_ONE = Option(
    "plus_one",
    "--plus-one",
    on=True,
    off="--no-plus-one",
    about="Scan the next port as well; it decides nothing.",
)
NMAP = Option(
    "nmap",
    "--nmap",
    metavar="PATH",
    default="nmap",
    variable="HALFOPEN_NMAP",
    about="The nmap to run.",
)
SUDO = Option("sudo", "--sudo", about="Run nmap with sudo -n.")
TIMEOUT = Option(
    "timeout",
    "--timeout",
    "-t",
    metavar="TIME",
    read=values.time(values.HOUR),
    about="Time for everything; 10s, or what the format's caller allows.",
)
EXPECT = Option(
    "expect",
    "--expect",
    metavar="STATE",
    default="open",
    read=values.state,
    about="open, closed or filtered.",
)
EXIT = Option(
    "exit",
    "--exit",
    metavar="STATE=CODE,...",
    read=values.exit_map,
    about="Exit codes of your own; states: open, closed, filtered, error.",
)
WARNING = Option(
    "warning",
    "--warning",
    "-w",
    metavar="TIME",
    read=values.limit,
    about="WARNING above this round-trip time, as 50ms or 0:0.05.",
)
CRITICAL = Option(
    "critical",
    "--critical",
    "-c",
    metavar="TIME",
    read=values.limit,
    about="CRITICAL above this round-trip time.",
)
FORMAT = Option(
    "format",
    "--format",
    metavar="NAME",
    read=values.format_name,
    about="What to print, for whom; `halfopen formats` lists the names.",
)
OUTPUT = Option(
    "output", "--output", metavar="FILE", about="Write to a file, by rename, instead of printing."
)
VERBOSE = Option("verbose", "--verbose", "-v", about="Show nmap's command lines and messages.")
STREAM = Option(
    "format",
    "--format",
    metavar="NAME",
    default="text",
    read=values.choice("text", "json"),
    about="What to print: text or json.",
)


def interval(default: str) -> Option:
    """Return the option for the time between rounds."""
    return Option(
        "interval",
        "--interval",
        "-i",
        metavar="TIME",
        default=default,
        read=values.time(365 * values.DAY, least=0.1),
        about="From the start of a round to the next.",
    )


_JUDGING = (EXPECT, EXIT, WARNING, CRITICAL, FORMAT)
_NMAP = (IPV4, IPV6, PLUS_ONE, NMAP, SUDO)
_CHECK = (HOST, PORT, TARGETS, TIMEOUT, *_JUDGING, OUTPUT, *_NMAP, VERBOSE)
_CODES = (
    "0 OK, 1 WARNING, 2 CRITICAL (not as expected), 3 UNKNOWN (the check itself failed); "
    "--format changes them"
)

PLUGIN = Command(
    "check_tcp_half_open",
    *_CHECK,
    arguments="HOST PORT",
    about="Check whether a TCP port is open, with a SYN that no server ever logs.\n\n"
    "The target is HOST PORT, or VIP VPORT RIP RPORT, or -H HOST -p PORT.",
    codes=_CODES,
    examples=(
        "check_tcp_half_open 192.0.2.25 25",
        "check_tcp_half_open -H mail.example.org -p smtp -t 5s -w 50ms -c 0.5",
    ),
)
CHECK = Command(
    "check",
    *_CHECK,
    arguments="TARGET...",
    about="Check whether TCP ports are open, unseen by any log.\n\n"
    "A SYN is sent, and no connection made. A TARGET is HOST:PORT, [IPV6]:PORT, or the two "
    "arguments HOST PORT.",
    codes=_CODES,
    examples=(
        "halfopen check 192.0.2.25:25 '[2001:db8::25]:25'",
        "halfopen check --targets farm --format json -t 30s",
    ),
)
REPLAY = Command(
    "replay",
    HOST,
    PORT,
    TIMEOUT,
    *_JUDGING,
    VERBOSE,
    arguments="RUN.xml...",
    about="Judge nmap's recorded XML, without nmap.\n\n"
    "Judges the port first named in the recorded command line, or --port. - is standard input.",
    codes=_CODES,
    examples=("halfopen replay run.xml", "halfopen replay run.xml -p 443 --format nagios"),
)
WAIT = Command(
    "wait",
    HOST,
    PORT,
    TARGETS,
    Option(
        "state",
        "--for",
        metavar="STATE",
        default="open",
        read=values.choice("open", "closed", "filtered", "not-open"),
        about="open, closed, filtered or not-open.",
    ),
    Option(
        "timeout",
        "--timeout",
        "-t",
        metavar="TIME",
        default="60s",
        read=values.time(365 * values.DAY),
        about="Give up after this time.",
    ),
    interval("1s"),
    Option(
        "successes",
        "--successes",
        metavar="N",
        default="1",
        read=values.count,
        about="Rounds in a row that have to agree.",
    ),
    Option("any", "--any", about="One target is enough."),
    STREAM,
    *_NMAP,
    arguments="TARGET...",
    about="Wait until all ports are open, or as --for says.",
    codes="0 they are, 2 the time ran out, 3 nothing could be checked",
    examples=(
        "halfopen wait 192.0.2.11:443 192.0.2.12:443 && echo enable",
        "halfopen wait 192.0.2.11:443 --for not-open -t 5m -i 500ms",
    ),
)
WATCH = Command(
    "watch",
    HOST,
    PORT,
    TARGETS,
    interval("2s"),
    Option(
        "timeout",
        "--timeout",
        "-t",
        metavar="TIME",
        default="10s",
        read=values.time(values.HOUR),
        about="Time for a round.",
    ),
    Option(
        "duration",
        "--duration",
        metavar="TIME",
        read=values.time(365 * values.DAY),
        about="End after this time.",
    ),
    Option("count", "--count", metavar="N", read=values.count, about="End after this many rounds."),
    STREAM,
    *_NMAP,
    arguments="TARGET...",
    about="Watch ports until Ctrl-C.\n\n"
    "A live table; a line for each change where there is no terminal.",
    codes="that of the worst last state: 0 open, 2 closed or filtered, 3 unknown",
    examples=(
        "halfopen watch --targets farm -i 500ms",
        "halfopen watch 192.0.2.11:443 --duration 10m --format json",
    ),
)
SMOKE = Command(
    "smoke",
    Option(
        "timeout",
        "--timeout",
        "-t",
        metavar="TIME",
        default="15s",
        read=values.time(values.HOUR),
        about="Time for everything.",
    ),
    Option(
        "format",
        "--format",
        metavar="NAME",
        default="text",
        read=values.choice("text", "json", "junit"),
        about="What to print: text, json or junit.",
    ),
    Option(
        "save",
        "--save",
        metavar="DIR",
        about="Keep nmap's runs as recordings, for a bug report.",
    ),
    Option("strict", "--strict", about="Exit code 2 for an nmap that needs workarounds."),
    Option("verbose", "--verbose", "-v", about="Show what is ok, too."),
    NMAP,
    SUDO,
    about="Find out whether this nmap is fit for half-open checks.\n\n"
    "It is asked about targets of our own, on loopback and in network namespaces.",
    codes="0 fit, also with halfopen's workarounds, 2 not fit, 3 inconclusive",
    examples=("halfopen smoke", "halfopen smoke --format junit --save runs >smoke.xml"),
)
FORMATS = Command(
    "formats",
    about="List what --format takes, with the exit codes.",
    codes="0",
    examples=("halfopen formats", "halfopen formats | grep nagios"),
)

COMMANDS = {each.name: each for each in (CHECK, REPLAY, WAIT, WATCH, SMOKE, FORMATS)}
"""What `halfopen` is followed by."""


def read(command: Command, raw: "Raw") -> "Values":
    """Return what was typed as values; raise UsageError for the first that is wrong."""
    found: Values = {"words": raw["words"]}
    for option in command.options:
        text = raw[option.key]
        found[option.key] = (
            text if option.read is None or text is None else option.read(option.names[0], text)
        )
    if "ipv4" in found:
        if found["ipv4"] and found["ipv6"]:
            raise UsageError("-4 and -6 exclude each other; leave out one")
        found["family"] = 4 if found["ipv4"] else 6 if found["ipv6"] else None
    warning, critical = found.get("warning"), found.get("critical")
    if warning is not None and critical is not None and warning > critical:
        raise UsageError(
            "--warning {!r} is above --critical {!r}; swap them".format(
                raw["warning"], raw["critical"]
            )
        )
    if found.get("exit") and found["format"]:
        _refuse_unknown_codes(found["format"], found["exit"])
    return found


def _refuse_unknown_codes(format_name: str, codes: "Dict[str, int]") -> None:
    """Raise UsageError if the format's caller would misread a code."""
    from halfopen.formats import registry  # noqa: PLC0415  takes 10 ms

    only = registry.FORMATS[format_name].only
    if only is None or all(code in only for code in codes.values()):
        return
    if not only:
        raise UsageError(f"--exit changes nothing for {format_name}: what is printed decides")
    raise UsageError(
        "--exit: {} knows the codes {} only".format(format_name, " and ".join(map(str, only)))
    )


def refuse_command_after_targets(typed: "Sequence[str]", arguments: "Sequence[str]") -> None:
    """Raise UsageError for `wait A B -- COMMAND`: other programs of this kind would run it."""
    if "--" not in typed:
        return
    after = list(typed[typed.index("--") + 1 :])
    if len(after) < len(arguments) and list(arguments[len(arguments) - len(after) :]) == after:
        raise UsageError("no command is run here; write `&& COMMAND` after it, in place of `--`")
