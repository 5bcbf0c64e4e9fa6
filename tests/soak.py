"""Thousands of checks side by side, with lost packets: every wrong verdict and every leak is found.

    soak.py [--checks 5000] [--parallel 20] [--loss 5] [--commands FOLDER]

Asks, in namespaces, for ports that are open, closed, dropped, or change every few hundred
milliseconds, over IPv4 and IPv6: most with `check_tcp_half_open`, one check in 21 with `halfopen
check` of all ports at once, and meanwhile with one `halfopen watch`. No two ask the same address
and port at the same time, so the packets to and from it belong to one check.

Exit code 1, and the table says why, if but one verdict was wrong:

  false open      the port was not open at any moment between the check's start and its end
  false closed    nor closed
  open unseen     no SYN/ACK from that address and port came, to a SYN that this check sent
  closed unseen   nor a RST
  unknown         the check failed
  output          words, exit code and state don't fit, or there is something on stderr
  late            it took 10 s longer than --timeout's 10 s

or if something leaked: a process that a check left behind, or what the watch holds on to. Two
things are counted beside that. `missed` is "filtered" for a port that never was: wrong, but loss
can do it, so one in a thousand is let pass. `starved` is an UNKNOWN that says "raise --timeout"
after most of that time had passed: a slow machine's doing, and no verdict at all.

Exit code 3: it can't be told, as too many checks were starved, or packets of ours were lost.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence, Tuple

from lab import IP, TOOL_PATH, Capture, Lab, Packet, Running, why_no_lab

PORTS = {
    "open": 25,
    "closed": 123,
    "dropped": 80,
    "open/closed by turns": 2200,
    "open/dropped by turns": 2300,
}
"""Their neighbours, which are scanned along, are closed."""
OPEN_OR_CLOSED, OPEN_OR_DROPPED = 2200, 2300
AT_FIRST = {25: "open", 123: "closed", 80: "filtered", 2200: "open", 2300: "open"}
CHANGES = (
    (OPEN_OR_CLOSED, "closed"),
    (OPEN_OR_DROPPED, "filtered"),
    (OPEN_OR_CLOSED, "open"),
    (OPEN_OR_DROPPED, "open"),
)
MANY, LOOK = "halfopen check of all", "halfopen watch of all"
TURNS = (0.2, 0.5, 0.35, 1.6, 0.25)
"""Seconds from a change to the next, over and over."""

RULES = """
table inet soak {
    set gone { type inet_service; }
    chain input { type filter hook input priority -10; tcp dport @gone drop; }
}
"""

TIMEOUT = 10.0
"""What --timeout is by default."""
LATE = TIMEOUT + 10
"""Python starts and ends outside of it, and a busy machine is slow to schedule that."""
STARVED = 0.75 * TIMEOUT
"""Before that, "raise --timeout" would be no excuse."""
HUNG = 60.0
MOST_SECONDS = 3600.0
MOST_MISSED, MOST_STARVED = 0.001, 0.1
EVERY = 2.0
"""Seconds from a look of the watch to its next: it has time to rest between them."""
PATIENCE = 40.0
"""Seconds for the watch to come to rest."""

EXIT = {"open": 0, "closed": 2, "filtered": 2}
HARMLESS = ("", "missed", "starved")
Target = Tuple[str, int]


class Check(NamedTuple):
    """What a check was asked, and all that it gave."""

    about: str
    targets: tuple[Target, ...]
    began: float
    ended: float
    first: int
    """The first packet since its start, by number."""
    last: int
    """The first after its end."""
    code: int | None
    """None if it hung and was killed."""
    stdout: str
    stderr: str


class Verdict(NamedTuple):
    """What a check said of a port, and what is wrong with that."""

    check: Check
    said: str
    """A state, or why there is none."""
    fault: str
    """Empty for none."""


class UnreadableError(Exception):
    """A check's output or exit code makes no sense."""


class UntoldError(Exception):
    """Nothing can be told."""


# -- the network ----------------------------------------------------------------------------------


class Wire:
    """The packets on the checker's side, for all threads."""

    def __init__(self, packets: Capture) -> None:
        """Begin with none."""
        self._packets = packets
        self._lock = threading.Lock()

    def mark(self) -> int:
        """Return how many packets there have been by now."""
        with self._lock:
            try:
                return len(self._packets.update())
            except RuntimeError as error:  # the kernel had to drop some
                raise UntoldError(str(error)) from error


