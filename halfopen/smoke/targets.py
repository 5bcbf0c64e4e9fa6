"""Ports of our own whose state is known: on loopback, and on a second host in a namespace."""

import contextlib
import ctypes
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, NamedTuple, Tuple

from halfopen.errors import CheckError
from halfopen.scan import process, runner

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
HERE, THERE = "192.0.2.1", "192.0.2.2"
"""The two hosts' addresses (RFC 5737), in namespaces of their own."""

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_PATIENCE = 0.3
"""Seconds for a plain connection on loopback to be answered."""


class Port(NamedTuple):
    """A TCP port of our own, in a known state for as long as its socket lives."""

    state: str
    version: int
    sock: socket.socket
    via: Tuple[str, ...] = ()
    """What to put before a command, so that it runs where another host's port is reached."""

    @property
    def address(self) -> str:
        """Its IP address."""
        return str(self.sock.getsockname()[0])

    @property
    def number(self) -> int:
        """Its number."""
        return int(self.sock.getsockname()[1])

    def connected(self, *, wait: bool = False) -> bool:
        """Return whether a connection can be accepted; `wait` a moment if there must be one."""
        self.sock.settimeout(_PATIENCE if wait else 0)
        try:
            self.sock.accept()[0].close()
        except OSError:
            return False
        return True

    def waiting(self) -> bool:
        """Return whether it waits for the end of a handshake: no RST has come."""
        table = "/proc/self/net/tcp" + ("6" if self.version == 6 else "")
        with contextlib.suppress(OSError):
            # Our number, the other's address, and TCP_SYN_RECV (net/tcp_states.h).
            return bool(re.search(rf":{self.number:04X} \S+ 03 ", Path(table).read_text("ascii")))
        return False


@contextlib.contextmanager
def make_port(state: str, version: int, number: int = 0) -> Iterator[Port]:
    """Give a port in this state, on loopback; 0 takes any free number.

    Raises OSError if there is none, or no such family on this system.
    """
    family = _FAMILY[version]
    with socket.socket(family) as sock, socket.socket(family) as client:
        sock.bind((LOOPBACK[version], number))
        if state == "filtered":
            # The queue holds one connection: while it is full, the kernel drops further SYNs.
            sock.listen(0)
            client.settimeout(_PATIENCE)
            client.connect(sock.getsockname())
        elif state != "closed":  # bound only: the kernel answers RST, and nobody else takes it
            sock.listen(8)
        yield Port(state, version, sock)


def connect(port: Port) -> str:
    """Return the state that a full connection finds: what is true, known without nmap.

    For any other answer, its text.
    """
    with socket.socket(port.sock.family) as sock:
        sock.settimeout(_PATIENCE)
        try:
            sock.connect(port.sock.getsockname())
        except socket.timeout:
            return "filtered"
        except ConnectionRefusedError:
            return "closed"
        except OSError as error:
            return str(error.strerror)
    return "open"


@contextlib.contextmanager
def second_host() -> Iterator[Port]:
    """Give an open port of another of two hosts, which are joined by a wire.

    They are namespaces that nothing but we keep alive, and end when we do, however we end, for only
    our descriptors name them. Raises CheckError or OSError if this machine allows none.
    """
    if os.geteuid() != 0:
        raise CheckError("needs root")
    ip = process.find_program("ip", "install iproute2")
    nsenter = process.find_program("nsenter", "install util-linux")
    with contextlib.ExitStack() as stack:
        (here, _), (there, sock) = _network(stack), _network(stack)
        for host, step in (
            (here, f"link add eth0 type veth peer name eth0 netns {there}"),
            (here, f"addr add {HERE}/24 dev eth0"),
            (there, f"addr add {THERE}/24 dev eth0"),
            (here, "link set eth0 up"),
            (there, "link set eth0 up"),
        ):
            argv = [nsenter, f"--net={host}", ip, *step.split()]
            run = runner.run_all([argv], time.monotonic() + 5)[0]
            if run.exit_code or run.cut:
                said = run.stderr.decode("utf-8", "replace").strip()
                raise CheckError(f"ip {step} failed: {said or 'it did not end'}")
        sock.bind((THERE, 0))
        sock.listen(8)
        yield Port("open", 4, sock, (nsenter, f"--net={here}"))


def _network(stack: contextlib.ExitStack) -> Tuple[str, socket.socket]:
    """Return the name of a new network namespace that lasts as long as `stack`, and a socket in it.

    Only a thread goes there, and ends.
    """
    with ThreadPoolExecutor(1) as thread:
        descriptor, sock = thread.submit(_new_network).result()
    stack.callback(os.close, descriptor)
    return f"/proc/{os.getpid()}/fd/{descriptor}", stack.enter_context(sock)


def _new_network() -> Tuple[int, socket.socket]:
    libc = ctypes.CDLL(None, use_errno=True)  # os.unshare() came with Python 3.12
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise CheckError("this system allows no network namespaces")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY), socket.socket()
