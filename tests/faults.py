"""The table of faults, of nmap, of the system and of the caller, and how to see what comes of them.

Each is made on a throwaway machine, where nmap finds the lab's target: port 25 open, port 80
silent. What is left of a check is seen there for certain, for nothing else runs on it.
docs/operators/faults.md shows the table with what came of it; run as a program, this writes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Match, NamedTuple, Sequence

from lab import TARGET, Lab, Running, nmap_version
from support.machine import INSTALLED, ROOT, Machine, install, wait_until

FIXTURES = ROOT / "fixtures"
PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"
OPEN, UNKNOWN = 0, 3
SLACK = 20.0
ENDS_US = ("TERM", "INT", "HUP", "QUIT", "ALRM", "USR1", "USR2", "XCPU")
NOT_PYTHONS = tuple(name for name in ENDS_US if name != "INT")

ASKED = f"{TARGET[4]} 25"
WITHIN_2_S = f"-t 2 -H {TARGET[4]} -p 25"
WITHIN_1_S = f"-t 1 -H {TARGET[4]} -p 25"
SILENT = f"-t 5 -H {TARGET[4]} -p 80"
NAMED = "-t 2 -H slow.example -p 25"
FORMS = {"arguments alone": ASKED, "with options": WITHIN_2_S}
"""Without options nmap gets a head start, and is started by other means."""
BOTH_FORMS = tuple(FORMS.values())

_CLOCK = 'export LD_PRELOAD=/fault-clock.so; exec "$@"'


class Fault(NamedTuple):
    """A fault, and what is to come of it. All programs are sh; `{}` stands for each of `each`."""

    name: str
    says: str = ""
    """What the one line holds; "" for no line at all."""
    code: int | None = UNKNOWN
    """The exit code; None for death by the signal that was sent."""
    nmap: str | None = None
    """What a fake nmap does; None for the real one."""
    before: str = ""
    """What is done to the machine first."""
    via: str = 'exec "$@"'
    """What runs the check, its command line being "$@"."""
    words: str = WITHIN_2_S
    each: tuple[str, ...] = ("",)
    stage: Callable[[Check], bool] | None = None
    """When `then` is to happen; None for never."""
    then: Callable[[Check], None] = lambda check: check.send(check.variant)
    """By default the signal that the variant names is sent."""
    limit: float = 2.0
    """Seconds it may take, with SLACK."""
    lives_on: bool = False
    """Whether nmap survives us, until its own --host-timeout."""
    or_open: bool = False
    """Whether "open", the truth, will do too: where a limit bites is Python's and nmap's affair.
    Under the lowest ones Python does not come as far as halfopen."""

    @property
    def fakes_the_clock(self) -> bool:
        """Whether a C compiler is needed."""
        return self.via == _CLOCK


class Check:
    variant: str

    def __init__(self, world: World, process: Running[str], variant: str) -> None:
        self.world, self.process, self.variant = world, process, variant
        self.had_nmap = False

    @property
    def pid(self) -> int:
        """The check's number, 0 if it has ended; the process that we started is nsenter's."""
        children = _children(self.process.pid)
        return children[0] if children else 0

    def send(self, name: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid or self.process.pid, signal.Signals[f"SIG{name}"])


def starting(check: Check) -> bool:
    """Return whether Python has been started, and hardly more."""
    return check.pid != 0 and PLUGIN.encode() in _read(check.pid, "cmdline").split(b"\0")[1:2]


def resolving(check: Check) -> bool:
    """Return whether the name server, which never answers, has been asked."""
    return bool(select.select([check.world.name_server], [], [], 0)[0])


def nmap_is_awaited(check: Check) -> bool:
    """Return whether nmap runs and the check has nothing else to do any more.

    nmap starts before Python has loaded the rest.
    """
    before = _state_and_time(check.pid)
    time.sleep(0.1)
    has_nmap = bool(_children(check.pid))
    return has_nmap and before == _state_and_time(check.pid) and before[:1] == [b"S"]


def _state_and_time(pid: int) -> list[bytes]:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return [*fields[:1], *fields[11:13]]  # state, utime, stime: proc(5)


def first_attempt(check: Check, nmaps: int = 1) -> bool:
    """Return whether each nmap has both of its sockets, to send and to capture: they ask."""
    children = _children(check.pid)
    return len(children) == nmaps and all(_sockets(child) >= 2 for child in children)


def second_attempt(check: Check) -> bool:
    return first_attempt(check, 3)


def printing(check: Check) -> bool:
    """Return whether nmap has been there and the check sleeps: for somebody to read it."""
    children = _children(check.pid)
    check.had_nmap = check.had_nmap or bool(children)
    return check.had_nmap and not children and _state_and_time(check.pid)[:1] == [b"S"]


def stop_for_3_s(check: Check) -> None:
    check.send("STOP")
    time.sleep(3)
    check.send("CONT")
    check.process.send_signal(signal.SIGCONT)  # nsenter stops with its child


def step_clock(check: Check) -> None:
    asleep, deadline = 0, time.monotonic() + 1
    while asleep < 3 and time.monotonic() < deadline:  # till nmap waits for an answer
        states = [_state_and_time(pid)[:1] for pid in _children(check.pid)]
        asleep = asleep + 1 if all(state == [b"S"] for state in states) else 0
        time.sleep(0.01)
    # In one write: an empty file would be a step of its own.
    with open(str(check.world.machine.path("/fault-clock")), "r+b", buffering=0) as file:
        file.write(f"{int(check.variant):+06d}\n".encode())


def _read(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def _sockets(pid: int) -> int:
    with contextlib.suppress(OSError):
        links = [os.readlink(str(link)) for link in Path("/proc", str(pid), "fd").iterdir()]
        return sum(link.startswith("socket:") for link in links)
    return 0


def _children(pid: int) -> list[int]:
    return [int(word) for word in _read(pid, f"task/{pid}/children").split()]


# -- the faults of nmap: fakes, but for the first --------------------------------------------------

_OPEN = "recorded/nmap-7.93/v4-open-plus-one"
RECORDED = FIXTURES / _OPEN / "nmap.xml"


def _prints(case: str) -> str:
    return f"cat '/recordings/{case}.xml'\n"


PRINTS_OPEN = _prints(_OPEN)
LATE = "nmap did not end within --timeout, and was killed; raise --timeout"
NO_XML = "nmap printed no complete XML; run it by hand to see why"
UNASKED = "nmap gave up on 192.0.2.25 before it had looked (--host-timeout)"
ENDLESS = "nmap printed without end, and was killed; check that it is nmap"
CRASHED = "nmap was killed by signal 11; run it by hand to see why"
GIGABYTE = "head -c 1000000000 /dev/zero"


def _both(
    name: str, says: str, nmap: str | None = None, code: int = UNKNOWN, **other: Any
) -> Fault:
    """Return a fault that both forms of the command have to tell alike."""
    return Fault(name, says, code, nmap, words="{}", each=BOTH_FORMS, **other)


def _hangs(name: str, does: str, words: str = WITHIN_1_S, limit: float = 1.0) -> Fault:
    return Fault(name, LATE, nmap=does, words=words, limit=limit)


OF_NMAP = (
    _both(
        "is missing",
        "nmap not found on PATH, nor in /usr/local/bin, /usr/bin, /bin; install nmap",
        via='unset HALFOPEN_NMAP; exec "$@"',
    ),
    _both(
        "is not where `--nmap` says",
        "No such file or directory; install nmap",
        "",
        before="rm /fault/nmap",
    ),
    _both(
        "is not executable",
        "Permission denied; make it executable",
        PRINTS_OPEN,
        before="chmod 644 /fault/nmap",
    ),
    # The real one, but for a byte: the header says that it is for an S/390.
    _both(
        "is for another architecture",
        "Exec format error; it is not a program",
        "",
        before="cp /real/nmap /fault/nmap; "
        r"printf '\026' | dd of=/fault/nmap bs=1 seek=18 conv=notrunc status=none",
    ),
    _both("exits with 1", "nmap failed with exit code 1; run it", "exit 1"),
    _both("exits with 127", "nmap failed with exit code 127; run it", "exit 127"),
    _both("exits with 137", "nmap failed with exit code 137; run it", "exit 137"),
    _both("exits with 1, and says why", "exit code 1 (no luck); run", "echo no luck >&2; exit 1"),
    _both("exits with 1 after an answer", "nmap failed with exit code 1;", PRINTS_OPEN + "exit 1"),
    _both("crashes (SIGSEGV)", CRASHED, "kill -s SEGV $$"),
    _both("crashes (SIGSEGV) after an answer", CRASHED, PRINTS_OPEN + "kill -s SEGV $$"),
    _hangs("hangs", "exec sleep 60"),
    _hangs("hangs, and the caller gave no time limit", "exec sleep 60", ASKED, 10.0),
    _hangs("hangs after an answer", PRINTS_OPEN + "exec sleep 60"),
    _hangs("hangs in a child", "sleep 60 & wait"),
    _hangs("hangs, and ignores SIGTERM", "trap '' TERM INT HUP PIPE; sleep 60 & wait"),
    _hangs("answers, closes stdout and lives on", PRINTS_OPEN + "exec >&-; sleep 60"),
    _hangs("answers, closes both outputs and lives on", PRINTS_OPEN + "exec >&- 2>&-; sleep 60"),
    _hangs("answers and ends; a child keeps stdout", PRINTS_OPEN + "(sleep 60 2>&- &)"),
    _hangs("stops itself (SIGSTOP)", "kill -s STOP $$"),
    _both("prints nothing", "nmap printed nothing; run it by hand to see why", "exit 0"),
    _both("prints garbage", NO_XML, "head -c 5000 /dev/urandom"),
    _both("prints a word before the XML", NO_XML, "echo Hello; " + PRINTS_OPEN),
    Fault(
        "is cut off at any 50th byte of its answer",
        "; run it by hand to see why",
        nmap=f"head -c {{}} '/recordings/{_OPEN}.xml'",
        words=ASKED,
        each=tuple(map(str, range(0, RECORDED.stat().st_size, 50))),
    ),
    _both(
        "answers for another host",
        f"nmap said nothing about {TARGET[4]}, but about another host; check that it is nmap",
        _prints("recorded/nmap-7.93/v4-routed-open"),
    ),
    _both(
        "answers for another port",
        f"nmap said nothing about TCP port 25 of {TARGET[4]}; check that it is nmap",
        _prints("recorded/nmap-7.93/v4-open-neighbour-open"),
    ),
    _both("prints two runs' XML, joined", NO_XML, PRINTS_OPEN + PRINTS_OPEN),
    _both("prints 1 GB", ENDLESS, GIGABYTE),
    _both("prints 1 GB after an answer", ENDLESS, PRINTS_OPEN + GIGABYTE),
    _both("prints 1 GB to stderr", ENDLESS, GIGABYTE + " >&2"),
    _both("prints an entity bomb", NO_XML, _prints("synthetic/xml-entity-bomb")),
    _both("prints an external entity", NO_XML, _prints("synthetic/xml-external-entity")),
    # A FIFO without a writer: to open it is to hang.
    _both(
        "prints an external entity that never ends",
        NO_XML,
        "sed s,/etc/passwd,/fault/fifo, /recordings/synthetic/xml-external-entity.xml",
        before="mkfifo /fault/fifo",
    ),
    _both("prints invalid UTF-8", NO_XML, _prints("synthetic/xml-invalid-utf-8")),
    # As the real one does when the clock is stepped between SYN and SYN/ACK.
    Fault(
        "answers with a round trip of 694 s, longer than it ran",
        "open (syn-ack) smtp",
        OPEN,
        nmap=f"sed 's/srtt=\"[0-9]*\"/srtt=\"694967364\"/' '/recordings/{_OPEN}.xml'",
        words="-c 1 " + WITHIN_2_S,
    ),
)

# -- the faults of the system: the real nmap -------------------------------------------------------


def _mounted(script: str) -> str:
    """Return what runs the check in a mount namespace of its own, changed by a script."""
    return f'exec unshare --mount sh -c \'{script}; exec "$@"\' sh "$@"'


def _as_nobody(processes: int) -> str:
    """Return what runs the check as a user who may have so many processes, threads included.

    Root has no such limit; and nobody else is this user, not even outside of the machine.
    """
    become = "setpriv --reuid=64321 --regid=64321 --clear-groups"
    return f'export HALFOPEN_NMAP=/capable/nmap; exec {become} prlimit --nproc={processes} "$@"'


_FULL = "mount -t tmpfs -o size=4k tmpfs {0}; ! head -c 9000 /dev/zero 2>&- >{0}/full"
_READ_ONLY = (
    "set -e; for each in / /tmp /run; do mount -o remount,bind,ro $each; ! touch $each/x 2>&-; done"
)
IS_OPEN = f"{TARGET[4]}:25 open (syn-ack)"
OF_SYSTEM = (
    _both(
        "no process may be started (RLIMIT_NPROC 1)",
        "raise the limits (ulimit -u",
        via=_as_nobody(1),
    ),
    Fault(
        "no process may be started for the second attempt (RLIMIT_NPROC 3)",
        "Resource temporarily unavailable; raise the limit of processes (ulimit -u)",
        via=_as_nobody(3),
        words=SILENT,
    ),
    *(
        Fault(
            f"{name}, {form}",
            via=f'exec prlimit --{limit} "$@"',
            words=words,
            each=tuple(map(str, values)),
            or_open=True,
        )
        for name, limit, values in (
            ("few file descriptors (RLIMIT_NOFILE 3 to 40)", "nofile={}", range(3, 41)),
            # Closer together where Python's own start and our first imports run out of it.
            (
                "little memory (RLIMIT_AS 10 to 40 MB)",
                "as={}00000",
                [*range(100, 175, 5), *range(180, 401, 20)],
            ),
        )
        for form, words in FORMS.items()
    ),
    Fault("/tmp is full", IS_OPEN, OPEN, via=_mounted(_FULL.format("/tmp"))),  # noqa: S108  the machine's
    Fault("/ is read-only", IS_OPEN, OPEN, via=_mounted(_READ_ONLY)),
    Fault("no /proc", "nmap failed with exit code 1", via=_mounted("umount /proc")),
    Fault("no /dev", "cannot ", via=_mounted("mount -t tmpfs tmpfs /dev")),
    Fault(
        "the resolver hangs",
        "no time left for resolving names; raise --timeout",
        via=_mounted("mount --bind /fault-resolv.conf /etc/resolv.conf"),
        words=NAMED,
    ),
    *(
        Fault(
            f"the clock is set an hour {where} during the {attempt} attempt",
            says,
            via=_CLOCK,
            words=SILENT.replace("-t 5", f"-t {limit:g}"),
            each=(seconds,),
            stage=first_attempt if attempt == "first" else second_attempt,
            then=step_clock,
            limit=limit,
        )
        for where, seconds, attempt, limit, says in (
            ("on", "3600", "first", 5.0, UNASKED),
            ("on", "3600", "second", 5.0, UNASKED),
            ("back", "-3600", "first", 2.0, LATE),
        )
    ),
)

# -- the faults of the caller: the real nmap -------------------------------------------------------

CLOSINGS = ("<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-")
_RESOLVER = _mounted("mount --bind /fault-resolv.conf /etc/resolv.conf")
OF_CALLER = (
    *(
        Fault(
            f"SIG{', '.join(signals)} {when}",
            code=None,
            via=_RESOLVER,
            words=words,
            each=signals,
            stage=stage,
        )
        for when, signals, stage, words in (
            ("while Python starts", NOT_PYTHONS, starting, SILENT),
            ("while a name is resolved", ENDS_US, resolving, NAMED),
            ("in the first attempt", ENDS_US, first_attempt, SILENT),
            ("in the second attempt", ENDS_US, second_attempt, SILENT),
        )
    ),
    Fault(
        "SIGPIPE in the first attempt",
        f"{TARGET[4]}:80 filtered (no-response)",
        2,
        words=SILENT,
        each=("PIPE",),
        stage=first_attempt,
    ),
    # One that would wait a minute for an answer, were it not for --host-timeout.
    Fault(
        "SIGKILL while nmap waits",
        code=None,
        nmap='exec /real/nmap "$@" --scan-delay 60s',
        words=SILENT,
        each=("KILL",),
        stage=first_attempt,
        lives_on=True,
    ),
    Fault(
        "SIGSTOP while nmap hangs, SIGCONT after 3 s; a time limit of 2 s",
        LATE,
        nmap="exec sleep 60",
        stage=nmap_is_awaited,
        then=stop_for_3_s,
        limit=3.0,
    ),
    *(
        _both(
            f"closed descriptors: `{closing}`",
            "" if ">&-" in closing.replace("2>&-", "") else IS_OPEN,
            code=OPEN,
            via=f'exec "$@" {closing}',
        )
        for closing in CLOSINGS
    ),
    _both(
        "stdout is a closed pipe",
        "",
        code=OPEN,
        before="rm -f /run/pipe; mkfifo /run/pipe",
        via='exec 3<>/run/pipe 4>/run/pipe 3<&-; exec "$@" >&4',
    ),
    Fault("stdout is a full disk (/dev/full)", "", OPEN, via='exec "$@" >/dev/full'),
    Fault(
        "stdout is a full pipe that nobody reads, then SIGTERM",
        code=None,
        before="rm -f /run/pipe; mkfifo /run/pipe",
        via='exec 3<>/run/pipe; timeout 1 head -c 100000 /dev/zero >&3; exec "$@" >&3',
        each=("TERM",),
        stage=printing,
        limit=5.0,
    ),
)

FAULTS = {"nmap": OF_NMAP, "system": OF_SYSTEM, "caller": OF_CALLER}


# -- seeing what comes of them ---------------------------------------------------------------------


class Ending(NamedTuple):
    variant: str
    code: int
    stdout: str
    stderr: str
    seconds: float
    left: list[str]
    """The programs that still ran a moment later."""
    happened: bool
    """Whether its stage came."""

    @property
    def signal(self) -> str:
        """The name of the signal that the check died of; empty if it ended by itself."""
        return signal.Signals(-self.code).name[len("SIG") :] if self.code < 0 else ""


class World:
    def __init__(self, machine: Machine, name_server: socket.socket) -> None:
        self.machine, self.name_server = machine, name_server
        assert wait_until(lambda: machine.running("tail"), SLACK), "its init has not begun"
        self._always = set(machine.processes())
        for xml in FIXTURES.glob("*/**/nmap.xml"):
            name = xml.parent.relative_to(FIXTURES)
            target = machine.path(f"/recordings/{name}.xml")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(xml.read_bytes())
        machine.write("/fault-resolv.conf", f"nameserver {TARGET[4]}\noptions timeout:60\n")
        self._sh(
            "mkdir /real /capable /fault; mv /usr/bin/nmap /real; cp /real/nmap /capable; "
            "setcap cap_net_raw+ep /capable/nmap"
        )

    def endings(self, fault: Fault) -> list[Ending]:
        """Make the fault in each of its variants, and return what came of them.

        It is made again if a busy machine left the check no time to meet it.
        """
        found = []
        for variant in fault.each:
            for _ in range(5):
                end = self._ending(fault, variant)
                starved = "raise --timeout" in end.stdout
                unseen = fault.code == OPEN and end.code == UNKNOWN and end.seconds > fault.limit
                met = end.happened and (fault.says in end.stdout or not (starved or unseen))
                if met or fault.or_open:
                    break
            found.append(end)
        return found

    def _ending(self, fault: Fault, variant: str) -> Ending:
        machine = self.machine
        if fault.fakes_the_clock and not machine.path("/fault-clock.so").exists():
            source = Path(__file__).with_name("clock.c").read_text(encoding="utf-8")
            machine.write("/fault-clock.c", source)
            self._sh("cc -shared -fPIC -o /fault-clock.so /fault-clock.c")
        for name in ("/run/stdout", "/run/stderr"):
            machine.write(name, "")
        machine.write("/fault-clock", "+00000\n")
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HALFOPEN_NMAP": "/real/nmap"}
        before, via, words = (
            text.replace("{}", variant) for text in (fault.before, fault.via, fault.words)
        )
        if fault.nmap is not None:
            body = fault.nmap.replace("{}", variant)
            self._sh("rm -rf /fault/*")
            machine.write("/fault/nmap", f"#!/bin/sh\n# A fake nmap.\nulimit -c 0\n{body}\n", 0o755)
            environment["HALFOPEN_NMAP"] = "/fault/nmap"
        self._sh(before)
        while select.select([self.name_server], [], [], 0)[0]:
            self.name_server.recv(65535)
        script = f"ulimit -c 0; exec >/run/stdout 2>/run/stderr; {via}"
        start = time.monotonic()
        process = machine.start(["sh", "-c", script, "sh", PLUGIN, *words.split()], env=environment)
        check = Check(self, process, variant)
        happened = self._wait(check, fault, start + fault.limit + SLACK)
        seconds = time.monotonic() - start
        left = self._left(0.0 if fault.lives_on else 1.0)
        for pid in left:
            if not fault.lives_on:
                os.kill(pid, signal.SIGKILL)
        assert self._left(fault.limit + SLACK) == {}
        return Ending(
            variant,
            process.wait(10),
            machine.read("/run/stdout"),
            machine.read("/run/stderr"),
            seconds,
            [os.path.basename(words[0]) for words in left.values()],
            happened,
        )

    def _wait(self, check: Check, fault: Fault, deadline: float) -> bool:
        """Wait for the check's end, or end it; return whether its stage came."""
        happened = fault.stage is None
        while check.process.poll() is None:
            if time.monotonic() > deadline:
                check.send("KILL")
                break
            if fault.stage and not happened and fault.stage(check):
                fault.then(check)
                happened = True
            time.sleep(0.001)
        return happened

    def _left(self, seconds: float) -> dict[int, list[str]]:
        """Return what still runs after as long as it takes to vanish, at most so many seconds."""
        wait_until(lambda: set(self.machine.processes()) <= self._always, seconds)
        now = self.machine.processes()
        return {pid: words for pid, words in now.items() if pid not in self._always}

    def _sh(self, script: str) -> None:
        done = self.machine.run(["sh", "-ec", script])
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def world(lab: Lab, installed: Path) -> Iterator[World]:
    """Return a machine with its name server, which never answers."""
    name_server = lab.within("target", lambda: socket.socket(type=socket.SOCK_DGRAM))
    with name_server, Machine(lab, installed) as machine:
        name_server.bind((TARGET[4], 53))
        yield World(machine, name_server)


