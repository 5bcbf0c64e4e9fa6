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
import termios
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import pytest
from lab import HOSTS_FOLDER, IP, NMAP, TARGET, Lab

from .commands import halfopen

HOST = TARGET[4]
PORT1, PORT2 = 8443, 8444
"""Ports that the tests open and close."""
WEB1, WEB2 = f"{HOST}:{PORT1}", f"{HOST}:{PORT2}"
OPEN, CLOSED, SILENT = f"{HOST}:25", f"{HOST}:123", f"{HOST}:80"
PATIENCE = 30.0
EVERY, LATE = 0.5, 5.0
"""Seconds from round to round, and those that a busy machine may add."""

# What whoever started pytest had ignored (as sh does for `&`) is not ignored here.
CLEAN = ["env", "--default-signal=TERM,INT,HUP,TSTP", "TERM=xterm-256color"]
CLEAN += ["env", *(f"-u{name}" for name in ("COLUMNS", "LINES", "NO_COLOR", "COLORTERM"))]
CLEAN += ["env", "-uFORCE_COLOR"]


def until(true: Callable[[], object], what: str) -> None:
    """Wait for it, but not forever."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited {PATIENCE} s in vain until {what}"
        time.sleep(0.01)


def nmaps(lab: Lab) -> int:
    """Return how many nmap run in the scanner's namespace."""
    return list(lab.pids().values()).count("nmap")


def _plain(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub("\033\\[[0-9;]*[mK]", "", text).splitlines()]


class Started:
    """A command on a terminal of its own, or in a pipe where that has no size."""

    def __init__(
        self, lab: Lab, command: Sequence[str], size: tuple[int, int] | None, env: Sequence[str]
    ) -> None:
        self._ours, theirs = os.openpty() if size else os.pipe()
        if size:
            self.resize(*size)
            command = ["setsid", "--ctty", *command]  # so that Ctrl-C and its end send signals
        self.process = subprocess.Popen(
            [IP, "netns", "exec", lab.netns("scanner"), *CLEAN, *env, *command],
            stdin=theirs if size else subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
        )
        os.close(theirs)
        self._open = True
        self._printed = b""

    @property
    def printed(self) -> str:
        """All that was written so far."""
        while self._open and select.select([self._ours], [], [], 0)[0]:
            try:
                new = os.read(self._ours, 65536)
            except OSError:  # nobody has the terminal's other end any more
                new = b""
            self._printed += new
            if not new:
                self.close()
        return self._printed.decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The whole lines so far, without their times."""
        return re.findall(r"^(?:\S+T\S+ )?(.*)\n", self.printed, re.M)

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The same as JSON."""
        return list(map(json.loads, self.lines))

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
        assert self.printed.endswith("\n")
        return _plain(re.split("\033\\[\\?1049l|\033\\[J", self.printed)[-1])

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as a window manager does."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def close(self) -> None:
        """Close it, as if its window was closed, or as head does."""
        if self._open:
            self._open = False
            os.close(self._ours)

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


Start = Callable[..., Started]


@pytest.fixture
def start(lab: Lab) -> Iterator[Start]:
    """Return what starts halfopen on a terminal; it is over when the test is."""
    with contextlib.ExitStack() as stack:

        def begin(
            *words: object,
            size: tuple[int, int] | None = (80, 24),
            env: Sequence[str] = (),
            script: str = "{}",
        ) -> Started:
            command = halfopen(*words)
            if script != "{}":
                command = ["/bin/bash", "--norc", "-ic", script.format(" ".join(command))]
            started = Started(lab, command, size, env)
            stack.callback(started.kill)
            return started

        yield begin
    until(lambda: nmaps(lab) == 0, "no nmap is left")


# -- backends that come and go ------------------------------------------------------------------


def changes_in(watch: Started) -> list[tuple[object, ...]]:
    """Return the targets' states at first, and after each change, from JSON lines."""
    states = [tuple(t["state"] for t in each["targets"]) for each in watch.objects]
    return [state for state, before in zip(states, [(), *states]) if state != before]


