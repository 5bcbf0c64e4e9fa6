"""`halfopen smoke` on throwaway machines: the real nmap is fit, and each fault of a fake is named.

Every run has a network of its own inside the machine's, so that many can run side by side and
none sees another's firewall rules.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, NamedTuple

import pytest
from lab import Finished, Lab
from support.machine import Machine, end, wait_until

RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "recorded"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NMAP = "/usr/bin/nmap"
OWN_NETWORK = ["unshare", "--net", "sh", "-c"]
LIMIT, SHORT_LIMIT, START = 60, 15, 20
"""Seconds that all may take: plenty on a busy machine, and what suffices on an idle one; and some
more for a start."""
SMOKE = ["halfopen", "smoke", "--format", "json", "--timeout", str(LIMIT)]


class Smoke(NamedTuple):
    """What one run printed, as JSON unless asked otherwise."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def said(self) -> dict[str, Any]:
        """What was printed."""
        printed: dict[str, Any] = json.loads(self.stdout)
        return printed

    def named(self, *outcomes: str) -> dict[str, str]:
        """Return the findings of these outcomes, "group: name" to detail."""
        return {
            f"{finding['group']}: {finding['name']}": finding["detail"]
            for finding in self.said["findings"]
            if finding["outcome"] in outcomes
        }


def smoke(
    machine: Machine,
    *words: str,
    user: str | None = None,
    path: str = PATH,
    first: str = "",
    ip: str = "ip",
) -> Smoke:
    """Run it in a network of its own; `first`: what a shell does there before it."""
    become = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"] if user else []
    script = f'set -e; {ip} link set lo up; {first}\nexec "$@"'
    start = time.monotonic()
    done: Finished[str] = machine.run(
        [*OWN_NETWORK, script, "sh", *become, *SMOKE, *words],
        env={"PATH": path},
    )
    return Smoke(done.returncode, done.stdout, done.stderr, time.monotonic() - start)


def side_by_side(run: Callable[[str], Smoke], names: Iterable[str], most: int) -> dict[str, Smoke]:
    """Return what each run printed, a few of them at the same time."""
    listed = list(names)
    with ThreadPoolExecutor(most) as pool:
        return dict(zip(listed, pool.map(run, listed)))


@pytest.fixture(scope="module")
def host(lab: Lab, installed: Path) -> Iterator[Machine]:
    """Return a machine for all tests that change nothing on it."""
    with Machine(lab, installed) as made:
        yield made


# -- an nmap that is fit ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fit(host: Machine) -> Smoke:
    """Return what a run with the real nmap, as root, printed; it saved its runs in /saved."""
    return smoke(host, "--save", "/saved")


def test_the_real_nmap_is_fit(fit: Smoke) -> None:
    assert (fit.code, fit.said["verdict"], fit.stderr) == (0, "fit", "")
    assert fit.named("failed", "skipped", "inconclusive") == {}
    assert fit.said["nmap"] == NMAP
    assert fit.said["second_port_needed"] is False
    assert f"nmap {fit.said['nmap_version']}: fit for half-open checks." in fit.said["conclusion"]
    assert fit.seconds < LIMIT


def test_every_group_of_checks_was_made(fit: Smoke) -> None:
    found = fit.named("ok")
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
    assert re.match(rf"{NMAP}, [\d.]+\S*, (nmap-)?libpcap-[\d.]+ \(", found["means: nmap"])
    assert found["two hosts: plain scan, port alone"] == "5 of 5 open"


def recordings(machine: Machine, folder: str) -> list[Path]:
    return sorted(machine.path(folder).glob("*/*"))


def test_saved_runs_have_the_layout_of_the_fixtures(host: Machine, fit: Smoke) -> None:
    saved = recordings(host, "/saved")
    keys = set(json.loads((RECORDED / "nmap-7.93/v4-open-single/run.json").read_text()))

    assert len(saved) == len({folder.name for folder in saved}) >= 30
    for folder in saved:
        assert {file.name for file in folder.iterdir()} == {"nmap.xml", "run.json"}
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert keys <= set(run)
        assert run["nmap"] == folder.parent.name == f"nmap-{fit.said['nmap_version']}"
        assert (run["returncode"], run["stderr"], run["user"]) == (0, "", "root")


