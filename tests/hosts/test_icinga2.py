"""Icinga 2: one node that checks by itself, and a master whose agent checks for it.

The daemons are started as Debian's unit does, with Debian's own configuration and the examples.
What they judged comes from their API. Checks are forced through it as well: they are due only once
a minute.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import json
import os
import signal
import ssl
import time
from pathlib import Path
from typing import Any, ClassVar, Iterator, NamedTuple

import pytest
from lab import Lab, Running
from support.machine import Farm, Machine, Site, end, wait_until

from .contract import PLUGIN, Contract, Host, Judged, has_all_of_many, many

NEEDS = ("icinga2", "faketime")

MASTER, AGENT = "master.example.org", "agent.example.org"
CERTIFICATES = "/var/lib/icinga2/certs"
OK, WARNING, CRITICAL, UNKNOWN = range(4)
SERVICE = "tcp-half-open"
PASSWORD = "of-a-test"  # noqa: S105  the API's, on a throwaway machine
API_USER = f'object ApiUser "test" {{ password = "{PASSWORD}", permissions = [ "*" ] }}\n'


class Result(NamedTuple):
    """What Icinga holds of a host or service after its last check."""

    state: int
    output: str
    source: str
    perfdata: list[str]


class Node(contextlib.ExitStack):
    """Icinga 2 on a machine: Debian's configuration, the API on, and what the API says."""

    def __init__(self, machine: Machine, ns: str, name: str) -> None:
        """Give the node its name, its certificate and the API; the caller installs examples."""
        super().__init__()
        self.machine, self._ns = machine, ns
        self._process: Running[str] | None = None
        constants = machine.read("/etc/icinga2/constants.conf")
        assert '//const NodeName = "localhost"' in constants
        machine.write(
            "/etc/icinga2/constants.conf",
            constants.replace('//const NodeName = "localhost"', f'const NodeName = "{name}"'),
        )
        machine.write("/etc/icinga2/conf.d/api-users.conf", API_USER)
        self._run("install", "-d", "-o", "nagios", "-g", "nagios", "-m", "0700", CERTIFICATES)
        made = certificates(machine.lab, machine.site)
        for file in ("ca.crt", f"{name}.crt", f"{name}.key"):
            machine.write(f"{CERTIFICATES}/{file}", made[file], 0o600, "nagios")
        self._run("icinga2", "feature", "enable", "api")
        self.callback(self.stop)

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

        status, answer = self.machine.lab.within(self._ns, go)
        assert status == 200, (path, body, answer)
        results: list[Any] = answer["results"]
        return results

    def set(self, host: str, **variables: Any) -> None:
        """Change variables of a host, as tcp_half_open_timeout."""
        attributes = {f"vars.tcp_half_open_{name}": value for name, value in variables.items()}
        self.ask("POST", f"objects/hosts/{host}", {"attrs": attributes})

    def force(self, name: str) -> None:
        """Have a host ("agent") or service ("web1!tcp-half-open") checked now."""
        kind = "Service" if "!" in name else "Host"
        self.ask("POST", "actions/reschedule-check", {"type": kind, kind.lower(): name, "force": 1})

    def result(self, name: str, since: float) -> Result | None:
        """Return what the last check came to, if that began after a point in time."""
        kind = "services" if "!" in name else "hosts"
        attributes = self.ask("GET", f"objects/{kind}/{name}")[0]["attrs"]
        last = attributes["last_check_result"]
        if last is None or last["execution_start"] < since:
            return None
        perfdata = last["performance_data"] or []
        return Result(int(attributes["state"]), last["output"], last["check_source"], perfdata)

    def check(self, *names: str) -> list[Result]:
        """Have hosts or services checked, and return what that came to."""
        began = time.time()
        again = [0.0]
        found: list[Result | None] = []

        def done() -> bool:
            # Icinga passes over a forced check while another one of the same service runs.
            if time.time() > again[0] + 5:
                again[0] = time.time()
                for name in names:
                    self.force(name)
            found[:] = [self.result(name, began) for name in names]
            return all(found)

        assert wait_until(done), self._process and self.machine.printed(self._process)
        return [result for result in found if result]


