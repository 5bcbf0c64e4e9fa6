"""wait and watch with the real nmap: on terminals, in pipes, and while backends come and go."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping

import pytest
from lab import HOSTS_FOLDER, IP, NMAP, TARGET, Lab, Running

from .commands import halfopen

HOST = TARGET[4]
WEB1, WEB2 = 8443, 8444
"""Ports that the tests open and close."""
OPEN, CLOSED, SILENT = f"{HOST}:25", f"{HOST}:123", f"{HOST}:80"
PATIENCE = 30.0
EVERY, LATE = 0.5, 5.0
"""Seconds from round to round, and those that a busy machine may add."""

# The terminal becomes the controlling one, so that Ctrl-C and its end send signals; and what
# whoever started pytest had ignored (as sh does for `&`) is not ignored here.
ON_TERMINAL = """\
import fcntl, os, signal, sys, termios
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTSTP):
    signal.signal(number, signal.SIG_DFL)
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def until(true: Callable[[], object], what: str) -> None:
    """Wait for it, but not forever."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited {PATIENCE} s in vain until {what}"
        time.sleep(0.01)


def nmaps(lab: Lab) -> int:
    """Return how many nmap run in the scanner's namespace."""
    return list(lab.pids().values()).count("nmap")


class Backends:
    """Listeners on the target, to be opened and closed."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._listeners: dict[int, socket.socket] = {}

    def open(self, port: int) -> float:
        """Open a port; return when."""
        self._listeners[port] = self._lab.within("target", functools.partial(_listener, port))
        return time.monotonic()

    def close(self, port: int) -> float:
        """Close it again; return when."""
        self._listeners.pop(port).close()
        return time.monotonic()

    def close_all(self) -> None:
        """Leave the target as it was."""
        for port in list(self._listeners):
            self.close(port)


def _listener(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((HOST, port))
    sock.listen(128)
    return sock


@pytest.fixture
def backends(lab: Lab) -> Iterator[Backends]:
    backends = Backends(lab)
    yield backends
    backends.close_all()


class Pipe:
    """A command whose lines are read as they come, each with its time."""

    def __init__(self, lab: Lab, *words: object) -> None:
        self.lines: list[tuple[float, str]] = []
        self._process = lab.popen(halfopen(*words))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def text(self) -> list[str]:
        """The lines so far, without their times."""
        return [re.sub(r"^\S+T\S+ ", "", line) for _, line in self.lines]

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Wait for its end; return the exit code and what it wrote to standard error."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with self._process.stdout, self._process.stderr:
            return code, self._process.stderr.read()

    def kill(self) -> None:
        """End it, if it has not."""
        if self._process.poll() is None:
            self._process.kill()
            self.finish()


def _plain(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub("\033\\[[0-9;]*[mK]", "", text).split("\r\n")]


class Terminal:
    """A command on a terminal of its own."""

    def __init__(
        self,
        lab: Lab,
        *words: object,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str | None] | None = None,
        script: str = "",
    ) -> None:
        command = halfopen(*words)
        if script:
            command = ["/bin/bash", "--norc", "-ic", script.format(" ".join(command))]
        self._master, slave = os.openpty()
        self.resize(columns, lines)
        environment = {**os.environ, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "FORCE_COLOR"):
            environment.pop(name, None)
        for name, value in (env or {}).items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        self.process = subprocess.Popen(
            [
                *[IP, "netns", "exec", lab.netns("scanner"), sys.executable, "-c", ON_TERMINAL],
                *command,
            ],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self._open = True
        self._printed = b""

    @property
    def printed(self) -> str:
        """All that was written to the terminal so far."""
        while self._open and select.select([self._master], [], [], 0)[0]:
            try:
                self._printed += os.read(self._master, 65536)
            except OSError:  # nobody has the other end any more
                self.close()
        return self._printed.decode("utf-8", "replace")

    @property
    def frames(self) -> list[list[str]]:
        """The lines of all that was drawn, on the alternate screen or in a line's place."""
        drawn = re.split("\033\\[H|\033\\[J", self.printed.partition("\033[?25h")[0])
        return ["\n".join(_plain(each)).rstrip().split("\n") for each in drawn]

    @property
    def frame(self) -> list[str]:
        """The last of them."""
        return self.frames[-1]

    @property
    def left(self) -> list[str]:
        """The lines that stand there after the command: what is drawn over is gone."""
        return _plain(re.split("\033\\[\\?1049l|\033\\[J", self.printed)[-1])

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size, as a window manager does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def close(self) -> None:
        """Close it, as if its window was closed."""
        if self._open:
            self._open = False
            os.close(self._master)

    def finish(self) -> tuple[int, str]:
        """Wait for the command's end; return its exit code and its standard error."""
        until(lambda: (self.printed, self.process.poll())[1] is not None, "the command ends")
        assert self.printed is not None  # what came last
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            return self.process.returncode, stderr.read().decode()

    def kill(self) -> None:
        """End what is left."""
        self.close()  # its end ends what a shell may have started
        if self.process.poll() is None:
            self.process.kill()
            self.finish()