def replayed(machine: Machine, *files: str) -> list[dict[str, Any]]:
    """Return what `halfopen replay` makes of recordings, a target each."""
    printed = json.loads(machine.run(["halfopen", "replay", *files, "--format", "json"]).stdout)
    assert printed["error"] is None
    targets: list[dict[str, Any]] = printed["targets"]
    return targets


@pytest.mark.usefixtures("fit")
def test_saved_runs_are_replayed_to_their_truth(host: Machine) -> None:
    names = [f"/saved/{folder.parent.name}/{folder.name}" for folder in recordings(host, "/saved")]
    truths = [json.loads(host.read(f"{name}/run.json"))["truth"] for name in names]
    targets = replayed(host, *(f"{name}/nmap.xml" for name in names))

    assert [f"{target['port']} {target['state']}" for target in targets] == truths


# -- nmaps that are not -------------------------------------------------------------------------

# Each is a program in nmap's place that asks the real one, and then does something wrong.
_HEAD = f"""#!/bin/sh
# This is a fake nmap, for tests.
nmap={NMAP}
[ "$1" != --version ] || exec $nmap "$@"
"""


def changed(state: str, reason: str, other: str, why: str, unless: str = "") -> str:
    """Return a fake that calls ports in a state something else, unless its words match."""
    change = f's/="{state}" reason="{reason}"/="{other}" reason="{why}"/'
    return f"""{_HEAD}case "$*" in {unless or "never"}) exec $nmap "$@" ;; esac
$nmap "$@" | sed '{change}'
"""


WORKED_AROUND = "fit with halfopen's workarounds"


class Fault(NamedTuple):
    """What is wrong with a fake, and what has to be said of it."""

    program: str
    failed: str
    """The finding that fails first, "group: name"."""
    detail: str
    """What it says, a regular expression."""
    verdict: str = "not fit"
    code: int = 2


FAULTS = {
    "never answers open to a plain script": Fault(
        changed("open", "syn-ack", "filtered", "no-response", "*-Pn*|*-[0-9]*"),
        "two hosts: plain scan, port alone",
        "0 of 5 open",
        WORKED_AROUND,
        0,
    ),
    "never answers open to a port alone": Fault(
        changed("open", "syn-ack", "filtered", "no-response", '*"-p "*[0-9][-,][0-9]*'),
        "states: open port, IPv4, alone",
        r"nmap says filtered \(no-response\)",
    ),
    "prints older XML": Fault(
        _HEAD + """$nmap "$@" | sed 's/ reason[_a-z]*="[^"]*"//g; s/="1.0[45]"/="1.02"/'""",
        "states: open port, IPv4, with the next",
        r"nmap does not say why port \d+ is open; use 7\.70 or later",
    ),
    "connects": Fault(
        _HEAD + '$nmap $(echo "$*" | sed s/-sS/-sT/)',
        "half-open: no connection, IPv4",
        "the server accepted a connection from nmap",
    ),
    "hangs": Fault(
        _HEAD + "exec sleep 600",
        "states: open port, IPv4, with the next",
        "nmap did not end within --timeout",
    ),
    "hangs at once": Fault(
        "#!/bin/sh\nexec sleep 600\n", "means: nmap", "--version did not end, and was killed"
    ),
    "crashes": Fault(
        _HEAD + "kill -SEGV $$",
        "states: open port, IPv4, with the next",
        "nmap was killed by signal 11",
    ),
}


def limit(fault: str) -> int:
    """Return the seconds that a run may take, all of which a fake that hangs takes."""
    return SHORT_LIMIT if fault.startswith("hangs") else LIMIT


@pytest.fixture(scope="module")
def judged(host: Machine) -> dict[str, Smoke]:
    """Return what was printed about each fake, found on PATH."""
    folders = {fault: f"/fakes/{fault.replace(' ', '-')}" for fault in FAULTS}
    for fault, folder_name in folders.items():
        host.write(folder_name + "/nmap", FAULTS[fault].program, 0o755)

    def run(fault: str) -> Smoke:
        path = f"{folders[fault]}:{PATH}"
        words = ["--timeout", str(limit(fault))]
        return smoke(host, *words, path=path)

    # The longest first; most of their time is waiting.
    return side_by_side(run, sorted(FAULTS, key=lambda fault: "hangs" not in fault), 6)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(judged: dict[str, Smoke], fault: str) -> None:
    found, wanted = judged[fault], FAULTS[fault]

    told = (found.code, found.said["verdict"], found.stderr)
    assert told == (wanted.code, wanted.verdict, "")
    failed = found.named("failed")
    assert next(iter(failed)) == wanted.failed
    assert re.search(wanted.detail, failed[wanted.failed])
    conclusion = found.said["conclusion"]
    assert f" ({wanted.failed}: " in conclusion
    assert ("Install another nmap" in conclusion) is (wanted.verdict == "not fit")
    assert found.seconds < limit(fault) + START


