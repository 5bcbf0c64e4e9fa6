"""The proof that a full connect is in the server's log and a half-open check is not.

    load balancer 198.51.100.5 --- router 192.0.2.25 --- server 192.0.2.1

A real Postfix and a real Squid run on the server. The load balancer checks each of them so many
times half-open, and as often with a plugin that connects in full. For each the proof has the log,
the packets on the server's wire, and the kernel's own count of the connections made to the server.

That nothing was logged is told from "not yet" by a control: the router connects in full
afterwards, and the log is read when that is in it and no more comes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

from lab import SCANNER, TARGET, THIRD, TOOL_PATH, Lab, Packet, why_no_lab
from support.machine import Machine, wait_until

CHECKS = 20
FULL_CONNECT = "/usr/lib/nagios/plugins/check_tcp"
HALF_OPEN = str(Path(sys.executable).with_name("check_tcp_half_open"))
# Where they are in the lab. Its own listeners are on the other two: port 25 is free only here.
SERVER, ROUTER, LOAD_BALANCER = SCANNER[4], TARGET[4], THIRD[4]
QUIET_S = 1.0
WIDTH, RIGHT = 100, len("SYN, SYN/ACK, RST")
FLAGS = {"S": "SYN", "A": "ACK", "F": "FIN", "R": "RST", "P": "PSH", "U": "URG"}

MAIN_CF = """\
compatibility_level = 3.6
myhostname = mx.example
maillog_file = /var/log/maillog
inet_protocols = ipv4
# Nobody can be asked here.
smtpd_peername_lookup = no
local_recipient_maps =
# No client is counted by anvil: its statistics would be in the log, at a time of its own.
smtpd_client_event_limit_exceptions = static:all
"""
MASTER_CF = """\
smtp   inet       n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
"""
SQUID_CONF = """\
http_port 3128
visible_hostname proxy.example
access_log stdio:/var/log/squid/access.log
cache deny all
pinger_enable off
# It makes a table of as many as are allowed, which can be a thousand million.
max_filedescriptors 1024
"""


class Server(NamedTuple):
    """A server to check."""

    name: str
    port: int
    log: str
    mark: str
    """In the line that each connection leaves, and leaves last; {} is the client's address."""
    changing: str
    """A pattern of what is different in each line: times and pids."""
    version: Sequence[str]
    start: Sequence[str]
    settings: Sequence[tuple[str, str]]


SERVERS = (
    Server(
        name="Postfix",
        port=25,
        log="/var/log/maillog",
        mark=": disconnect from unknown[{}]",
        changing=r"^.*? postfix/|\[\d+\](?=: )",
        version=("postconf", "-d", "mail_version"),
        start=("postfix", "start-fg"),
        settings=(("/etc/postfix/main.cf", MAIN_CF), ("/etc/postfix/master.cf", MASTER_CF)),
    ),
    Server(
        name="Squid",
        port=3128,
        log="/var/log/squid/access.log",
        mark=" {} ",
        changing=r"^[\d.]+ +\d+ ",
        version=("squid", "-v"),
        start=("squid", "-N", "-f", "/etc/squid/squid.conf"),
        settings=(("/etc/squid/squid.conf", SQUID_CONF),),
    ),
)


class Round(NamedTuple):
    """What there was to see of one kind of check of one server."""

    up: int
    """Checks that called it up."""
    connections: int
    """Connections that the server's kernel had ready for accept()."""
    packets: Sequence[Packet]
    """Between load balancer and server."""
    lines: Sequence[str]
    """In the log, without the control's."""


class Finding(NamedTuple):
    """Both kinds of checks of one server."""

    server: Server
    full: Round
    half: Round


# -- seeing -------------------------------------------------------------------------------------


def find(half_open: str = HALF_OPEN) -> list[Finding]:
    """Check both servers in both ways; `half_open HOST PORT` is the half-open check."""
    with Lab() as lab, Machine(lab, Path(sys.prefix)) as machine:
        return [_find(lab, machine, server, half_open) for server in SERVERS]


