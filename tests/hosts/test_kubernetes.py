"""Kubernetes' exec probe: a fake kubelet, with a container's user, capabilities and root."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import Any, ClassVar, Iterator
from unittest import mock

import yaml
from support.machine import PORT, Farm, Machine, listener

from .contract import FAULTS, Contract, Host, Judged, example


def pod() -> dict[str, Any]:
    """Return the example's pod."""
    manifest: dict[str, Any] = yaml.safe_load(example("kubernetes/pod.yaml"))
    return manifest


def sidecar() -> dict[str, Any]:
    """Return its container that checks."""
    containers: list[dict[str, Any]] = pod()["spec"]["containers"]
    (found,) = (each for each in containers if each["name"] == "half-open")
    return found


class Kubelet(Host):
    """A fake kubelet and container runtime, with the example's pod; web1 is the pod's own server.

    Contract: the command is run without a shell in the container, as its user. Of the capabilities
    the container has those that it adds, once it has dropped all; root's programs get them, those
    of other users don't. Exit code 0 before `timeoutSeconds` is success, all else failure, shown
    with what was printed. At the timeout the command gets SIGKILL, and nothing that it started.
    """

    UP, DOWN, FAILED = True, False, False
    OPEN, CLOSED = "127.0.0.1:443  open  syn-ack", "127.0.0.1:443  closed  reset"
    SAYS: ClassVar = {
        **FAULTS,
        "halfopen without interpreter": "No such file",
        "halfopen not importable": "ModuleNotFoundError",
    }

    def __init__(self, machine: Machine, **context: Any) -> None:
        """Probe nothing yet; `context`: changes of the container's securityContext."""
        super().__init__(machine)
        self._context = {**sidecar()["securityContext"], **context}
        self._probe = sidecar()["readinessProbe"]
        self._server: socket.socket | None = None

    def webs(self) -> tuple[str, ...]:
        return ("web1",)

    def open(self, farm: Farm, *webs: str) -> None:
        del farm  # which is not in the pod
        if self._server is not None:
            self._server.close()
        self._server = None
        if "web1" in webs:
            self._server = listener(self.machine.lab, "scanner", "127.0.0.1")
            self.callback(self._server.close)

    @contextlib.contextmanager
    def broken(self, fault: str) -> Iterator[None]:
        if fault == "nmap not allowed":  # by the cluster, which takes the capability away
            none = {"drop": ["ALL"], "add": []}
            with mock.patch.dict(self._context, capabilities=none):
                yield
        else:
            with super().broken(fault):
                yield

    def judged(self) -> Judged:
        argv = self._in_container(self._probe["exec"]["command"])
        limit = self._probe["timeoutSeconds"]
        try:
            done = self.machine.run(argv, timeout=limit)
        except subprocess.TimeoutExpired:
            self.output["web1"] = "command timed out"
            return {"web1": False}
        self.output["web1"] = done.stdout + done.stderr
        return {"web1": done.returncode == 0}

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


class TestContract(Contract):
    HOST = Kubelet


def test_as_another_user_it_is_not_ready_and_says_why(machine: Machine, farm: Farm) -> None:
    with Kubelet(machine, runAsUser=65534) as host:  # which the example's comment warns of
        host.open(farm, "web1")
        assert host.judged() == {"web1": False}
        assert "CAP_NET_RAW" in host.shown()


def test_the_check_ends_before_the_kubelets_limit() -> None:
    probe = sidecar()["readinessProbe"]
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
