"""`--sudo` with the real sudo and examples/sudoers, as the user nagios; and NRPE with both."""

from __future__ import annotations

import itertools
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lab import TARGET, Finished, Lab
from support.machine import WEB1, Machine, end, example, wait_until

from halfopen.scan import attempts, command

from . import nrpe
from .contract import PLUGIN

NEEDS = ("sudo", "visudo", "nrpe", "check_nrpe")

WITH_SUDO = [PLUGIN, "-H", WEB1, "-p", "443", "--sudo"]


NO_HOSTS = """
example.org face.de fe80 192.0.2.0/24 192.0.2.1-254 192.0.2.* 192.0.2.1,2 192.0.2 192.0.2.25%eth0
fe80::25%eth0;id fe80::25%eth0/64 fe80::25% 2001:db8::/64 2001:DB8::1 /etc/shadow - $(id)
"""
"""One has letters that a hexadecimal number can have, too."""
ADDED = """
--script default|--script=default|-oN /etc/written|-oX /etc/written|-oA /etc/written|-iL /etc/shadow
--datadir /srv|--servicedb /etc/shadow|--versiondb /etc/shadow|--resume /etc/shadow|--interactive
-sV|-sC|-A|-O|-S 192.0.2.1|-D 192.0.2.1|-e lo|-g 53|-iR 5|--stylesheet /etc/shadow
--excludefile /etc/shadow|--script-args x=y|--script-args-file /etc/shadow|--packet-trace|-d9|--
"""
CHANGED = (
    ("nmap_data", "nmap_data/../.."),
    ("nmap_data", "nmap_data\n"),
    ("site-packages", "sitepackages"),
    ("443,444", "1-65535"),
    ("443,444", "443,444,80"),
    ("443,444", "-"),
    ("443,444", "T:443"),
    ("443,444", "100000"),
    ("443,444", "443,444 --script default"),
    ("-sS", "-sSC"),
    ("ms", "h"),
    (WEB1, f"{WEB1} -oX /etc/written"),
    (WEB1, f"{WEB1}\n-oX\n/etc/written"),
    (WEB1, f"-oX /etc/written {WEB1}"),
)


def allow_nmap(machine: Machine) -> list[str]:
    """Install the example with the path of this installation; return a command line it admits."""
    shown = machine.run(["halfopen", "check", f"{WEB1}:443", "-v"])
    (line,) = re.findall(r"^nmap: (.*) \(exit code", shown.stdout, re.M)
    argv = shlex.split(line)
    ours = re.escape(argv[argv.index("--datadir") + 1])
    text = example("sudoers")
    (theirs,) = re.findall(r" --datadir (\S+) ", text)
    machine.write("/etc/sudoers.d/halfopen", text.replace(theirs, ours), 0o440)
    assert "/etc/sudoers.d/halfopen: parsed OK" in machine.do("visudo", "-c")
    return argv


def as_nagios(machine: Machine, *words: str) -> Finished[str]:
    return machine.run(words, "nagios")


@pytest.mark.usefixtures("farm")
def test_a_sudo_that_wants_a_password_is_named_and_the_line_spares_it(machine: Machine) -> None:
    refused = as_nagios(machine, *WITH_SUDO)
    allow_nmap(machine)
    done = as_nagios(machine, *WITH_SUDO)

    assert refused.stdout.startswith("TCP HALF-OPEN UNKNOWN - sudo wants a password; ")
    assert (refused.stdout.count("\n"), refused.returncode, refused.stderr) == (1, 3, "")
    assert done.stdout.startswith(f"TCP HALF-OPEN OK - {WEB1}:443 open (syn-ack) https")
    assert (done.returncode, done.stderr) == (0, "")


def built(datadir: str) -> list[list[str]]:
    """Return command lines that halfopen can build, with each kind and length of each part."""
    zones = ("eth0", "0", "br-0_a.100", "enp0s31f6.4094x")
    groups = [["127.0.0.1", "127.0.0.2"], ["1.2.3.4"], ["223.255.255.255"]]
    groups += [["::1"], ["2001:db8:1:2:3:4:5:6"], ["64:ff9b::192.0.2.1"]]
    groups += [[f"fe80::25%{zone}"] for zone in zones]
    longest = ("192.0.2.{}", "2001:db8::{:x}", f"fe80:1:2:3:aaaa:bbbb:cccc:{{:x}}%{zones[-1]}")
    groups += [[address.format(n) for n in range(64)] for address in longest]
    ports = (443, 25, 1, 9, 99, 65534, 65535)
    budgets = (10.0, 9.9, 0.001, 0.05, 0.4, 0.9, 1.7, 2.0, 3.9, 4.0, 3600.0)
    asked = itertools.product((attempts.first, attempts.last), budgets, (1, 33))
    rtts = sorted({ask(left, count).rtt_timeout for ask, left, count in asked})
    assert (rtts[0], rtts[-1]) == (0.01, 0.5)
    kinds = map(itertools.cycle, (groups, ports, rtts, budgets, (True, False)))
    ours = command.data_folder()[1]
    return [
        [
            datadir if word == ours else word
            for word in command.argv(
                group,
                [port],
                rtt_timeout=rtt,
                time_left=left,
                plus_one=plus_one,
            )
        ]
        for _, group, port, rtt, left, plus_one in zip(range(60), *kinds)
    ]


