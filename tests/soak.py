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
  output          text, exit code and state don't fit, or there is something on stderr
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
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence, Tuple

from lab import Capture, Lab, Packet, why_no_lab

PORTS = {
    "open": 25,
    "closed": 123,
    "dropped": 80,
    "open/closed by turns": 2200,
    "open/dropped by turns": 2300,
}
"""Their neighbours, which are scanned along, are closed."""
AT_FIRST = {25: "open", 123: "closed", 80: "filtered", 2200: "open", 2300: "open"}
CHANGES = ((2200, "closed"), (2300, "filtered"), (2200, "open"), (2300, "open"))
TURNS = (0.2, 0.5, 0.35, 1.6, 0.25)
"""Seconds from a change to the next, over and over."""
MANY, ROUND = "halfopen check of all", "halfopen watch of all"
RULES = """
table inet soak {
    set turned { type inet_service; }
    chain input {
        type filter hook input priority -10
        tcp dport 2200 tcp dport @turned reject with tcp reset
        tcp dport @turned drop
    }
}
"""

TIMEOUT = 10.0
"""What --timeout is by default."""
LATE = TIMEOUT + 10
"""Python starts and ends outside of it, and a busy machine is slow to schedule that."""
STARVED = 0.75 * TIMEOUT
"""Before that, "raise --timeout" would be no excuse."""
HUNG = 60.0
MOST_MISSED, MOST_STARVED = 0.001, 0.1
INTERVAL = 2.0
"""Seconds from a round of the watch to its next: it has time to rest between them."""
REST = 40.0
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


# -- the network ----------------------------------------------------------------------------------


class Truth:
    """What state each port has, and had when; two change by turns while the `with` lasts."""

    def __init__(self, lab: Lab) -> None:
        """Open what is open at first."""
        self._lab = lab
        self._history = {port: [(-math.inf, -math.inf, was)] for port, was in AT_FIRST.items()}
        self._stop = threading.Event()

    def possible(self, port: int, began: float, ended: float) -> set[str]:
        """Return the states that it may have had at some moment between the two."""
        history = self._history[port]
        # A change is made at some moment between the time before and the time after it.
        ends = [after for _, after, _ in history[1:]] + [math.inf]
        moments = zip(history, ends)
        return {was for (before, _, was), end in moments if before <= ended and end >= began}

    def changes(self) -> int:
        """Return how often a port has changed."""
        return sum(len(history) - 1 for history in self._history.values())

    @contextlib.contextmanager
    def turning(self) -> Iterator[None]:
        """Change the two ports by turns, until the block ends."""
        lab = self._lab
        listeners = lab.listen(2200), lab.listen(2300)
        with listeners[0], listeners[1], lab.rules(RULES, "target"), ThreadPoolExecutor(
            1
        ) as thread:
            turning = thread.submit(self._turn)
            try:
                yield
            finally:
                self._stop.set()
                turning.result()

    def _turn(self) -> None:
        for seconds, (port, to) in zip(itertools.cycle(TURNS), itertools.cycle(CHANGES)):
            if self._stop.wait(seconds):
                return
            before = time.monotonic()
            verb = "delete" if to == "open" else "add"
            self._lab.nft(f"{verb} element inet soak turned {{ {port} }}")
            self._history[port].append((before, time.monotonic(), to))


# -- checks ---------------------------------------------------------------------------------------


def addresses(lab: Lab, count: int) -> list[tuple[str, str]]:
    """Return pairs of the target's addresses, IPv4 and IPv6: each pair is asked by one alone."""
    pairs = [(f"192.0.2.{number}", f"2001:db8::{number:x}") for number in range(100, 100 + count)]
    lab.ip("target", *(f"addr add {v4}/32 dev eth0" for v4, _ in pairs))
    lab.ip("target", *(f"addr add {v6}/128 dev eth0 nodad" for _, v6 in pairs))
    return pairs


def all_targets(pair: tuple[str, str]) -> tuple[Target, ...]:
    """Return every port at both addresses."""
    return tuple((address, port) for port in PORTS.values() for address in pair)


def written(target: Target) -> str:
    """Return the target as HOST:PORT."""
    host, port = target
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def make_checks(
    lab: Lab, packets: Capture, commands: Path, count: int, pairs: Sequence[tuple[str, str]]
) -> list[Check]:
    """Make so many checks, one at a time at each pair of addresses."""
    free: queue.Queue[tuple[str, str]] = queue.Queue()
    for pair in pairs:
        free.put(pair)

    def make(number: int) -> Check:
        pair = free.get()
        try:
            return _check(lab, packets, commands, number, pair)
        finally:
            free.put(pair)

    with ThreadPoolExecutor(len(pairs)) as pool:
        made = [pool.submit(make, number) for number in range(count)]
        try:
            return [each.result() for each in made]
        finally:
            for each in made:
                each.cancel()