def test_what_does_not_happen_is_not_called_right(judged: dict[str, Smoke]) -> None:
    for fault in ("hangs", "crashes"):
        found = judged[fault]
        assert not {name for name in found.named("ok") if not name.startswith("means")}
        assert "means: raw sockets" not in found.named("ok")
        assert found.said["second_port_needed"] is None


# -- what a machine lacks, or forbids -----------------------------------------------------------

RULES = {
    "drops every RST": "tcp flags & rst == rst drop",
    "drops a RST that answers a SYN/ACK": "tcp flags == rst drop",
    "drops a RST that answers a SYN": "tcp flags == rst|ack drop",
    "drops a SYN/ACK": "tcp flags == syn|ack drop",
    "drops all TCP": "meta l4proto tcp drop",
    "lets no half-open scan pass": "tcp flags == syn tcp option maxseg exists tcp window 1024 drop",
}
SECONDS = ["0.001", "0.3", "1", "2", "3.5"]
NMAP_WITH_CAPABILITY = "/opt/nmap"


@pytest.fixture(scope="module")
def lacking(host: Machine) -> dict[str, Smoke]:
    """Return what was printed where something is lacking or forbidden, by its name."""
    give = f"cp {NMAP} {NMAP_WITH_CAPABILITY} && setcap cap_net_raw+ep {NMAP_WITH_CAPABILITY}"
    done = host.run(["sh", "-c", give])
    assert done.returncode == 0, done

    def behind(rule: str) -> Smoke:
        chain = f"chain c {{ type filter hook output priority 0\n{rule}\n}}"
        return smoke(host, first=f"echo 'table inet t {{ {chain}\n}}' | nft -f -")

    def on_a_terminal() -> Smoke:
        script = "ip link set lo up; exec script -qec 'halfopen smoke' /dev/null"
        done = host.run([*OWN_NETWORK, script])
        return Smoke(done.returncode, done.stdout, done.stderr, 0.0)

    runs: dict[str, Callable[[], Smoke]] = {
        "nothing, on a terminal": on_a_terminal,
        "root": lambda: smoke(host, user="nobody"),
        "root, but nmap may": lambda: smoke(host, "--nmap", NMAP_WITH_CAPABILITY, user="nobody"),
        "IPv6": lambda: smoke(host, first="echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"),
        "loopback": lambda: smoke(host, first="ip link set lo down"),
        **{rule: partial(behind, text) for rule, text in RULES.items()},
        **{f"{seconds} s": partial(smoke, host, "-t", seconds) for seconds in SECONDS},
    }
    return side_by_side(lambda name: runs[name](), runs, 5)


def test_an_ordinary_user_is_told_the_way_out_and_what_was_not_tested(
    lacking: dict[str, Smoke],
) -> None:
    found = lacking["root"]

    assert (found.code, found.said["verdict"], found.stderr) == (3, "inconclusive", "")
    conclusion = found.said["conclusion"]
    assert (
        "(means: raw sockets: nmap needs root or CAP_NET_RAW; sudo setcap cap_net_raw+ep "
        in conclusion
    )
    untested = "Not tested: states, SYN scan; half-open; two hosts."
    assert conclusion.endswith(untested)
    assert found.named("failed") == {}


def test_an_ordinary_user_tests_what_can_be(lacking: dict[str, Smoke]) -> None:
    assert set(lacking["root"].named("ok")) == {
        "means: nmap",
        "means: python-nmap",
    }


def test_a_capability_on_nmap_suffices_but_for_the_two_hosts(lacking: dict[str, Smoke]) -> None:
    found = lacking["root, but nmap may"]

    assert (found.code, found.said["verdict"]) == (0, "fit")
    assert found.named("failed", "inconclusive") == {}
    assert found.named("skipped")["two hosts: open port"] == "needs root"
    assert found.named("ok")["means: raw sockets"] == "by CAP_NET_RAW"
    assert found.said["second_port_needed"] is None
    assert "two hosts, open port" in found.said["conclusion"].partition("Not tested: ")[2]