def test_the_line_admits_each_kind_of_command_line_that_halfopen_can_build(
    machine: Machine,
) -> None:
    good = allow_nmap(machine)
    for line in built(good[good.index("--datadir") + 1]):
        done = as_nagios(machine, "sudo", "-n", "-l", good[0], *line)
        assert done.returncode == 0, line
    assert as_nagios(machine, "sudo", "-n", "-l", *good, "-v").returncode == 1


@pytest.mark.usefixtures("farm")
def test_the_line_refuses_all_other_command_lines(machine: Machine) -> None:
    good = allow_nmap(machine)
    targets_at = len(good) - 1
    added = [words.split() for words in re.split(r"[|\n]", ADDED.strip())]
    assert len(added) == 27
    added += [[""], *([host] for host in NO_HOSTS.split())]
    tried = [
        good[:place] + words + good[place:]
        for words in added
        for place in (1, targets_at, len(good))
    ]
    tried += [[good[0]], good[:targets_at], ["/usr/bin/id"], ["/bin/sh", "-c", "id"]]
    tried += [[good[0], *words] for words in added]
    for old, new in CHANGED:
        changed = [word.replace(old, new) for word in good]
        assert changed != good, old
        tried.append(changed)
    tried.append([*good[:targets_at], *[WEB1] * 65])

    assert as_nagios(machine, "sudo", "-n", *good).returncode == 0  # so the rest is no accident
    for argv in tried:
        done = as_nagios(machine, "sudo", "-n", *argv)
        assert (done.stdout, done.returncode) == ("", 1), argv
        # A system that cannot resolve its own name has sudo say so first.
        assert done.stderr.endswith("sudo: a password is required\n"), argv
    assert not machine.path("/etc/written").exists()


def test_no_way_to_join_arguments_has_nmap_write_a_file(lab: Lab, tmp_path: Path) -> None:
    """The line can't refuse joined words: each way to join some, with the real nmap as root."""
    good = built(command.data_folder()[1])[0]
    ways = [(a, b) for a in range(len(good)) for b in range(a + 2, len(good) + 1)]

    def run(way: tuple[int, int]) -> tuple[list[str], list[str]]:
        first, last = way
        argv = [*good[:first], " ".join(good[first:last]), *good[last:]]
        folder = tmp_path / f"{first}-{last}"
        folder.mkdir()
        inside = ["sh", "-c", 'cd "$0" && exec timeout 20 nmap "$@"', str(folder), *argv]
        done = lab.run(inside)
        assert done.returncode in (0, 1, 255), done  # it ended by itself
        return argv, [path.name for path in folder.iterdir()]

    with ThreadPoolExecutor(2) as pool:
        written = [(argv, files) for argv, files in pool.map(run, ways) if files]
    assert written == []


def test_sudo_runs_nmap_where_no_file_can_be_made(machine: Machine) -> None:
    """What stands in nmap's place is a fake that tells where it is."""
    good = allow_nmap(machine)
    machine.path("/usr/bin/nmap").unlink()
    machine.write("/usr/bin/nmap", "#!/bin/sh\npwd\ntouch written || echo refused\n", 0o755)
    done = as_nagios(machine, "sh", "-c", 'cd /tmp && exec "$@"', "sh", "sudo", "-n", *good)

    assert done.stdout.splitlines() == ["/proc", "refused"], done


@pytest.mark.usefixtures("farm")
def test_an_nmap_of_roots_that_we_cannot_kill_costs_no_time(machine: Machine) -> None:
    allow_nmap(machine)
    machine.break_nmap("hanging")
    began = time.monotonic()
    done = as_nagios(machine, *WITH_SUDO, "-t", "2")
    took = time.monotonic() - began

    assert done.stdout.startswith("TCP HALF-OPEN UNKNOWN - nmap did not end within --timeout")
    assert done.returncode == 3
    assert took < 10


def test_an_nmap_of_roots_ends_by_itself_when_the_check_is_ended(machine: Machine) -> None:
    allow_nmap(machine)
    machine.break_nmap("slow")
    words = [PLUGIN, "-H", TARGET[4], "-p", "80", "-t", "5", "--sudo"]  # the target drops 80
    check = machine.start(words, "nagios")
    assert wait_until(lambda: machine.running("nmap.real")), machine.printed(check)
    end(check)

    assert wait_until(lambda: not machine.running("nmap.real"), 20)
    assert machine.running("sudo") == []


def test_smoke_by_sudo_finds_nmap_fit(machine: Machine) -> None:
    allow_nmap(machine)
    done = as_nagios(machine, "halfopen", "smoke", "--sudo", "--timeout", "60", "--verbose")

    assert re.search(r"^means +raw sockets +ok +by sudo$", done.stdout, re.M), done
    assert done.returncode == 0, done


@pytest.mark.usefixtures("farm")
def test_nrpe_with_sudo(machine: Machine) -> None:
    """Its example's second pair of commands."""
    allow_nmap(machine)
    commands = re.findall(r"^#(command\[.*--sudo)$", nrpe.EXAMPLE, re.MULTILINE)
    assert len(commands) == 2
    with nrpe.NRPE(machine, "\n".join(commands) + "\n") as host:
        assert host.judged() == {"web1": 0, "web2": 2}, host.shown()
