"""examples/prometheus: what node_exporter serves, and what Prometheus makes of it."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.parse
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.booted import EACH_SECOND, UNITS, booted
from support.machine import WEB1, WEB2, Machine, example, wait_until

from .contract import ADDRESSES, Contract, Host, Judged, with_limit

NEEDS = ("prometheus", "promtool", "curl", "prometheus-node-exporter", "systemd")

FOLDER = "/var/lib/prometheus/node-exporter"
RULES = "/etc/prometheus/halfopen.rules.yml"
UNIT = "halfopen-prometheus"
STATES = ("open", "closed", "filtered", "error")

# As the comment in the unit says.
AS_PROMETHEUS = """
[Service]
User=prometheus
AmbientCapabilities=CAP_NET_RAW
"""

PROMETHEUS = """
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


class NodeExporter(Host):
    """node_exporter, which serves halfopen_up and the state of each target; beside it the timer.

    What is older than a few seconds is stale, as HalfopenStale says of some minutes: a halfopen
    that does not start fails the unit, and leaves the file as it is.
    """

    UP, DOWN, FAILED = (1.0, ["open"]), (0.0, ["closed"]), (None, ["error"])
    AT = dict.fromkeys(("halfopen without interpreter", "halfopen not importable"), "stale")
    OPEN = CLOSED = ""
    SAYS: ClassVar = {}

    def start(self) -> None:
        self.system = self.enter_context(booted(self.machine))
        unit = with_limit(example(f"prometheus/{UNIT}.service"), 3)
        self.machine.write(f"{UNITS}/{UNIT}.service", unit)
        self.machine.install(f"prometheus/{UNIT}.timer", f"{UNITS}/{UNIT}.timer")
        self.machine.install("prometheus/targets", "/etc/halfopen/targets")
        self.machine.write(f"{UNITS}/{UNIT}.timer.d/sooner.conf", EACH_SECOND)
        self.machine.write(f"{UNITS}/{UNIT}.service.d/user.conf", self.config)  # a drop-in
        # As Debian does, but for the collectors that have nothing to do with us.
        collectors = ["--collector.disable-defaults", "--collector.textfile"]
        self.run_daemon("prometheus-node-exporter", *collectors, user="prometheus")
        self.system.do("enable", "--now", f"{UNIT}.timer")

    def get(self, url: str) -> str:
        """Fetch a page from a daemon; empty if it does not answer yet."""
        return self.machine.run(["curl", "--silent", "--max-time", "20", url]).stdout

    def served(self) -> dict[str, float]:
        """Return our metrics, and the collector's own."""
        page = self.get("127.0.0.1:9100/metrics")
        lines = re.findall(r"^((?:halfopen|node_textfile)\S+) (\S+)$", page, re.MULTILINE)
        return {name: float(value) for name, value in lines}

    def judged(self) -> Judged:
        metrics = self.served()
        return {web: _judgement(metrics, f"{ADDRESSES[web]}:443") for web in ADDRESSES}


def _judgement(metrics: dict[str, float], target: str) -> object:
    checked = metrics.get(f'halfopen_check_timestamp_seconds{{target="{target}"}}', 0.0)
    if time.time() - checked > 6:
        return "stale"
    state = f'halfopen_state{{{{state="{{}}",target="{target}"}}}}'
    states = [each for each in STATES if metrics.get(state.format(each)) == 1]
    return metrics.get(f'halfopen_up{{target="{target}"}}'), states


class TestContract(Contract):
    HOST = NodeExporter

    def test_the_collector_reads_the_file_without_an_error(self, host: NodeExporter) -> None:
        assert host.served()["node_textfile_scrape_error"] == 0
        assert host.system.show(f"{UNIT}.service", "User", "Result") == ("", "success")

    def test_a_stopped_timer_is_seen_by_the_time_that_stands_still(
        self, host: NodeExporter
    ) -> None:
        host.system.do("stop", f"{UNIT}.timer")
        with contextlib.ExitStack() as stack:
            stack.callback(host.system.do, "start", f"{UNIT}.timer")
            assert host.comes_to("stale", "stale"), host.told()

    def test_a_file_that_cannot_be_written_fails_the_unit(self, host: NodeExporter) -> None:
        def ended() -> tuple[str, ...]:
            return host.system.show(f"{UNIT}.service", "Result", "ExecMainStatus")

        with host.machine.without(FOLDER):
            assert wait_until(lambda: ended() == ("exit-code", "3")), ended()


@pytest.mark.usefixtures("farm")
def test_the_units_user_may_be_another(machine: Machine) -> None:
    machine.do("chown", "prometheus", FOLDER)
    with NodeExporter(machine, AS_PROMETHEUS) as host:
        assert host.comes_to(host.UP, host.DOWN), host.told()
        assert host.system.show(f"{UNIT}.service", "User", "Result") == ("prometheus", "success")


