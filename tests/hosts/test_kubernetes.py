"""Kubernetes' exec probe: a fake kubelet, with a container's user, capabilities and root."""

from __future__ import annotations

import socket
import subprocess
from typing import Any, ClassVar

import yaml
from support.machine import PORT, Farm, Machine, example

from .contract import FAULTS, Contract, Host

POD: dict[str, Any] = yaml.safe_load(example("kubernetes/pod.yaml"))
SERVER, SIDECAR = POD["spec"]["containers"]


class Kubelet(Host):
    """A fake kubelet and container runtime, with the example's pod; web1 is the pod's own server.

    Contract: the command is run without a shell in the container, as its user. Of the capabilities
    the container has those that it adds, once it has dropped all; root's programs get them, those
    of other users don't. Exit code 0 before `timeoutSeconds` is success, all else failure, shown
    with what was printed. At the timeout the command gets SIGKILL, and nothing that it started.
    """

    WEBS = ("web1",)
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
        self._context = {**SIDECAR["securityContext"], **context}
        self._probe = SIDECAR["readinessProbe"]
        self._server = socket.socket()
        self.callback(self._server.close)

    def open(self, farm: Farm, *webs: str) -> None:
        del farm  # which is not in the pod
        self._server.close()
        if "web1" in webs:
            self._server = self.machine.lab.listen(PORT, "127.0.0.1", ns="scanner")
            self.callback(self._server.close)

    def judge(self, web: str) -> bool:
        argv = self._in_container(self._probe["exec"]["command"])
        limit = self._probe["timeoutSeconds"]
        try:
            done = self.machine.run(argv, timeout=limit)
        except subprocess.TimeoutExpired:
            self.output[web] = "command timed out"
            return False
        self.output[web] = done.stdout + done.stderr
        return done.returncode == 0

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


def test_the_check_ends_in_time_and_only_the_sidecar_has_a_capability() -> None:
    probe = SIDECAR["readinessProbe"]
    command = probe["exec"]["command"]

    assert float(command[command.index("--timeout") + 1]) < probe["timeoutSeconds"]
    assert probe["timeoutSeconds"] <= probe["periodSeconds"]
    assert "securityContext" not in SERVER
    assert SIDECAR["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