def test_changes_are_seen_within_an_interval_and_in_the_right_order(lab: Lab, start: Start) -> None:
    pipe = functools.partial(start, size=None)

    def seen(changes: int) -> None:
        began = time.monotonic()
        until(lambda: len(watch.lines) == 2 + changes, f"change {changes} is told")
        assert not changes or time.monotonic() - began <= EVERY + LATE
        until(lambda: len(changes_in(watch_json)) == 1 + changes, f"change {changes} is told")

    def waiting(*words: object) -> Started:
        started = pipe("wait", WEB1, WEB2, "--interval", EVERY, *words)
        until(lambda: len(started.lines) == 2, "it waits")
        return started

    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(lab.listen(port, HOST)) for port in (PORT1, PORT2))
        watch = pipe("watch", WEB1, WEB2, "--interval", EVERY)
        watch_json = pipe("watch", WEB1, WEB2, "--interval", EVERY, "--format", "json")
        seen(0)
        one_down, both_down = waiting("--for", "not-open", "--any"), waiting("--for", "closed")
        first.close()
        seen(1)
        assert one_down.finish() == (0, "")
        until(lambda: len(both_down.lines) == 3, "the other waits on")
        second.close()
        seen(2)
        assert both_down.finish() == (0, "")
        both_up, stable = waiting(), waiting("--any", "--successes", 3)
        stack.enter_context(lab.listen(PORT2, HOST))
        seen(3)
        assert stable.finish() == (0, "")
        until(lambda: len(both_up.lines) == 3, "the other waits on")
        assert both_up.process.poll() is None
        stack.enter_context(lab.listen(PORT1, HOST))
        seen(4)
        assert both_up.finish() == (0, "")
        for started in (watch, watch_json):
            started.process.send_signal(signal.SIGTERM)
            assert started.finish() == (0, "")

    assert watch.lines[:6] == [
        f"{WEB1} open (syn-ack)",
        f"{WEB2} open (syn-ack)",
        f"{WEB1} open -> closed (reset)",
        f"{WEB2} open -> closed (reset)",
        f"{WEB2} closed -> open (syn-ack)",
        f"{WEB1} closed -> open (syn-ack)",
    ]
    assert re.match(r"\d+ rounds in [0-9. mins]+$", watch.lines[6])
    assert [line.split()[:2] for line in watch.lines[8:]] == [[WEB1, "open"], [WEB2, "open"]]
    assert all(re.search(r"  2 {8}[0-9.]+ s  ", line) for line in watch.lines[8:])
    states = ["open open", "closed open", "closed closed", "closed open", "open open"]
    assert [" ".join(map(str, each)) for each in changes_in(watch_json)] == states
    rounds = [each["round"] for each in watch_json.objects]
    assert rounds == list(range(1, len(rounds) + 1))
    assert re.match(rf"not-open after [0-9.]+ s: {WEB1}$", one_down.lines[-1])
    assert both_up.lines[-1].endswith(" s: all 2")


def test_a_name_that_resolves_only_later_is_waited_for() -> None:
    localhost = "127.0.0.1 localhost\n"
    with Lab() as lab:
        lab.set_hosts(localhost)
        command = halfopen("wait", "later.example.test:25", "--interval", EVERY)
        waiting = Started(lab, command, None, ())
        until(lambda: waiting.lines, "the first round is told")
        assert "unknown: cannot resolve later.example.test" in waiting.lines[0]
        lab.set_hosts(f"{localhost}{HOST} later.example.test\n")

        assert waiting.finish() == (0, "")
        assert waiting.lines[1:-1] == ["later.example.test:25 unknown -> open (syn-ack)"]


NAME = "web.example.test"
DNS_TIMEOUT = 3
"""Seconds that the system's resolver waits for a nameserver before it asks the next."""


def _nameserver(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))
    return sock


def _answer_all(sock: socket.socket) -> None:
    """Answer HOST to a question about an A record, and no record to any other."""
    with contextlib.suppress(OSError):  # closed
        while True:
            query, client = sock.recvfrom(512)
            question = query[12 : query.index(b"\0", 12) + 5]
            record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(HOST)
            records = [record] if question[-4:-2] == b"\0\1" else []
            header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0)
            sock.sendto(b"".join([header, question, *records]), client)