# -- telling it ------------------------------------------------------------------------------------

DOCUMENT = ROOT / "docs" / "operators" / "faults.md"


def without_halfopen(ending: Ending) -> bool:
    """Return whether Python did not come as far as halfopen."""
    ours = "TCP HALF-OPEN" in ending.stdout or "/site-packages/halfopen/" in ending.stderr
    aborted = ending.stderr.startswith("Fatal Python error: ")  # 3.7 and 3.9, with 14 MB
    return aborted or (not ours and bool(ending.stderr or ending.code < 0))


def row(fault: Fault, endings: Sequence[Ending]) -> str:
    left = dict.fromkeys(name for ending in endings for name in ending.left)
    seconds = max(ending.seconds for ending in endings)
    at_limit = fault.limit <= seconds < fault.limit + 0.5
    cells = [
        fault.name,
        ", ".join(dict.fromkeys(map(_code, endings))),
        "<br>".join(filter(None, dict.fromkeys(_line(fault, ending) for ending in endings))),
        ", ".join(left) + ", till its `--host-timeout`" if left else "none",
        f"the limit, {fault.limit:g} s" if at_limit else f"< {int(seconds) + 1} s",
    ]
    return "| " + " | ".join(cells) + " |"


def _code(ending: Ending) -> str:
    if ending.signal == ending.variant != "":
        return "the signal"
    return str(ending.code) if ending.code >= 0 else f"signal {-ending.code}"