@pytest.fixture
def start(lab: Lab) -> Iterator[Callable[..., Terminal]]:
    """Return what starts a command on a terminal; it is over when the test is."""
    with contextlib.ExitStack() as stack:

        def begin(*words: object, **how: object) -> Terminal:
            terminal = Terminal(lab, *words, **how)  # type: ignore[arg-type]
            stack.callback(terminal.kill)
            return terminal

        yield begin
    until(lambda: nmaps(lab) == 0, "no nmap is left")


@pytest.fixture
def pipe(lab: Lab) -> Iterator[Callable[..., Pipe]]:
    """Return what starts a command in a pipe; it is over when the test is."""
    with contextlib.ExitStack() as stack:

        def begin(*words: object) -> Pipe:
            piped = Pipe(lab, *words)
            stack.callback(piped.kill)
            return piped

        yield begin
    until(lambda: nmaps(lab) == 0, "no nmap is left")


# -- backends that come and go ------------------------------------------------------------------


def changes_in(looks: Pipe) -> list[tuple[str, ...]]:
    """Return the targets' states at first, and after each change, from JSON lines."""
    lines = [line for _, line in list(looks.lines)]
    states = [tuple(t["state"] for t in json.loads(line)["targets"]) for line in lines]
    return [state for state, before in zip(states, [(), *states]) if state != before]


