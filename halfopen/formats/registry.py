"""A registry: for each kind of caller, its exit codes and wording. A new monitor is one entry."""

from typing import Callable, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

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
    codes: Mapping[Status, int]
    render: Callable[[Report, bool], str]
    """A report, and whether to be verbose, to the text to print."""
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
    stream = form.failure_stream if worst.target is None else 1
    judged = report._replace(verdicts=tuple(verdict for verdict, _ in coded))
    return Output(printable(form.render(judged, verbose)), code, stream)


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
    rows = [("FORMAT", "OPEN", "CLOSED", "FILTERED", "FAILED", "FOR")]
    for name, form in FORMATS.items():
        up, down, failed = (
            str(form.codes[status]) for status in (Status.OK, Status.CRITICAL, Status.UNKNOWN)
        )
        rows.append((name, up, down, down, failed, form.about))
    return "\n".join("{:<12}  {:>4}  {:>6}  {:>8}  {:>6}  {}".format(*row) for row in rows)


_PLUGIN_STATUS = {code: status for status, code in PLUGIN_CODES.items()}
_UP_OR_DOWN = {Status.OK: 0, Status.WARNING: 0, Status.CRITICAL: 1, Status.UNKNOWN: 1}
_CONDITION = {**_UP_OR_DOWN, Status.UNKNOWN: 255}
_PRINTED = dict.fromkeys(Status, 0)

PLUGIN_FORMAT, DEFAULT_FORMAT = "nagios", "text"
"""What check_tcp_half_open and halfopen speak if not told otherwise."""

FORMATS: Dict[str, Format] = {
    "nagios": Format(
        "Nagios, Icinga, Naemon, NRPE: one line, perfdata", PLUGIN_CODES, plugin.nagios
    ),
    "text": Format("people: a row a target", PLUGIN_CODES, people.text, failure_stream=2),
    "json": Format("programs: one JSON object (report.schema.json)", PLUGIN_CODES, json.report),
    "farmguardian": Format(
        "ZEVENET, SKUDONET, RELIANOID: one line without %",
        PLUGIN_CODES,
        plugin.one_line,
        parse=parse_plugin_words,
    ),
    "haproxy": Format(
        "HAProxy's external-check; HAPROXY_SERVER_ADDR and _PORT do as well",
        _UP_OR_DOWN,
        plugin.plain,
        timeout=1.7,  # `inter` is 2 s
        parse=parse_balancer_words,
    ),
    "ldirectord": Format(
        "ldirectord's external check",
        _UP_OR_DOWN,
        plugin.plain,
        timeout=4.0,  # `checktimeout` is 5 s, and counts the start of Python as well
        parse=parse_balancer_words,
        code_on_signal=True,  # ldirectord takes a death by signal for 0
    ),
    "keepalived": Format(
        "keepalived's MISC_CHECK and vrrp_script: 0 or 1, nothing else",
        _UP_OR_DOWN,
        plugin.plain,
        code_on_signal=True,
        only=(0, 1),  # under misc_dynamic 2 to 255 are up, with a weight
    ),
    "systemd": Format("systemd's ExecCondition", _CONDITION, plugin.plain),
    "f5": Format(
        "F5's external monitor: prints only when as expected",
        _PRINTED,
        agents.f5,
        timeout=4.0,  # the interval is 5 s
        parse=parse_plugin_words,
        only=(),
    ),
    "checkmk": Format("Checkmk's local checks: a line a target", _PRINTED, agents.checkmk, only=()),
    "zabbix": Format(
        "Zabbix agent: 1 or 0, or why there is no value",
        _PRINTED,
        agents.zabbix,
        timeout=2.0,  # Timeout is 3 s
        only=(),
    ),
    "prometheus": Format(
        "node_exporter's textfile collector",
        _PRINTED,
        prometheus.prometheus,
        only=(),
        good_lines_count=True,
    ),
}
"""Name to format, in the order in which help lists them."""
