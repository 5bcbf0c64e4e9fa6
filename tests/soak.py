"""Thousands of checks side by side, with lost packets: every wrong verdict and every leak is found.

    soak.py [CHECKS]

Asks, in namespaces, for ports that are open, closed, dropped, or change every few hundred
milliseconds, over IPv4 and IPv6: most with `check_tcp_half_open`, one check in 21 with `halfopen
check` of all ports at once, and meanwhile with one `halfopen watch`. No two ask the same address
and port at the same time, so the packets to and from it belong to one check.

Exit code 1, and the output says why, if but one verdict was wrong:

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

import contextlib
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Sequence, Tuple

from lab import Capture, Lab, Packet
from real.commands import name
from support.machine import wait_until

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

LOSS = 0.05
"""The part of the packets that is lost each way."""
TIMEOUT = 10.0
LATE = TIMEOUT + 10
"""Python starts and ends outside of it, and a busy machine is slow to schedule that."""
STARVED = 0.75 * TIMEOUT
"""Before that, "raise --timeout" would be no excuse."""
HUNG = 60.0
MOST_MISSED, MOST_STARVED = 0.001, 0.1
INTERVAL = 2.0
"""Seconds from a round of the watch to its next: it has time to rest between them."""
REST = 40.0

COMMANDS = Path(sys.executable).parent
EXIT = {"open": 0, "closed": 2, "filtered": 2}
HARMLESS = ("", "missed", "starved")
Target = Tuple[str, int]


class Check(NamedTuple):
    """What a check was asked, and all that it gave."""

    about: str
    targets: Sequence[Target]
    began: float
    ended: float
    packets: Sequence[Packet]
    """All that there were between the two."""
    code: int | None
    """None if it hung and was killed."""
    stdout: str
    stderr: str

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Verdict(NamedTuple):
    """What a check said of a port, and what is wrong with that."""

    check: Check
    said: str
    """A state, or why there is none."""
    fault: str
    """Empty for none."""


# -- the network ----------------------------------------------------------------------------------


class Truth:
    """What state each port has, and had when."""

    def __init__(self) -> None:
        self.history = {port: [(-math.inf, -math.inf, was)] for port, was in AT_FIRST.items()}

    def possible(self, port: int, began: float, ended: float) -> set[str]:
        """Return the states that it may have had at some moment between the two."""
        history = self.history[port]
        # A change is made at some moment between the time before and the time after it.
        ends = [after for _, after, _ in history[1:]] + [math.inf]
        moments = zip(history, ends)
        return {was for (before, _, was), end in moments if before <= ended and end >= began}

    def turn(self, lab: Lab, stop: threading.Event) -> None:
        for seconds, (port, to) in zip(itertools.cycle(TURNS), itertools.cycle(CHANGES)):
            if stop.wait(seconds):
                return
            before = time.monotonic()
            lab.nft(f"{'delete' if to == 'open' else 'add'} element inet soak turned {{ {port} }}")
            self.history[port].append((before, time.monotonic(), to))


def addresses(lab: Lab, count: int) -> list[tuple[str, str]]:
    """Return pairs of the target's addresses, IPv4 and IPv6: each pair is asked by one alone."""
    pairs = [(f"192.0.2.{number}", f"2001:db8::{number:x}") for number in range(100, 100 + count)]
    lab.ip("target", *(f"addr add {each} dev eth0 nodad" for pair in pairs for each in pair))
    return pairs


# -- checks ---------------------------------------------------------------------------------------


def all_targets(pair: tuple[str, str]) -> list[Target]:
    return [(address, port) for port in PORTS.values() for address in pair]


def make_checks(
    lab: Lab, packets: Capture, commands: Path, count: int, pairs: Sequence[tuple[str, str]]
) -> list[Check]:
    """Make so many checks, one at a time at each pair of addresses."""
    numbers = iter(range(count))

    def work(pair: tuple[str, str]) -> list[Check]:
        return [_check(lab, packets, commands, number, pair) for number in numbers]

    with ThreadPoolExecutor(len(pairs)) as pool:
        try:
            return list(itertools.chain.from_iterable(pool.map(work, pairs)))
        finally:
            list(numbers)  # after a failure none is begun any more