def test_changes_are_seen_within_an_interval_and_in_the_right_order(
    backends: Backends, pipe: Callable[..., Pipe]
) -> None:
    web1, web2 = f"{HOST}:{WEB1}", f"{HOST}:{WEB2}"
    backends.open(WEB1)
    backends.open(WEB2)
    watch = pipe("watch", web1, web2, "--interval", EVERY)
    objects = pipe("watch", web1, web2, "--interval", EVERY, "--format", "json")

    def told(changes: int) -> bool:
        return len(watch.lines) == 2 + changes and len(changes_in(objects)) == 1 + changes

    until(lambda: told(0), "the first rounds are told")
    one_down = pipe("wait", web1, web2, "--for", "not-open", "--any", "--interval", EVERY)
    both_down = pipe("wait", web1, web2, "--for", "closed", "--interval", EVERY)
    until(lambda: len(one_down.lines) == len(both_down.lines) == 2, "both wait")

    changed = [backends.close(WEB1)]
    until(lambda: told(1), "the first change is told")
    assert one_down.finish() == (0, "")
    until(lambda: len(both_down.lines) == 3, "the other waits on")
    changed.append(backends.close(WEB2))
    until(lambda: told(2), "the second change is told")
    assert both_down.finish() == (0, "")
    both_up = pipe("wait", web1, web2, "--interval", EVERY)
    stable = pipe("wait", web1, web2, "--any", "--interval", EVERY, "--successes", 3)
    until(lambda: len(both_up.lines) == len(stable.lines) == 2, "both wait")
    changed.append(backends.open(WEB2))
    until(lambda: told(3), "the third change is told")
    assert stable.finish() == (0, "")
    until(lambda: len(both_up.lines) == 3, "the other waits on")
    assert both_up.runs
    changed.append(backends.open(WEB1))
    until(lambda: told(4), "the fourth change is told")
    assert both_up.finish() == (0, "")
    for process in (watch, objects):
        process.send(signal.SIGTERM)
        assert process.finish() == (0, "")

    assert watch.text[:6] == [
        f"{web1} open (syn-ack)",
        f"{web2} open (syn-ack)",
        f"{web1} open -> closed (reset)",
        f"{web2} open -> closed (reset)",
        f"{web2} closed -> open (syn-ack)",
        f"{web1} closed -> open (syn-ack)",
    ]
    seen = [when for when, _ in watch.lines[2:6]]
    assert all(0 <= after - before <= EVERY + LATE for before, after in zip(changed, seen))
    assert re.match(r"\d+ rounds in [0-9. mins]+$", watch.text[6])
    assert [line.split()[:2] for line in watch.text[8:]] == [[web1, "open"], [web2, "open"]]
    assert all(re.search(r"  2 {8}[0-9.]+ s  ", line) for line in watch.text[8:])
    assert changes_in(objects) == [
        ("open", "open"),
        ("closed", "open"),
        ("closed", "closed"),
        ("closed", "open"),
        ("open", "open"),
    ]
    assert [json.loads(line)["round"] for _, line in objects.lines] == list(
        range(1, len(objects.lines) + 1)
    )
    assert one_down.text[-1].startswith("not-open after ")
    assert one_down.text[-1].endswith(f" s: {web1}")
    assert both_up.text[-1].endswith(" s: all 2")


def test_a_name_that_resolves_only_later_is_waited_for() -> None:
    localhost = "127.0.0.1 localhost\n"
    with Lab() as lab:
        lab.set_hosts(localhost)
        waiting = Pipe(lab, "wait", "later.example.test:25", "--interval", EVERY)
        until(lambda: waiting.lines, "the first round is told")
        assert "unknown: cannot resolve later.example.test" in waiting.text[0]
        lab.set_hosts(f"{localhost}{HOST} later.example.test\n")

        assert waiting.finish() == (0, "")
        assert waiting.text[1:-1] == ["later.example.test:25 unknown -> open (syn-ack)"]


NAME = "web.example.test"


class Nameserver:
    """A DNS server that knows one name, or one that never answers, in the target's namespace."""

    def __init__(self, lab: Lab, address: str, answers: bool) -> None:
        self._socket = lab.within("target", functools.partial(_bound, address))
        self.asked = 0
        self._answers = answers
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                query, client = self._socket.recvfrom(512)
                self.asked += 1
                if self._answers:
                    self._socket.sendto(_answer(query), client)

    def close(self) -> None:
        """End it."""
        self._socket.close()


def _bound(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))
    return sock


def _answer(query: bytes) -> bytes:
    """Return HOST for a question about an A record, and no record for any other."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    a_record = question[-4:-2] == b"\0\1"
    header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(a_record), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(HOST)
    return header + question + (record if a_record else b"")


DNS_TIMEOUT = 3
"""Seconds that the system's resolver waits for a nameserver before it asks the next."""