def _check(lab: Lab, packets: Capture, commands: Path, number: int, pair: tuple[str, str]) -> Check:
    about, port = list(PORTS.items())[number % len(PORTS)]
    address = pair[number // len(PORTS) % 2]
    targets: tuple[Target, ...] = ((address, port),)
    command = [str(commands / "check_tcp_half_open"), address, str(port)]
    if number % 21 == 20:
        about, targets = MANY, all_targets(pair)
        command = [str(commands / "halfopen"), "check", "--format", "json"]
        command += map(written, targets)
    code, stdout, stderr = None, "", ""
    first, began = packets.update(), time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = lab.run(command, timeout=HUNG)
        code, stdout, stderr = done.returncode, done.stdout, done.stderr
    ended = time.monotonic()
    return Check(about, targets, began, ended, first, packets.update(), code, stdout, stderr)


class Held(NamedTuple):
    """What a process holds on to."""

    descriptors: float
    threads: float
    zombies: float
    memory: float
    """MiB, resident."""


class Watch:
    """A `halfopen watch` that goes on all the time; each of its rounds is a check."""

    def __init__(self, lab: Lab, packets: Capture, commands: Path, pair: tuple[str, str]) -> None:
        """Start it."""
        self.rounds: list[Check] = []
        self._packets, self._targets = packets, all_targets(pair)
        options = ["--format", "json", "--interval", str(INTERVAL), *map(written, self._targets)]
        self._first, self._began = packets.update(), time.monotonic()
        self._process = lab.popen([str(commands / "halfopen"), "watch", *options])
        self._reader = ThreadPoolExecutor(1)
        self._reading = self._reader.submit(self._read)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            ended, last = time.monotonic(), self._packets.update()
            window = self._began, ended, self._first, last
            self.rounds.append(Check(ROUND, self._targets, *window, 0, line, ""))
            self._began, self._first = ended, last

    def at_rest(self) -> Held | None:
        """Return the least that it holds between two rounds, after two more; None if it ended."""
        deadline = time.monotonic() + REST
        enough = len(self.rounds) + 2
        samples: list[Held] = []
        while time.monotonic() < deadline and len(samples) < 5 and self._process.poll() is None:
            time.sleep(0.05)
            held = held_by(self._process.pid) if len(self.rounds) >= enough else None
            samples += [held] if held else []
        return Held(*map(min, zip(*samples))) if samples else None

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
        odd = [f"the watch said nothing for {silent:.0f} s"] if silent > REST / 2 else []
        # 2: there always are targets that are down.
        if ended or code != 2 or stderr:
            odd.append(f"the watch ended{' by itself' * ended} with exit code {code} {stderr}")
        return odd


def held_by(pid: int) -> Held | None:
    """Return what it holds now; None while a child of it runs."""
    folder = Path("/proc", str(pid))
    children = []
    for listed in folder.glob("task/*/children"):
        for child in listed.read_text().split():
            with contextlib.suppress(OSError):
                stat = Path("/proc", child, "stat").read_text()
                children.append(stat.rpartition(")")[2].split()[0])
    if set(children) - {"Z"}:
        return None
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (folder / "status").read_text(), re.M))
    descriptors = len(os.listdir(str(folder / "fd")))
    memory = int(status["VmRSS"]) / 1024
    return Held(descriptors, int(status["Threads"]), len(children), memory)


def left_behind(lab: Lab) -> list[str]:
    """Return what still runs where the checks ran, a moment after the last has ended."""
    deadline = time.monotonic() + 2
    while lab.pids("scanner") and time.monotonic() < deadline:
        time.sleep(0.1)
    return sorted(lab.pids("scanner").values())


# -- verdicts -------------------------------------------------------------------------------------


def said(check: Check) -> list[str] | None:
    """Return what it said of each target: a state, or why there is none; None if that's unclear."""
    if check.about in (MANY, ROUND):
        return _said_as_json(check)
    line = re.fullmatch(r"TCP HALF-OPEN (OK|CRITICAL|UNKNOWN) - (.+)\n", check.stdout)
    if line is None:
        return None
    if line.group(1) == "UNKNOWN" and check.code == 3:
        return [line.group(2)]
    asked, state = line.group(2).split()[:2]
    fits = asked == written(check.targets[0]) and EXIT.get(state, -1) == check.code
    return [state] if fits and (line.group(1) == "OK") == (state == "open") else None


