"""Farmguardian, of ZEVENET, SKUDONET and RELIANOID: a fake one, for no Debian package has it.

What is real: the scripts of examples/farmguardian, curl, Perl's backticks (which are how the real
one runs its checks), the plugin and nmap. The fakes play what the load balancers' API reference
and source say; each says so where it is defined.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Dict, Iterator, NamedTuple, Tuple

import pytest
from lab import TARGET, Lab, Running

from .machine import WEB1, WEB2, Farm, Machine, end, wait_until

NEEDS = ("curl", "perl")

PLUGINS = "/usr/lib/nagios/plugins/"
NAME = "check_tcp_half_open"
KEY = "0123456789abcdef"
REST, ZCLI = "/root/rest.sh", "/root/zcli.sh"
# A fake zcli, that writes down its words, and creates nothing twice.
ZCLI_FAKE = """#!/bin/sh
IFS=,
echo "$*" >> /root/said
[ "$2" != create ] || [ "$(grep -c create /root/said)" = 1 ]
"""
LINK_LOCAL = "fe80::25%eth0"

# Perl decides between a shell and none: by the command's metacharacters, or a leading NAME=value.
BACKTICKS = 'my @output = `$ARGV[0]`; print $?, "\\n", @output;'

Request = Tuple[str, str, Dict[str, Any]]
Backend = Tuple[str, str]


class Check(NamedTuple):
    """What Farmguardian knows of a check: the backend's state, and what goes into its log."""

    up: bool
    status: int
    output: str


class Farmguardian:
    """A fake Farmguardian: one made by the API, at work on a farm's backends.

    Contract: HOST and PORT are replaced everywhere in the command, the plugins' folder goes before
    it, and before that, with `mark`, what an L4xNAT farm needs (libm stands for its mark.so). Run
    as root from /, stdin is /dev/null. Exit status 0 in less than `timeout` is up, all else down.
    Backends are checked one after the other.
    """

    def __init__(self, machine: Machine, command: str, timeout: float, mark: bool) -> None:
        """Check nothing yet."""
        self._machine, self._command, self._timeout = machine, command, timeout
        self._prefix = "MARK=514 LD_PRELOAD=libm.so.6 " if mark else ""

    def check(self, *backends: Backend) -> list[Check]:
        """Make one pass over the backends."""
        return [self._check(*backend) for backend in backends]

    def up(self, *hosts: str) -> list[bool]:
        """Make one pass over the hosts' port 443, and return which are up."""
        return [check.up for check in self.check(*((host, "443") for host in hosts))]

    def start(self, backend: Backend) -> Running[str]:
        """Begin to check a backend."""
        return self._machine.start(self._argv(*backend))

    def _argv(self, host: str, port: str) -> list[str]:
        command = self._command.replace("HOST", host).replace("PORT", port)
        return ["perl", "-e", BACKTICKS, self._prefix + PLUGINS + command]

    def _check(self, host: str, port: str) -> Check:
        start = time.monotonic()
        done = self._machine.run(self._argv(host, port))
        in_time = time.monotonic() - start < self._timeout
        status, output = done.stdout.split("\n", 1)
        return Check(int(status) == 0 and in_time, int(status), output)


