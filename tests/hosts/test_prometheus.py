"""examples/prometheus: what node_exporter serves, and what Prometheus makes of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import urllib.parse
from typing import Iterator

import pytest
from lab import Lab
from support.booted import EACH_SECOND, UNITS, Booted, booted
from support.machine import EXAMPLES, WEB1, WEB2, Farm, Machine, Site, end, wait_until

NEEDS = ("prometheus", "promtool", "prometheus-node-exporter", "systemd")

FOLDER = "/var/lib/prometheus/node-exporter"
RULES = "/etc/prometheus/halfopen.rules.yml"
UNIT = "halfopen-prometheus"

# As the comment in the unit says.
AS_PROMETHEUS = """
[Service]
User=prometheus
AmbientCapabilities=CAP_NET_RAW
"""

NO_RIGHTS = """
[Service]
AmbientCapabilities=
CapabilityBoundingSet=
"""

PROMETHEUS = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files:
  - halfopen.rules.yml
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ['127.0.0.1:9100']
"""

# Series for promtool: web1 is fine until minute 60, when the last check was; web2 is closed, then
# can't be checked, then is open.
RULES_TEST = """
rule_files: [halfopen.rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'halfopen_up{target="web1:443", instance="a"}'
        values: '1x100'
      - series: 'halfopen_up{target="web2:443", instance="a"}'
        values: '0x9 _x10 1x80'
      - series: 'halfopen_state{target="web1:443", instance="a", state="error"}'
        values: '0x100'
      - series: 'halfopen_state{target="web2:443", instance="a", state="error"}'
        values: '0x9 1x10 0x80'
      - series: 'halfopen_check_timestamp_seconds{target="web1:443", instance="a"}'
        values: '0+60x60 3600x40'
      - series: 'halfopen_check_timestamp_seconds{target="web2:443", instance="a"}'
        values: '0+60x100'
    alert_rule_test:
"""

NEVER = "      - {{alertname: {name}, eval_time: {minute}m, exp_alerts: []}}\n"
FIRING = """\
      - alertname: {name}
        eval_time: {minute}m
        exp_alerts:
          - exp_labels: {{target: '{target}', instance: a, {labels}}}
            exp_annotations: {{summary: '{summary}'}}
"""


@pytest.fixture
def system(machine: Machine, installed: Site) -> Iterator[Booted]:
    """Return a systemd that has the units of the example."""
    with booted(machine) as made:
        for kind in ("service", "timer"):
            machine.install(f"prometheus/{UNIT}.{kind}", f"{UNITS}/{UNIT}.{kind}")
        machine.install("prometheus/targets", "/etc/halfopen/targets")
        machine.write(f"{UNITS}/{UNIT}.timer.d/sooner.conf", EACH_SECOND)
        yield made


@contextlib.contextmanager
def broken(system: Booted, fault: str) -> Iterator[None]:
    """Break nmap; "not allowed" by the unit, for setpriv in nmap's place is no help here.

    Without CAP_SETPCAP it leaves the bounding set as it is, and does not complain.
    """
    machine, no_rights = system.machine, f"{UNITS}/{UNIT}.service.d/zz-no-rights.conf"
    if fault == "not allowed":
        machine.write(no_rights, NO_RIGHTS)
    else:
        machine.break_nmap(fault)
    system.systemctl("daemon-reload")
    yield
    machine.mend_nmap()
    if fault == "not allowed":
        machine.path(no_rights).unlink()
    system.systemctl("daemon-reload")


@contextlib.contextmanager
def exporter(machine: Machine) -> Iterator[None]:
    """Run node_exporter as Debian does, but for the collectors that have nothing to do with us."""
    collectors = ["--collector.disable-defaults", "--collector.textfile"]
    daemon = machine.start(["prometheus-node-exporter", *collectors], "prometheus")
    try:
        yield
    finally:
        end(daemon)


def get(lab: Lab, port: int, path: str) -> str:
    """Fetch a page from a daemon on the machine; empty if it does not answer yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.sock = lab.within(
            "scanner", lambda: socket.create_connection(("127.0.0.1", port), 20)
        )
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def served(lab: Lab) -> dict[str, float]:
    """Return our metrics, and the collector's own, from what node_exporter serves."""
    lines = re.findall(r"^((?:halfopen|node_textfile)\S+) (\S+)$", get(lab, 9100, "/metrics"), re.M)
    return {name: float(value) for name, value in lines}


def up(lab: Lab) -> list[float | None]:
    """Return halfopen_up of web1 and web2; None where there is none."""
    metrics = served(lab)
    return [metrics.get(f'halfopen_up{{target="{host}:443"}}') for host in (WEB1, WEB2)]


def states(lab: Lab) -> list[list[str]]:
    """Return the states that web1 and web2 are in."""
    metrics = served(lab)
    pattern = r'halfopen_state\{{state="(\w+)",target="{}:443"\}}'
    return [
        [
            match.group(1)
            for match in (re.match(pattern.format(re.escape(host)), name) for name in metrics)
            if match and metrics[match.group()] == 1
        ]
        for host in (WEB1, WEB2)
    ]


