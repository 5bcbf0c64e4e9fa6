"""Farmguardian, of ZEVENET, SKUDONET and RELIANOID: a fake one, for no Debian package has it.

What is real: the commands of docs/load-balancers/farmguardian.md, its scripts, curl, Perl's
backticks (which are how the real one runs its checks), the plugin, put in its place as that page
says, and nmap. The fakes play what the load balancers' API reference and source say; each says so
where it is defined.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Tuple

import pytest
from lab import TARGET, Finished, Lab
from support.machine import ROOT, WEB1, WEB2, Machine, Site

from .contract import ADDRESSES, FAULTS, Contract, Host, Judged

NEEDS = ("curl", "perl")

PAGE = (ROOT / "docs" / "load-balancers" / "farmguardian.md").read_text(encoding="utf-8")
PLUGINS = "/usr/lib/nagios/plugins/"
NAME = "check_tcp_half_open"
KEY = "0123456789abcdef"
USUAL = f"{NAME} HOST PORT"
FOLDER, SAID = "/root/farmguardian/", "/root/said"
# A fake apt-get, for there is no mirror in the lab: it writes down its words.
APT_GET = f"""#!/bin/sh
echo "$*" >> {SAID}
"""
# A fake zcli, as far as the script goes: it writes down its words, creates nothing twice, and knows
# whether the Farmguardian has a command. It prints as the real one does with -nc.
ZCLI = f"""#!/bin/sh
IFS=,
echo "$*" >> {SAID}
case "$*" in
    farmguardian,create,*) [ ! -e /root/made ] && : > /root/made ;;
    farmguardian,set,*) echo something > /root/made ;;
    *farmguardian,get,*) printf '{{\\n   "command" : "%s"\\n}}\\n' "$(cat /root/made)" ;;
esac
"""
LINK_LOCAL = "fe80::25%eth0"

# Perl decides between a shell and none: by the command's metacharacters, or a leading NAME=value.
BACKTICKS = 'my @output = `$ARGV[0]`; print $?, "\\n", @output;'

Request = Tuple[str, str, Dict[str, Any]]


class Product(NamedTuple):
    """What differs between the load balancers, as far as this goes: names in their REST API.

    The real RELIANOID takes the others' names as well, and says in its log that it will not for
    ever: this one does not.
    """

    name: str
    api: str
    key: str


ZEVENET = Product("ZEVENET", "/zapi/v4.0/zapi.cgi", "ZAPI_KEY")
PRODUCTS = [
    ZEVENET,
    ZEVENET._replace(name="SKUDONET"),
    Product("RELIANOID", "/api/v4.0/api.cgi", "API_KEY"),
]
each_product = pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)


# -- the page -------------------------------------------------------------------------------------


def section(title: str) -> str:
    """Return the text below a heading of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[str]:
    """Return the shell commands below a heading, a text for each block."""
    return re.findall(r"^```sh\n(.*?)^```", section(title), re.M | re.S)


def command_for(product: Product, script: str) -> str:
    """Return the page's line that runs the script for the product, without the comment."""
    lines = "".join(commands("2. Create the Farmguardian")).splitlines()
    (line,) = (line for line in lines if script in line and product.name in line.split("#")[1])
    return line.split(" #")[0]


def table(title: str) -> dict[str, str]:
    """Return the first two columns of the last table below a heading."""
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]*?) \|", section(title), re.M)
    return {name: value.strip("`") for name, value in rows}


def settings_of_checks() -> list[str]:
    """Return the commands for Farmguardian that the page writes out, without the usual one."""
    found = re.findall(rf"`({NAME} HOST PORT [^`]+)`", PAGE)
    assert found
    return found


# -- the load balancer ----------------------------------------------------------------------------