@pytest.fixture
def _first_nameserver_is_dead(lab: Lab) -> Iterator[None]:
    dead, alive = HOST, lab.many_addresses(1)[0]
    servers = [Nameserver(lab, dead, answers=False), Nameserver(lab, alive, answers=True)]
    folder = HOSTS_FOLDER / lab.netns("scanner")  # `ip netns exec` mounts what is in it
    folder.mkdir(parents=True, exist_ok=True)
    resolv, switch = folder / "resolv.conf", folder / "nsswitch.conf"
    resolv.write_text(
        f"nameserver {dead}\nnameserver {alive}\noptions timeout:{DNS_TIMEOUT} attempts:2\n"
    )
    switch.write_text("hosts: files dns\n")
    yield
    for path in (resolv, switch):
        path.unlink()
    for server in servers:
        server.close()
    assert servers[0].asked > 0
    assert servers[1].asked > 0


@pytest.mark.usefixtures("_first_nameserver_is_dead")
def test_a_dead_first_nameserver_costs_wait_its_timeout_once_and_watch_no_round(
    pipe: Callable[..., Pipe],
) -> None:
    target = f"{NAME}:25"
    waiting = pipe("wait", target, "--format", "json")
    watching = pipe(
        "watch", target, OPEN, "--interval", "1", "--count", DNS_TIMEOUT + 3, "--format", "json"
    )

    assert waiting.finish() == (0, "")
    (told,) = [json.loads(line) for _, line in waiting.lines]
    assert told["targets"][0]["address"] == HOST
    assert DNS_TIMEOUT <= told["seconds"] < DNS_TIMEOUT + 0.2 + LATE
    assert watching.finish() == (0, "")
    rounds = [json.loads(line)["targets"] for _, line in watching.lines]
    assert len(rounds) == DNS_TIMEOUT + 3
    assert [other["state"] for _, other in rounds] == ["open"] * len(rounds)
    assert rounds[0][0]["error"].startswith(f"cannot resolve {NAME} yet: no answer for ")
    assert [named["state"] for named, _ in rounds[-2:]] == ["open"] * 2


# -- on a terminal ------------------------------------------------------------------------------


RTT = "RTT min/avg/max ms"


def test_watch_shows_a_live_table_and_ends_with_a_summary(
    backends: Backends, start: Callable[..., Terminal], tmp_path: Path
) -> None:
    farm = tmp_path / "farm"
    farm.write_text(f"web1 = {HOST}:{WEB1}\n{CLOSED}\n")
    terminal = start("watch", "--targets", farm, "--interval", EVERY, columns=120)
    until(lambda: terminal.frame[1:] and terminal.frame[1].endswith(" xx"), "it was seen closed")
    backends.open(WEB1)
    until(lambda: terminal.frame[1].endswith("oo"), "it was seen open")
    titles, web1, closed = terminal.frame
    assert titles.split() == ["Target", "State", "Reason", "Since", "Up", *RTT.split(), "Last"]
    rest = r"\d\d:\d\d:\d\d  [0-9.]+% +[0-9./]+ +"
    assert re.match(rf"web1 \({HOST}:{WEB1}\)  open    syn-ack  {rest}x+o+$", web1)
    assert re.match(rf"{CLOSED}          closed  reset    {rest}x+$", closed)
    terminal.type(b"\x03")

    assert terminal.finish() == (2, "")
    counted, titles, web1, closed, prompt = terminal.left
    assert re.match(r"\d+ rounds in \d+(\.\d)? s$", counted)
    assert titles.split("  ")[0] == "Target"
    assert re.match(rf"web1 \({HOST}:{WEB1}\)  open .*%  1 {{8}}[0-9.]+ s  ", web1)
    assert re.match(rf"{CLOSED}  .*0\.0%  .*down since \d\d:\d\d:\d\d \(still down\)", closed)
    assert prompt == ""
    assert "^C" not in "".join(terminal.left)


def test_wait_shows_a_live_line_that_its_end_takes_the_place_of(
    backends: Backends, start: Callable[..., Terminal]
) -> None:
    web1 = f"{HOST}:{WEB1}"
    terminal = start("wait", web1, OPEN, "--interval", EVERY, "--timeout", "5m")
    until(lambda: "closed" in terminal.printed, "it was seen closed")
    assert re.match(rf"open: 1 of 2, (4 min 5|5 min 0)\d s left; {web1} closed$", terminal.frame[0])
    backends.open(WEB1)

    assert terminal.finish() == (0, "")
    assert re.match(r"open after [0-9. s]+: all 2$", terminal.left[0])
    assert terminal.left[1:] == [""]