@pytest.fixture
def _first_nameserver_is_dead(lab: Lab) -> Iterator[None]:
    dead, alive = HOST, lab.many_addresses(1)[0]
    servers = [lab.within("target", functools.partial(_nameserver, each)) for each in (dead, alive)]
    threading.Thread(target=_answer_all, args=servers[1:], daemon=True).start()
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
    assert servers[0].recv(512, socket.MSG_DONTWAIT), "the dead one was asked"
    for server in servers:
        server.close()


@pytest.mark.usefixtures("_first_nameserver_is_dead")
def test_a_dead_first_nameserver_costs_wait_its_timeout_once_and_watch_no_round(
    start: Start,
) -> None:
    pipe = functools.partial(start, size=None)
    target, count = f"{NAME}:25", DNS_TIMEOUT + 3
    waiting = pipe("wait", target, "--format", "json")
    watching = pipe("watch", target, OPEN, "-i", "1", "--count", count, "--format", "json")

    assert waiting.finish() == (0, "")
    (told,) = waiting.objects
    assert told["targets"][0]["address"] == HOST
    assert DNS_TIMEOUT <= told["seconds"] < DNS_TIMEOUT + 0.2 + LATE
    assert watching.finish() == (0, "")
    rounds = [each["targets"] for each in watching.objects]
    assert [other["state"] for _, other in rounds] == ["open"] * count
    assert rounds[0][0]["error"].startswith(f"cannot resolve {NAME} yet: no answer for ")
    assert [named["state"] for named, _ in rounds[-2:]] == ["open"] * 2


# -- on a terminal ------------------------------------------------------------------------------


RTT = "RTT min/avg/max ms"


def test_watch_shows_a_live_table_and_ends_with_a_summary(
    lab: Lab, start: Start, tmp_path: Path
) -> None:
    farm = tmp_path / "farm"
    farm.write_text(f"web1 = {WEB1}\n{CLOSED}\n")
    terminal = start("watch", "--targets", farm, "--interval", EVERY, size=(120, 24))
    until(lambda: terminal.frame[1:] and terminal.frame[1].endswith(" xx"), "it was seen closed")
    with lab.listen(PORT1, HOST):
        until(lambda: terminal.frame[1].endswith("oo"), "it was seen open")
        titles, web1, closed = terminal.frame
        terminal.type(b"\x03")
        assert terminal.finish() == (2, "")

    assert titles.split() == ["Target", "State", "Reason", "Since", "Up", *RTT.split(), "Last"]
    rest = r"\d\d:\d\d:\d\d  [0-9.]+% +[0-9./]+ +"
    assert re.match(rf"web1 \({WEB1}\)  open    syn-ack  {rest}x+o+$", web1)
    assert re.match(rf"{CLOSED}          closed  reset    {rest}x+$", closed)
    counted, titles, web1, closed = terminal.left
    assert re.match(r"\d+ rounds in \d+(\.\d)? s$", counted)
    assert titles.split("  ")[0] == "Target"
    assert re.match(rf"web1 \({WEB1}\)  open .*%  1 {{8}}[0-9.]+ s  ", web1)
    assert re.match(rf"{CLOSED}  .*0\.0%  .*down since \d\d:\d\d:\d\d \(still down\)", closed)
    assert "^C" not in "".join(terminal.left)


def test_wait_shows_a_live_line_that_its_end_takes_the_place_of(lab: Lab, start: Start) -> None:
    terminal = start("wait", WEB1, OPEN, "--interval", EVERY, "--timeout", "5m")
    until(lambda: "closed" in terminal.printed, "it was seen closed")
    assert re.match(rf"open: 1 of 2, (4 min 5|5 min 0)\d s left; {WEB1} closed$", terminal.frame[0])
    with lab.listen(PORT1, HOST):
        assert terminal.finish() == (0, "")

    (left,) = terminal.left
    assert re.match(r"open after [0-9. s]+: all 2$", left)


