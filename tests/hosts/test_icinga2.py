"""Icinga 2: one node that checks by itself, and a master whose agent checks for it.

The daemons are started as Debian's unit does, with Debian's own configuration and the examples.
What they judged comes from their API. Checks are forced through it as well: they are due only once
a minute.
"""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import Any, ClassVar, Iterator, Mapping, NamedTuple

import pytest
from lab import Finished, Lab
from support.machine import ENVIRONMENT, Farm, Machine, end, wait_until

from .contract import (
    PLUGIN,
    Contract,
    EndingContract,
    Host,
    Judged,
    changed,
    has_all_of_many,
    many,
)

NEEDS = ("icinga2", "faketime", "curl")

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


class Node:
    """Icinga 2 on a machine: Debian's configuration, the API on, and what the API says."""

    def __init__(self, machine: Machine, name: str, examples: Mapping[str, str]) -> None:
        """Give the node its name, its certificate, the API, and each file of examples."""
        self.machine = machine
        main = "/etc/icinga2/constants.conf"
        named = ('//const NodeName = "localhost"', f'const NodeName = "{name}"')
        machine.write(main, changed(machine.read(main), named))
        machine.write("/etc/icinga2/conf.d/api-users.conf", API_USER)
        for place, example in examples.items():
            machine.install(f"icinga2/{example}", f"/etc/icinga2/{place}")
        machine.do(*f"install -d -o nagios -g nagios -m 0700 {CERTIFICATES}".split())
        made = certificates(machine.lab, machine.installed)
        for file in ("ca.crt", f"{name}.crt", f"{name}.key"):
            machine.write(f"{CERTIFICATES}/{file}", made[file], 0o600, "nagios")
        machine.do("icinga2", "feature", "enable", "api")

    def start(self, env: Mapping[str, str] = ENVIRONMENT) -> None:
        """Start it as the unit does, which makes /run/icinga2 first."""
        self.machine.do("/usr/lib/icinga2/prepare-dirs", "/usr/lib/icinga2/icinga2")
        self.process = self.machine.start(["/usr/sbin/icinga2", "daemon"], env=env)
        answers = lambda: self._curl("GET", "status").returncode == 0  # noqa: E731
        assert wait_until(answers), self.machine.printed(self.process)

    def _curl(self, method: str, path: str, body: Any = None) -> Finished[str]:
        # Insecure: the certificate is the node's, not 127.0.0.1's.
        options = ["--fail-with-body", "--insecure", "--silent", "--show-error", "--max-time", "20"]
        sent = ["-u", f"test:{PASSWORD}", "-H", "Accept: application/json", "-d", json.dumps(body)]
        url = f"https://127.0.0.1:5665/v1/{path}"
        return self.machine.run(["curl", *options, *sent, "-X", method, url])

    def ask(self, method: str, path: str, body: Any = None) -> list[Any]:
        """Ask the API something."""
        done = self._curl(method, path, body)
        assert done.returncode == 0, done
        results: list[Any] = json.loads(done.stdout)["results"]
        return results

    def set(self, host: str, **variables: Any) -> None:
        """Change variables of a host, as tcp_half_open_timeout."""
        attributes = {f"vars.tcp_half_open_{name}": value for name, value in variables.items()}
        self.ask("POST", f"objects/hosts/{host}", {"attrs": attributes})

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
        """Have hosts ("agent") or services ("web1!tcp-half-open") checked; return the results."""
        began = time.time()
        again = [0.0]
        found: list[Result | None] = []

        def done() -> bool:
            # Icinga passes over a forced check while another one of the same service runs.
            if time.time() > again[0] + 5:
                again[0] = time.time()
                for name in names:
                    kind = "Service" if "!" in name else "Host"
                    asked = {"type": kind, kind.lower(): name, "force": 1}
                    self.ask("POST", "actions/reschedule-check", asked)
            found[:] = [self.result(name, began) for name in names]
            return all(found)

        assert wait_until(done), self.machine.printed(self.process)
        return [result for result in found if result]


@functools.lru_cache(maxsize=None)
def certificates(lab: Lab, installed: Path) -> dict[str, str]:
    """Return what the example's script makes: file name to text. Three RSA keys take seconds."""
    with Machine(lab, installed) as machine:
        machine.install("icinga2/distributed/certificates.sh", "/root/certificates.sh", 0o755)
        machine.do("/root/certificates.sh", MASTER, AGENT, timeout=180)
        folder = machine.path(CERTIFICATES)
        return {path.name: path.read_text() for path in folder.iterdir()}


class Icinga(Host):
    """A node that checks the backends itself."""

    ROOT = False
    UP, DOWN, FAILED = OK, CRITICAL, UNKNOWN
    AT: ClassVar = {"halfopen not importable": WARNING}
    ENDS = "Timeout exceeded"
    IMPATIENT: ClassVar = {"settings": '{"attrs": {"check_timeout": 2}}'}

    def start(self) -> None:
        examples = {f"conf.d/{name}": name for name in ("halfopen.conf", "web.conf")}
        self.node = Node(self.machine, MASTER, examples)
        self.node.start()
        self.limit(3)
        if self.settings:
            self.limit(10, port=80)
            for web in self.WEBS:
                service = f"objects/services/{web}!{SERVICE}"
                self.node.ask("POST", service, json.loads(self.settings))

    def limit(self, seconds: float, **variables: Any) -> None:
        for web in self.WEBS:
            self.node.set(web, timeout=seconds, **variables)

    def results(self) -> dict[str, Result]:
        """Have the half-open checks run, and return what Icinga makes of them."""
        return dict(zip(self.WEBS, self.node.check(*(f"{web}!{SERVICE}" for web in self.WEBS))))

    def judged(self) -> Judged:
        results = self.results()
        self.output = {web: result.output for web, result in results.items()}
        return {web: result.state for web, result in results.items()}


class TestContract(EndingContract):
    HOST = Icinga

    def test_the_round_trip_is_performance_data(self, host: Icinga) -> None:
        perfdata = host.results()["web1"].perfdata

        assert [value.split("=")[0] for value in perfdata] == ["time"]


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
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        agent = {
            "conf.d/halfopen.conf": "halfopen.conf",
            "zones.conf": "distributed/agent/zones.conf",
            "features-available/api.conf": "distributed/agent/api.conf",
        }
        master = {
            "conf.d/halfopen.conf": "halfopen.conf",
            "zones.conf": "distributed/master/zones.conf",
            "zones.d/master/web.conf": "distributed/master/web.conf",
        }
        self.agent = Node(self.machine, AGENT, agent)
        machine = self.enter_context(Machine(self.machine.lab, self.machine.installed, "third"))
        machine.path("/usr/bin/nmap").unlink()
        machine.path(PLUGIN).unlink()
        self.node = Node(machine, MASTER, master)
        machine.write("/clock", "-400s")
        self.node.start(
            {
                **ENVIRONMENT,
                "LD_PRELOAD": str(library),
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
        end(host.agent.process)  # as the unit does
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