@functools.lru_cache(maxsize=None)
def certificates(lab: Lab, site: Site) -> dict[str, str]:
    """Return what the example's script makes: file name to text. Three RSA keys take seconds."""
    with Machine(lab, site) as machine:
        machine.install("icinga2/distributed/certificates.sh", "/root/certificates.sh", 0o755)
        done = machine.run(["/root/certificates.sh", MASTER, AGENT], timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        folder = machine.path(CERTIFICATES)
        return {path.name: path.read_text() for path in folder.iterdir()}


class Icinga(Host):
    """A node that checks the backends itself."""

    ROOT = False
    UP, DOWN, FAILED = OK, CRITICAL, UNKNOWN
    AT: ClassVar = {"halfopen not importable": WARNING}

    def start(self) -> None:
        self.node = self.enter_context(Node(self.machine, "scanner", MASTER))
        for name in ("halfopen.conf", "web.conf"):
            self.machine.install(f"icinga2/{name}", f"/etc/icinga2/conf.d/{name}")
        self.node.start()
        self.limit(3)

    def limit(self, seconds: float) -> None:
        for web in self.webs():
            self.node.set(web, timeout=seconds)

    @contextlib.contextmanager
    def ending_checks_after(self, seconds: float) -> Iterator[None]:
        """Let Icinga end checks after so long; they would go on."""
        self._end_checks_after(seconds)
        self.limit(50)
        try:
            yield
        finally:
            self._end_checks_after(60)
            self.limit(3)

    def _end_checks_after(self, seconds: float) -> None:
        for web in self.webs():
            attributes = {"attrs": {"check_timeout": seconds}}
            self.node.ask("POST", f"objects/services/{web}!{SERVICE}", attributes)

    def results(self) -> dict[str, Result]:
        """Have the half-open checks run, and return what Icinga makes of them."""
        return dict(zip(self.webs(), self.node.check(*(f"{web}!{SERVICE}" for web in self.webs()))))

    def judged(self) -> Judged:
        results = self.results()
        self.output = {web: result.output for web, result in results.items()}
        return {web: result.state for web, result in results.items()}


def leftovers(machine: Machine) -> list[int]:
    return [*machine.nmaps(), *machine.running("check_tcp_half_open")]


class TestContract(Contract):
    HOST = Icinga

    def test_the_round_trip_is_performance_data(self, host: Icinga) -> None:
        perfdata = host.results()["web1"].perfdata

        assert [value.split("=")[0] for value in perfdata] == ["time"]

    def test_a_check_that_icinga_ends_is_unknown_and_takes_nmap_along(self, host: Icinga) -> None:
        def ended_by_sigterm() -> bool:
            # SIGKILL follows after a tenth of the time, which on a busy machine is too soon.
            for pid in host.machine.hanging():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            results = host.results().values()
            assert {result.state for result in results} == {UNKNOWN}
            return all("signal 15" in result.output for result in results)

        with host.ending_checks_after(2), host.broken("nmap hanging"):
            assert wait_until(ended_by_sigterm), host.told()
            assert wait_until(lambda: not leftovers(host.machine))

    def test_a_check_that_icinga_has_to_kill_is_unknown_and_nmap_ends_by_itself(
        self, host: Icinga
    ) -> None:
        with host.ending_checks_after(2), host.broken("nmap stopping its caller"):
            for result in host.results().values():
                assert (result.state, result.output.count("signal 9")) == (UNKNOWN, 1), result
        assert wait_until(lambda: not leftovers(host.machine))


@pytest.fixture
def icinga(machine: Machine, farm: Farm) -> Iterator[Icinga]:
    del farm  # only has to be there
    machine.let_nmap()
    with Icinga(machine) as made:
        yield made


def test_each_argument_reaches_the_check(icinga: Icinga) -> None:
    for web, variables, state in (
        ("web1", {"ipv4": True}, OK),
        ("web1", {"warning": 0.000001}, WARNING),
        ("web1", {"critical": 0.000001}, CRITICAL),
        ("web1", {"timeout": 0.001}, UNKNOWN),
        ("web2", {"expect": "closed"}, OK),
        ("web2", {"ipv6": True}, UNKNOWN),  # of which it has no address
    ):
        icinga.node.set(web, **variables)
        assert icinga.judged()[web] == state, variables

    # A host with an IPv6 address alone is checked there.
    icinga.node.set("web2", ipv6=False, expect="open")
    changes = {"address": "", "address6": "2001:db8::25", "vars.tcp_half_open_port": 25}
    icinga.node.ask("POST", "objects/hosts/web2", {"attrs": changes})
    result = icinga.results()["web2"]

    assert (result.state, result.output.split()[4]) == (OK, "[2001:db8::25]:25")


def test_all_that_is_said_of_300_targets_arrives(icinga: Icinga, lab: Lab) -> None:
    icinga.machine.write("/etc/farm", many(lab))
    command = {"command": [PLUGIN, "--targets", "/etc/farm", "-t", "50"]}
    icinga.node.ask("PUT", "objects/checkcommands/many", {"attrs": command})
    changes = {"attrs": {"check_command": "many"}}
    icinga.node.ask("POST", f"objects/services/web1!{SERVICE}", changes)
    (result,) = icinga.node.check(f"web1!{SERVICE}")

    has_all_of_many(result.output.split("\n"), result.perfdata)


class WithAgent(Icinga):
    """A master in another network, without nmap or plugin, and its agent, on the machine.

    The master's clock was 400 s behind while it started. So for Icinga it has been up for longer
    than the 5 minutes that it grants to agents to connect.
    """

    def start(self) -> None:
        libraries = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        assert libraries
        self.agent = self.enter_context(Node(self.machine, "scanner", AGENT))
        for source, target in (
            ("halfopen.conf", "conf.d/halfopen.conf"),
            ("distributed/agent/zones.conf", "zones.conf"),
            ("distributed/agent/api.conf", "features-available/api.conf"),
        ):
            self.machine.install(f"icinga2/{source}", f"/etc/icinga2/{target}")
        machine = self.enter_context(Machine(self.machine.lab, self.machine.site, "third"))
        machine.path("/usr/bin/nmap").unlink()
        machine.path("/usr/lib/nagios/plugins/check_tcp_half_open").unlink()
        self.node = self.enter_context(Node(machine, "third", MASTER))
        for source, target in (
            ("halfopen.conf", "conf.d/halfopen.conf"),
            ("distributed/master/zones.conf", "zones.conf"),
            ("distributed/master/web.conf", "zones.d/master/web.conf"),
        ):
            machine.install(f"icinga2/{source}", f"/etc/icinga2/{target}")
        machine.write("/clock", "-400s")
        self.node.start(
            {
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LD_PRELOAD": str(libraries[0]),
                "FAKETIME_TIMESTAMP_FILE": "/clock",
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        )
        machine.write("/clock", "+0s")
        self.agent.start()
        assert wait_until(self.is_connected)
        self.limit(3)

    def is_connected(self) -> bool:
        """Return whether the master sees its agent."""
        endpoint = self.node.ask("GET", f"objects/endpoints/{AGENT}")[0]
        return bool(endpoint["attrs"]["connected"])


class TestAgent(Contract):
    HOST = WithAgent

    def test_it_is_the_agent_that_checks(self, host: WithAgent) -> None:
        assert {result.source for result in host.results().values()} == {AGENT}

    def test_without_its_agent_the_master_says_unknown(self, host: WithAgent) -> None:
        (there,) = host.node.check("agent")
        host.agent.stop()
        try:
            assert wait_until(lambda: not host.is_connected())
            alone = list(host.results().values())
            (gone,) = host.node.check("agent")
        finally:
            host.agent.start()
        assert wait_until(host.is_connected)

        assert host.judged() == {"web1": OK, "web2": CRITICAL}
        assert [result.state for result in alone] == [UNKNOWN, UNKNOWN]
        assert all("is not connected" in result.output for result in alone)
        assert (there.state, gone.state) == (0, 1)  # of a host: up, down