class Api(HTTPServer):
    """A fake REST API, with the part of a load balancer's that Farmguardians are made by."""

    def __init__(self) -> None:
        """Listen, with an HTTP farm (one service) and an L4xNAT farm (none) to put in charge."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.guardians: dict[str, dict[str, Any]] = {}
        self.farms: dict[str, str] = {}

    @property
    def url(self) -> str:
        """What the script is told."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, given: dict[str, Any]) -> tuple[int, str]:
        """Return the status and the message, after the API's own rules."""
        self.requests.append((method, path, given))
        if (method, path) == ("POST", "/monitoring/fg"):
            return self._create(given)
        made = re.match(r"/monitoring/fg/([\w-]+)$", path)
        if method == "PUT" and made:
            return self._modify(made.group(1), given)
        if method == "POST" and path in ("/farms/web/services/https/fg", "/farms/mail/fg"):
            return self._link(path, given)
        return 404, f"Request not found: {path}"

    def _create(self, given: dict[str, Any]) -> tuple[int, str]:
        if set(given) != {"name"} or not re.match(r"[\w-]+$", given["name"]):
            return 400, "The parameter 'name' has not a valid value."
        if given["name"] in self.guardians:
            return 400, f"The farm guardian '{given['name']}' already exists."
        self.guardians[given["name"]] = {}
        return 200, "created"

    def _modify(self, name: str, given: dict[str, Any]) -> tuple[int, str]:
        valid = {
            "description": ".+",
            "command": ".+",
            "interval": r"[1-9]\d*",
            "timeout": r"[1-9]\d*",
            **dict.fromkeys(("backend_alias", "cut_conns", "force", "log"), "true|false"),
        }
        for parameter, value in given.items():
            if not re.match(f"({valid.get(parameter, '(?!)')})$", str(value)):
                return 400, f"The parameter '{parameter}' has not a valid value."
        if name not in self.guardians:
            return 400, f"The farm guardian '{name}' does not exist."
        if name in self.farms.values() and "command" in given and "force" not in given:
            return 400, f"Farm guardian '{name}' is running. To apply, send parameter 'force'"
        self.guardians[name].update(given)
        return 200, "changed"

    def _link(self, path: str, given: dict[str, Any]) -> tuple[int, str]:
        if given.get("name") not in self.guardians:
            return 404, f"The farmguardian '{given.get('name')}' does not exist"
        if path in self.farms:
            return 400, "The farm has already linked a farm guardian"
        self.farms[path] = given["name"]
        return 200, "added"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def _answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        cgi, _, path = self.path.partition("/zapi.cgi")
        if cgi != "/zapi/v4.0" or self.headers["Content-Type"] != "application/json":
            status, message = 404, "not found"
        elif self.headers["ZAPI_KEY"] != KEY:
            status, message = 401, "Authorization required"
        else:
            status, message = self.server.answer(self.command, path, body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"message": message}).encode())

    do_POST = do_PUT = _answer  # noqa: N815  as http.server calls them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the test's output is for the test."""


