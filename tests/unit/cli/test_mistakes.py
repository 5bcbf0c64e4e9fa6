"""What is said of mistakes: one line, exit code 3, and nmap never starts."""

from __future__ import annotations

import pytest
from support.commands import Commands, refused
from support.fakes import OPEN

from halfopen.cli import fast_path
from halfopen.formats.registry import FORMATS

NO_HOST = "(no host or port begins with '-')"
HELP = "; see check_tcp_half_open --help"
GIVE = "give HOST and PORT as two arguments, or VIP VPORT RIP RPORT, or -H HOST -p PORT"
TIMES = "write 5, 0.5, 5s, 500ms, 2m or 1h"
NO_PORT = "has no port; write HOST:PORT, [IPV6]:PORT or HOST PORT"
NO_TARGET = "no target given; write HOST:PORT, [IPV6]:PORT or HOST PORT"
TWO_WAYS = "targets given in two ways; give arguments, or -H and -p, or --targets"
CHECK = "to check a target write halfopen check"
COMMANDS = "there are check, replay, wait, watch, smoke, formats"

# One end-to-end row an option; what else a value can be is tried in test_values.py.
OF_THE_PLUGIN = {
    "": f"no arguments given; {GIVE}",
    "HOST": f"1 argument given; {GIVE}",
    "192.0.2.25:25": f"1 argument given; {GIVE}",
    "HOST 80,443": "port '80,443' is not one port (Farmguardian passes this for a farm",
    "HOST -1": f"no option -1 in '-1' {NO_HOST}{HELP}",
    "-iL 25": f"no option -i in '-iL' {NO_HOST}{HELP}",
    "-x": f"no option -x{HELP}",
    "--script=x": f"no option --script in '--script=x' {NO_HOST}{HELP}",
    "HOST 25 --as nagios": f"no option --as{HELP}",
    "HOST 25 --time 5": f"no option --time; did you mean --timeout?{HELP}",
    "--hostnam=HOST -p 25": f"no option --hostnam; did you mean --hostname?{HELP}",
    "HOST 25 --plus-one": f"no option --plus-one{HELP}",
    "HOST 25 --no-plus-on": f"no option --no-plus-on; did you mean --no-plus-one?{HELP}",
    "HOST 25 --sudo=yes": f"Option '--sudo' does not take a value{HELP}",
    "HOST 25 -t": f"Option '-t' requires an argument{HELP}",
    "HOST 25 --format": f"Option '--format' requires an argument{HELP}",
    "-H HOST": "-H and -p go together; add -p PORT",
    "-p 25": "-H and -p go together; add -H HOST",
    "-H HOST -p 25 HOST 25": TWO_WAYS,
    "-H HOST -p 25 --targets -": TWO_WAYS,
    "HOST 25 --targets /proc/nonexistent": TWO_WAYS,
    "--targets /proc/nonexistent": "cannot read '/proc/nonexistent': No such file or directory;",
    "-H -iL -p 25": "host '-iL' begins with '-'; give a name or an IP address",
    "'\x1b[31m|' 25": r"host '\x1b[31m\x7c' is neither an IP address nor a name",
    "HOST 25 -t 10sec": f"--timeout '10sec' is not a time above 0, up to 1h; {TIMES}",
    "-t HOST 25": f"--timeout '192.0.2.25' is not a time above 0, up to 1h; {TIMES}",
    "HOST 25 -w 50%": f"--warning '50%' is not a time above 0, up to 1h; {TIMES}",
    "HOST 25 -c @0:0.05": "--critical '@0:0.05': '@' warns inside of a range",
    "HOST 25 -w 0.5 -c 100ms": "--warning '0.5' is above --critical '100ms'; swap them",
    "HOST 25 --expect up": "--expect 'up' is not one of open, closed, filtered",
    "HOST 25 --exit closed=300": "--exit 'closed=300': 'closed=300' is not STATE=CODE",
    "HOST 25 --format morse": f"--format 'morse' is not one of {', '.join(FORMATS)}",
    "-4 2001:db8::25 25": "host '2001:db8::25' is an IPv6 address, but -4 was given",
    "-46 mail.example 25": "-4 and -6 exclude each other; leave out one",
}
OF_HALFOPEN = {
    "192.0.2.1:80": f"no command '192.0.2.1:80'; {CHECK} 192.0.2.1:80",
    "HOST 80 -t 5": f"no command '192.0.2.25'; {CHECK} 192.0.2.25 80 -t 5",
    "chekc 192.0.2.1:80": "no command 'chekc'; did you mean halfopen check 192.0.2.1:80?",
    "conventions": f"no command 'conventions'; {COMMANDS}",
    "help nonsense": f"no command 'nonsense'; {COMMANDS}",
    "--timeout 5 check a:1": "--timeout before the command; write halfopen COMMAND --timeout",
    "-4": "-4 before the command; write halfopen COMMAND -4; see halfopen --help",
    "check": NO_TARGET,
    "check HOST": f"'192.0.2.25' {NO_PORT}",
    "check HOST:80,443": "one port a target: 192.0.2.25:80 192.0.2.25:443",
    "check [2001:db8::25]:80,443": "one port a target: [2001:db8::25]:80 [2001:db8::25]:443",
    "check --targets": "Option '--targets' requires an argument; see halfopen check --help",
    "wait": NO_TARGET,
    "wait HOST:25 -- systemctl start x": "no command is run here; write `&& COMMAND` after it",
    "wait HOST:25 -4v -- x": "no command is run here; write `&& COMMAND` after it",
    "wait HOST:25 --every 5": "no option --every; see halfopen wait --help",
    "wait HOST:25 --intervall 5": "no option --intervall; did you mean --interval?",
    "wait HOST:25 --timeout 5x": f"--timeout '5x' is not a time above 0, up to 365d; {TIMES}",
    "wait HOST:25 -i 0": f"--interval '0' is not a time from 0.1s up to 365d; {TIMES}",
    "wait HOST:25 --for up": "--for 'up' is not one of open, closed, filtered, not-open",
    "wait HOST:25 --format nagios": "--format 'nagios' is not one of text, json",
    "wait HOST:25 --successes 0": "--successes '0' is not a number from 1 to 1000000",
    "wait HOST:25 -H HOST -p 25": TWO_WAYS,
    "watch HOST:25 -- x": "no command is run here; write `&& COMMAND` after it",
    "watch HOST:25 --duration 10k": f"--duration '10k' is not a time above 0, up to 365d; {TIMES}",
    "watch HOST:25 -t 2h": f"--timeout '2h' is not a time above 0, up to 1h; {TIMES}",
    "watch HOST:25 --count many": "--count 'many' is not a number from 1 to 1000000",
    "watch -p 25": "-H and -p go together; add -H HOST",
    "smoke --format xml": "--format 'xml' is not one of text, json, junit",
    "smoke HOST": "Got unexpected extra argument",
    "formats json": "Got unexpected extra argument",
    "replay": "no recording given; name nmap's XML files, or - for standard input",
    "replay /proc/nonexistent": "cannot read '/proc/nonexistent': No such file or directory",
    f"replay -H -iL {OPEN}": "host '-iL' begins with '-'",
    "replay -p 0 /proc/nonexistent": "port '0' is out of range",
}


@pytest.mark.parametrize("parser", ["ours", "typers-alone"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        *((f"check_tcp_half_open {line}", said) for line, said in OF_THE_PLUGIN.items()),
        *((f"halfopen {line}", said) for line, said in OF_HALFOPEN.items()),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nmap_never_starts(
    run: Commands, monkeypatch: pytest.MonkeyPatch, line: str, said: str, parser: str
) -> None:
    if parser == "typers-alone":
        monkeypatch.setattr(fast_path, "parse", lambda *_: None)

    ended = run.line(line.replace("HOST", "192.0.2.25"))

    refused(run, ended)
    assert said in ended.said
    assert (ended.stderr == "") == line.startswith("check")


def test_a_file_that_can_not_be_read_is_told_in_one_line(run: Commands) -> None:
    refused(run, run.plugin("--targets", "a\x00b"))
    refused(run, run.check("--targets", "no\nsuch"))
    refused(run, run.check("--targets", "/dev/zero"))
