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
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest
from lab import Finished, Lab
from support.machine import ROOT, WEB1, WEB2, Machine

from .contract import ADDRESSES, FAULTS, PLUGIN, Contract, Host

NEEDS = ("curl", "perl")

PAGE = (ROOT / "docs" / "load-balancers" / "farmguardian.md").read_text(encoding="utf-8")
NAME = "check_tcp_half_open"
KEY = "0123456789abcdef"
USUAL = f"{NAME} HOST PORT"
FOLDER, SAID = "/root/farmguardian/", "/root/said"
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

# Perl decides between a shell and none: by the command's metacharacters, or a leading NAME=value.
BACKTICKS = 'my @output = `$ARGV[0]`; print $?, "\\n", @output;'

WEB, MAIL = "/farms/web/services/https/fg", "/farms/mail/fg"
"""Where a Farmguardian is put in charge of an HTTP farm, which has a service, and an L4xNAT one."""


# -- the page -------------------------------------------------------------------------------------


def section(title: str) -> str:
    """Return the text below a heading of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[str]:
    """Return the shell commands below a heading, a text for each block."""
    return re.findall(r"^```sh\n(.*?)^```", section(title), re.M | re.S)


def line_for(product: str, script: str) -> str:
    """Return the page's line that runs the script for a product, without the comment."""
    lines = "".join(commands("2. Create the Farmguardian")).splitlines()
    (line,) = (line for line in lines if script in line and product in line.split("#")[1])
    return line.split(" #")[0]


def table(title: str) -> dict[str, str]:
    """Return the first two columns of the last table below a heading."""
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]*?) \|", section(title), re.M)
    return {name: value.strip("`") for name, value in rows}


# Commands for Farmguardian that the page writes out, without the usual one.
OTHERS = re.findall(rf"`({USUAL} [^`]+)`", PAGE)


# -- the load balancer ----------------------------------------------------------------------------


