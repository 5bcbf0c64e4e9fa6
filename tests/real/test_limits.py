"""What docs/how-it-works/limits.md says that a half-open check can't tell."""

from __future__ import annotations

import contextlib
import socket

import pytest
from lab import TARGET, TOOL_PATH, Lab

from .commands import name, plugin

PORT = 7001


def asked(lab: Lab, port: int) -> tuple[int, str]:
    done = lab.run(plugin("-H", TARGET[4], "-p", port))
    return done.returncode, done.stdout.split(" - ")[1].split("|")[0].strip()


def test_a_server_that_never_accepts_is_open(lab: Lab) -> None:
    with lab.listen(PORT):
        assert asked(lab, PORT) == (0, f"{name(TARGET[4], PORT)} open (syn-ack)")


@pytest.mark.parametrize("syn_cookies", [0, 1, 2])
def test_a_full_accept_queue_is_filtered(lab: Lab, syn_cookies: int) -> None:
    def connect() -> socket.socket:
        return socket.create_connection((TARGET[4], PORT), timeout=5)

    with contextlib.ExitStack() as stack:
        stack.enter_context(lab.listen(PORT, backlog=1))
        for _ in range(2):  # Linux queues one more than it was told
            stack.enter_context(lab.within("scanner", connect))
        before = lab.set_kernel("ipv4/tcp_syncookies", syn_cookies, "target")
        stack.callback(lab.set_kernel, "ipv4/tcp_syncookies", before, "target")
        code, line = asked(lab, PORT)

    assert (code, line.split(",")[0]) == (2, f"{name(TARGET[4], PORT)} filtered (no-response)")


def test_a_drop_on_the_way_out_of_this_machine_is_filtered() -> None:
    # After sendto(), where nmap is told nothing; nftables can do that from Linux 5.16 on.
    drop = "tc qdisc add dev eth0 root blackhole"
    with Lab() as lab:
        assert lab.run(["sh", "-c", f"PATH='{TOOL_PATH}' {drop}"]).returncode == 0
        code, line = asked(lab, 25)

    assert (code, line.split(",")[0]) == (2, f"{name(TARGET[4], 25)} filtered (no-response)")