@pytest.mark.usefixtures("farm")
def test_promtool_finds_no_fault_with_a_file_of_all_states_and_bad_lines(machine: Machine) -> None:
    odd = 'a\\b "c"\td\n# TYPE e'
    script = (
        r"""cd /tmp; printf '%s:443\n%s:0\n%s:443\ncaf\351:25\n' $2 $2 $3 >"$1"; """
        r"""printf '%s\n' 192.0.2.25:80 '[2001:db8::25]:25' no.such.host:1 >>"$1"; """
        'halfopen check --targets "$1" --format prometheus | tee /dev/stderr'
        " | promtool check metrics"
    )
    done = machine.run(["sh", "-c", script, "sh", odd, WEB1, WEB2])
    states = re.findall(r'target="([^\n]+)",state="(\w+)"\} 1', done.stderr)

    assert (done.stdout, done.returncode) == ("", 0)
    assert len(re.findall("(?m)^halfopen_up", done.stderr)) == 4
    assert {state for _, state in states} == set(STATES)
    assert [target for target, _ in states if target.startswith("a")] == [
        rf"a\\b \"c\"\\td\n# TYPE e:{number}" for number in (2, 4)
    ]


def test_the_alerts_fire_when_they_should_and_not_otherwise(machine: Machine) -> None:
    machine.install("prometheus/halfopen.rules.yml", RULES)
    test = Path(__file__).with_name("prometheus_alerts.yml").read_text(encoding="utf-8")
    machine.write("/etc/prometheus/test.yml", test)

    for words in (["check", "rules", RULES], ["test", "rules", "/etc/prometheus/test.yml"]):
        done = machine.run(["promtool", *words])
        assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


class Prometheus(NodeExporter):
    """The same, and a Prometheus that scrapes it each second."""

    def start(self) -> None:
        super().start()
        self.machine.install("prometheus/halfopen.rules.yml", RULES)
        self.machine.write("/etc/prometheus/prometheus.yml", PROMETHEUS)
        storage = "--storage.tsdb.path=/var/lib/prometheus/metrics2"
        config = "--config.file=/etc/prometheus/prometheus.yml"
        self.run_daemon("prometheus", config, storage, user="prometheus")

    def api(self, path: str, **query: str) -> Any:
        """Return the data of an answer; None if there is none, or an error."""
        said = self.get(f"127.0.0.1:9090/api/v1/{path}?" + urllib.parse.urlencode(query))
        return json.loads(said).get("data") if said.startswith("{") else None

    def query(self, expression: str) -> dict[str, str]:
        """Return the label target, and the value, of each series."""
        found = self.api("query", query=expression) or {"result": []}
        return {s["metric"].get("target", ""): s["value"][1] for s in found["result"]}

    def finds(self, expression: str, values: dict[str, str]) -> bool:
        """Return whether a query comes to return these values."""
        return wait_until(lambda: self.query(expression) == values)


DASHBOARD = json.loads(example("prometheus/dashboard.json"))
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
VARIABLES = DASHBOARD["templating"]["list"][1:]


def substituted(text: str) -> str:
    """Return a query as Grafana sends it: all that is to be chosen is All."""
    values = {"$__rate_interval": "4s", "$__range": "1m"}
    values.update({f"${each['name']}": each["allValue"] for each in VARIABLES})
    for name, value in values.items():
        text = text.replace(name, value)
    assert "$" not in text
    return text


@pytest.mark.usefixtures("farm")
def test_prometheus_judges_and_every_query_of_the_dashboard_returns_data(machine: Machine) -> None:
    web1, web2 = f"{WEB1}:443", f"{WEB2}:443"
    queries = {t: [substituted(q["expr"]) for q in p["targets"]] for t, p in PANELS.items()}
    state, availability, failures = (
        queries[title][0] for title in ("State", "Availability", "Check failures")
    )
    (mappings,) = PANELS["State"]["fieldConfig"]["defaults"]["mappings"]
    numbers = {each["text"]: number for number, each in mappings["options"].items()}

    with Prometheus(machine) as it:
        assert it.finds("halfopen_up", {web1: "1", web2: "0"}), it.printed()
        # Pending: the rule says `for: 2m`.
        assert it.finds('ALERTS{alertname="HalfopenDown"}', {web2: "1"})
        assert it.query('ALERTS{alertname!="HalfopenDown"}') == {}
        assert it.finds(state, {web1: numbers["open"], web2: numbers["closed"]})
        assert it.finds(availability, {web1: "1", web2: "0"})
        for expression in (each for several in queries.values() for each in several):
            assert set(it.query(expression)) == {web1, web2}, expression
        for variable, values in zip(VARIABLES, (["127.0.0.1:9100"], [web1, web2])):
            asked = substituted(variable["query"]["query"])
            ((series, label),) = re.findall(r"^label_values\((.+), (\w+)\)$", asked)
            assert it.api(f"label/{label}/values", **{"match[]": series}) == values
        machine.path("/usr/bin/nmap").unlink()
        both = dict.fromkeys((web1, web2), "1")
        assert it.finds("halfopen_up", {})
        assert it.finds('ALERTS{alertname="HalfopenCheckFailed"}', both)
        assert it.finds(state, dict.fromkeys(both, numbers["the check failed"]))
        assert it.finds(failures, both)


def test_the_line_for_cron_is_the_units() -> None:
    text = example(f"prometheus/{UNIT}.service")
    (started,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)

    assert f"#   * * * * * root {started}\n" in text