def _line(fault: Fault, ending: Ending) -> str:
    if ending.signal == ending.variant != "":
        return ""
    if without_halfopen(ending):
        return "(Python does not start)"
    line = re.sub(r"=\d+\.\d{6}s;", "=…s;", ending.stdout.rstrip("\n")).replace("|", "\\|")
    # The kernel knows it only if it has asked its neighbour of late.
    line = line.replace(", host answers ARP: a firewall drops it", "")
    if fault.or_open:  # the details differ from one limit to the next
        line = re.sub(r" [(;|\\].*", " …", line)
    return f"`{line}`" if line else ""


# -- judging it ------------------------------------------------------------------------------------


def assert_as_expected_and_documented(made: World, fault: Fault) -> None:
    """Make a fault: no wrong verdict, in time, nothing left, and as the page has it."""
    endings = made.endings(fault)
    for ending in endings:
        _assert_as_expected(fault, ending)
    of_this_nmap = f"with nmap {nmap_version()} and" in DOCUMENT.read_text(encoding="utf-8")
    if not fault.or_open and of_this_nmap:
        # All but the last cell, the time, which differs from run to run.
        told = [line.rpartition(" | ")[0] for line in documented()]
        assert row(fault, endings).rpartition(" | ")[0] in told, "make faults writes it anew"