def _said_as_json(check: Check) -> list[str] | None:
    try:
        told = json.loads(check.stdout)
        if told.get("error"):
            return [told["error"]] * len(check.targets)
        asked = [(each["host"], each["port"]) for each in told["targets"]]
        states = [each["error"] or each["state"] for each in told["targets"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    worst = 2 if {"closed", "filtered"} & set(states) else 3 if set(states) - set(EXIT) else 0
    fits = asked == list(check.targets) and (check.about == ROUND or check.code == worst)
    return states if fits else None


def verdicts(check: Check, truth: Truth, packets: Sequence[Packet]) -> list[Verdict]:
    """Judge each target of a check; `packets` are all that there were."""
    states, fault = said(check), ""
    if check.stderr or states is None:
        fault = "output"
    if check.code is None or (check.about != ROUND and check.ended - check.began > LATE):
        fault = "late"
    seen = packets[check.first : check.last]
    return [
        Verdict(check, state, fault or judge(check, target, state, truth, seen))
        for target, state in zip(check.targets, states or [""] * len(check.targets))
    ]


def judge(check: Check, target: Target, state: str, truth: Truth, packets: Sequence[Packet]) -> str:
    """Return what is wrong with what was said of a target; `packets` came while the check ran."""
    if state not in EXIT:
        # The watch's own limit is shorter, and its window here longer.
        too_early = check.about != ROUND and check.ended - check.began < STARVED
        excused = "raise --timeout" in state and not too_early
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
    row = "{:24}{:>8}{:>7}{:>7}{:>9}{:>7}{:>8}{:>6} {:>8}"
    print(row.format("asked", "verdicts", *EXIT, "missed", "starved", "wrong", "longest"))
    for about in [*PORTS, MANY, ROUND]:
        some = [verdict for verdict in found if verdict.check.about == about]
        faults = Counter(verdict.fault for verdict in some)
        states = Counter(verdict.said for verdict in some)
        longest = max((v.check.ended - v.check.began for v in some), default=0.0)
        wrong = sum(faults[fault] for fault in faults if fault not in HARMLESS)
        counts = [*map(states.get, EXIT, [0] * 3), faults["missed"], faults["starved"], wrong]
        print(row.format(about, len(some), *counts, f"{longest:.2f} s"))


def leaked(before: Held, after: Held) -> list[str]:
    """Return what the watch holds on to after the checks and did not before."""
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
            text = check.stderr.strip() or verdict.said or check.stdout.strip()
            seconds = check.ended - check.began
            print(f"{fault}: {check.about}, {seconds:.2f} s, exit code {check.code}: {text[:300]}")
    wrong = [f"{fault} {faults[fault]}" for fault in sorted(faults) if fault not in HARMLESS]
    if faults["missed"] > max(1, MOST_MISSED * len(found)):
        wrong.append(f"missed {faults['missed']}")
    return wrong


def soak(count: int, parallel: int, loss: int, commands: Path) -> int:
    """Make the checks, print the table, and return the exit code."""
    print(f"{count} checks, {parallel} side by side, {loss}% of packets lost each way", flush=True)
    with Lab() as lab, lab.drop_fraction(loss / 100), lab.capture() as packets:
        truth = Truth(lab)
        first, *others = addresses(lab, parallel + 1)
        with truth.turning():
            watch = Watch(lab, packets, commands, first)
            try:
                before = watch.at_rest()
                start = time.monotonic()
                checks = make_checks(lab, packets, commands, count, others)
                took = time.monotonic() - start
                after = watch.at_rest()
            finally:
                wrong = watch.stop()
        left = left_behind(lab)
    found = [v for check in checks + watch.rounds for v in verdicts(check, truth, packets)]
    print(f"{took:.0f} s, {len(checks) / took:.1f} checks a second, {len(found)} verdicts\n")
    show_verdicts(found)
    part = lost(packets)
    print(f"\n{len(packets)} packets seen, and none lost sight of; {part:.1%} lost each way")
    print(f"{truth.changes()} changes of ports")
    print(f"left behind by checks: {len(left)} processes\n")
    untold = []
    if before and after:
        print(f"the watch, at rest: {before} before and {after} after")
        wrong += leaked(before, after)
    else:
        untold.append("the watch never came to rest")
    wrong += [f"{left.count(one)} left behind: {one}" for one in sorted(set(left))]
    wrong += show_faults(found)
    by_checks = [verdict for verdict in found if verdict.check.about != ROUND]
    starved = sum(verdict.fault == "starved" for verdict in by_checks)
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


def main() -> int:
    """Do what the arguments say."""
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
    except RuntimeError as error:  # of the lab, or of a capture that lost packets
        print(f"can't tell: {error}")
        return 3


if __name__ == "__main__":
    sys.exit(main())
