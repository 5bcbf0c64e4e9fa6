"""`--sudo` with the real sudo and examples/sudoers, as the user nagios; and NRPE with both."""

from __future__ import annotations

import re
import shlex
import time

import pytest
from lab import NOBODY, TARGET, Finished

from .machine import EXAMPLES, WEB1, WEB2, Machine, end, wait_until
from .test_nrpe import COMMANDS, both, running_nrpe
from .test_nrpe import EXAMPLE as NRPE_EXAMPLE

NEEDS = ("sudo", "visudo", "nrpe", "check_nrpe")

PLUGIN = "/usr/lib/nagios/plugins/check_tcp_half_open"
WITH_SUDO = [PLUGIN, "-H", WEB1, "-p", "443", "--sudo"]


def nmap_argv(machine: Machine) -> list[str]:
    """Return the command line that `halfopen check -v` shows."""
    done = machine.run(["halfopen", "check", f"{WEB1}:443", "-v"])
    shown = re.search(r"^nmap: (.*) \(exit code", done.stdout, re.MULTILINE)
    assert shown, done
    return shlex.split(shown.group(1))


def allow_nmap(machine: Machine) -> list[str]:
    """Install the example with the path of this installation; return a command line it admits."""
    argv = nmap_argv(machine)
    ours = re.escape(argv[argv.index("--datadir") + 1])
    text = (EXAMPLES / "sudoers").read_text(encoding="utf-8")
    theirs = re.findall(r" --datadir (\S+) ", text)
    assert len(theirs) == 1
    machine.write("/etc/sudoers.d/halfopen", text.replace(theirs[0], ours), 0o440)
    checked = machine.run(["visudo", "-c"])
    assert "/etc/sudoers.d/halfopen: parsed OK" in checked.stdout, checked
    return argv


def as_nagios(machine: Machine, *words: str) -> Finished[str]:
    return machine.run(words, "nagios")


@pytest.mark.usefixtures("farm")
def test_the_plugin_is_ok_with_the_sudoers_line(machine: Machine) -> None:
    assert as_nagios(machine, PLUGIN, WEB1, "443").returncode == 3  # it is of use
    allow_nmap(machine)
    done = as_nagios(machine, *WITH_SUDO)

    assert done.stdout.startswith(f"TCP HALF-OPEN OK - {WEB1}:443 open (syn-ack) https")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("farm")
def test_a_sudo_that_wants_a_password_is_unknown_and_named(machine: Machine) -> None:
    done = as_nagios(machine, *WITH_SUDO)

    assert done.stdout.startswith("TCP HALF-OPEN UNKNOWN - sudo wants a password; ")
    assert (done.stdout.count("\n"), done.returncode, done.stderr) == (1, 3, "")


@pytest.mark.usefixtures("farm")
def test_the_line_admits_whatever_halfopen_builds(machine: Machine) -> None:
    allow_nmap(machine)
    targets = {
        f"{WEB1}:443": "open",
        f"{WEB2}:443": "closed",
        f"{TARGET[4]}:65535": "open",
        f"{TARGET[4]}:80": "filtered",
        f"{NOBODY[4]}:443": "filtered",
        f"[{TARGET[6]}]:25": "open",
        "[fe80::25%eth0]:25": "open",
    }
    done = as_nagios(machine, "halfopen", "check", *targets, "--sudo")
    found = dict(line.split()[:2] for line in done.stdout.splitlines())
    assert found == targets, done

    for more in (["--no-plus-one"], ["-t", "0.9"]):
        done = as_nagios(machine, *WITH_SUDO, *more)
        assert done.returncode == 0, done


@pytest.mark.usefixtures("farm")
def test_the_line_refuses_all_other_command_lines(machine: Machine) -> None:
    good = allow_nmap(machine)
    targets_at = len(good) - 1
    added = [
        ["--script", "default"],
        ["--script=default"],
        ["-oN", "/etc/written"],
        ["-oX", "/etc/written"],
        ["-iL", "/etc/shadow"],
        ["--datadir", "/srv"],
        ["--servicedb", "/etc/shadow"],
        ["--resume", "/etc/shadow"],
        ["--interactive"],
        ["-sV"],
        ["example.org"],
        ["192.0.2.0/24"],
        ["/etc/shadow"],
    ]
    tried = [
        good[:place] + words + good[place:]
        for words in added
        for place in (1, targets_at, len(good))
    ]
    tried += [[good[0]], good[:targets_at], ["/usr/bin/id"], ["/bin/sh", "-c", "id"]]
    tried += [[good[0], *words] for words in added]
    tried += [[word.replace("nmap_data", "nmap_data/../..") for word in good]]

    assert as_nagios(machine, "sudo", "-n", *good).returncode == 0  # so the rest is no accident
    for argv in tried:
        done = as_nagios(machine, "sudo", "-n", *argv)
        assert (done.stdout, done.returncode) == ("", 1), argv
        # A system that cannot resolve its own name has sudo say so first.
        assert done.stderr.endswith("sudo: a password is required\n"), argv
    assert not machine.path("/etc/written").exists()


@pytest.mark.usefixtures("farm")
def test_words_joined_into_one_write_no_file(machine: Machine) -> None:
    """To sudo two words are the same as one with a space; nmap takes that for no file's name."""
    good = allow_nmap(machine)
    machine.write("/srv/here", "")
    for joined in (["-oX", f"- {WEB1}"], [f"-oX - {WEB1}"], ["-oX -", WEB1]):
        argv = ["sudo", "-n", *good[: good.index("-oX")], *joined]
        done = as_nagios(machine, "sh", "-c", 'cd /srv && exec "$@"', "sh", *argv)
        assert done.returncode != 0, done
    assert [path.name for path in machine.path("/srv").iterdir()] == ["here"]


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
    machine.slow_nmap()
    words = [PLUGIN, "-H", TARGET[4], "-p", "80", "-t", "5", "--sudo"]  # the target drops 80
    check = machine.start(words, "nagios")
    assert wait_until(lambda: machine.running("nmap.real")), machine.printed(check)
    end(check)

    assert wait_until(lambda: not machine.running("nmap.real"), 20)
    assert machine.running("sudo") == []


@pytest.mark.usefixtures("farm")
def test_nrpe_with_sudo(machine: Machine) -> None:
    """Its example's second pair of commands."""
    allow_nmap(machine)
    text = (EXAMPLES / NRPE_EXAMPLE).read_text(encoding="utf-8")
    commands = re.findall(r"^#(command\[.*--sudo)$", text, re.MULTILINE)
    assert len(commands) == 2
    machine.write(COMMANDS, "\n".join(commands) + "\n")
    with running_nrpe(machine):
        answers = both(machine)

    assert [code for code, _ in answers] == [0, 2], answers
