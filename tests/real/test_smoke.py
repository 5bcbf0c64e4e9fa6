"""`halfopen smoke` on a throwaway machine: the real nmap is fit, and what is wrong is named.

Every run has a network of its own inside the machine's, so that many can run side by side and
none sees another's firewall rules. What needs no real nmap is in tests/unit/smoke.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import pytest
from lab import Lab
from support.machine import Machine, end, wait_until

RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "recorded"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NMAP = "/usr/bin/nmap"
START = 20
"""Seconds that a run may take on a busy machine beside its --timeout."""

# Each is a program in nmap's place, which asks the real one and then does something wrong.
FAKE = f"""#!/bin/sh
# This is a fake nmap, for tests.
nmap={NMAP}
[ "$1" != --version ] || exec $nmap "$@"
"""
HANGS = FAKE + "exec sleep 600"
HANGS_AT_ONCE = "#!/bin/sh\nexec sleep 600\n"
CONNECTS = FAKE + '$nmap $(echo "$*" | sed s/-sS/-sT/)'
WRONG_FOR_SCRIPTS = f"""{FAKE}case "$*" in *-Pn*|*-[0-9]*) exec $nmap "$@" ;; esac
$nmap "$@" | sed 's/="open" reason="syn-ack"/="filtered" reason="no-response"/'
"""


class Case(NamedTuple):
    """How a run is made, and what has to be said."""

    conclusion: str
    """A regular expression."""
    nmap: str = ""
    """The program in nmap's place."""
    words: tuple[str, ...] = ()
    timeout: float = 60
    """Plenty on a busy machine."""
    first: str = ""
    """What a shell does before."""
    user: str = "root"


def behind(rule: str) -> Case:
    """Return a run on a machine whose firewall meddles: nmap is not to blame."""
    chain = f"chain c {{ type filter hook output priority 0\n{rule}\n}}"
    first = f"echo 'table inet t {{ {chain}\n}}' | nft -f -"
    return Case(r"inconclusive.*nft list ruleset", first=first)


CASES = {
    # Those that take longest come first; most of their time is waiting.
    "it hangs": Case(
        r"not fit .*\(states: open port, IPv4, with the next: nmap did not end", HANGS, timeout=15
    ),
    "it hangs at once": Case(
        r"not fit .*\(means: nmap: /fakes/.* --version did not end", HANGS_AT_ONCE, timeout=15
    ),
    "nothing": Case(
        r"^nmap [\d.]+\S*: fit for half-open checks\. A second port is not needed here\.$",
        words=("--save", "/saved"),
    ),
    "it is wrong for scripts": Case(
        r"fit with halfopen's workarounds \(two hosts: plain scan, port alone: 0 of 5 open,",
        WRONG_FOR_SCRIPTS,
    ),
    "it connects": Case(
        r"not fit .*\(half-open: no connection, IPv4: the server accepted a connection", CONNECTS
    ),
    "root is lacking": Case(
        r"inconclusive.*\(means: raw sockets: nmap needs root or CAP_NET_RAW; sudo setcap "
        r"cap_net_raw\+ep .* Not tested: states, SYN scan; half-open; two hosts\.$",
        user="nobody",
    ),
    "root is lacking, but nmap may": Case(
        r"fit for .*was not found out: .* Not tested: two hosts, open port\.$",
        words=("--nmap", "/opt/nmap"),
        first=f"cp {NMAP} /opt/nmap; setcap cap_net_raw+ep /opt/nmap",
        user="nobody",
    ),
    "IPv6 is lacking": Case(
        r"fit for .* Not tested: (states, (open|closed|filtered) port( 65535)?, IPv6(; )?){4}\.$",
        first="echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6",
    ),
    "loopback is lacking": Case("inconclusive", first="ip link set lo down"),
    "every RST is dropped": behind("tcp flags & rst == rst drop"),
    "a RST that answers a SYN/ACK is dropped": behind("tcp flags == rst drop"),
    "a RST that answers a SYN is dropped": behind("tcp flags == rst|ack drop"),
    "a SYN/ACK is dropped": behind("tcp flags == syn|ack drop"),
    "all TCP is dropped": behind("meta l4proto tcp drop"),
    "no half-open scan passes": behind(
        "tcp flags == syn tcp option maxseg exists tcp window 1024 drop"
    ),
    **{f"{t} s is too short": Case("inconclusive", timeout=t) for t in (0.001, 0.3, 1, 2)},
    "3.5 s is short": Case("fit for|inconclusive", timeout=3.5),
}
CODES = {"fit": 0, "fit with halfopen's workarounds": 0, "not fit": 2, "inconclusive": 3}


class Smoke(NamedTuple):
    """What one run printed."""

    code: int
    said: dict[str, Any]
    seconds: float

    def named(self, outcome: str) -> dict[str, str]:
        """Return the findings of this outcome, "group: name" to detail."""
        return {
            f"{finding['group']}: {finding['name']}": finding["detail"]
            for finding in self.said["findings"]
            if finding["outcome"] == outcome
        }


@pytest.fixture(scope="module")
def host(lab: Lab, installed: Path) -> Iterator[Machine]:
    """Return a machine for all tests."""
    with Machine(lab, installed) as made:
        yield made


