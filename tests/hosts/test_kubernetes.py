"""Kubernetes' exec probe: a fake kubelet, with a container's user, capabilities and root."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import Any, Iterator, NamedTuple

import pytest
import yaml
from lab import TARGET, Lab

from .machine import EXAMPLES, PORT, Machine, wait_until

SIDECAR = "half-open"
TIMED_OUT = "command timed out"


def pod() -> dict[str, Any]:
    """Return the example's pod."""
    manifest: dict[str, Any] = yaml.safe_load(
        (EXAMPLES / "kubernetes" / "pod.yaml").read_text(encoding="utf-8")
    )
    return manifest


def container(name: str) -> dict[str, Any]:
    """Return one of its containers."""
    containers: list[dict[str, Any]] = pod()["spec"]["containers"]
    (found,) = (each for each in containers if each["name"] == name)
    return found


class Probe(NamedTuple):
    """What came of a probe."""

    ready: bool
    output: str


class Kubelet:
    """A fake kubelet and container runtime.

    Contract: the command is run without a shell in the container, as its user. Of the capabilities
    the container has those that it adds, once it has dropped all; root's programs get them, those
    of other users don't. Exit code 0 before `timeoutSeconds` is success, all else failure, shown
    with what was printed. At the timeout the command gets SIGKILL, and nothing that it started.
    """

    def __init__(self, machine: Machine, container: dict[str, Any]) -> None:
        """Probe nothing yet."""
        self._machine, self._context = machine, container["securityContext"]
        self._probe = container["readinessProbe"]

    def probe(self) -> Probe:
        """Probe once."""
        argv = self._in_container(self._probe["exec"]["command"])
        limit = self._probe["timeoutSeconds"]
        try:
            done = self._machine.run(argv, timeout=limit)
        except subprocess.TimeoutExpired:
            return Probe(False, TIMED_OUT)
        return Probe(done.returncode == 0, done.stdout + done.stderr)

    def _in_container(self, command: list[str]) -> list[str]:
        context = self._context
        assert context["capabilities"]["drop"] == ["ALL"], "what the fake knows"
        added = [f"+{name.lower()}" for name in context["capabilities"]["add"]]
        user = str(context["runAsUser"])
        become = ["setpriv", f"--bounding-set={','.join(['-all', *added])}", "--inh-caps=-all"]
        become += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        become += [] if context["allowPrivilegeEscalation"] else ["--no-new-privs"]
        assert context["readOnlyRootFilesystem"]
        read_only = 'mount -o remount,bind,ro / && exec "$@"'
        return ["unshare", "--mount", "sh", "-ec", read_only, "sh", *become, *command]


@pytest.fixture
def server(lab: Lab) -> Iterator[socket.socket]:
    """Return the pod's server, listening on its port."""
    listening = lab.within("scanner", _listener)
    yield listening
    listening.close()


def _listener() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", PORT))
    sock.listen(16)
    return sock


@pytest.fixture
def kubelet(machine: Machine) -> Kubelet:
    """Return a kubelet with the example's sidecar."""
    return Kubelet(machine, container(SIDECAR))


def test_the_pod_is_ready_while_its_port_is_open(kubelet: Kubelet, server: socket.socket) -> None:
    assert kubelet.probe().ready

    server.close()
    closed = kubelet.probe()

    assert not closed.ready
    assert closed.output.startswith("127.0.0.1:443  closed  reset")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("fault", ["missing", "hanging"])
def test_a_broken_nmap_is_not_ready_and_says_why(
    machine: Machine, kubelet: Kubelet, fault: str
) -> None:
    machine.break_nmap(fault)
    probe = kubelet.probe()

    assert not probe.ready
    # On a busy machine our 4 s may take longer than the kubelet's 5 s.
    late = fault == "hanging" and probe.output == TIMED_OUT
    assert late or probe.output.startswith("127.0.0.1:443  unknown  nmap "), probe
    assert wait_until(lambda: not machine.running("nmap") and not machine.running("sleep"), 20)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("fault", ["no interpreter", "not importable"])
def test_a_halfopen_that_does_not_start_is_not_ready(
    machine: Machine, kubelet: Kubelet, fault: str
) -> None:
    machine.break_halfopen(fault)

    assert not kubelet.probe().ready


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "change", [{"runAsUser": 65534}, {"capabilities": {"drop": ["ALL"], "add": []}}], ids=str
)
def test_without_root_or_the_capability_it_is_not_ready_and_says_why(
    machine: Machine, change: dict[str, Any]
) -> None:
    # The example's comment says that it needs both. Clusters may refuse, or take away, either.
    sidecar = container(SIDECAR)
    sidecar["securityContext"].update(change)
    probe = Kubelet(machine, sidecar).probe()

    assert not probe.ready
    assert "CAP_NET_RAW" in probe.output


def test_nothing_outlives_a_probe_that_was_killed(machine: Machine) -> None:
    machine.slow_nmap()
    program = container(SIDECAR)["readinessProbe"]["exec"]["command"][0]
    probe = machine.start([program, "check", f"{TARGET[4]}:80"])
    assert wait_until(lambda: machine.running("nmap.real"))
    (pid,) = machine.running("halfopen")
    os.kill(pid, signal.SIGKILL)
    probe.wait(20)

    assert wait_until(lambda: not machine.running("nmap.real"), 30)


def test_the_check_ends_before_the_kubelets_limit() -> None:
    probe = container(SIDECAR)["readinessProbe"]
    command = probe["exec"]["command"]

    assert float(command[command.index("--timeout") + 1]) < probe["timeoutSeconds"]
    assert probe["timeoutSeconds"] <= probe["periodSeconds"]


def test_the_manifest_is_a_pods_and_only_the_sidecar_has_a_capability() -> None:
    manifest = pod()

    assert (manifest["apiVersion"], manifest["kind"]) == ("v1", "Pod")
    server, sidecar = manifest["spec"]["containers"]
    assert server["ports"] == [{"containerPort": PORT}]
    assert "securityContext" not in server
    assert sidecar["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]},
    }
