"""Every option and command, declared once: for our parser, for typer, and for the man pages.

Loaded before nmap starts (fast_path.py): classes of their own, for typing's NamedTuple takes as
long to load as all of this. Nobody changes them.
"""

import os

from halfopen.cli import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence, Tuple, Union


class Option:
    """An option: with a metavar it takes a value, without one it is a flag."""

    def __init__(  # noqa: PLR0913  what an option is made of
        self,
        names: str,
        metavar: str,
        about: str,
        read: "Optional[values.Reader]" = None,
        default: "Optional[str]" = None,
        *,
        key: str = "",
        variable: str = "",
    ) -> None:
        """Declare it.

        `key`: its name among the values, if it is not that of its first name; `variable`: one of
        the environment that sets it.
        """
        self.names, self.metavar, self.about = tuple(names.split()), metavar, about
        self.read, self.variable = read, variable
        self.default = default if metavar else False
        self.key = key or self.names[0][2:].replace("-", "_")

    def untyped(self) -> "Union[bool, str, None]":
        """Return what counts if the option is not typed."""
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


VERSION = Option("--version -V", "", "Show the version and exit.")
HELP = Option("--help -h", "", "Show what the command takes, and exit.")
"""These two every command has, and typer sees to them."""

HOST = Option("--hostname -H", "HOST", "Host, with --port.")
PORT = Option("--port -p", "PORT", "Port or TCP service name.")
TARGETS = Option("--targets", "FILE", "Targets, one a line, # comments; - is stdin.")
IPV4 = Option("-4", "", "IPv4 only.", key="ipv4")
IPV6 = Option("-6", "", "IPv6 only.", key="ipv6")
NO_PLUS_ONE = Option("--no-plus-one", "", "Scan the port alone, not the next one as well.")
NMAP = Option("--nmap", "PATH", "The nmap to run.", default="nmap", variable="HALFOPEN_NMAP")
SUDO = Option("--sudo", "", "Run nmap with sudo -n.")
STATE, GOAL = values.choice(*values.STATES), values.choice(*values.STATES, "not-open")
EXPECT = Option("--expect", "STATE", "open, closed or filtered.", STATE, "open")
EXIT = Option(
    "--exit",
    "STATE=CODE,...",
    "Exit codes of your own; states: open, closed, filtered, error.",
    values.exit_map,
)
WARNING = Option(
    "--warning -w", "TIME", "WARNING above this round-trip time, as 50ms or 0:0.05.", values.limit
)
CRITICAL = Option("--critical -c", "TIME", "CRITICAL above this round-trip time.", values.limit)
FORMAT = Option(
    "--format",
    "NAME",
    "What to print, for whom; `halfopen formats` lists the names.",
    values.format_name,
)
OUTPUT = Option("--output", "FILE", "Write to a file, by rename, instead of printing.")
VERBOSE = Option("--verbose -v", "", "Show nmap's command lines and messages.")


def timeout(about: str, most: float = values.HOUR, default: "Optional[str]" = None) -> Option:
    """Return a command's time limit."""
    return Option("--timeout -t", "TIME", about, values.time(most), default)


def interval(default: str) -> Option:
    """Return the option for the time between rounds."""
    about = "From the start of a round to the next."
    return Option("--interval -i", "TIME", about, values.time(365 * values.DAY, 0.1), default)


def format_of(*names: str) -> Option:
    """Return --format of a command that knows these alone; the first is the default."""
    about = "What to print: {}.".format(", ".join(names))
    return Option("--format", "NAME", about, values.choice(*names), names[0])


TIMEOUT = timeout("Time for everything; 10s, or what the format's caller allows.")
_TARGET = (HOST, PORT, TARGETS)
_JUDGING = (EXPECT, EXIT, WARNING, CRITICAL, FORMAT)
_NMAP = (IPV4, IPV6, NO_PLUS_ONE, NMAP, SUDO, VERBOSE)
_ROUNDS = (format_of("text", "json"), *_NMAP)
_CHECK = (*_TARGET, TIMEOUT, *_JUDGING, OUTPUT, *_NMAP)
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
    "A SYN is sent, and no connection made. A TARGET is HOST:PORT, [IPV6]:PORT or HOST PORT.",
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
    *_TARGET,
    Option("--for", "STATE", "open, closed, filtered or not-open.", GOAL, "open", key="state"),
    timeout("Give up after this time.", 365 * values.DAY, "60s"),
    interval("1s"),
    Option("--successes", "N", "Rounds in a row that have to agree.", values.count, "1"),
    Option("--any", "", "One target is enough.", key="any_target"),
    *_ROUNDS,
    arguments="TARGET...",
    about="Wait until all ports are open, or as --for says.",
    codes="0 all are as wanted, 2 the time ran out, 3 what is missing could not be checked",
    examples=(
        "halfopen wait 192.0.2.11:443 192.0.2.12:443 && echo enable",
        "halfopen wait 192.0.2.11:443 --for not-open -t 5m -i 500ms",
    ),
)
WATCH = Command(
    "watch",
    *_TARGET,
    interval("2s"),
    timeout("Time for a round.", default="10s"),
    Option("--duration", "TIME", "End after this time.", values.time(365 * values.DAY)),
    Option("--count", "N", "End after this many rounds.", values.count, key="rounds"),
    *_ROUNDS,
    arguments="TARGET...",
    about="Watch ports until Ctrl-C.\n\n"
    "A live table; a line for each change where there is no terminal.",
    codes="by the last states: 2 if one is closed or filtered, else 3 if one is unknown, else 0",
    examples=(
        "halfopen watch --targets farm -i 500ms",
        "halfopen watch 192.0.2.11:443 --duration 10m --format json",
    ),
)
SMOKE = Command(
    "smoke",
    timeout("Time for everything.", default="15s"),
    format_of("text", "json", "junit"),
    Option("--save", "DIR", "Keep nmap's runs as recordings, for a bug report."),
    Option("--strict", "", "Exit code 2 for an nmap that needs workarounds."),
    Option("--verbose -v", "", "Show what is ok, too."),
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
OVERVIEW = Command(
    "halfopen",
    about="TCP half-open health check: nmap's SYN scan as a monitoring plugin.",
    codes="each command's help has its own; 3 if nothing was checked",
    examples=(CHECK.examples[0], WAIT.examples[0]),
)
"""What `halfopen` is without a command."""

COMMANDS = {each.name: each for each in (CHECK, REPLAY, WAIT, WATCH, SMOKE, FORMATS)}
"""What `halfopen` is followed by."""


def split(program: str, typed: "Sequence[str]") -> "Tuple[Command, Sequence[str]]":
    """Return the command, OVERVIEW if none is named, and what is typed after it."""
    if program == PLUGIN.name:
        return PLUGIN, typed
    named = typed and COMMANDS.get(typed[0])
    return (named, typed[1:]) if named else (OVERVIEW, typed)