def _find(lab: Lab, machine: Machine, server: Server, half_open: str) -> Finding:
    for name, content in server.settings:
        machine.write(name, content)
    with contextlib.suppress(FileNotFoundError):  # this system's own, as seen from the machine
        machine.path(server.log).unlink()
    daemon = machine.start(server.start)
    try:
        _control(lab, machine, server)
        # The half-open ones first: full ones leave the load balancer's kernel with connections in
        # TIME_WAIT, and if nmap happened on such a one's port the kernel would answer for that.
        half = _round(lab, machine, server, [half_open, SERVER, str(server.port)])
        full = _round(lab, machine, server, _full_connect(server))
    except RuntimeError as error:
        raise RuntimeError(f"{server.name}: {error}\n{machine.printed(daemon)}") from error
    return Finding(server, full, half)


def _round(lab: Lab, machine: Machine, server: Server, check: Sequence[str]) -> Round:
    known = len(machine.read(server.log).splitlines())
    before = _connections(lab)
    with lab.capture() as packets:
        up = sum(lab.run(check, "third").returncode == 0 for _ in range(CHECKS))
    made = _connections(lab) - before
    _control(lab, machine, server)
    lines = machine.read(server.log).splitlines()[known:]
    return Round(
        up,
        made,
        [packet for packet in packets if LOAD_BALANCER in {packet.src, packet.dst}],
        [line for line in lines if ROUTER not in line],
    )


def _control(lab: Lab, machine: Machine, server: Server) -> None:
    """Connect in full from the router; return when that is in the log, and no more comes."""

    def is_quiet() -> bool:
        before = machine.read(server.log)
        time.sleep(QUIET_S)
        return machine.read(server.log) == before

    mark = server.mark.format(ROUTER)
    logged = machine.read(server.log).count(mark)
    if not wait_until(lambda: lab.run(_full_connect(server), "target").returncode == 0):
        raise RuntimeError("it does not answer")
    if not wait_until(lambda: machine.read(server.log).count(mark) > logged):
        raise RuntimeError("it does not log a full connect")
    if not wait_until(is_quiet):
        raise RuntimeError("its log does not come to rest")


def _full_connect(server: Server) -> list[str]:
    return [FULL_CONNECT, "-H", SERVER, "-p", str(server.port)]


def _connections(lab: Lab) -> int:
    """Return how many connections the server's kernel has ever seen completed by the client."""
    counters = lab.run(["cat", "/proc/net/snmp"], "scanner").stdout.splitlines()
    names, values = (line.split() for line in counters if line.startswith("Tcp:"))
    return int(dict(zip(names, values))["PassiveOpens"])


# -- judging ------------------------------------------------------------------------------------


def faults(finding: Finding) -> list[str]:
    """Return what speaks against the proof; nothing, if it holds."""
    server, full, half = finding.server, finding.full, finding.half
    mark = server.mark.format(LOAD_BALANCER)
    logged = sum(mark in line for line in full.lines)
    shaken = sum(
        [packet.flags for packet in each[:3]] == ["S", "SA", "A"]
        for each in _conversations(server, full)
    )
    sent = Counter(packet.flags for packet in half.packets if packet.src == LOAD_BALANCER)
    answers = sum((p.sport, p.flags) == (server.port, "SA") for p in half.packets)
    resets = sum((p.dport, p.flags) == (server.port, "R") for p in half.packets)
    unwanted = sum(sent.values()) - sent["S"] - sent["R"]
    judged = (
        (full.up == CHECKS, f"{full.up} full connects of {CHECKS} called it up"),
        (shaken == CHECKS, f"{shaken} full connects of {CHECKS} were SYN, SYN/ACK, ACK"),
        (full.connections == CHECKS, f"{full.connections} connections by {CHECKS} full connects"),
        (logged == CHECKS, f"{logged} full connects of {CHECKS} are in the log"),
        (half.up == CHECKS, f"{half.up} half-open checks of {CHECKS} called it up"),
        (answers >= CHECKS, f"{answers} SYN/ACK for {CHECKS} half-open checks"),
        (resets >= CHECKS, f"{resets} RST after {answers} SYN/ACK of half-open checks"),
        (unwanted == 0, f"{unwanted} packets of half-open checks were neither SYN nor RST"),
        (half.connections == 0, f"{half.connections} connections by half-open checks"),
        (not half.lines, f"{len(half.lines)} lines in the log by half-open checks"),
    )
    return [f"{server.name}: {text}" for holds, text in judged if not holds]