class Truth:
    """What state each port has, and had when."""

    def __init__(self, lab: Lab) -> None:
        """Open what is open at first."""
        self._lab = lab
        always = -math.inf
        self._history = {port: [(always, always, state)] for port, state in AT_FIRST.items()}
        self._stay = lab.within("target", lambda: listen(OPEN_OR_DROPPED))
        self._comes_and_goes = lab.within("target", lambda: listen(OPEN_OR_CLOSED))
        self._nft("-f", "-", rules=RULES)

    def possible(self, port: int, began: float, ended: float) -> set[str]:
        """Return the states that it may have had at some moment between the two."""
        history = self._history[port]
        # A change is made at some moment between the time before and the time after it.
        ends = [after for _, after, _ in history[1:]] + [math.inf]
        return {
            state
            for (before, _, state), end in zip(history, ends)
            if before <= ended and end >= began
        }

    def changes(self) -> int:
        """Return how often a port has changed."""
        return sum(len(history) - 1 for history in self._history.values())

    @contextlib.contextmanager
    def turning(self) -> Iterator[None]:
        """Change the two ports by turns, while the block lasts."""
        stop = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            turning = thread.submit(self._turn, stop)
            try:
                yield
            finally:
                stop.set()
                turning.result()
                self._stay.close()
                self._comes_and_goes.close()

    def _turn(self, stop: threading.Event) -> None:
        for seconds, (port, to) in zip(itertools.cycle(TURNS), itertools.cycle(CHANGES)):
            if stop.wait(seconds):
                return
            before = time.monotonic()
            if port == OPEN_OR_DROPPED:
                verb = "delete" if to == "open" else "add"
                self._nft(f"{verb} element inet soak gone {{ {port} }}")
            elif to == "closed":
                self._comes_and_goes.close()
            else:
                self._comes_and_goes = self._lab.within("target", lambda: listen(OPEN_OR_CLOSED))
            self._history[port].append((before, time.monotonic(), to))

    def _nft(self, *words: str, rules: str | None = None) -> None:
        nft = str(shutil.which("nft", path=TOOL_PATH))
        done = self._lab.run([nft, *words], ns="target", input=rules)
        if done.returncode:
            raise RuntimeError(f"nft {words}: {done.stderr}")


def listen(port: int) -> socket.socket:
    """Return a listener for both families, that never accepts."""
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    sock.listen(1024)
    return sock


def places(lab: Lab, count: int) -> list[tuple[str, str]]:
    """Return pairs of the target's addresses, IPv4 and IPv6: each pair is asked by one alone."""
    pairs = [(f"192.0.2.{number}", f"2001:db8::{number:x}") for number in range(100, 100 + count)]
    commands = [
        line
        for v4, v6 in pairs
        for line in (f"addr add {v4}/32 dev eth0", f"addr add {v6}/128 dev eth0 nodad")
    ]
    done = lab.run([IP, "-batch", "-"], ns="target", input="\n".join(commands) + "\n")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return pairs


# -- checks ---------------------------------------------------------------------------------------


def all_targets(place: tuple[str, str]) -> tuple[Target, ...]:
    """Return every port at both addresses."""
    return tuple((address, port) for port in PORTS.values() for address in place)


def written(target: Target) -> str:
    """Return the target as HOST:PORT."""
    host, port = target
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Checker:
    """Makes the checks."""

    def __init__(self, lab: Lab, wire: Wire, commands: Path) -> None:
        """Make none yet."""
        self._lab = lab
        self._wire = wire
        self._plugin = str(commands / "check_tcp_half_open")
        self._halfopen = str(commands / "halfopen")
        self._numbers = itertools.count()
        self._stop = threading.Event()

    def run(self, count: int, pairs: Sequence[tuple[str, str]]) -> list[Check]:
        """Make so many checks, one at a time at each place."""
        end = time.monotonic() + MOST_SECONDS

        def at(place: tuple[str, str]) -> list[Check]:
            made = []
            try:
                for number in self._numbers:
                    if number >= count or self._stop.is_set() or time.monotonic() > end:
                        break
                    made.append(self._check(number, place))
            except BaseException:
                self._stop.set()  # the others need not go on
                raise
            return made

        def enter_and_check(place: tuple[str, str]) -> list[Check]:
            # What a thread starts is in the namespace that the thread has entered.
            return self._lab.within("scanner", lambda: at(place))

        with ThreadPoolExecutor(len(pairs)) as pool:
            try:
                return [check for made in pool.map(enter_and_check, pairs) for check in made]
            finally:
                self._stop.set()

    def _check(self, number: int, place: tuple[str, str]) -> Check:
        kind, version = number % len(PORTS), number // len(PORTS) % 2
        about, port = list(PORTS.items())[kind]
        targets: tuple[Target, ...] = ((place[version], port),)
        command = [self._plugin, place[version], str(port)]
        if number % 21 == 20:
            about, targets = MANY, all_targets(place)
            command = [self._halfopen, "check", "--format", "json", *map(written, targets)]
        code, stdout, stderr = None, "", ""
        first, began = self._wire.mark(), time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=HUNG,
                check=False,
            )
            code, stdout, stderr = done.returncode, done.stdout, done.stderr
        ended = time.monotonic()
        last = self._wire.mark()
        return Check(about, targets, began, ended, first, last, code, stdout, stderr)