@pytest.mark.parametrize("user", ["root", "prometheus"])
def test_node_exporter_serves_what_the_timer_has_found(
    system: Booted, lab: Lab, farm: Farm, user: str
) -> None:
    machine = system.machine
    if user == "prometheus":
        machine.write(f"{UNITS}/{UNIT}.service.d/user.conf", AS_PROMETHEUS)
        assert machine.run(["chown", "prometheus", FOLDER]).returncode == 0
    with exporter(machine):
        done = system.systemctl("enable", "--now", f"{UNIT}.timer")
        assert done.returncode == 0, done.stderr

        assert wait_until(lambda: up(lab) == [1, 0]), get(lab, 9100, "/metrics")
        assert states(lab) == [["open"], ["closed"]]
        farm.only(WEB2)
        assert wait_until(lambda: up(lab) == [0, 1])
        for fault in ("missing", "not allowed"):
            with broken(system, fault):
                assert wait_until(lambda: up(lab) == [None, None]), fault
                assert states(lab) == [["error"], ["error"]]
            assert wait_until(lambda: up(lab) == [0, 1]), fault
        assert served(lab)["node_textfile_scrape_error"] == 0
    assert system.show(f"{UNIT}.service", "User", "Result") == (
        "" if user == "root" else user,
        "success",
    )


@pytest.mark.usefixtures("farm")
def test_a_hanging_nmap_is_an_error_and_a_stopped_timer_leaves_an_old_time(
    system: Booted, lab: Lab
) -> None:
    machine = system.machine
    text = machine.read(f"{UNITS}/{UNIT}.service")
    machine.write(f"{UNITS}/{UNIT}.service", text.replace("-t 30", "-t 3"))
    time_of_web1 = f'halfopen_check_timestamp_seconds{{target="{WEB1}:443"}}'
    with exporter(machine):
        system.systemctl("start", f"{UNIT}.service")
        assert wait_until(lambda: up(lab) == [1, 0])
        before = served(lab)[time_of_web1]
        # Nothing checks now: what is served is as old as the last check.
        assert served(lab)[time_of_web1] == before
        machine.break_nmap("hanging")
        system.systemctl("start", f"{UNIT}.service")
        assert (up(lab), states(lab)) == ([None, None], [["error"], ["error"]])
        assert served(lab)[time_of_web1] > before


@pytest.mark.parametrize("fault", ["no interpreter", "not importable"])
@pytest.mark.usefixtures("farm")
def test_a_halfopen_that_does_not_start_fails_the_unit_and_the_time_stands_still(
    system: Booted, lab: Lab, fault: str
) -> None:
    """As with a timer that was stopped: HalfopenStale tells."""
    with exporter(system.machine):
        system.systemctl("start", f"{UNIT}.service")
        assert wait_until(lambda: up(lab) == [1, 0])
        before = served(lab)
        system.machine.break_halfopen(fault)
        system.systemctl("start", f"{UNIT}.service")

        assert system.show(f"{UNIT}.service", "ActiveState", "Result") == ("failed", "exit-code")
        times = [name for name in before if name.startswith("halfopen_check_timestamp_seconds")]
        assert len(times) == 2
        after = served(lab)
        assert [after[name] for name in times] == [before[name] for name in times]


@pytest.mark.usefixtures("farm")
def test_a_file_that_cannot_be_written_fails_the_unit(system: Booted) -> None:
    system.machine.run(["rmdir", FOLDER])
    system.systemctl("start", f"{UNIT}.service")

    assert system.show(f"{UNIT}.service", "Result", "ExecMainStatus") == ("exit-code", "3")


@pytest.mark.usefixtures("farm")
def test_promtool_finds_no_fault_with_the_file(machine: Machine) -> None:
    command = "halfopen check $* --format prometheus | tee /dev/stderr | promtool check metrics"
    targets = [f"{WEB1}:443", f"{WEB2}:443", "192.0.2.25:80", "[2001:db8::25]:25", "no.such.host:1"]
    done = machine.run(["sh", "-c", command, "sh", *targets])

    assert (done.stdout, done.returncode) == ("", 0)
    # The four states were all in it.
    assert set(re.findall(r'state="(\w+)"\} 1', done.stderr)) == {
        "open",
        "closed",
        "filtered",
        "error",
    }


