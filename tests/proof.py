"""The proof that a full connect is in the server's log and a half-open check is not: `make proof`.

    load balancer 198.51.100.5 --- router 192.0.2.25 --- server 192.0.2.1

A real Postfix and a real Squid run on the server. The load balancer checks each of them so many
times half-open, and as often with a plugin that connects in full. For each the proof has the log,
the packets on the server's wire, and the kernel's own count of the connections made to the server.

That nothing was logged is told from "not yet" by a control: the router connects in full
afterwards, and the log is read when that is in it and no more comes.

Exits with 0 only if it holds. It needs root.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

from lab import SCANNER, TARGET, THIRD, TOOL_PATH, Lab, Packet
from support.machine import Machine, wait_until

CHECKS = 20
FULL_CONNECT = "/usr/lib/nagios/plugins/check_tcp"
HALF_OPEN = str(Path(sys.executable).with_name("check_tcp_half_open"))
# Where they are in the lab. Its own listeners are on the other two: port 25 is free only here.
SERVER, ROUTER, LOAD_BALANCER = SCANNER[4], TARGET[4], THIRD[4]
QUIET_S = 1.0
WIDTH = 100
FULL_STORY, HALF_STORY = "SYN, SYN/ACK, ACK, ...", "SYN, SYN/ACK, RST"
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


POSTFIX = Server(
    name="Postfix",
    port=25,
    log="/var/log/maillog",
    mark=": disconnect from unknown[{}]",
    changing=r"^.*? postfix/|\[\d+\](?=: )",
    version=("postconf", "-d", "mail_version"),
    start=("postfix", "start-fg"),
    settings=(("/etc/postfix/main.cf", MAIN_CF), ("/etc/postfix/master.cf", MASTER_CF)),
)
SQUID = Server(
    name="Squid",
    port=3128,
    log="/var/log/squid/access.log",
    mark=" {} ",
    changing=r"^[\d.]+ +\d+ ",
    version=("squid", "-v"),
    start=("squid", "-N", "-f", "/etc/squid/squid.conf"),
    settings=(("/etc/squid/squid.conf", SQUID_CONF),),
)


class Round(NamedTuple):
    """What there was to see of one kind of check of one server."""

    up: int
    """Checks that called it up."""
    stories: Sequence[str]
    """What was on the wire, a conversation of load balancer and server each."""
    connections: int
    """Connections that the server's kernel had ready for accept()."""
    lines: Sequence[str]
    """In the log, without the control's."""


class Finding(NamedTuple):
    server: Server
    full: Round
    half: Round


# -- seeing -------------------------------------------------------------------------------------


def find(half_open: str = HALF_OPEN, servers: Sequence[Server] = (POSTFIX, SQUID)) -> list[Finding]:
    """Check the servers in both ways; `half_open HOST PORT` is the half-open check."""
    with Lab() as lab, Machine(lab, Path(sys.prefix)) as machine:
        return [_find(lab, machine, server, half_open) for server in servers]


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
    told = _stories([each for each in packets if server.port in {each.sport, each.dport}])
    return Round(up, told, made, [line for line in lines if ROUTER not in line])


def _stories(packets: Sequence[Packet]) -> list[str]:
    """Return the first three packets of each conversation: with them it is decided."""
    found: list[list[str]] = []
    now: dict[frozenset[tuple[str, int]], list[str]] = {}
    for packet in packets:
        ends = frozenset({(packet.src, packet.sport), (packet.dst, packet.dport)})
        if packet.flags == "S" or ends not in now:
            now[ends] = []
            found.append(now[ends])
        now[ends].append("/".join(FLAGS[letter] for letter in packet.flags))
    return [", ".join([*names[:3], "..."] if names[3:] else names) for names in found]


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
    server, full, half = finding
    expected = (
        ("full connect", full, (f"{CHECKS} of {CHECKS} up", FULL_STORY, f"{CHECKS} connections")),
        ("half-open", half, (f"{CHECKS} of {CHECKS} up", HALF_STORY, "0 connections")),
    )
    against = [
        f"{head}: {cell}"
        for head, seen, cells in expected
        for cell, wanted in zip(_cells(seen), cells)
        if cell != wanted
    ]
    logged = sum(server.mark.format(LOAD_BALANCER) in line for line in full.lines)
    for holds, text in (
        (len(full.stories) == CHECKS, f"full connect: {len(full.stories)} conversations"),
        (logged == CHECKS, f"full connect: {logged} of {CHECKS} in the log"),
        (len(half.stories) >= CHECKS, f"half-open: {len(half.stories)} conversations"),
        (not half.lines, f"half-open: {len(half.lines)} lines in the log"),
    ):
        against += [] if holds else [text]
    return [f"{server.name}: {text}" for text in against]


def _cells(seen: Round) -> tuple[str, ...]:
    stories = " or ".join(sorted(set(seen.stories)))
    return f"{seen.up} of {CHECKS} up", stories, f"{seen.connections} connections"


# -- showing ------------------------------------------------------------------------------------


def text(findings: Sequence[Finding]) -> str:
    """Return the proof, or what speaks against it, for people to read."""
    half_open = version(HALF_OPEN, "--version"), version("nmap", "--version")
    parts = [
        f"{CHECKS} full connects (check_tcp {version(FULL_CONNECT, '--version')}) and\n"
        f"{CHECKS} half-open checks (halfopen {half_open[0]}, nmap {half_open[1]}) of each server",
        *("\n".join(_table(finding)) for finding in findings),
    ]
    against = [fault for finding in findings for fault in faults(finding)]
    full = sum(len(finding.full.lines) for finding in findings)
    half = sum(len(finding.half.lines) for finding in findings)
    holds = f"The proof holds: the full connects left {full} lines, the half-open checks {half}."
    parts.append("\n".join(["The proof does not hold.", *against]) if against else holds)
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
    left = WIDTH - len(HALF_STORY) - 4
    columns = (
        _column("full connect", finding, finding.full),
        _column("half-open", finding, finding.half),
    )
    for one, other in zip_longest(*columns, fillvalue=""):
        cut = one if len(one) <= left else one[: left - 3] + "..."
        yield f"  {cut:{left}}  {other}".rstrip()


def _column(head: str, finding: Finding, seen: Round) -> list[str]:
    alike = Counter(re.sub(finding.server.changing, "", line) for line in seen.lines)
    lines = [f"{count} x {line}" for line, count in alike.items()] or ["(nothing)"]
    return [head, *_cells(seen), f"{Path(finding.server.log).name}:", *lines]


def main(half_open: str = HALF_OPEN, servers: Sequence[Server] = (POSTFIX, SQUID)) -> int:
    """Show the proof; return 0 if it holds, or else 1."""
    try:
        findings = find(half_open, servers)
    except RuntimeError as error:
        sys.exit(f"proof: {error}")
    print(text(findings))
    return int(any(map(faults, findings)))


if __name__ == "__main__":
    sys.exit(main())