def _check(lab: Lab, packets: Capture, commands: Path, number: int, pair: tuple[str, str]) -> Check:
    about, port = list(PORTS.items())[number % len(PORTS)]
    targets = [(pair[number // len(PORTS) % 2], port)]
    command = [str(commands / "check_tcp_half_open"), *map(str, targets[0])]
    if number % 21 == 20:
        about, targets = MANY, all_targets(pair)
        command = [str(commands / "halfopen"), "check", "--format", "json"]
        command += itertools.starmap(name, targets)
    code, stdout, stderr = None, "", ""
    first, began = packets.update(), time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = lab.run(command, timeout=HUNG)
        code, stdout, stderr = done.returncode, done.stdout, done.stderr
    ended = time.monotonic()
    seen = packets[first : packets.update()]
    return Check(about, targets, began, ended, seen, code, stdout, stderr)


class Held(NamedTuple):
    descriptors: float
    threads: float
    children: float
    memory: float
    """MiB, resident."""


def held_by(pid: int) -> Held:
    folder = Path("/proc", str(pid))
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (folder / "status").read_text(), re.M))
    children = "".join(each.read_text() for each in folder.glob("task/*/children")).split()
    descriptors, memory = len(os.listdir(str(folder / "fd"))), int(status["VmRSS"]) / 1024
    return Held(descriptors, int(status["Threads"]), len(children), memory)


class Watch:
    """A `halfopen watch` that goes on all the time; each of its rounds is a check."""

    def __init__(self, lab: Lab, packets: Capture, commands: Path, pair: tuple[str, str]) -> None:
        self.rounds: list[Check] = []
        self._held: list[Held] = []
        self._packets, self._targets = packets, all_targets(pair)
        options = ["--format", "json", "--interval", str(INTERVAL)]
        options += itertools.starmap(name, self._targets)
        self._first, self._began = packets.update(), time.monotonic()
        self._process = lab.popen([str(commands / "halfopen"), "watch", *options])
        self._reader = ThreadPoolExecutor(1)
        self._reading = self._reader.submit(self._read)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            ended, last = time.monotonic(), self._packets.update()
            seen = self._packets[self._first : last]
            self._began, self._first, began = ended, last, self._began
            with contextlib.suppress(OSError):  # it has just ended
                self._held.append(held_by(self._process.pid))
            self.rounds.append(Check(ROUND, self._targets, began, ended, seen, 0, line, ""))

    def at_rest(self) -> Held | None:
        """Return the least that it holds between the last of 5 more rounds; None without these."""
        enough = len(self.rounds) + 5
        wait_until(lambda: len(self.rounds) >= enough or self._process.poll() is not None, REST)
        return Held(*map(min, zip(*self._held[-3:]))) if len(self.rounds) >= enough else None

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


def left_behind(lab: Lab) -> Counter[str]:
    """Return what still runs where the checks ran, a moment after the last has ended."""
    wait_until(lambda: not lab.pids("scanner"), 2)
    return Counter(lab.pids("scanner").values())


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
    fits = asked == name(*check.targets[0]) and EXIT.get(state, -1) == check.code
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
    fits = asked == check.targets and (check.about == ROUND or check.code == worst)
    return states if fits else None


def verdicts(check: Check, truth: Truth) -> list[Verdict]:
    states, fault = said(check), ""
    if check.stderr or states is None:
        fault = "output"
    if check.code is None or (check.about != ROUND and check.seconds > LATE):
        fault = "late"
    return [
        Verdict(check, state, fault or judge(check, target, state, truth))
        for target, state in zip(check.targets, states or [""] * len(check.targets))
    ]


def judge(check: Check, target: Target, state: str, truth: Truth) -> str:
    if state not in EXIT:
        # The watch's own limit is shorter, and its window here longer.
        too_early = check.about != ROUND and check.seconds < STARVED
        return "starved" if "raise --timeout" in state and not too_early else "unknown"
    was = truth.possible(target[1], check.began, check.ended)
    if state == "filtered":
        return "" if state in was else "missed"
    if state not in was:
        return "false " + state
    return "" if answered(check, target, "SA" if state == "open" else "RA") else state + " unseen"


def answered(check: Check, target: Target, flags: str) -> bool:
    """Return whether such an answer came from the target, to a SYN of the check's time."""
    asked_from = set()
    for packet in check.packets:
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


# -- the output -----------------------------------------------------------------------------------


def show_verdicts(found: Sequence[Verdict]) -> None:
    """Print a line for each kind of check: its states and faults."""
    for about in [*PORTS, MANY, ROUND]:
        some = [verdict for verdict in found if verdict.check.about == about]
        told = Counter(fault or said for _, said, fault in some).most_common()
        counts = ", ".join(f"{what} {count}" for what, count in told)
        longest = max((verdict.check.seconds for verdict in some), default=0.0)
        print(f"{about}: {counts}; the longest took {longest:.2f} s")


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
        for check, word, _ in [verdict for verdict in found if verdict.fault == fault][:3]:
            text = check.stderr.strip() or word or check.stdout.strip()
            seen = f"{check.about}, {check.seconds:.2f} s, exit code {check.code}"
            print(f"{fault}: {seen}: {text[:300]}")
    wrong = [f"{fault} {faults[fault]}" for fault in sorted(faults) if fault not in HARMLESS]
    if faults["missed"] > max(1, MOST_MISSED * len(found)):
        wrong.append(f"missed {faults['missed']}")
    return wrong


def soak(count: int, parallel: int = 20, commands: Path = COMMANDS) -> int:
    print(f"{count} checks, {parallel} side by side, {LOSS:.0%} of packets lost each way")
    truth, stop = Truth(), threading.Event()
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab())
        stack.enter_context(lab.drop_fraction(LOSS))
        packets = stack.enter_context(lab.capture())
        first, *others = addresses(lab, parallel + 1)
        for turned in (lab.listen(2200), lab.listen(2300), lab.rules(RULES, "target")):
            stack.enter_context(turned)
        turning = stack.enter_context(ThreadPoolExecutor(1)).submit(truth.turn, lab, stop)
        stack.callback(stop.set)
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
    turning.result()
    found = [verdict for check in checks + watch.rounds for verdict in verdicts(check, truth)]
    print(f"{took:.0f} s, {len(checks) / took:.1f} checks a second, {len(found)} verdicts\n")
    show_verdicts(found)
    part = lost(packets)
    print(f"\n{len(packets)} packets seen, and none lost sight of; {part:.1%} lost each way")
    print(f"the watch, at rest: {before} before and {after} after\n")
    wrong += leaked(before, after) if before and after else []
    wrong += [f"{number} left behind: {name}" for name, number in sorted(left.items())]
    wrong += show_faults(found)
    by_checks = [verdict.fault for verdict in found if verdict.check.about != ROUND]
    starved = by_checks.count("starved")
    untold = {
        "the watch never came to rest": not (before and after),
        f"{starved} verdicts of checks starved, the machine is too busy": starved
        > MOST_STARVED * len(by_checks),
        f"{part:.1%} of the packets were lost, not {LOSS:.0%}": abs(part - LOSS) > 0.04,
    }
    lines = [f"WRONG: {line}" for line in wrong]
    lines += [f"CAN'T TELL: {line}" for line, holds in untold.items() if holds]
    print("\n".join(lines) or "nothing wrong, nothing leaked")
    return 1 if wrong else 3 if lines else 0


def main() -> int:
    """Make as many checks as the argument says."""
    try:
        return soak(int(sys.argv[1]) if sys.argv[1:] else 5000)
    except (RuntimeError, SystemExit) as error:  # of the lab, or of a capture that lost packets
        print(f"can't tell: {error}")
        return 3


if __name__ == "__main__":
    sys.exit(main())