ENDS: dict[str, tuple[signal.Signals, Callable[[Terminal], None]]] = {
    "Ctrl-C": (signal.SIGINT, lambda terminal: terminal.type(b"\x03")),
    "SIGTERM": (signal.SIGTERM, lambda terminal: terminal.process.send_signal(signal.SIGTERM)),
    "closed": (signal.SIGHUP, lambda terminal: terminal.close()),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_what_ends_the_commands_ends_nmap_and_leaves_the_terminal_clean(
    lab: Lab, start: Callable[..., Terminal], tmp_path: Path, how: str
) -> None:
    # An nmap that would wait a minute for an answer, if it were not for --host-timeout.
    slow = tmp_path / "slow-nmap"
    minute = "--initial-rtt-timeout 60s --max-rtt-timeout 60s --min-rtt-timeout 60s"
    slow.write_text(f'#!/bin/sh\nexec {NMAP} "$@" {minute}\n')
    slow.chmod(0o755)
    watch, wait = (
        start(command, SILENT, "--interval", "10", "--nmap", slow) for command in ("watch", "wait")
    )
    until(lambda: nmaps(lab) == 2, "both check")

    number, end = ENDS[how]
    for terminal in (watch, wait):
        end(terminal)
    began = time.monotonic()
    ended = watch.finish(), wait.finish()

    assert ended == ((3, ""), (-number, ""))
    assert time.monotonic() - began < 1 + LATE
    assert nmaps(lab) == 0
    assert "Traceback" not in watch.printed + wait.printed
    if how != "closed":
        assert re.match(r"0 rounds in [0-9.]+ s$", watch.left[0])
        assert watch.left[2].split()[:3] == [SILENT, "-", "-"]
        assert re.match("stopped after .*, waiting for open: no round has ended$", wait.left[0])
        assert watch.printed.endswith("\r\n")
        assert watch.printed.rfind("\033[?25h") > watch.printed.rfind("\033[?25l")


def test_a_terminal_made_narrower_and_wider_has_a_table_that_fits_within_a_second(
    start: Callable[..., Terminal],
) -> None:
    terminal = start("watch", OPEN, CLOSED, "--interval", "1h", columns=110)
    until(lambda: "closed" in terminal.printed, "it has checked")
    wide = terminal.frame
    assert "RTT min/avg/max" in wide[0]

    terminal.resize(40, 24)
    until(lambda: terminal.frame[0].endswith("Up"), "the table is narrow")
    assert max(map(len, terminal.frame)) <= 40
    terminal.resize(110, 2)
    until(lambda: len(terminal.frame) == 2, "the table is low")
    terminal.resize(110, 24)
    until(lambda: terminal.frame == wide, "the table is as before")
    terminal.type(b"\x03")

    assert terminal.finish() == (2, "")


def test_ctrl_z_gives_the_terminal_back_until_watch_goes_on(
    start: Callable[..., Terminal],
) -> None:
    terminal = start("watch", OPEN, "--interval", EVERY, script="{}; read -r _; fg")
    until(lambda: "open" in terminal.printed, "the first round is shown")

    terminal.type(b"\x1a")
    until(lambda: "\033[?25h\033[?1049l" in terminal.printed, "the shell has the terminal")
    before = len(terminal.printed)
    terminal.type(b"\r")
    until(lambda: "\033[H" in terminal.printed[before:], "it is drawn again")
    terminal.type(b"\x03")

    assert terminal.finish()[0] == 0
    assert re.match(r"\d rounds? in ", terminal.left[0])


LIVE = re.compile("\033\\[H|\033\\[J")
COLOUR = re.compile("\033\\[3[0-9]m")


def test_the_terminal_decides_on_colours_columns_and_live_screens(
    start: Callable[..., Terminal],
) -> None:
    kinds: dict[str, dict[str, object]] = {
        "colours": {},
        "no colours": {"env": {"NO_COLOR": "1"}},
        "no size": {"columns": 0, "lines": 0},
        "ascii": {"env": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, "columns": 20},
        "dumb": {"env": {"TERM": "dumb"}},
        "no TERM": {"env": {"TERM": None}},
    }
    for command in ("watch --count 2", "wait --timeout 2.5"):
        words = [*command.split(), OPEN, CLOSED, "--interval", str(EVERY)]
        terminals = {kind: start(*words, **how) for kind, how in kinds.items()}
        ends = {kind: terminal.finish() for kind, terminal in terminals.items()}
        assert ends == dict.fromkeys(kinds, (2, ""))
        printed = {kind: terminal.printed for kind, terminal in terminals.items()}
        live = {kind for kind, text in printed.items() if LIVE.search(text)}
        coloured = {kind for kind, text in printed.items() if COLOUR.search(text)}

        assert live == set(kinds) - {"dumb", "no TERM"}
        assert coloured == (live - {"no colours"} if command.startswith("watch") else set())
        for kind in set(kinds) - live:
            assert "\033" not in printed[kind]
            assert f"{CLOSED} closed (reset)\r\n" in printed[kind]
        frames = terminals["ascii"].frames[: None if command.startswith("watch") else -1]
        assert len(frames) > 1
        assert max(len(line) for frame in frames for line in frame) <= 20
        assert "Traceback" not in "".join(printed.values())


# -- in pipes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "last"),
    [
        pytest.param([OPEN, "--format", "json"], "0", id="a-line-a-round"),
        pytest.param([OPEN, CLOSED, f"{HOST}:110"], "2", id="nothing-changes-any-more"),
    ],
)
def test_head_ends_a_watch(lab: Lab, words: list[str], last: str) -> None:
    command = " ".join(halfopen("watch", *words, "--interval", EVERY))
    script = f"{command} | head -3; echo ${{PIPESTATUS[0]}}"

    done = lab.run(["bash", "-c", script], timeout=PATIENCE)

    *lines, code = done.stdout.splitlines()
    assert (len(lines), code, done.stderr) == (3, last, "")
    assert nmaps(lab) == 0