@pytest.fixture
def api(lab: Lab) -> Iterator[Api]:
    """Return the API of a load balancer, on the machine's own address."""
    server = lab.within("scanner", Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def made_by(api: Api, machine: Machine, *words: str, key: str = KEY) -> int:
    """Run the example with the words after the load balancer's, and return the exit code."""
    machine.install("farmguardian/rest.sh", REST, 0o755)
    environment = {"PATH": "/usr/bin:/bin", "ZAPI_KEY": key}
    done = machine.run([REST, api.url, *words], env=environment)
    assert done.stdout == ""
    assert (done.returncode == 0) == (done.stderr == ""), done
    return done.returncode


@pytest.fixture(params=[False, True], ids=["proxy", "l4xnat"])
def farmguardian(request: pytest.FixtureRequest, api: Api, machine: Machine) -> Farmguardian:
    """Return the Farmguardian that the example makes, for either kind of farm."""
    assert made_by(api, machine, *(["mail"] if request.param else ["web", "https"])) == 0
    made = api.guardians[NAME]
    return Farmguardian(machine, made["command"], made["interval"], mark=request.param)


# -- making one -----------------------------------------------------------------------------------


def test_the_api_is_asked_for_a_farmguardian_and_to_put_it_in_charge_of_the_farm(
    api: Api, machine: Machine
) -> None:
    assert made_by(api, machine, "web", "https") == 0

    assert api.requests == [
        ("POST", "/monitoring/fg", {"name": NAME}),
        (
            "PUT",
            "/monitoring/fg/" + NAME,
            {
                "description": "Half-open TCP check, unseen by the backends",
                "command": "check_tcp_half_open HOST PORT",
                "interval": 10,
                "force": "true",
                "cut_conns": "false",
                "log": "true",
            },
        ),
        ("POST", "/farms/web/services/https/fg", {"name": NAME}),
    ]
    assert api.farms == {"/farms/web/services/https/fg": NAME}


def test_a_refusal_ends_the_script(api: Api, machine: Machine) -> None:
    assert made_by(api, machine, "web", "https", key="wrong") == 1
    assert (api.requests, api.guardians) == ([], {})

    assert made_by(api, machine, "nowhere") == 1
    assert api.farms == {}


def test_one_farmguardian_serves_several_farms_and_each_once(api: Api, machine: Machine) -> None:
    assert made_by(api, machine, "mail") == 0
    assert made_by(api, machine, "web", "https") == 0
    assert api.farms == {"/farms/mail/fg": NAME, "/farms/web/services/https/fg": NAME}
    assert list(api.guardians) == [NAME]

    assert made_by(api, machine, "mail") == 1, "it has one already"


def test_zcli_is_told_the_same(api: Api, machine: Machine) -> None:
    machine.install("farmguardian/zcli.sh", ZCLI, 0o755)
    machine.write("/usr/local/bin/zcli", ZCLI_FAKE, 0o755)
    assert machine.run([ZCLI, "web", "https"]).returncode == 0
    assert machine.run([ZCLI, "mail"]).returncode == 0
    made_by(api, machine, "web", "https")

    settings = ",".join(f"-{name},{value}" for name, value in api.requests[1][2].items())
    create, change, *add = machine.read("/root/said").splitlines()[:3]
    assert create == f"farmguardian,create,-name,{NAME}"
    assert sorted(re.split(",(?=-)", change)) == sorted(
        [f"farmguardian,set,{NAME}", *re.split(",(?=-)", settings)]
    )
    assert add == [f"farm-service-farmguardian,add,web,https,-name,{NAME}"]
    last = machine.read("/root/said").splitlines()[-1]
    assert last == f"farm-service-farmguardian,add,mail,default_service,-name,{NAME}"


# -- at work --------------------------------------------------------------------------------------


def test_backends_come_and_go(farmguardian: Farmguardian, farm: Farm) -> None:
    seen = [farmguardian.up(WEB1, WEB2)]
    farm.only(WEB2)
    seen.append(farmguardian.up(WEB1, WEB2))

    assert seen == [[True, False], [False, True]]


@pytest.mark.usefixtures("farm")
def test_an_ipv6_backend_is_up(farmguardian: Farmguardian) -> None:
    assert [check.up for check in farmguardian.check((TARGET[6], "25"), (TARGET[6], "26"))] == [
        True,
        False,
    ]


@pytest.mark.usefixtures("farm")
def test_a_backends_alias_is_a_name_that_the_load_balancer_resolves(
    machine: Machine, farmguardian: Farmguardian
) -> None:
    machine.write("/etc/hosts", f"{WEB1} web-one\n{WEB2} web-two\n")

    assert farmguardian.up("web-one", "web-two", "web-three.invalid") == [True, False, False]


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize("fault", ["missing", "not allowed"])
def test_a_broken_nmap_is_never_up(
    machine: Machine, farmguardian: Farmguardian, fault: str
) -> None:
    machine.break_nmap(fault)
    (check,) = farmguardian.check((WEB1, "443"))

    assert (check.up, check.status >> 8) == (False, 3)
    assert check.output.startswith("TCP HALF-OPEN UNKNOWN - nmap ")


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize("fault", ["no interpreter", "not importable"])
def test_a_halfopen_that_does_not_start_is_never_up(
    machine: Machine, farmguardian: Farmguardian, fault: str
) -> None:
    machine.break_halfopen(fault)

    assert farmguardian.up(WEB1, WEB2) == [False, False]


@pytest.mark.usefixtures("farm")
def test_a_hanging_nmap_is_never_up_and_does_not_stop_the_monitoring(
    machine: Machine, api: Api
) -> None:
    made_by(api, machine, "mail")
    command, interval = (api.guardians[NAME][key] for key in ("command", "interval"))
    machine.break_nmap("hanging")
    start = time.monotonic()
    (check,) = Farmguardian(machine, command, 2 * interval, mark=True).check((WEB1, "443"))

    assert (check.up, check.status >> 8) == (False, 3)
    assert time.monotonic() - start < 2 * interval
    assert machine.running("nmap") == machine.running("sleep") == []


def test_a_check_that_was_left_alone_ends(machine: Machine, farmguardian: Farmguardian) -> None:
    # A Farmguardian that is stopped leaves the check that it has begun to itself.
    machine.slow_nmap()
    process = farmguardian.start((TARGET[4], "80"))
    assert wait_until(lambda: machine.running("nmap.real"))
    end(process, signal.SIGKILL)

    assert machine.running(NAME), "else there would be nothing to see"
    assert wait_until(lambda: not machine.running(NAME) and not machine.running("nmap.real"), 30)


@pytest.mark.usefixtures("farm")
@pytest.mark.parametrize("port", ["80:90", "80,443", "80,443,8000:8080"])
def test_the_ports_of_a_farm_are_down_with_a_word_on_what_to_do(
    farmguardian: Farmguardian, port: str
) -> None:
    (check,) = farmguardian.check((WEB1, port))

    assert not check.up
    assert "write the one port to check in place of PORT" in check.output
    assert check.output.count("\n") == 1


@pytest.mark.usefixtures("farm")
def test_all_ports_of_a_farm_are_down(farmguardian: Farmguardian) -> None:
    # The shell makes the names of files of `*`, so there is nothing better to say.
    (check,) = farmguardian.check((WEB1, "*"))

    assert not check.up
    assert check.output.startswith("TCP HALF-OPEN UNKNOWN - ")


@pytest.mark.usefixtures("farm")
def test_dead_backends_hold_up_the_others_for_seconds_only(farmguardian: Farmguardian) -> None:
    start = time.monotonic()
    checks = farmguardian.check((TARGET[4], "80"), (TARGET[4], "8091"), (WEB1, "443"))

    assert [check.up for check in checks] == [False, False, True]
    # Some 3 s; three times as long is for a slow machine, and still half of two whole timeouts.
    assert time.monotonic() - start < 10


@pytest.mark.usefixtures("farm")
def test_the_environment_reaches_nmap(machine: Machine, api: Api) -> None:
    # Without the mark, nmap's packets would go where the clients' go.
    made_by(api, machine, "mail")
    nmap = machine.path("/usr/bin/nmap")
    nmap.rename(nmap.with_name("nmap.real"))
    wrapper = '#!/bin/sh\necho "$MARK $LD_PRELOAD" >> /root/seen\nexec /usr/bin/nmap.real "$@"\n'
    machine.write("/usr/bin/nmap", wrapper, 0o755)
    l4xnat = Farmguardian(machine, api.guardians[NAME]["command"], 10, mark=True)

    assert l4xnat.up(WEB1) == [True]
    assert set(machine.read("/root/seen").splitlines()) == {"514 libm.so.6"}


@pytest.mark.parametrize("mark", [False, True], ids=["proxy", "l4xnat"])
def test_as_farmguardian_prints_one_line_that_is_no_printf_format(
    machine: Machine, mark: bool
) -> None:
    command = f"{NAME} HOST PORT --as farmguardian"
    log = Farmguardian(machine, command, 10, mark).check(
        (LINK_LOCAL, "25"), (LINK_LOCAL, "26"), (LINK_LOCAL, "80"), (LINK_LOCAL, "x%sy")
    )

    assert [(check.up, check.status >> 8) for check in log] == [
        (True, 0),
        (False, 2),
        (False, 2),
        (False, 3),
    ]
    for check in log:
        assert check.output.startswith("TCP HALF-OPEN ")
        assert check.output.count("\n") == 1
        assert not set("%|") & set(check.output), "a printf format, or perfdata"
