"""Icinga 2: one node that checks by itself, and a master whose agent checks for it.

The daemons are started as Debian's unit does, with Debian's own configuration and the examples.
What they judged comes from their API. Checks are forced through it as well: they are due only once
a minute.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import pytest
from lab import Lab, Running
from support.machine import WEB2, Farm, Machine, Site, end, wait_until

NEEDS = ("icinga2", "faketime")

MASTER, AGENT = "master.example.org", "agent.example.org"
CERTIFICATES = "/var/lib/icinga2/certs"
OK, WARNING, CRITICAL, UNKNOWN = range(4)
SERVICE = "tcp-half-open"
PASSWORD = "of-a-test"  # noqa: S105  the API's, on a throwaway machine
API_USER = f'object ApiUser "test" {{ password = "{PASSWORD}", permissions = [ "*" ] }}\n'
FAULTS = ["missing", "not allowed", "hanging", "without the capability"]
STOPPER = """#!/bin/sh
# A fake: the real nmap, after it has stopped the check. What is stopped can't heed SIGTERM.
kill -STOP $PPID
NMAP_PRIVILEGED=1 exec /usr/bin/nmap.real "$@"
"""


class Result(NamedTuple):
    """What Icinga holds of a host or service after its last check."""

    state: int
    output: str
    source: str
    perfdata: list[str]


class Icinga:
    """Icinga 2 on a machine: Debian's configuration, the API on, and what the API says."""

    def __init__(
        self, lab: Lab, machine: Machine, ns: str, name: str, certificates: dict[str, str]
    ) -> None:
        """Give the node its name, its certificate and the API; the examples are up to the test."""
        self._lab, self.machine, self._ns = lab, machine, ns
        self._process: Running[str] | None = None
        constants = machine.read("/etc/icinga2/constants.conf")
        assert '//const NodeName = "localhost"' in constants
        machine.write(
            "/etc/icinga2/constants.conf",
            constants.replace('//const NodeName = "localhost"', f'const NodeName = "{name}"'),
        )
        machine.write("/etc/icinga2/conf.d/api-users.conf", API_USER)
        self._run("install", "-d", "-o", "nagios", "-g", "nagios", "-m", "0700", CERTIFICATES)
        for file in ("ca.crt", f"{name}.crt", f"{name}.key"):
            machine.write(f"{CERTIFICATES}/{file}", certificates[file], 0o600, "nagios")
        self._run("icinga2", "feature", "enable", "api")

    def __enter__(self) -> Icinga:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self, *words: str) -> None:
        done = self.machine.run(words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    def start(self, env: dict[str, str] | None = None) -> None:
        """Start it as the unit does, which makes /run/icinga2 first."""
        self._run("/usr/lib/icinga2/prepare-dirs", "/usr/lib/icinga2/icinga2")
        self._process = self.machine.start(["/usr/sbin/icinga2", "daemon"], env=env)
        assert wait_until(self._answers), self.machine.printed(self._process)

    def stop(self) -> None:
        """Stop it as the unit does, if it runs."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.ask("GET", "status")
            return True
        return False

    def ask(self, method: str, path: str, body: Any = None) -> list[Any]:
        """Ask the API something, from inside the machine's namespace."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # the certificate is the node's, not 127.0.0.1's
        context.verify_mode = ssl.CERT_NONE
        credentials = base64.b64encode(f"test:{PASSWORD}".encode()).decode()
        headers = {"Accept": "application/json", "Authorization": f"Basic {credentials}"}

        def go() -> tuple[int, Any]:
            connection = http.client.HTTPSConnection("127.0.0.1", 5665, timeout=20, context=context)
            with contextlib.closing(connection):
                connection.request(method, f"/v1/{path}", json.dumps(body), headers)
                response = connection.getresponse()
                return response.status, json.loads(response.read())

        status, answer = self._lab.within(self._ns, go)
        assert status == 200, (path, body, answer)
        results: list[Any] = answer["results"]
        return results

    def set(self, host: str, **variables: Any) -> None:
        """Change variables of a host, as tcp_half_open_timeout."""
        attributes = {f"vars.tcp_half_open_{name}": value for name, value in variables.items()}
        self.ask("POST", f"objects/hosts/{host}", {"attrs": attributes})

    def limit(self, host: str, seconds: float) -> None:
        """Have Icinga end the half-open check of a host after so long; the check would go on."""
        attributes = {"vars.tcp_half_open_timeout": 50, "check_timeout": seconds}
        self.ask("POST", f"objects/services/{host}!{SERVICE}", {"attrs": attributes})

    def force(self, name: str) -> float:
        """Have a host ("agent") or service ("web1!tcp-half-open") checked now; return when."""
        now = time.time()
        kind = "Service" if "!" in name else "Host"
        self.ask("POST", "actions/reschedule-check", {"type": kind, kind.lower(): name, "force": 1})
        return now

    def result(self, name: str, since: float) -> Result | None:
        """Return what the last check came to, if that began after a point in time."""
        kind = "services" if "!" in name else "hosts"
        attributes = self.ask("GET", f"objects/{kind}/{name}")[0]["attrs"]
        last = attributes["last_check_result"]
        if last is None or last["execution_start"] < since:
            return None
        perfdata = last["performance_data"] or []
        return Result(int(attributes["state"]), last["output"], last["check_source"], perfdata)

    def wait_for(self, name: str, since: float) -> Result:
        """Return what the check came to that was forced at a point in time."""
        found: list[Result | None] = []
        again = [since]

        def done() -> bool:
            # Icinga passes over a forced check while another one of the same service runs.
            if time.time() > again[0] + 5:
                again[0] = self.force(name)
            found[:] = [self.result(name, since)]
            return found[0] is not None

        assert wait_until(done), self._process and self.machine.printed(self._process)
        assert found[0] is not None
        return found[0]

    def judge(self, *hosts: str) -> dict[str, Result]:
        """Have the half-open check of these hosts run, and return what Icinga makes of it."""
        services = {host: f"{host}!{SERVICE}" for host in hosts}
        forced = {host: self.force(service) for host, service in services.items()}
        return {host: self.wait_for(services[host], forced[host]) for host in hosts}

    def states(self, *hosts: str) -> list[int]:
        """Return the states of the half-open check of these hosts, after one more run of it."""
        return [result.state for result in self.judge(*hosts).values()]


def break_nmap(machine: Machine, fault: str) -> None:
    if fault == "without the capability":
        machine.mend_nmap()
    else:
        machine.break_nmap(fault)


def leftovers(machine: Machine) -> list[int]:
    """Return the nmaps, hanging ones (sleep) and plugins that still run."""
    names = ("nmap", "nmap.real", "sleep", "check_tcp_half_open")
    return [pid for name in names for pid in machine.running(name)]


@pytest.fixture(scope="module")
def certificates(lab: Lab, installed: Site) -> dict[str, str]:
    """Return what the example's script makes: file name to text. Three RSA keys take seconds."""
    with Machine(lab, installed) as machine:
        machine.install("icinga2/distributed/certificates.sh", "/root/certificates.sh", 0o755)
        done = machine.run(["/root/certificates.sh", MASTER, AGENT], timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        folder = machine.path(CERTIFICATES)
        return {path.name: path.read_text() for path in folder.iterdir()}


# -- one node -----------------------------------------------------------------------------------


@pytest.fixture
def icinga(
    lab: Lab, machine: Machine, farm: Farm, certificates: dict[str, str]
) -> Iterator[Icinga]:
    """Return a running Icinga that checks the backends itself: web1 is open, web2 closed."""
    del farm  # only has to be there
    machine.let_nmap()
    node = Icinga(lab, machine, "scanner", MASTER, certificates)
    for example in ("halfopen.conf", "web.conf"):
        machine.install(f"icinga2/{example}", f"/etc/icinga2/conf.d/{example}")
    with node:
        node.start()
        yield node


def test_icinga_says_ok_for_the_open_backend_alone(icinga: Icinga, farm: Farm) -> None:
    first = icinga.judge("web1", "web2")
    farm.only(WEB2)
    swapped = icinga.states("web1", "web2")

    assert (first["web1"].state, first["web2"].state) == (OK, CRITICAL)
    assert first["web1"].output.startswith("TCP HALF-OPEN OK - 192.0.2.11:443 open (syn-ack)")
    assert [value.split("=")[0] for value in first["web1"].perfdata] == ["time"]
    assert swapped == [CRITICAL, OK]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_nmap_is_unknown_to_icinga(icinga: Icinga, fault: str) -> None:
    before = icinga.states("web1", "web2")
    for host in ("web1", "web2"):
        icinga.set(host, timeout=2)
    break_nmap(icinga.machine, fault)
    broken = icinga.judge("web1", "web2")

    assert before == [OK, CRITICAL]
    assert [result.state for result in broken.values()] == [UNKNOWN, UNKNOWN]
    assert all(result.output.startswith("TCP HALF-OPEN UNKNOWN - ") for result in broken.values())
    assert wait_until(lambda: not leftovers(icinga.machine))


@pytest.mark.parametrize(
    ("fault", "state"), [("no interpreter", UNKNOWN), ("not importable", WARNING)]
)
def test_a_halfopen_that_does_not_start_is_never_ok(icinga: Icinga, fault: str, state: int) -> None:
    icinga.machine.break_halfopen(fault)

    assert icinga.states("web1", "web2") == [state, state]


def test_a_check_that_icinga_ends_is_unknown_and_takes_nmap_along(icinga: Icinga) -> None:
    before = icinga.states("web1")
    icinga.machine.break_nmap("hanging")
    icinga.limit("web1", 2)
    result = icinga.judge("web1")["web1"]

    assert before == [OK]
    assert (result.state, result.output.count("signal 15")) == (UNKNOWN, 1)
    assert wait_until(lambda: not leftovers(icinga.machine))


def test_a_check_that_icinga_has_to_kill_is_unknown_and_nmap_ends_by_itself(
    icinga: Icinga,
) -> None:
    before = icinga.states("web1")
    icinga.machine.path("/usr/bin/nmap").rename(icinga.machine.path("/usr/bin/nmap.real"))
    icinga.machine.write("/usr/bin/nmap", STOPPER, 0o755)
    icinga.limit("web1", 2)
    result = icinga.judge("web1")["web1"]

    assert before == [OK]
    assert (result.state, result.output.count("signal 9")) == (UNKNOWN, 1)
    assert wait_until(lambda: not leftovers(icinga.machine))


def test_each_argument_reaches_the_check(icinga: Icinga) -> None:
    judged = {}
    for argument, host, variables in (
        ("-4", "web1", {"ipv4": True}),
        ("-w", "web1", {"warning": 0.000001}),
        ("-c", "web1", {"critical": 0.000001}),
        ("-t", "web1", {"timeout": 0.001}),
        ("--expect", "web2", {"expect": "closed"}),
        ("-6", "web2", {"ipv6": True}),  # of which it has no address
    ):
        icinga.set(host, **variables)
        judged[argument] = icinga.states(host)[0]

    assert judged == {
        "-4": OK,
        "-w": WARNING,
        "-c": CRITICAL,
        "-t": UNKNOWN,
        "--expect": OK,
        "-6": UNKNOWN,
    }


def test_a_host_with_an_ipv6_address_alone_is_checked_there(icinga: Icinga) -> None:
    changes = {"address": "", "address6": "2001:db8::25", "vars.tcp_half_open_port": 25}
    icinga.ask("POST", "objects/hosts/web2", {"attrs": changes})
    judged = icinga.judge("web2")["web2"]

    assert (judged.state, judged.output.split()[4]) == (OK, "[2001:db8::25]:25")


# -- a master and its agent ---------------------------------------------------------------------


@pytest.fixture
def agent(lab: Lab, machine: Machine, farm: Farm, certificates: dict[str, str]) -> Iterator[Icinga]:
    """Return an agent beside the backends, not yet started."""
    del farm
    machine.let_nmap()
    node = Icinga(lab, machine, "scanner", AGENT, certificates)
    machine.install("icinga2/halfopen.conf", "/etc/icinga2/conf.d/halfopen.conf")
    machine.install("icinga2/distributed/agent/zones.conf", "/etc/icinga2/zones.conf")
    machine.install(
        "icinga2/distributed/agent/api.conf", "/etc/icinga2/features-available/api.conf"
    )
    with node:
        yield node


@pytest.fixture
def master(
    lab: Lab, installed: Site, agent: Icinga, certificates: dict[str, str]
) -> Iterator[Icinga]:
    """Return a master in another network, without nmap or plugin, its agent connected.

    Its clock was 400 s behind while it started. So for Icinga it has been up for longer than the
    5 minutes that it grants to agents to connect.
    """
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.skip("needs libfaketime")
    with Machine(lab, installed, "third") as machine:
        machine.path("/usr/bin/nmap").unlink()
        machine.path("/usr/lib/nagios/plugins/check_tcp_half_open").unlink()
        node = Icinga(lab, machine, "third", MASTER, certificates)
        machine.install("icinga2/halfopen.conf", "/etc/icinga2/conf.d/halfopen.conf")
        machine.install("icinga2/distributed/master/zones.conf", "/etc/icinga2/zones.conf")
        machine.install(
            "icinga2/distributed/master/web.conf", "/etc/icinga2/zones.d/master/web.conf"
        )
        machine.write("/clock", "-400s")
        with node:
            node.start(
                {
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "LD_PRELOAD": str(libraries[0]),
                    "FAKETIME_TIMESTAMP_FILE": "/clock",
                    "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                }
            )
            machine.write("/clock", "+0s")
            agent.start()
            assert wait_until(lambda: connected(node))
            yield node


def connected(master: Icinga) -> bool:
    """Return whether the master sees its agent."""
    return bool(master.ask("GET", f"objects/endpoints/{AGENT}")[0]["attrs"]["connected"])


def test_the_agent_checks_and_the_master_judges(master: Icinga, farm: Farm) -> None:
    first = master.judge("web1", "web2")
    farm.only(WEB2)
    swapped = master.judge("web1", "web2")

    results = [*first.values(), *swapped.values()]
    assert [result.state for result in results] == [OK, CRITICAL, CRITICAL, OK]
    assert {result.source for result in results} == {AGENT}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_nmap_at_the_agent_is_unknown_to_the_master(
    master: Icinga, agent: Icinga, fault: str
) -> None:
    before = master.states("web1", "web2")
    for host in ("web1", "web2"):
        master.set(host, timeout=2)
    break_nmap(agent.machine, fault)
    broken = master.judge("web1", "web2")

    assert before == [OK, CRITICAL]
    assert [(result.state, result.source) for result in broken.values()] == [(UNKNOWN, AGENT)] * 2
    assert wait_until(lambda: not leftovers(agent.machine))


def test_without_its_agent_the_master_says_unknown(master: Icinga, agent: Icinga) -> None:
    before = master.states("web1", "web2")
    there = master.wait_for("agent", master.force("agent"))
    agent.stop()
    assert wait_until(lambda: not connected(master))
    alone = master.judge("web1", "web2")
    gone = master.wait_for("agent", master.force("agent"))
    agent.start()
    assert wait_until(lambda: connected(master))
    after = master.states("web1", "web2")

    assert before == after == [OK, CRITICAL]
    assert [result.state for result in alone.values()] == [UNKNOWN, UNKNOWN]
    assert all("is not connected" in result.output for result in alone.values())
    assert (there.state, gone.state) == (0, 1)  # of a host: up, down
