"""A registry: for each kind of caller, its exit codes and wording. A new monitor is one entry."""

from functools import partial
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from halfopen.errors import UsageError
from halfopen.formats import agents, json, people, plugin, prometheus
from halfopen.formats.wording import PLUGIN_CODES
from halfopen.model import Report, Status, Verdict
from halfopen.scan.head_start import TIMEOUT
from halfopen.targets.parse import Parse, parse_balancer_words, parse_plugin_words

ExitMap = Mapping[str, int]
"""From a state (open, closed, filtered, error) to the exit code that the user wants for it."""


class Output(NamedTuple):
    """What is printed, and the exit code."""

    text: str
    code: int
    stream: int = 1
    """The file descriptor to print to."""
    file: Optional[str] = None
    """A file to write instead."""
    note: str = ""
    """What people are told besides, on stderr."""


class Format(NamedTuple):
    """How one kind of caller wants to be told."""

    about: str
    render: Callable[[Report, bool], str]
    """A report, and whether to be verbose, to the text to print."""
    codes: Mapping[Status, int]
    failure_stream: int = 1
    """The file descriptor for what went wrong before there was a target."""
    timeout: float = TIMEOUT
    """Seconds for everything unless --timeout says so: below what the caller allows by default."""
    parse: Optional[Parse] = None
    """How the caller names the target, if it has a way of its own."""
    code_on_signal: bool = False
    """Whether a signal that ends us is to give a failed check's exit code: the caller, or a shell
    between us, makes something else of a death by signal."""
    only: Optional[Sequence[int]] = None
    """The exit codes that the caller knows, if it would take others for something else."""
    good_lines_count: bool = False
    """Whether a targets file with a bad line is checked all the same: the caller stores what comes
    of each target, and would lose them all."""


def output(name: str, report: Report, exit_map: ExitMap, verbose: bool) -> Output:
    """Return what the format makes of a report: the worst verdict decides the exit code."""
    form = FORMATS[name]
    coded = [_coded(verdict, form, exit_map) for verdict in report.verdicts]
    # A failed check whose code is to be 0 hides no other's.
    worst, code = max(coded, key=lambda pair: (pair[1] > 0, pair[0].status, pair[1]))
    text = form.render(report._replace(verdicts=tuple(verdict for verdict, _ in coded)), verbose)
    return Output(printable(text), code, form.failure_stream if worst.target is None else 1)


def _coded(verdict: Verdict, form: Format, exit_map: ExitMap) -> Tuple[Verdict, int]:
    """Return the verdict, its status as the user's exit map has it, and its exit code.

    A limit on the round trip stands. A failed check stays UNKNOWN in words, whatever exit code it
    is to have; a wrong word is no check at all, which would never be one.
    """
    wanted = exit_map.get(verdict.state)
    if wanted is None or verdict.slow or isinstance(verdict.error, UsageError):
        return verdict, form.codes[verdict.status]
    if verdict.error is None:
        verdict = verdict._replace(status=_PLUGIN_STATUS.get(wanted, verdict.status))
    return verdict, wanted


def printable(text: str) -> str:
    """Return the text with control characters escaped: it goes to terminals and logs."""
    return "".join(
        char if char == "\n" or char.isprintable() else ascii(char)[1:-1] for char in text
    )


def listing() -> str:
    """Return a table of all formats with their exit codes."""
    rows: List[Tuple[object, ...]] = [("FORMAT", "OPEN", "CLOSED", "FILTERED", "FAILED", "FOR")]
    for name, form in FORMATS.items():
        up, down, failed = map(form.codes.get, (Status.OK, Status.CRITICAL, Status.UNKNOWN))
        rows.append((name, up, down, down, failed, form.about))
    return "\n".join("{:<12}  {:>4}  {:>6}  {:>8}  {:>6}  {}".format(*row) for row in rows)


_PLUGIN_STATUS = {code: status for status, code in PLUGIN_CODES.items()}
_UP_OR_DOWN = {Status.OK: 0, Status.WARNING: 0, Status.CRITICAL: 1, Status.UNKNOWN: 1}

# Callers that see all of a plugin's exit codes, or only up and down, or none of them.
_plugin = partial(Format, codes=PLUGIN_CODES)
_up_or_down = partial(Format, render=plugin.plain, codes=_UP_OR_DOWN)
_printed = partial(Format, codes=dict.fromkeys(Status, 0), only=())

PLUGIN_FORMAT, DEFAULT_FORMAT = "nagios", "text"
"""What check_tcp_half_open and halfopen speak if not told otherwise."""

FORMATS: Dict[str, Format] = {
    "nagios": _plugin("Nagios, Icinga, Naemon, NRPE: one line, perfdata", plugin.nagios),
    "text": _plugin("people: a row a target", people.text, failure_stream=2),
    "json": _plugin("programs: one JSON object (report.schema.json)", json.report),
    "farmguardian": _plugin(
        "ZEVENET, SKUDONET, RELIANOID: one line without %",
        plugin.one_line,
        parse=parse_plugin_words,
    ),
    "haproxy": _up_or_down(
        "HAProxy's external-check; HAPROXY_SERVER_ADDR and _PORT do as well",
        timeout=1.7,  # `inter` is 2 s
        parse=parse_balancer_words,
    ),
    "ldirectord": _up_or_down(
        "ldirectord's external check",
        timeout=4.0,  # `checktimeout` is 5 s, and counts the start of Python as well
        parse=parse_balancer_words,
        code_on_signal=True,  # ldirectord takes a death by signal for 0
    ),
    "keepalived": _up_or_down(
        "keepalived's MISC_CHECK and vrrp_script: 0 or 1, nothing else",
        code_on_signal=True,
        only=(0, 1),  # under misc_dynamic 2 to 255 are up, with a weight
    ),
    "systemd": _up_or_down("systemd's ExecCondition", codes={**_UP_OR_DOWN, Status.UNKNOWN: 255}),
    "f5": _printed(
        "F5's external monitor: prints only when as expected",
        agents.f5,
        timeout=4.0,  # the interval is 5 s
        parse=parse_plugin_words,
    ),
    "checkmk": _printed("Checkmk's local checks: a line a target", agents.checkmk),
    "zabbix": _printed(
        "Zabbix agent: 1 or 0, or why there is no value",
        agents.zabbix,
        timeout=2.0,  # Timeout is 3 s
    ),
    "prometheus": _printed(
        "node_exporter's textfile collector", prometheus.prometheus, good_lines_count=True
    ),
}
"""Name to format, in the order in which help lists them."""