@pytest.mark.usefixtures("farm")
def test_promtool_finds_no_fault_with_a_file_on_bad_lines(machine: Machine) -> None:
    odd = 'a\\b "c"\td\n# TYPE e'
    command = (
        r"""cd /tmp; printf '%s:443\n%s:0\n%s:443\ncaf\351:25\n' $2 $2 $3 >"$1"; """
        'halfopen check --targets "$1" --format prometheus | tee /dev/stderr | promtool check metrics'
    )
    done = machine.run(["sh", "-c", command, "sh", odd, WEB1, WEB2])

    assert (done.stdout, done.returncode) == ("", 0)
    assert len(re.findall("(?m)^halfopen_up", done.stderr)) == 2
    assert re.findall(r'target="([^\n]+)",state="error"\} 1', done.stderr) == [
        rf"a\\b \"c\"\\td\n# TYPE e:{number}" for number in (2, 4)
    ]


def test_the_alerts_fire_when_they_should_and_not_otherwise(machine: Machine) -> None:
    machine.install("prometheus/halfopen.rules.yml", RULES)
    down = {
        "name": "HalfopenDown",
        "target": "web2:443",
        "labels": "severity: critical",
        "summary": "web2:443 is not open, as seen from a",
    }
    failed = {
        "name": "HalfopenCheckFailed",
        "target": "web2:443",
        "labels": "severity: warning, state: error",
        "summary": "a cannot check web2:443; halfopen.prom there says why",
    }
    stale = {
        "name": "HalfopenStale",
        "target": "web1:443",
        "labels": "severity: warning",
        "summary": "a has not checked web1:443 for 10m 0s",
    }
    tests = [
        NEVER.format(name="HalfopenDown", minute=1),
        FIRING.format(minute=5, **down),
        # While a check fails nothing is known: neither up nor down.
        NEVER.format(name="HalfopenDown", minute=17),
        NEVER.format(name="HalfopenDown", minute=40),
        NEVER.format(name="HalfopenCheckFailed", minute=9),
        NEVER.format(name="HalfopenCheckFailed", minute=12),
        FIRING.format(minute=17, **failed),
        NEVER.format(name="HalfopenCheckFailed", minute=40),
        NEVER.format(name="HalfopenStale", minute=64),
        FIRING.format(minute=70, **stale),
        NEVER.format(name="HalfopenAbsent", minute=70),
        # After the end of all series.
        "      - alertname: HalfopenAbsent\n        eval_time: 120m\n        exp_alerts:\n"
        "          - {exp_labels: {severity: warning},"
        " exp_annotations: {summary: 'No instance checks anything'}}\n",
    ]
    machine.write("/etc/prometheus/test.yml", RULES_TEST + "".join(tests))

    for words in (["check", "rules", RULES], ["test", "rules", "/etc/prometheus/test.yml"]):
        done = machine.run(["promtool", *words])
        assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.usefixtures("farm")
def test_prometheus_itself_scrapes_and_judges(system: Booted, lab: Lab) -> None:
    machine = system.machine
    machine.install("prometheus/halfopen.rules.yml", RULES)
    machine.write("/etc/prometheus/prometheus.yml", PROMETHEUS)

    def query(expression: str) -> dict[str, str]:
        """Return the label target, and the value, of each series."""
        said = get(lab, 9090, "/api/v1/query?query=" + urllib.parse.quote(expression))
        if not said.startswith("{"):
            return {}
        result = json.loads(said)["data"]["result"]
        return {series["metric"].get("target", ""): series["value"][1] for series in result}

    storage = "--storage.tsdb.path=/var/lib/prometheus/metrics2"
    with exporter(machine):
        system.systemctl("start", f"{UNIT}.service")
        daemon = machine.start(
            ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", storage], "prometheus"
        )
        try:
            assert wait_until(
                lambda: query("halfopen_up") == {f"{WEB1}:443": "1", f"{WEB2}:443": "0"}
            ), machine.printed(daemon)
            # Pending: the rule says `for: 2m`.
            pending = 'ALERTS{alertname="HalfopenDown"}'
            assert wait_until(lambda: query(pending) == {f"{WEB2}:443": "1"})
            assert query('ALERTS{alertname!="HalfopenDown"}') == {}
            machine.break_nmap("missing")
            system.systemctl("start", f"{UNIT}.service")
            assert wait_until(lambda: query("halfopen_up") == {})
            assert wait_until(
                lambda: (
                    set(query('ALERTS{alertname="HalfopenCheckFailed"}'))
                    == {f"{WEB1}:443", f"{WEB2}:443"}
                )
            )
        finally:
            end(daemon)


def test_systemd_finds_no_fault_with_the_units(machine: Machine) -> None:
    for kind in ("service", "timer"):
        machine.install(f"prometheus/{UNIT}.{kind}", f"{UNITS}/{UNIT}.{kind}")
    paths = [f"{UNITS}/{UNIT}.{kind}" for kind in ("service", "timer")]
    done = machine.run(["systemd-analyze", "verify", *paths])

    assert UNIT not in done.stderr
    assert done.returncode == 0


def test_the_line_for_cron_is_the_units() -> None:
    text = (EXAMPLES / f"prometheus/{UNIT}.service").read_text(encoding="utf-8")
    found = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)

    assert found
    assert f"#   * * * * * root {found.group(1)}\n" in text