def documented() -> list[str]:
    """Return the rows of the document's tables, without their heads."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(r"^\| (?!Fault \||---).*", text, re.MULTILINE)


_UNRAISABLE = r"Exception ignored on building sys\.unraisablehook arguments: .*\nMemoryError\n"


def _assert_as_expected(fault: Fault, ending: Ending) -> None:
    assert ending.happened, ending
    assert ending.seconds <= fault.limit + SLACK, ending
    assert set(ending.left) == ({"nmap"} if fault.lives_on else set()), ending
    if fault.or_open and without_halfopen(ending):
        assert ending.code not in (OPEN, 2), ending
        return
    # CPython's own line, where an error at its end finds no memory.
    assert re.sub(_UNRAISABLE, "", ending.stderr) == "", ending
    if fault.code is None:
        assert (ending.signal, ending.stdout) == (ending.variant, ""), ending
        return
    is_open = fault.or_open and ending.code == OPEN
    assert ending.code == fault.code or is_open, ending
    assert (" open (syn-ack)" if is_open else fault.says) in ending.stdout, ending
    assert ending.stdout.count("\n") == (1 if fault.says or fault.or_open else 0), ending
    if ending.code == UNKNOWN:
        assert ending.stdout.startswith("TCP HALF-OPEN UNKNOWN - "), ending
        assert "; " in ending.stdout, f"a cause without advice: {ending}"


# -- writing it ------------------------------------------------------------------------------------

VERSIONS = re.compile(r"on \S+, with nmap \S+ and Python \d[\d.]*\d")
TABLE = re.compile(r"^(\| Fault \|.*\n\| --- \|.*\n)(?:\|.*\n)*", re.MULTILINE)


def main() -> None:
    """Make each fault, and write the document's tables; the text round them is left as it is."""
    text = DOCUMENT.read_text(encoding="utf-8")
    kinds = iter(FAULTS.values())
    with Lab() as lab, tempfile.TemporaryDirectory() as folder, world(
        lab, install(Path(folder))
    ) as made:

        def with_rows(table: Match[str]) -> str:
            rows = [row(fault, made.endings(fault)) for fault in next(kinds)]
            return table.group(1) + "\n".join(rows) + "\n"

        text = TABLE.sub(with_rows, text)
        python = made.machine.run([f"{INSTALLED}/bin/python", "-V"]).stdout.split()[1]
    date = time.strftime("%Y-%m-%d")
    text = VERSIONS.sub(f"on {date}, with nmap {nmap_version()} and Python {python}", text, 1)
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
