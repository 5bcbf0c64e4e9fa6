"""Targets of our own whose state is known: ports on loopback, and a second host in a namespace."""

import contextlib
import ctypes
import errno
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, NamedTuple, Optional, Tuple

from halfopen.errors import CheckError
from halfopen.scan import process, runner

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
HERE, THERE = "192.0.2.1", "192.0.2.2"
"""The two hosts' addresses (RFC 5737), in namespaces of their own."""

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_PATIENCE = 0.3
"""Seconds for a plain connection on loopback to be answered, and for a tool to do its part."""


class Port(NamedTuple):
    """A TCP port of our own, in a known state for as long as its socket lives."""

    state: str
    version: int
    sock: socket.socket
    client: Optional[socket.socket] = None
    """What fills its queue."""

    def close(self) -> None:
        """Give it up."""
        for sock in filter(None, (self.sock, self.client)):
            sock.close()

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
        number, syn_recv = f":{self.number:04X}", "03"  # TCP_SYN_RECV, net/tcp_states.h
        try:
            with open(f"/proc/self/net/tcp{'6' if self.version == 6 else ''}") as lines:
                rows = [line.split() for line in lines]
        except OSError:
            return False
        return any(row[1].endswith(number) and row[3] == syn_recv for row in rows)


def make_port(state: str, version: int, number: int = 0) -> Port:
    """Return a port in this state, on loopback; 0 takes any free number.

    Raises OSError if there is none, or no such family on this system.
    """
    sock = socket.socket(_FAMILY[version])
    client = None
    try:
        sock.bind((LOOPBACK[version], number))
        if state == "filtered" and not _drop_everything(sock):
            client = _fill(sock)
        elif state != "closed":  # bound only: the kernel answers RST, and nobody else takes it
            sock.listen(8)
    except BaseException:
        sock.close()
        raise
    return Port(state, version, sock, client)


def _drop_everything(sock: socket.socket) -> bool:
    """Let no packet through to the socket: a filter of one instruction, "return 0" (BPF_RET).

    Returns whether the kernel allows it; some allow it to root alone.
    """
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    fprog = struct.pack("HL", 1, ctypes.addressof(program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
    except PermissionError:
        return False
    return True


def _fill(sock: socket.socket) -> socket.socket:
    """Listen, and fill the queue, which holds one connection: the kernel drops further SYNs."""
    sock.listen(0)
    client = socket.socket(sock.family)
    client.settimeout(_PATIENCE)
    client.connect(sock.getsockname())
    return client


def connect(port: Port) -> str:
    """Return the state that a full connection finds: what is true, known without nmap.

    Raises OSError for any other answer.
    """
    with socket.socket(_FAMILY[port.version]) as sock:
        sock.settimeout(_PATIENCE)
        try:
            sock.connect((port.address, port.number))
        except socket.timeout:
            return "filtered"
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                return "closed"
            raise
    return "open"


class Neighbour(NamedTuple):
    """A second host, with an open port."""

    port: Port
    via: Tuple[str, ...]
    """What to put before a command, so that it runs on the first host."""


@contextlib.contextmanager
def second_host() -> Iterator[Neighbour]:
    """Make two hosts, joined by a wire: namespaces that nothing but we keep alive.

    They end when we do, however we end, for only our descriptors name them. Raises CheckError or
    OSError if this machine allows none.
    """
    if os.geteuid() != 0:
        raise CheckError("needs root")
    ip = process.find_program("ip", "install iproute2")
    nsenter = process.find_program("nsenter", "install util-linux")
    with contextlib.ExitStack() as stack:
        (here, _), (there, sock) = _network(stack), _network(stack)
        steps = [
            (here, f"link add eth0 type veth peer name eth0 netns {there}"),
            (here, f"addr add {HERE}/24 dev eth0"),
            (there, f"addr add {THERE}/24 dev eth0"),
        ]
        steps += [
            (host, f"link set {name} up") for host in (here, there) for name in ("lo", "eth0")
        ]
        for host, step in steps:
            argv = [nsenter, f"--net={host}", ip, *step.split()]
            run = runner.run_all([argv], time.monotonic() + 5)[0]
            if run.exit_code or run.cut:
                said = run.stderr.decode("utf-8", "replace").strip()
                raise CheckError(f"ip {step} failed: {said or 'it did not end'}")
        sock.bind((THERE, 0))
        sock.listen(8)
        yield Neighbour(Port("open", 4, sock), (nsenter, f"--net={here}"))


def _network(stack: contextlib.ExitStack) -> Tuple[str, socket.socket]:
    """Return the name of a new network namespace that lasts as long as `stack`, and a socket in it.

    Only a thread goes there, and ends.
    """
    with ThreadPoolExecutor(1) as thread:
        descriptor, sock = thread.submit(_new_network).result()
    stack.callback(os.close, descriptor)
    stack.callback(sock.close)
    return f"/proc/{os.getpid()}/fd/{descriptor}", sock


def _new_network() -> Tuple[int, socket.socket]:
    libc = ctypes.CDLL(None, use_errno=True)  # os.unshare() came with Python 3.12
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise CheckError("this system allows no network namespaces")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY), socket.socket()
