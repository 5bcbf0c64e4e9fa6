"""The machines that the monitor hosts run on."""

from __future__ import annotations

from pathlib import Path

from support.machine import Machine


def test_a_machine_leaves_no_trace_on_this_system(machine: Machine) -> None:
    traces = ["/usr/bin/trace", "/etc/trace", "/var/trace", "/run/trace"]
    done = machine.run(["sh", "-c", 'touch "$@"; pwd', "sh", *traces])

    assert (done.stdout, done.stderr, done.returncode) == ("/\n", "", 0)
    assert all(machine.path(trace).exists() for trace in traces)
    assert not any(Path(trace).exists() for trace in traces)