class Farmguardian(Host):
    """A fake Farmguardian: one made by the API, at work on a farm's backends.

    Contract: HOST and PORT are replaced everywhere in the command, the plugins' folder goes before
    it, and before that the settings: what an L4xNAT farm needs. Run as root from /, stdin is
    /dev/null. Exit status 0 is up, all else down.
    """

    UP, DOWN, FAILED = True, False, False

    def judge(self, web: str) -> bool:
        return self.check(ADDRESSES[web])[0] == 0

    def check(self, host: str, port: str = "443") -> tuple[int, str]:
        """Check a backend; return the exit status, and what goes into the log."""
        command = self.config.replace("HOST", host).replace("PORT", port)
        command = self.settings + PLUGIN.replace(NAME, command)
        status, self.output[host] = self.machine.do("perl", "-e", BACKTICKS, command).split("\n", 1)
        return int(status), self.output[host]

    def broken(self, fault: str) -> contextlib.AbstractContextManager[None]:
        if fault == "halfopen not importable":
            return self._cut_short()
        # As after a backup was restored on a new machine.
        absent = {"halfopen without interpreter": "/usr/bin/python3", "halfopen missing": PLUGIN}
        return self.machine.without(absent[fault]) if fault in absent else super().broken(fault)

    @contextlib.contextmanager
    def _cut_short(self) -> Iterator[None]:
        plugin = self.machine.path(PLUGIN)
        whole = plugin.read_bytes()
        with self.machine.without(PLUGIN):
            plugin.write_bytes(whole[: len(whole) // 2])
            plugin.chmod(0o755)
            yield


class Api(HTTPServer):
    """A fake REST API, with the part of a load balancer's that one Farmguardian is made by.

    RELIANOID has names of its own in it. The real one takes the others' names as well, and says in
    its log that it will not for ever: this one does not.
    """

    product = "ZEVENET"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.made: dict[str, Any] = {}
        self.farms: set[str] = set()

    def accepts(self, handler: _Handler) -> str:
        """Return the path asked for below the API's own; empty if it may not be asked for."""
        name, key = ("api", "API_KEY") if self.product == "RELIANOID" else ("zapi", "ZAPI_KEY")
        headers = (handler.headers["Content-Type"], handler.headers[key])
        prefix, _, path = handler.path.partition(f"/{name}/v4.0/{name}.cgi")
        return path if (prefix, *headers) == ("", "application/json", KEY) else ""

    def answer(self, method: str, path: str, given: dict[str, Any]) -> tuple[int, Any]:
        """Return the status and the message, after the API's own rules."""
        self.requests.append((method, path, given))
        named = given == {"name": NAME}
        if (method, path) == ("POST", "/monitoring/fg") and named and not self.made:
            self.made = {"description": "", "command": "", "interval": 10}
        elif method == "POST" and path in {WEB, MAIL} - self.farms and named and self.made:
            self.farms.add(path)
        elif method in ("GET", "PUT") and path == f"/monitoring/fg/{NAME}" and self.made:
            self.made.update(given)
        else:
            return 400, "It is there already, or it is not there."
        return 200, {"name": NAME, **self.made}


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"
        path = self.server.accepts(self)
        refused = 401, "Authorization required"
        status, message = (
            self.server.answer(self.command, path, json.loads(body)) if path else refused
        )
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
    with lab.within("scanner", Api) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(server.serve_forever, 0.05)
        try:
            yield server
        finally:
            server.shutdown()


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
    machine.path(PLUGIN).unlink()
    # A fake apt-get, for there is no mirror in the lab: it writes down its words.
    machine.write("/usr/local/bin/apt-get", f'#!/bin/sh\necho "$*" >> {SAID}\n', 0o755)
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
def host(lab: Lab, installed: Path, dist: Path) -> Iterator[Farmguardian]:
    """Return the Farmguardian that the example makes, with a shorter time limit."""
    with serving(lab) as api, Machine(lab, installed) as machine:
        assert made_by(api, load_balancer(machine, dist), "web https") == 0
        with Farmguardian(machine, api.made["command"] + " -t 3") as made:
            yield made


def run(machine: Machine, script: str, **values: str) -> Finished[str]:
    """Run a command of the page on the load balancer, with values for its placeholders."""
    for name, value in values.items():
        assert name in script
        script = script.replace(name, value)
    return machine.run(["sh", "-ec", f"cd {FOLDER}\n{script}"])


def made_by(api: Api, machine: Machine, farm: str, key: str = KEY) -> int:
    """Run the page's command with the words for a farm, and return the exit code."""
    url = f"http://127.0.0.1:{api.server_address[1]}"
    values = {"FARM SERVICE": farm, "=KEY": "=" + key, "https://LB:444": url}
    done = run(machine, line_for(api.product, "rest.sh"), **values)
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


@pytest.mark.parametrize("product", ["ZEVENET", "SKUDONET", "RELIANOID"])
def test_both_scripts_ask_for_a_farmguardian_and_to_put_it_in_charge_of_the_farm(
    api: Api, machine: Machine, product: str
) -> None:
    api.product = product
    machine.path(SAID).unlink()
    zcli, renamed = line_for(product, "zcli.sh"), line_for("another name", "zcli.sh")
    assert made_by(api, machine, "web https") == 0
    assert run(machine, zcli, **{"FARM SERVICE": "web https"}).returncode == 0
    machine.path("/usr/local/bin/zcli").rename(machine.path("/usr/local/bin/noid"))
    assert run(machine, renamed, **{"NAME": "noid", "FARM SERVICE": "mail"}).returncode == 0

    assert api.requests == [
        ("POST", "/monitoring/fg", {"name": NAME}),
        ("GET", "/monitoring/fg/" + NAME, {}),
        ("PUT", "/monitoring/fg/" + NAME, SETTINGS),
        ("POST", WEB, {"name": NAME}),
    ]
    create, get, change, *rest = machine.read(SAID).splitlines()
    assert (create, get) == (f"farmguardian,create,-name,{NAME}", f"-nc,farmguardian,get,{NAME}")
    settings = [f"-{name},{value}" for name, value in SETTINGS.items()]
    assert sorted(re.split(",(?=-)", change)) == sorted([f"farmguardian,set,{NAME}", *settings])
    assert rest == [
        f"farm-service-farmguardian,add,web,https,-name,{NAME}",
        create,
        get,
        f"farm-service-farmguardian,add,mail,default_service,-name,{NAME}",
    ]


def test_the_fields_of_the_gui_are_what_the_script_sends() -> None:
    fields = table("2. Create the Farmguardian")
    interval, said = str(SETTINGS["interval"]), {"true": "on", "false": "off"}

    assert (fields["Name"], fields["Command"]) == (NAME, SETTINGS["command"])
    assert (fields["Interval"], fields["Timeout"]) == (interval, interval)
    assert fields["Cut connections"] == said[SETTINGS["cut_conns"]]
    assert fields["Enable logs"] == said[SETTINGS["log"]]


def test_a_refusal_ends_the_script(api: Api, machine: Machine) -> None:
    assert made_by(api, machine, "web https", key="wrong") == 1
    assert api.requests == []

    assert made_by(api, machine, "nowhere") == 1
    assert api.farms == set()


def test_one_farmguardian_serves_several_farms_with_what_was_changed_by_hand(
    api: Api, machine: Machine
) -> None:
    assert made_by(api, machine, "mail") == 0
    api.made["interval"] = 30
    assert made_by(api, machine, "web https") == 0

    assert api.farms == {WEB, MAIL}
    assert api.made == {**SETTINGS, "interval": 30}
    # Nothing was started anew: that would bring every backend of the first farm up.
    assert [method for method, _, _ in api.requests].count("PUT") == 1
    assert made_by(api, machine, "mail") == 1, "it has one already"


def test_an_interrupted_script_can_be_run_again(api: Api, machine: Machine) -> None:
    api.answer("POST", "/monitoring/fg", {"name": NAME})
    assert made_by(api, machine, "mail") == 0

    assert api.made == SETTINGS, "a Farmguardian without a command: all are down"


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
    machine.path(PLUGIN).chmod(0o644)
    found.append(farmguardian.check(WEB1)[0])

    *rows, missing = table("4. Verify")
    assert list(map(str, found[:4])) == rows
    assert set(map(str, found[4:])) <= set(missing.split(", "))


# -- at work --------------------------------------------------------------------------------------


class TestContract(Contract):
    HOST = Farmguardian

    def test_the_ports_of_a_farm_are_down_with_a_word_on_what_to_do(
        self, host: Farmguardian
    ) -> None:
        for port in ("80:90", "80,443", "80,443,8000:8080", "*"):
            status, output = host.check(WEB1, port)
            assert status != 0
            assert output.startswith("TCP HALF-OPEN UNKNOWN - ")
            # The shell makes the names of files of `*`, so there is nothing better to say.
            assert port == "*" or "write the one port to check in place of PORT" in output
            assert output.count("\n") == 1


@pytest.mark.usefixtures("farm")
def test_exit_error_0_keeps_all_up_with_a_broken_nmap_and_only_then(machine: Machine) -> None:
    (command,) = (command for command in OTHERS if "--exit" in command)
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
    for command in OTHERS:
        assert Farmguardian(machine, command).judged() == {"web1": True, "web2": False}, command


@pytest.mark.usefixtures("farm")
def test_in_an_l4xnat_farm_the_environment_reaches_nmap(machine: Machine, api: Api) -> None:
    # Without the mark, nmap's packets would go where the clients' go. libm stands for its mark.so.
    made_by(api, machine, "mail")
    nmap = machine.path("/usr/bin/nmap")
    nmap.rename(nmap.with_name("nmap.real"))
    wrapper = '#!/bin/sh\necho "$MARK $LD_PRELOAD" >> /root/seen\nexec /usr/bin/nmap.real "$@"\n'
    machine.write("/usr/bin/nmap", wrapper, 0o755)
    l4xnat = Farmguardian(machine, api.made["command"], "MARK=514 LD_PRELOAD=libm.so.6 ")

    assert l4xnat.judged() == {"web1": True, "web2": False}
    assert set(machine.read("/root/seen").splitlines()) == {"514 libm.so.6"}
    # Perl starts this one by a shell.
    for fault in ("halfopen without interpreter", "halfopen not importable", "halfopen missing"):
        with l4xnat.broken(fault):
            assert l4xnat.judged() == {"web1": False, "web2": False}, fault