class Held(NamedTuple):
    """What a process holds on to."""

    descriptors: float
    threads: float
    children: float
    zombies: float
    memory: float
    """MiB, resident."""


class Watch:
    """A `halfopen watch` that goes on all the time; each of its looks is a check."""

    def __init__(self, lab: Lab, wire: Wire, commands: Path, place: tuple[str, str]) -> None:
        """Start it."""
        self.looks: list[Check] = []
        self._wire = wire
        self._targets = all_targets(place)
        targets = list(map(written, self._targets))
        words = ["watch", "--format", "json", "--interval", str(EVERY), *targets]
        self._first, self._began = wire.mark(), time.monotonic()
        self._process: Running[str] = lab.popen([str(commands / "halfopen"), *words])
        self._reader = ThreadPoolExecutor(1)
        self._reading = self._reader.submit(self._read)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            ended, last = time.monotonic(), self._wire.mark()
            window = self._began, ended, self._first, last
            self.looks.append(Check(LOOK, self._targets, *window, 0, line, ""))
            self._began, self._first = ended, last

    def at_rest(self) -> Held:
        """Return the least that it holds, after two more looks: between two of them."""
        deadline = time.monotonic() + PATIENCE
        enough = len(self.looks) + 2
        samples: list[Held] = []
        # It rests where no child of it runs; or else one never ends.
        while time.monotonic() < deadline and sum(held.children == 0 for held in samples) < 5:
            time.sleep(0.05)
            if self._process.poll() is not None:
                break
            if len(self.looks) >= enough:
                samples.append(held_by(self._process.pid))
        return Held(*map(min, zip(*samples))) if samples else Held(*[math.nan] * 5)

    def stop(self) -> list[str]:
        """End it; return what was odd about that, or before."""
        ended = self._process.poll() is not None
        silent = time.monotonic() - self._began
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(HUNG)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.shutdown()
        self._reading.result()
        stderr = self._process.communicate()[1]
        code = self._process.returncode
        odd = [f"the watch said nothing for {silent:.0f} s"] if silent > PATIENCE / 2 else []
        # 2: there always are targets that are down.
        if ended or code != 2 or stderr:
            odd.append(f"the watch ended{' by itself' * ended} with exit code {code} {stderr}")
        return odd


def held_by(pid: int) -> Held:
    """Return what it holds now."""
    folder = Path("/proc", str(pid))
    status = dict(
        line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
    )
    children = []
    for listed in folder.glob("task/*/children"):
        for child in listed.read_text().split():
            with contextlib.suppress(OSError):
                stat = Path("/proc", child, "stat").read_text()
                children.append(stat.rpartition(")")[2].split()[0])
    return Held(
        len(os.listdir(str(folder / "fd"))),
        int(status["Threads"]),
        len(children) - children.count("Z"),
        children.count("Z"),
        int(status["VmRSS"].split()[0]) / 1024,
    )


def left_behind(lab: Lab) -> list[str]:
    """Return what still runs where the checks ran, a moment after the last has ended."""
    deadline = time.monotonic() + 2
    while lab.pids("scanner") and time.monotonic() < deadline:
        time.sleep(0.1)
    return sorted(lab.pids("scanner").values())


# -- verdicts -------------------------------------------------------------------------------------


