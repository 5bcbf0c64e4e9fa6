"""Targets of our own whose state is known: ports on loopback, and a second host in a namespace."""

import contextlib
import ctypes
import errno
import os
import socket
import struct
import subprocess
import threading
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from halfopen.errors import CheckError
from halfopen.scan import process

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
HERE, THERE = "192.0.2.1", "192.0.2.2"
"""The two hosts' addresses (RFC 5737), in namespaces of their own."""

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_PATIENCE = 0.3
"""Seconds for a plain connection on loopback to be answered, and for a tool to do its part."""


class Port(NamedTuple):
    """A TCP port of our own, in a known state for as long as its socket lives."""

    state: str
    version: int
    sock: socket.socket
    clients: Sequence[socket.socket] = ()
    """What fills its queue."""

    def close(self) -> None:
        """Give it up."""
        for sock in (self.sock, *self.clients):
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


def make_port(state: str, version: int, number: int = 0, address: str = "") -> Port:
    """Return a port in this state, on loopback or at an address; 0 takes any free number.

    Raises OSError if there is none, or no such family on this system.
    """
    sock = socket.socket(_FAMILY[version])
    try:
        sock.bind((address or LOOPBACK[version], number))
        clients = _fill(sock) if state == "filtered" and not _drop_everything(sock) else []
        if state != "closed":  # bound only: the kernel answers RST, and nobody else takes it
            sock.listen(0 if clients else 8)
    except BaseException:
        sock.close()
        raise
    return Port(state, version, sock, clients)


def _drop_everything(sock: socket.socket) -> bool:
    """Let no packet through to the socket: a filter of one instruction, "return 0" (BPF_RET).

    Returns whether the kernel allows it.
    """
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    fprog = struct.pack("HL", 1, ctypes.addressof(program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
    except PermissionError:
        return False
    return True


def _fill(sock: socket.socket) -> List[socket.socket]:
    """Listen, and fill the queue, which holds one connection: the kernel drops further SYNs."""
    sock.listen(0)
    client = socket.socket(sock.family)
    client.settimeout(_PATIENCE)
    client.connect(sock.getsockname())
    return [client]


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
    """Make two hosts, joined by a wire: namespaces that nothing but their processes keeps alive.

    Those processes end when we do, however we end, for they read a pipe from us. Raises CheckError
    if that can't be had here.
    """
    if os.geteuid() != 0:
        raise CheckError("needs root")
    ip, nsenter, unshare = (
        process.find_program(name, f"install {package}")
        for name, package in (
            ("ip", "iproute2"),
            ("nsenter", "util-linux"),
            ("unshare", "util-linux"),
        )
    )
    with contextlib.ExitStack() as stack:
        here, there = (stack.enter_context(_namespace(unshare)) for _ in range(2))
        enter = [(nsenter, f"--net=/proc/{pid}/ns/net") for pid in (here, there)]
        wire = ["link", "add", "eth0", "netns", str(here), "type", "veth"]
        _run([ip, *wire, "peer", "name", "eth0", "netns", str(there)])
        for prefix, address in zip(enter, (HERE, THERE)):
            for words in (["link", "set", "lo", "up"], ["link", "set", "eth0", "up"]):
                _run([*prefix, ip, *words])
            _run([*prefix, ip, "addr", "add", f"{address}/24", "dev", "eth0"])
        port = _made_within(there)
        stack.callback(port.close)
        yield Neighbour(port, enter[0])


@contextlib.contextmanager
def _namespace(unshare: str) -> Iterator[int]:
    """Give the pid of a process in a network namespace of its own."""
    with subprocess.Popen(
        [unshare, "--net", process.find_program("cat", "install coreutils")],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as holder:
        try:
            assert holder.stdin is not None  # noqa: S101  for mypy
            assert holder.stdout is not None  # noqa: S101
            with contextlib.suppress(BrokenPipeError):
                holder.stdin.write(b"!")
            if not holder.stdout.read(1):
                raise CheckError("this system allows no network namespaces")
            yield holder.pid
        finally:
            holder.kill()


def _run(argv: Sequence[str]) -> None:
    try:
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=5,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = error.stdout.decode("utf-8", "replace").strip()
        raise CheckError(f"{os.path.basename(argv[0])} failed: {said}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckError(f"{os.path.basename(argv[0])} failed: {error}") from None


def _enter(path: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns() came with Python 3.12
    with open(path, "rb") as namespace:
        if libc.setns(namespace.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _made_within(pid: int) -> Port:
    """Return an open port in the namespace of a process. Only a thread goes there, and ends."""
    made: List[Port] = []
    failed: List[Optional[OSError]] = []

    def enter_and_make() -> None:
        try:
            _enter(f"/proc/{pid}/ns/net")
            made.append(make_port("open", 4, address=THERE))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter_and_make)
    thread.start()
    thread.join()
    if failed:
        raise CheckError(f"cannot listen in a namespace: {failed[0]}")
    return made[0]