def test_without_ipv6_its_checks_are_skipped(lacking: dict[str, Smoke]) -> None:
    found = lacking["IPv6"]

    assert (found.code, found.named("failed", "inconclusive")) == (0, {})
    skipped = {name: why for name, why in found.named("skipped").items() if "states" in name}
    assert len(skipped) == 4
    assert all("IPv6" in name and "no such port here" in why for name, why in skipped.items())
    assert not [name for name in found.named("ok") if "IPv6" in name]
    assert "Not tested: states, open port, IPv6; " in found.said["conclusion"]


def test_without_loopback_nothing_can_be_told(lacking: dict[str, Smoke]) -> None:
    found = lacking["loopback"]

    assert (found.code, found.said["verdict"], found.named("failed")) == (3, "inconclusive", {})


@pytest.mark.parametrize("rule", RULES)
def test_a_firewall_that_meddles_is_no_fault_of_nmaps(lacking: dict[str, Smoke], rule: str) -> None:
    found = lacking[rule]

    assert found.named("failed") == {}
    assert (found.code, found.said["verdict"]) == (3, "inconclusive")
    assert "nft list ruleset" in found.said["conclusion"]


@pytest.mark.parametrize("seconds", SECONDS)
def test_too_little_time_is_no_fault_of_nmaps(lacking: dict[str, Smoke], seconds: str) -> None:
    found = lacking[f"{seconds} s"]

    assert found.named("failed") == {}
    assert found.code == (0 if found.said["verdict"] == "fit" else 3)
    assert found.code == 3 or float(seconds) > 2
    assert "raise --timeout" in found.stdout
    assert found.seconds < float(seconds) + START


def test_without_iproute2_the_two_hosts_are_skipped(machine: Machine) -> None:
    # smoke() needs it once: here it is out of the product's sight.
    machine.run(["sh", "-c", "mkdir /tools && cp -L $(command -v ip) /tools/ip"])
    machine.run(["sh", "-c", "rm /bin/ip /sbin/ip /usr/bin/ip /usr/sbin/ip"])
    found = smoke(machine, ip="/tools/ip")

    assert (found.code, found.named("failed", "inconclusive")) == (0, {})
    (why,) = found.named("skipped").values()
    assert why.startswith("ip not found on PATH")
    assert why.endswith("install iproute2")
    assert found.said["second_port_needed"] is None


# -- how it tells -------------------------------------------------------------------------------


def test_a_terminal_is_told_what_is_being_done_then_the_verdict_then_what_is_not_ok(
    lacking: dict[str, Smoke],
) -> None:
    shown = lacking["nothing, on a terminal"].stdout.replace("\r\n", "\n").splitlines()
    told = [line for line in shown if line.startswith("smoke: ")]
    conclusion, _, table = "\n".join(shown[len(told) :]).partition("\n\n")

    assert told == shown[: len(told)]
    assert "smoke: two hosts ..." in told
    assert re.match(r"nmap [\d.]+\S*: fit for half-open checks\.\n", conclusion), shown
    assert all(re.search("skipped|^  ", line) for line in table.splitlines()), shown


# -- nothing stays behind -----------------------------------------------------------------------


def ours(machine: Machine) -> list[list[str]]:
    """Return what runs for a smoke run: all but what boots the machine."""
    booted = (["tail", "-f", "/dev/null"],)
    return [words for words in machine.processes().values() if words not in booted]


def links(machine: Machine) -> str:
    return machine.run(["ip", "-o", "link", "show", "type", "veth"]).stdout


def children(pid: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


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
    host.write("/fakes/hanging/nmap", FAULTS["hangs"].program, 0o755)
    before = links(host)
    assert wait_until(lambda: not ours(host), 5), ours(host)

    def interrupted(number: signal.Signals) -> tuple[int, str]:
        started = host.start(["halfopen", "smoke"], env={"PATH": path})

        def there() -> bool:
            ran = [child for own in children(started.pid) for child in children(own)]
            return any(word in map(os.path.basename, words_of(child)) for child in ran)

        assert wait_until(there, 20)
        end(started, number)
        return started.returncode, host.printed(started)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(interrupted, numbers))

    assert found == [(-number, "") for number in numbers]
    assert wait_until(lambda: not ours(host), 5), ours(host)
    assert links(host) == before


def test_a_whole_run_leaves_nothing_behind(host: Machine, fit: Smoke) -> None:
    assert fit.code == 0
    assert wait_until(lambda: not ours(host), 2), ours(host)