ENDS: dict[str, tuple[signal.Signals, Callable[[Started], None]]] = {
    "Ctrl-C": (signal.SIGINT, lambda terminal: terminal.type(b"\x03")),
    "SIGTERM": (signal.SIGTERM, lambda terminal: terminal.process.send_signal(signal.SIGTERM)),
    "closed": (signal.SIGHUP, lambda terminal: terminal.close()),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_what_ends_the_commands_ends_nmap_and_leaves_the_terminal_clean(
    lab: Lab, start: Start, tmp_path: Path, how: str
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
        assert watch.printed.rfind("\033[?25h") > watch.printed.rfind("\033[?25l")


def test_a_terminal_made_narrower_and_wider_has_a_table_that_fits_within_a_second(
    start: Start,
) -> None:
    terminal = start("watch", OPEN, CLOSED, "--interval", "1h", size=(110, 24))
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


def test_ctrl_z_gives_the_terminal_back_and_watch_goes_on_after_longer_than_it_waits(
    start: Start,
) -> None:
    terminal = start("watch", OPEN, "--interval", EVERY, script="{}; sleep 2; fg")
    until(lambda: "  o" in terminal.printed, "it was seen open")

    terminal.type(b"\x1a")
    until(lambda: "\033[?25h\033[?1049l" in terminal.printed, "the shell has the terminal")
    before = len(terminal.printed)
    until(lambda: "\033[H" in terminal.printed[before:], "it is drawn again")
    rounds = max(map(len, re.findall("  (o+)", terminal.printed)))
    until(lambda: "  " + "o" * (rounds + 3) in terminal.printed, "rounds go on")
    terminal.type(b"\x03")

    assert terminal.finish()[0] == 0
    assert re.match(r"\d+ rounds in ", terminal.left[0])


LIVE = re.compile("\033\\[H|\033\\[J")
COLOUR = re.compile("\033\\[3[0-9]m")


def test_the_terminal_decides_on_colours_columns_and_live_screens(start: Start) -> None:
    kinds: dict[str, dict[str, object]] = {
        "colours": {},
        "no colours": {"env": ["NO_COLOR=1"]},
        "no size": {"size": (0, 0)},
        "ascii": {"env": ["LC_ALL=C", "PYTHONIOENCODING=ascii"], "size": (20, 24)},
        "dumb": {"env": ["TERM=dumb"]},
        "no TERM": {"env": ["-uTERM"]},
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
            assert f"{CLOSED} closed (reset)\n" in printed[kind]
        frames = terminals["ascii"].frames[: None if command.startswith("watch") else -1]
        assert len(frames) > 1
        assert max(len(line) for frame in frames for line in frame) <= 20
        assert "Traceback" not in "".join(printed.values())


# -- in pipes -----------------------------------------------------------------------------------


WATCH = " ".join(halfopen("watch", OPEN, "--interval", EVERY))
UNTIL_OPEN = "until grep -qs ' open ' out; do sleep 0.1; done"
SCRIPTS = {
    "head": (f"{WATCH} --format json | head -3 | wc -l; echo ${{PIPESTATUS[0]}}", "3\n0\n"),
    "head, and nothing changes any more": (
        f"{WATCH} {CLOSED} {HOST}:110 | head -3 | wc -l; echo ${{PIPESTATUS[0]}}",
        "3\n2\n",
    ),
    # SIGALRM is what its own clock sends it.
    "timeout": (
        f"timeout 60 {WATCH} >out & {UNTIL_OPEN}; kill -ALRM $!; wait $!; echo $?; cat out",
        rf"124\n.*\n{OPEN}  open .*  100\.0%  0  .*\n",
    ),
    "nohup": (
        f"nohup {WATCH} --count 4 >out & {UNTIL_OPEN}; kill -HUP $!; wait $!; echo $?; cat out",
        r"0\n.*\n4 rounds in .*\n",
    ),
}


@pytest.mark.parametrize("how", list(SCRIPTS))
def test_a_watch_ends_as_a_shell_expects(lab: Lab, tmp_path: Path, how: str) -> None:
    script, printed = SCRIPTS[how]

    done = lab.run(["bash", "-c", f"cd {tmp_path}; {script}"], timeout=PATIENCE)

    assert re.fullmatch(printed, done.stdout, re.S)
    assert done.stderr == ""
    assert nmaps(lab) == 0