def said(check: Check) -> list[str]:
    """Return what it said of each target: a state, or why there is none; or raise Unreadable."""
    if check.about in (MANY, LOOK):
        return _said_as_json(check)
    line = re.fullmatch(r"TCP HALF-OPEN (OK|CRITICAL|UNKNOWN) - (.+)\n", check.stdout)
    if line is None:
        raise UnreadableError
    if line.group(1) == "UNKNOWN" and check.code == 3:
        return [line.group(2)]
    words = line.group(2).split()
    if words[0] != written(check.targets[0]) or EXIT.get(words[1], -1) != check.code:
        raise UnreadableError
    if (line.group(1) == "OK") != (words[1] == "open"):
        raise UnreadableError
    return [words[1]]


def _said_as_json(check: Check) -> list[str]:
    try:
        told = json.loads(check.stdout)
        if told.get("error"):
            return [told["error"]] * len(check.targets)
        if [(each["host"], each["port"]) for each in told["targets"]] != list(check.targets):
            raise UnreadableError
        states = [each["error"] or each["state"] for each in told["targets"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError from error
    worst = 2 if {"closed", "filtered"} & set(states) else 3 if set(states) - set(EXIT) else 0
    if check.about == MANY and check.code != worst:
        raise UnreadableError
    return states


def verdicts(check: Check, truth: Truth, packets: Sequence[Packet]) -> list[Verdict]:
    """Judge each target of a check; `packets` are all that there were."""
    fault = ""
    states = [""] * len(check.targets)
    if check.code is None or (check.about != LOOK and check.ended - check.began > LATE):
        fault = "late"
    else:
        try:
            states = said(check)
        except UnreadableError:
            fault = "output"
    if check.stderr:
        fault = "output"
    seen = packets[check.first : check.last]
    return [
        Verdict(check, state, fault or judge(check, target, state, truth, seen))
        for target, state in zip(check.targets, states)
    ]


def judge(check: Check, target: Target, state: str, truth: Truth, packets: Sequence[Packet]) -> str:
    """Return what is wrong with what was said of a target; `packets` came while the check ran."""
    if state not in EXIT:
        # The watch's own limit is shorter, and its window here longer.
        too_early = check.about != LOOK and check.ended - check.began < STARVED
        excused = re.search("raise --(timeout|every)", state) and not too_early
        return "starved" if excused else "unknown"
    was = truth.possible(target[1], check.began, check.ended)
    if state == "filtered":
        return "" if state in was else "missed"
    if state not in was:
        return "false " + state
    flags = {"open": "SA", "closed": "RA"}[state]
    return "" if answered(target, flags, packets) else state + " unseen"


def answered(target: Target, flags: str, packets: Sequence[Packet]) -> bool:
    """Return whether such an answer came from the target, to a SYN among the packets."""
    asked_from = set()
    for packet in packets:
        if (packet.dst, packet.dport, packet.flags) == (*target, "S"):
            asked_from.add(packet.sport)
        came = (packet.src, packet.sport, packet.flags) == (*target, flags)
        if came and packet.dport in asked_from:
            return True
    return False


def lost(packets: Sequence[Packet]) -> float:
    """Return the part of the packets that was lost each way, as the closed neighbours show it.

    Their answers are never sent again.
    """
    neighbours = {port + 1 for port in PORTS.values()}
    asked = sum(packet.flags == "S" and packet.dport in neighbours for packet in packets)
    given = sum(packet.flags == "RA" and packet.sport in neighbours for packet in packets)
    return 1 - math.sqrt(given / asked) if asked else 1.0


# -- the table ------------------------------------------------------------------------------------


def show_verdicts(found: Sequence[Verdict]) -> None:
    """Print a row for each kind of check."""
    row = "{:24}{:>8}{:>7}{:>7}{:>9}{:>7}{:>8}{:>6} {:>8}{:>8}{:>8}"
    times_of = ("median", "p99", "max")
    print(row.format("asked", "verdicts", *EXIT, "missed", "starved", "wrong", *times_of))
    for about in [*PORTS, MANY, LOOK]:
        some = [verdict for verdict in found if verdict.check.about == about]
        faults = Counter(verdict.fault for verdict in some)
        states = Counter(verdict.said for verdict in some)
        times = sorted({v.check[:4]: v.check.ended - v.check.began for v in some}.values())
        figures = ["-"] * 3
        if times and about != LOOK:
            p99 = times[int(0.99 * len(times))]
            figures = [f"{each:.2f} s" for each in (statistics.median(times), p99, times[-1])]
        wrong = sum(faults[fault] for fault in faults if fault not in HARMLESS)
        counts = [*map(states.get, EXIT, [0] * 3), faults["missed"], faults["starved"], wrong]
        print(row.format(about, len(some), *counts, *figures))


def show_held(before: Held, after: Held) -> list[str]:
    """Print what the watch held before and after the checks; return what has leaked."""
    print("the watch, at rest:     " + "".join(f"{name:>13}" for name in Held._fields))
    for when, held in (("before", before), ("after", after)):
        print(f"  {when:22}" + "".join(f"{round(each, 1):13}" for each in held))
    most = before._replace(memory=1.1 * before.memory + 2)
    return [
        f"the watch has {one:g} {name}, from {old:g}"
        for name, one, old, limit in zip(Held._fields, after, before, most)
        if one > limit
    ]


def show_faults(found: Sequence[Verdict]) -> list[str]:
    """Print some of what went wrong; return what is not let pass."""
    faults = Counter(verdict.fault for verdict in found)
    for fault in sorted(set(faults) - {""}):
        for verdict in [verdict for verdict in found if verdict.fault == fault][:3]:
            check = verdict.check
            words = check.stderr.strip() or verdict.said or check.stdout.strip()
            seconds = check.ended - check.began
            print(f"{fault}: {check.about}, {seconds:.2f} s, exit code {check.code}: {words[:300]}")
    wrong = [f"{fault} {faults[fault]}" for fault in sorted(faults) if fault not in HARMLESS]
    if faults["missed"] > max(1, MOST_MISSED * len(found)):
        wrong.append(f"missed {faults['missed']}")
    return wrong


def main() -> int:
    """Do what the words say."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--checks", type=int, default=5000)
    parser.add_argument("--parallel", type=int, default=20, help="how many side by side")
    parser.add_argument("--loss", type=int, default=5, help="percent of packets lost, each way")
    parser.add_argument(
        "--commands",
        type=Path,
        default=Path(sys.executable).parent,
        help="the folder of check_tcp_half_open and halfopen; that of this Python by default",
    )
    options = parser.parse_args()
    missing = why_no_lab()
    if missing:
        print(f"soak: {missing}", file=sys.stderr)
        return 3
    try:
        return soak(options.checks, options.parallel, options.loss, options.commands)
    except UntoldError as error:
        print(f"can't tell: {error}")
        return 3


def soak(count: int, parallel: int, loss: int, commands: Path) -> int:
    """Make the checks, print the table, and return the exit code."""
    print(f"{count} checks, {parallel} side by side, {loss}% of packets lost each way", flush=True)
    with Lab() as lab, lab.drop_fraction(loss / 100), lab.capture() as packets:
        wire, truth = Wire(packets), Truth(lab)
        first, *others = places(lab, parallel + 1)
        with truth.turning():
            watch = Watch(lab, wire, commands, first)
            try:
                before = watch.at_rest()
                start = time.monotonic()
                checks = Checker(lab, wire, commands).run(count, others)
                took = time.monotonic() - start
                after = watch.at_rest()
            finally:
                wrong = watch.stop()
        left = left_behind(lab)
    found = [v for check in checks + watch.looks for v in verdicts(check, truth, packets)]
    print(f"{took:.0f} s, {len(checks) / took:.1f} checks a second, {len(found)} verdicts\n")
    show_verdicts(found)
    part = lost(packets)
    print(f"\n{len(packets)} packets seen, and none lost sight of; {part:.1%} lost each way")
    print(f"{truth.changes()} changes of ports")
    print(f"left behind by checks: {len(left)} processes\n")
    wrong += show_held(before, after)
    wrong += [f"{left.count(one)} left behind: {one}" for one in sorted(set(left))]
    wrong += show_faults(found)
    by_checks = [verdict for verdict in found if verdict.check.about != LOOK]
    starved = sum(verdict.fault == "starved" for verdict in by_checks)
    untold = []
    if any(map(math.isnan, before + after)):
        untold.append("the watch never came to rest")
    if len(checks) < count:
        untold.append(f"only {len(checks)} checks in {MOST_SECONDS:.0f} s")
    if starved > MOST_STARVED * len(by_checks):
        untold.append(f"{starved} verdicts of checks starved, the machine is too busy")
    if abs(part - loss / 100) > 0.04:
        untold.append(f"{part:.1%} of the packets were lost, not {loss}%")
    for title, lines in (("WRONG", wrong), ("CAN'T TELL", untold)):
        for line in lines:
            print(f"{title}: {line}")
    if not wrong and not untold:
        print("nothing wrong, nothing leaked")
    return 1 if wrong else 3 if untold else 0


if __name__ == "__main__":
    sys.exit(main())