class Farmguardian(Host):
    """A fake Farmguardian: one made by the API, at work on a farm's backends.

    Contract: HOST and PORT are replaced everywhere in the command, the plugins' folder goes before
    it, and before that, with `mark`, what an L4xNAT farm needs (libm stands for its mark.so). Run
    as root from /, stdin is /dev/null. Exit status 0 is up, all else down. Backends are checked one
    after the other.
    """

    UP, DOWN, FAILED = True, False, False

    def __init__(self, machine: Machine, command: str, mark: bool = False) -> None:
        """Check nothing yet."""
        super().__init__(machine, command)
        self._prefix = "MARK=514 LD_PRELOAD=libm.so.6 " if mark else ""

    def judged(self) -> Judged:
        return {web: self.check(address)[0] == 0 for web, address in ADDRESSES.items()}

    @contextlib.contextmanager
    def broken(self, fault: str) -> Iterator[None]:
        plugin = self.machine.path(PLUGINS, NAME)
        whole = plugin.read_bytes()
        with contextlib.ExitStack() as stack:
            if fault.startswith("nmap "):
                stack.enter_context(super().broken(fault))
            elif fault == "halfopen without interpreter":
                python = self.machine.path(
                    whole.split(b"\n", 1)[0].decode()[len("#!") :].split()[0]
                )
                stack.callback(python.rename(python.with_name("aside")).rename, python)
            elif fault == "halfopen not importable":
                stack.callback(plugin.write_bytes, whole)
                plugin.write_bytes(whole[: len(whole) // 2])  # the copy was cut short
            else:  # as after a backup was restored on a new machine
                stack.callback(plugin.rename(plugin.with_name("aside")).rename, plugin)
            yield

    def check(self, host: str, port: str = "443") -> tuple[int, str]:
        """Check a backend; return the exit status, and what goes into the log."""
        command = self.config.replace("HOST", host).replace("PORT", port)
        done = self.machine.run(["perl", "-e", BACKTICKS, self._prefix + PLUGINS + command])
        status, self.output[host] = done.stdout.split("\n", 1)
        return int(status), self.output[host]


class Api(HTTPServer):
    """A fake REST API, with the part of a load balancer's that Farmguardians are made by."""

    product = ZEVENET

    def __init__(self) -> None:
        """Listen, with an HTTP farm (one service) and an L4xNAT farm (none) to put in charge."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.guardians: dict[str, dict[str, Any]] = {}
        self.farms: dict[str, str] = {}

    def answer(self, method: str, path: str, given: dict[str, Any]) -> tuple[int, Any]:
        """Return the status and the message (of GET: the settings), after the API's own rules."""
        self.requests.append((method, path, given))
        made = self.guardians.get(given.get("name", path.rpartition("/")[2]))
        if (method, path) == ("POST", "/monitoring/fg"):
            if set(given) != {"name"} or made is not None:
                return 400, "The farm guardian already exists, or has no valid name."
            self.guardians[given["name"]] = {"description": "", "command": "", "interval": 10}
            return 200, "created"
        if made is None:
            return 404, "The farmguardian does not exist"
        if path in ("/farms/web/services/https/fg", "/farms/mail/fg") and method == "POST":
            if path in self.farms:
                return 400, "The farm has already linked a farm guardian"
            self.farms[path] = given["name"]
        elif path != f"/monitoring/fg/{NAME}":
            return 404, f"Request not found: {path}"
        elif method == "PUT":
            made.update(given)
        return 200, {"name": NAME, **made} if method == "GET" else "done"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        api = self.server.product.api
        message: Any
        if not self.path.startswith(api) or self.headers["Content-Type"] != "application/json":
            status, message = 404, "not found"
        elif self.headers[self.server.product.key] != KEY:
            status, message = 401, "Authorization required"
        else:
            path, given = self.path[len(api) :], json.loads(body or "{}")
            status, message = self.server.answer(self.command, path, given)
        self.send_response(status)
        self.end_headers()
        text = json.dumps({"message": message}, indent=3, separators=(",", " : "))
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = _answer  # noqa: N815  as http.server calls them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the test's output is for the test."""


@contextlib.contextmanager
def serving(lab: Lab) -> Iterator[Api]:
    """Run the API of a load balancer, on the machine's own address."""
    server = lab.within("scanner", Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api(lab: Lab) -> Iterator[Api]:
    with serving(lab) as made:
        yield made


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the single file, as `make dist` makes it."""
    folder = tmp_path_factory.mktemp("dist")
    tool = ROOT / "tools" / "dist.py"
    subprocess.run([sys.executable, str(tool), "files", str(folder)], check=True, timeout=900)
    return folder / NAME


def load_balancer(machine: Machine, dist: Path) -> Machine:
    """Do the page's step 1 to a machine, and bring the scripts to it."""
    machine.path(PLUGINS, NAME).unlink()
    machine.write("/usr/local/bin/apt-get", APT_GET, 0o755)
    machine.write("/usr/local/bin/zcli", ZCLI, 0o755)
    for script in ("rest.sh", "zcli.sh"):
        machine.install("farmguardian/" + script, FOLDER + script, 0o755)
    shutil.copyfile(str(dist), str(machine.path(FOLDER, NAME)))
    done = run(machine, commands("1. Put the file")[0])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return machine


@pytest.fixture
def machine(machine: Machine, dist: Path) -> Machine:
    return load_balancer(machine, dist)


@pytest.fixture(scope="class")
def host(lab: Lab, installed: Site, dist: Path) -> Iterator[Farmguardian]:
    """Return the Farmguardian that the example makes, with a shorter time limit."""
    with serving(lab) as api, Machine(lab, installed) as machine:
        assert made_by(api, load_balancer(machine, dist), "web", "https") == 0
        with Farmguardian(machine, api.guardians[NAME]["command"] + " -t 3") as made:
            yield made


def run(machine: Machine, script: str, **values: str) -> Finished[str]:
    """Run a command of the page on the load balancer, with values for its placeholders."""
    for name, value in values.items():
        assert name in script
        script = script.replace(name, value)
    return machine.run(["sh", "-ec", f"cd {FOLDER}\n{script}"])


def made_by(api: Api, machine: Machine, *words: str, key: str = KEY) -> int:
    """Run the page's command with the farm's words, and return the exit code."""
    url = f"http://127.0.0.1:{api.server_address[1]}"
    script = command_for(api.product, "rest.sh").replace("FARM SERVICE", " ".join(words))
    done = run(machine, script, **{"=KEY": "=" + key, "https://LB:444": url})
    assert done.stdout == ""
    assert (done.returncode == 0) == (done.stderr == ""), done
    return done.returncode


# -- making one -----------------------------------------------------------------------------------


SETTINGS: dict[str, Any] = {
    "description": "Half-open TCP check, unseen by the backends",
    "command": "check_tcp_half_open HOST PORT",
    "interval": 10,
    "cut_conns": "false",
    "log": "true",
}


@each_product
def test_the_api_is_asked_for_a_farmguardian_and_to_put_it_in_charge_of_the_farm(
    api: Api, machine: Machine, product: Product
) -> None:
    api.product = product
    assert made_by(api, machine, "web", "https") == 0

    assert api.requests == [
        ("POST", "/monitoring/fg", {"name": NAME}),
        ("GET", "/monitoring/fg/" + NAME, {}),
        ("PUT", "/monitoring/fg/" + NAME, SETTINGS),
        ("POST", "/farms/web/services/https/fg", {"name": NAME}),
    ]
    assert api.farms == {"/farms/web/services/https/fg": NAME}


def test_the_fields_of_the_gui_are_what_the_script_sends() -> None:
    sent = {
        "Name": NAME,
        "Command": SETTINGS["command"],
        "Interval": str(SETTINGS["interval"]),
        "Timeout": str(SETTINGS["interval"]),
        "Cut connections": {"true": "on", "false": "off"}[SETTINGS["cut_conns"]],
        "Enable logs": {"true": "on", "false": "off"}[SETTINGS["log"]],
    }

    assert {name: table("2. Create the Farmguardian")[name] for name in sent} == sent


def test_a_refusal_ends_the_script(api: Api, machine: Machine) -> None:
    assert made_by(api, machine, "web", "https", key="wrong") == 1
    assert (api.requests, api.guardians) == ([], {})

    assert made_by(api, machine, "nowhere") == 1
    assert api.farms == {}


def test_one_farmguardian_serves_several_farms_with_what_was_changed_by_hand(
    api: Api, machine: Machine
) -> None:
    assert made_by(api, machine, "mail") == 0
    api.guardians[NAME]["interval"] = 30
    assert made_by(api, machine, "web", "https") == 0

    assert api.farms == {"/farms/mail/fg": NAME, "/farms/web/services/https/fg": NAME}
    assert api.guardians == {NAME: {**SETTINGS, "interval": 30}}
    # Nothing was started anew: that would bring every backend of the first farm up.
    assert [method for method, _, _ in api.requests].count("PUT") == 1
    assert made_by(api, machine, "mail") == 1, "it has one already"


def test_an_interrupted_script_can_be_run_again(api: Api, machine: Machine) -> None:
    api.answer("POST", "/monitoring/fg", {"name": NAME})
    assert made_by(api, machine, "mail") == 0

    assert api.guardians[NAME] == SETTINGS, "a Farmguardian without a command: all are down"


@each_product
def test_zcli_is_told_the_same(api: Api, machine: Machine, product: Product) -> None:
    script = command_for(product, "zcli.sh")
    machine.path(SAID).unlink()
    assert run(machine, script, FARM="web", SERVICE="https").returncode == 0
    assert run(machine, script.replace(" SERVICE", ""), FARM="mail").returncode == 0
    made_by(api, machine, "web", "https")

    settings = [f"-{name},{value}" for name, value in api.requests[2][2].items()]
    create, get, change, *rest = machine.read(SAID).splitlines()
    assert (create, get) == (f"farmguardian,create,-name,{NAME}", f"-nc,farmguardian,get,{NAME}")
    assert sorted(re.split(",(?=-)", change)) == sorted([f"farmguardian,set,{NAME}", *settings])
    assert rest == [
        f"farm-service-farmguardian,add,web,https,-name,{NAME}",
        create,
        get,
        f"farm-service-farmguardian,add,mail,default_service,-name,{NAME}",
    ]


def test_zcli_may_have_another_name(machine: Machine) -> None:
    machine.path("/usr/local/bin/zcli").rename(machine.path("/usr/local/bin/noid"))
    lines = "".join(commands("2. Create the Farmguardian")).splitlines()
    (line,) = (line for line in lines if line.startswith("ZCLI=NAME"))

    assert run(machine, line, NAME="noid", FARM="web", SERVICE="https").returncode == 0


# -- the page's four steps ------------------------------------------------------------------------


@pytest.mark.usefixtures("farm")
def test_the_file_is_put_with_what_it_needs_and_can_be_tried_by_hand(machine: Machine) -> None:
    attempt = commands("1. Put the file")[1]
    assert f" {WEB1} 443" in attempt
    tried = [run(machine, attempt), run(machine, attempt.replace(WEB1, WEB2))]

    assert machine.read(SAID) == "install nmap python3\n"
    assert [(done.returncode, done.stdout.split(" - ")[0]) for done in tried] == [
        (0, "TCP HALF-OPEN OK"),
        (2, "TCP HALF-OPEN CRITICAL"),
    ]


@pytest.mark.usefixtures("farm")
def test_the_logs_error_codes_are_those_of_the_page(machine: Machine) -> None:
    farmguardian = Farmguardian(machine, USUAL)
    found = [farmguardian.check(host)[0] for host in (WEB1, WEB2)]
    for fault in ("nmap missing", "halfopen not importable", "halfopen missing"):
        with farmguardian.broken(fault):
            found.append(farmguardian.check(WEB1)[0])
    machine.path(PLUGINS, NAME).chmod(0o644)
    found.append(farmguardian.check(WEB1)[0])

    *rows, missing = table("4. Verify")
    assert list(map(str, found[:4])) == rows
    assert set(map(str, found[4:])) <= set(missing.split(", "))


# -- at work --------------------------------------------------------------------------------------


class TestContract(Contract):
    HOST = Farmguardian

    def test_an_ipv6_backend(self, host: Farmguardian) -> None:
        assert [host.check(TARGET[6], port)[0] for port in ("25", "26")] == [0, 2 << 8]

    def test_a_backends_alias_is_a_name_that_the_load_balancer_resolves(
        self, host: Farmguardian
    ) -> None:
        host.machine.write("/etc/hosts", f"{WEB1} web-one\n{WEB2} web-two\n")
        names = ("web-one", "web-two", "web-three.invalid")

        assert [host.check(name)[0] >> 8 for name in names] == [0, 2, 3]

    def test_the_ports_of_a_farm_are_down_with_a_word_on_what_to_do(
        self, host: Farmguardian
    ) -> None:
        for port in ("80:90", "80,443", "80,443,8000:8080"):
            status, output = host.check(WEB1, port)
            assert status != 0
            assert "write the one port to check in place of PORT" in output
            assert output.count("\n") == 1

    def test_all_ports_of_a_farm_are_down(self, host: Farmguardian) -> None:
        # The shell makes the names of files of `*`, so there is nothing better to say.
        status, output = host.check(WEB1, "*")

        assert status != 0
        assert output.startswith("TCP HALF-OPEN UNKNOWN - ")


def test_the_pages_figures_follow_from_each_other() -> None:
    (numbers,) = re.findall(
        r"interval \+ A \S ([0-9.]+) s \+ N \S ([0-9.]+) s: ([0-9.]+) s for A = (\d+), "
        r"N = (\d+) and an interval of (\d+) s",
        " ".join(section("What an admin must know").split()),
    )
    answering, silent, total, a, n, interval = map(float, numbers)

    assert total == interval + a * answering + n * silent


@pytest.mark.usefixtures("farm")
def test_exit_error_0_keeps_all_up_with_a_broken_nmap_and_only_then(machine: Machine) -> None:
    (command,) = (command for command in settings_of_checks() if "--exit" in command)
    host = Farmguardian(machine, command.replace("-t 5", "-t 3"))
    for fault in (*FAULTS, "halfopen missing"):
        with host.broken(fault):
            kept = fault.startswith("nmap ")
            assert host.judged() == {"web1": kept, "web2": kept}, fault
        assert host.comes_to(True, False), host.told()
    for port in ("80,443", "80:90", "*"):
        assert f"`{port}`" in section("What an admin must know")
        assert host.check(WEB1, port)[0] != 0


@pytest.mark.usefixtures("farm")
def test_the_pages_other_commands_tell_open_from_closed(machine: Machine) -> None:
    for command in settings_of_checks():
        assert Farmguardian(machine, command).judged() == {"web1": True, "web2": False}, command


@pytest.mark.usefixtures("farm")
def test_in_an_l4xnat_farm_the_environment_reaches_nmap(machine: Machine, api: Api) -> None:
    # Without the mark, nmap's packets would go where the clients' go.
    made_by(api, machine, "mail")
    nmap = machine.path("/usr/bin/nmap")
    nmap.rename(nmap.with_name("nmap.real"))
    wrapper = '#!/bin/sh\necho "$MARK $LD_PRELOAD" >> /root/seen\nexec /usr/bin/nmap.real "$@"\n'
    machine.write("/usr/bin/nmap", wrapper, 0o755)
    l4xnat = Farmguardian(machine, api.guardians[NAME]["command"], mark=True)

    assert l4xnat.judged() == {"web1": True, "web2": False}
    assert set(machine.read("/root/seen").splitlines()) == {"514 libm.so.6"}
    # Perl starts this one by a shell.
    for fault in ("halfopen without interpreter", "halfopen not importable", "halfopen missing"):
        with l4xnat.broken(fault):
            assert l4xnat.judged() == {"web1": False, "web2": False}, fault


def test_its_own_format_prints_one_line_that_is_no_printf_format(machine: Machine) -> None:
    (option,) = re.findall(r"`(--\w+ farmguardian)`", PAGE)
    farmguardian = Farmguardian(machine, f"{USUAL} {option}")
    for port, code in (("25", 0), ("26", 2), ("80", 2), ("x%sy", 3)):
        status, output = farmguardian.check(LINK_LOCAL, port)
        assert status == code << 8
        assert output.startswith("TCP HALF-OPEN ")
        assert output.count("\n") == 1
        assert not set("%|") & set(output), "a printf format, or perfdata"