def test_timeout_ends_a_watch_with_its_summary(lab: Lab) -> None:
    done: subprocess.CompletedProcess[str] = lab.run(
        ["timeout", "4", *halfopen("watch", OPEN, "--interval", EVERY)], timeout=PATIENCE
    )

    assert (done.returncode, done.stderr) == (124, "")
    assert re.search(rf"^{OPEN}  open .*  100\.0%  0  ", done.stdout, re.M)


def test_nohup_outlives_its_terminal(lab: Lab) -> None:
    process: Running[str] = lab.popen(
        ["nohup", *halfopen("watch", OPEN, "--interval", EVERY, "--count", 4)]
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)

    stdout, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert re.search(r"^4 rounds in ", stdout, re.M)


def test_watch_goes_on_after_it_was_stopped_for_longer_than_it_waits(
    start: Callable[..., Terminal],
) -> None:
    terminal = start("watch", OPEN, "--interval", EVERY, script="{}; sleep 2; fg")
    until(lambda: "  o" in terminal.printed, "it was seen open")
    terminal.type(b"\x1a")
    until(lambda: terminal.printed.count("\033[?1049h") > 1, "it is in the foreground again")
    rounds = max(map(len, re.findall("  (o+)", terminal.printed)))

    until(lambda: "  " + "o" * (rounds + 3) in terminal.printed, "rounds go on")

    terminal.type(b"\x03")
    terminal.finish()