def _conversations(server: Server, seen: Round) -> list[list[Packet]]:
    """Return the packets to and from the server's port, apart by the load balancer's port."""
    found: dict[int, list[Packet]] = {}
    for packet in seen.packets:
        if packet.dport == server.port:
            found.setdefault(packet.sport, []).append(packet)
        elif packet.sport == server.port:
            found.setdefault(packet.dport, []).append(packet)
    return list(found.values())


# -- showing ------------------------------------------------------------------------------------


def text(findings: Sequence[Finding]) -> str:
    """Return the proof, or what speaks against it, for people to read."""
    full, half = (
        f"{CHECKS} full connects (check_tcp {version(FULL_CONNECT, '--version')})",
        f"{CHECKS} half-open checks (halfopen {version(HALF_OPEN, '--version')}, "
        f"nmap {version('nmap', '--version')})",
    )
    parts = [f"{full} and\n{half} of each server"]
    parts += ["\n".join(_table(finding)) for finding in findings]
    against = [fault for finding in findings for fault in faults(finding)]
    lines = [len(seen.lines) for finding in findings for seen in (finding.full, finding.half)]
    parts.append(
        "\n".join(["The proof does not hold.", *against])
        if against
        else f"The proof holds: the full connects left {sum(lines[::2])} lines, "
        f"the half-open checks {sum(lines[1::2])}."
    )
    return "\n\n".join(parts)


def version(*command: str) -> str:
    """Return the version that a program calls its own."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        env=dict(os.environ, PATH=TOOL_PATH),
        check=False,  # the plug-ins answer this with 3
    )
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found.group() if found else "of an unknown version"


def _table(finding: Finding) -> Iterator[str]:
    server = finding.server
    yield f"{server.name} {version(*server.version)}, port {server.port}"
    columns = (
        [head, *_column(server, seen)]
        for head, seen in (("full connect", finding.full), ("half-open", finding.half))
    )
    left = WIDTH - RIGHT - 4
    for one, other in zip_longest(*columns, fillvalue=""):
        yield f"  {_cut(one, left):{left}}  {other}".rstrip()


def _column(server: Server, seen: Round) -> list[str]:
    alike = Counter(re.sub(server.changing, "", line) for line in seen.lines)
    return [
        f"{seen.up} of {CHECKS} up",
        _usual(_conversations(server, seen)),
        f"{seen.connections} connections",
        f"{Path(server.log).name}:",
        *([f"{count} x {line}" for line, count in alike.items()] or ["(nothing)"]),
    ]


def _usual(conversations: Sequence[Sequence[Packet]]) -> str:
    """Return the first three packets of a check like most: with them it is decided."""
    stories = []
    for packets in conversations:
        names = ["/".join(FLAGS[letter] for letter in packet.flags) for packet in packets]
        stories.append(", ".join([*names[:3], "..."] if names[3:] else names))
    return Counter(stories).most_common(1)[0][0] if stories else "(no packets)"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 3] + "..."


def main(half_open: str = HALF_OPEN) -> int:
    """Show the proof; return 0 if it holds, or else 1."""
    absent = [name for name in ("postfix", "squid") if not shutil.which(name, path=TOOL_PATH)]
    absent += [] if Path(FULL_CONNECT).exists() else [FULL_CONNECT]
    reason = why_no_lab() or (absent and "needs " + ", ".join(absent))
    if reason:
        sys.exit(f"proof: {reason}")
    try:
        findings = find(half_open)
    except RuntimeError as error:
        sys.exit(f"proof: {error}")
    print(text(findings))  # noqa: T201  what it is for
    return int(any(map(faults, findings)))