@pytest.fixture(scope="module")
def runs(host: Machine) -> dict[str, Smoke]:
    """Return what was printed in each case, run side by side."""

    def run(name: str) -> Smoke:
        case, path = CASES[name], PATH
        if case.nmap:
            folder = f"/fakes/{name.replace(' ', '-')}"
            host.write(f"{folder}/nmap", case.nmap, 0o755)
            path = f"{folder}:{PATH}"
        become = [f"--reuid={case.user}", "--regid=nogroup", "--clear-groups"]
        words = ["--format", "json", "--timeout", str(case.timeout), *case.words]
        script = f'set -e; ip link set lo up; {case.first}\nexec "$@"'
        argv = ["unshare", "--net", "sh", "-c", script, "sh"]
        argv += ["setpriv", *become] if case.user != "root" else []
        start = time.monotonic()
        done = host.run([*argv, "halfopen", "smoke", *words], env={"PATH": path})
        assert done.stderr == "", name
        return Smoke(done.returncode, json.loads(done.stdout), time.monotonic() - start)

    with ThreadPoolExecutor(6) as pool:
        return dict(zip(CASES, pool.map(run, CASES)))


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_told_and_who_is_to_blame(runs: dict[str, Smoke], name: str) -> None:
    found, case = runs[name], CASES[name]

    assert found.code == CODES[found.said["verdict"]], found.said
    assert re.search(case.conclusion, found.said["conclusion"])
    assert bool(found.named("failed")) is bool(case.nmap), "the real nmap has no fault"
    assert found.seconds < case.timeout + START
    assert "None" not in json.dumps(found.said)
    if case.timeout < 15:
        assert "raise --timeout" in json.dumps(found.said)


def test_the_real_nmap_is_tested_in_everything(runs: dict[str, Smoke]) -> None:
    found = runs["nothing"].named("ok")
    states = [
        f"states: {state}, IPv{version}, {how}"
        for version in (4, 6)
        for state in ("open port", "closed port", "filtered port", "open port 65535")
        for how in ("alone", "with 65534" if "65535" in state else "with the next")
    ]

    assert set(found) == {
        "means: nmap",
        "means: python-nmap",
        "means: raw sockets",
        *states,
        "half-open: no connection, IPv4",
        "half-open: no connection, IPv6",
        "two hosts: halfopen's own scan",
        "two hosts: plain scan, port alone",
        "two hosts: plain scan, with the next port",
    }
    assert len(found) == len(runs["nothing"].said["findings"])
    assert re.match(rf"{NMAP}, [\d.]+\S*, (nmap-)?libpcap-[\d.]+ \(", found["means: nmap"])
    assert found["two hosts: plain scan, port alone"] == "5 of 5 open"


def test_only_what_was_seen_is_called_right(runs: dict[str, Smoke]) -> None:
    assert set(runs["it hangs"].named("ok")) == {"means: nmap", "means: python-nmap"}
    assert runs["it hangs"].said["second_port_needed"] is None
    assert set(runs["root is lacking"].named("ok")) == {"means: nmap", "means: python-nmap"}
    assert set(runs["a SYN/ACK is dropped"].named("ok")) == {"means: nmap", "means: python-nmap"}
    capable = runs["root is lacking, but nmap may"]
    assert capable.named("ok")["means: raw sockets"] == "by CAP_NET_RAW"
    assert capable.named("skipped") == {"two hosts: open port": "needs root"}


@pytest.mark.usefixtures("runs")
def test_saved_runs_are_as_the_fixtures_and_are_replayed_to_their_truth(host: Machine) -> None:
    folders = sorted(host.path("/saved").glob("nmap-*/*"))
    saved = [json.loads((folder / "run.json").read_text("utf-8")) for folder in folders]
    keys = set(json.loads((RECORDED / "nmap-7.93/v4-open-single/run.json").read_text()))
    files = [f"/saved/{folder.parent.name}/{folder.name}/nmap.xml" for folder in folders]
    replayed = json.loads(host.run(["halfopen", "replay", *files, "--format", "json"]).stdout)

    assert len(saved) >= 30
    assert all(keys <= set(run) for run in saved)
    assert {(run["returncode"], run["stderr"], run["user"]) for run in saved} == {(0, "", "root")}
    assert {run["nmap"] for run in saved} == {folder.parent.name for folder in folders}
    seen = [f"{target['port']} {target['state']}" for target in replayed["targets"]]
    assert seen == [run["truth"] for run in saved]


# -- nothing stays behind -----------------------------------------------------------------------


def below(pid: int) -> Iterator[list[str]]:
    """Give the command line of each process that this one has started, and those."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            yield from below(int(child))


ENDS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize(
    ("word", "path", "numbers"),
    [
        pytest.param("--datadir", PATH, [*ENDS, signal.SIGKILL], id="in the states"),
        pytest.param("192.0.2.2", PATH, [*ENDS, signal.SIGKILL], id="in two hosts"),
        pytest.param("600", f"/fakes/hanging:{PATH}", ENDS, id="while nmap hangs"),
    ],
)
def test_a_signal_leaves_nothing_behind(
    host: Machine, word: str, path: str, numbers: list[signal.Signals]
) -> None:
    host.write("/fakes/hanging/nmap", HANGS, 0o755)

    def left() -> list[list[str]]:
        """Return what runs on the machine, but for what boots it; and links to other hosts."""
        running = [words for words in host.processes().values() if words[:2] != ["tail", "-f"]]
        links = host.run(["ip", "-o", "link", "show", "type", "veth"]).stdout.splitlines()
        return [*running, *map(str.split, links)]

    def interrupted(number: signal.Signals) -> tuple[int, str]:
        started = host.start(["halfopen", "smoke"], env={"PATH": path})
        assert wait_until(
            lambda: any(word in words or f"/{word}" in words for words in below(started.pid)), 20
        )
        end(started, number)
        return started.returncode, host.printed(started)

    before = left()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(interrupted, numbers))

    assert found == [(-number, "") for number in numbers]
    assert wait_until(lambda: left() == before, 5), left()
