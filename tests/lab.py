"""A small network of our own, in network namespaces, for tests with the real nmap.

    scanner 192.0.2.1 --- 192.0.2.25 target 198.51.100.1 --- 198.51.100.5 third
        2001:db8::1 --- 2001:db8::25      2001:db8:1::1 --- 2001:db8:1::5

The target listens on TCP 25, 110, 111, 8090, 8092 and 65535, drops 80 and 8091, rejects 8080
with ICMP admin-prohibited and closes every other port. It is also the router to the third host,
which listens on 25; for that one it answers host-unreachable for port 8034 and admin-prohibited
for 8035. Nobody is at 192.0.2.77 or 2001:db8::77, and nothing leads to 203.0.113.0/24.

Sockets are made inside a namespace by a thread that enters it, so listeners, captures and the
relay live in this process: there is nothing to wait for, and they end when it ends.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import itertools
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, NamedTuple, Sequence, TypeVar

T = TypeVar("T")
Finished = subprocess.CompletedProcess
Running = subprocess.Popen

SCANNER = {4: "192.0.2.1", 6: "2001:db8::1"}
TARGET = {4: "192.0.2.25", 6: "2001:db8::25"}
THIRD = {4: "198.51.100.5", 6: "2001:db8:1::5"}
NOBODY = {4: "192.0.2.77", 6: "2001:db8::77"}
NO_ROUTE = {4: "203.0.113.9", 6: "2001:db8:ffff::9"}
LISTENING = (25, 110, 111, 8090, 8092, 65535)

RULES = """
table inet lab {
    chain input {
        type filter hook input priority 0
        tcp dport { 80, 8091 } drop
        tcp dport 8080 reject with icmpx type admin-prohibited
    }
    chain forward {
        type filter hook forward priority 0
        tcp dport 8034 reject with icmpx type host-unreachable
        tcp dport 8035 reject with icmpx type admin-prohibited
    }
}
"""

KERNEL = {
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/all/forwarding": 1,
    "ipv4/ip_forward": 1,
    "ipv4/icmp_ratelimit": 0,
    "ipv6/icmp/ratelimit": 0,
}
"""No waiting for duplicate addresses, forwarding on, and an ICMP answer each time."""

# As root's PATH often isn't: sbin is where nft and ip live.
TOOL_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
IP = shutil.which("ip", path=TOOL_PATH) or "ip"
# The nmap to test, named as halfopen itself takes it; else the installed one.
NMAP = os.environ.get("HALFOPEN_NMAP") or shutil.which("nmap", path=TOOL_PATH) or "nmap"
NETNS_FOLDER = Path("/run/netns")
HOSTS_FOLDER = Path("/etc/netns")
NAME = re.compile(r"halfopen-(\d+)-\d+-\w+$")
_numbers = itertools.count()


def why_no_lab() -> str | None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root, to make network namespaces"
    tools = ("ip", "nft", "setcap", NMAP)
    absent = [tool for tool in tools if not shutil.which(tool, path=TOOL_PATH)]
    return "needs " + ", ".join(absent) if absent else None


def nmap_version() -> str:
    """Return the version of the nmap to test, such as 7.93."""
    done = subprocess.run([NMAP, "-V"], stdout=-1, text=True, timeout=30, check=True)
    return done.stdout.split()[2]


class Packet(NamedTuple):
    """A TCP packet; flags like "S", "SA", "R", "RA", "A"."""

    src: str
    sport: int
    dst: str
    dport: int
    flags: str


class Capture(List[Packet]):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket, self._lock = sock, threading.Lock()

    def update(self, quiet: float = 0.0) -> int:
        """Add what has come since, until the wire is quiet for so long; return the number."""
        with self._lock:
            while select.select([self._socket], [], [], quiet)[0]:
                packet = _parse(self._socket.recv(65535))
                if packet:
                    self.append(packet)
            statistics = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            lost = struct.unpack("II", statistics)[1]
            if lost:
                raise RuntimeError(f"the capture lost {lost} packets")
            return len(self)


class Lab:
    """The network, as a context manager; with `synack_delay_ms`, a target that answers late."""

    def __init__(self, synack_delay_ms: int = 0) -> None:
        self._prefix = f"halfopen-{os.getpid()}-{next(_numbers)}-"
        self._synack_delay = synack_delay_ms / 1000
        self._stack = contextlib.ExitStack()
        self.target_link_local = "fe80::25%eth0"

    def __enter__(self) -> Lab:
        """Build it; end the program that asks where that can't be done."""
        reason = why_no_lab()
        if reason:
            sys.exit(reason)
        with contextlib.ExitStack() as stack:
            remove_stale_namespaces()
            stack.callback(self._remove_namespaces)
            self._build(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _remove_namespaces(self) -> None:
        """Take them down; kill what still runs in them."""
        for path in NETNS_FOLDER.glob(self._prefix + "*"):
            _delete_namespace(path.name)

    # -- running things -------------------------------------------------------------------------

    def netns(self, ns: str) -> str:
        """Return the full name of a namespace of ours: "scanner", "target" or "third"."""
        return self._prefix + ns

    def popen(
        self, argv: Sequence[str], ns: str = "scanner", env: Mapping[str, str] | None = None
    ) -> Running[str]:
        """Start a program. `ip netns exec` becomes it, so that the pid is the program's."""
        return subprocess.Popen(
            [IP, "netns", "exec", self.netns(ns), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            env=dict(env) if env is not None else None,
        )

    def run(
        self,
        argv: Sequence[str],
        ns: str = "scanner",
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002  as subprocess.run calls it
    ) -> Finished[str]:
        source: dict[str, Any] = (
            {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        )
        return subprocess.run(
            [IP, "netns", "exec", self.netns(ns), *argv],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=None if env is None else dict(env),
            check=False,
            **source,
        )

    def run_many(
        self, argv: Sequence[str], count: int, side_by_side: int = 4
    ) -> list[Finished[str]]:
        """Run the same program many times, some of them at the same time."""
        with ThreadPoolExecutor(side_by_side) as pool:
            return list(pool.map(lambda _: self.run(argv), range(count)))

    def pids(self, ns: str = "scanner") -> dict[int, str]:
        """Return the processes now in a namespace of ours: pid to name."""
        return _pids(self.netns(ns))

    def within(self, ns: str, make: Callable[[], T]) -> T:
        """Call `make` inside a namespace; a socket it returns stays there."""

        def enter_and_make() -> T:
            libc = ctypes.CDLL(None, use_errno=True)
            with (NETNS_FOLDER / self.netns(ns)).open() as handle:
                if libc.setns(handle.fileno(), 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns", ns)
            return make()

        # Only the thread changes its namespace, and it ends right away.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter_and_make).result()

    def listen(
        self, port: int, address: str = "::", backlog: int = 1024, ns: str = "target"
    ) -> socket.socket:
        """Return a listener that never accepts; "::" is for both families."""
        return self.within(ns, lambda: _listener(port, address, backlog))

    # -- changing the network -------------------------------------------------------------------

    def set_hosts(self, text: str, ns: str = "scanner") -> None:
        """Give a namespace its own /etc/hosts; `ip netns exec` mounts it."""
        folder = HOSTS_FOLDER / self.netns(ns)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(text)

    def many_addresses(self, count: int) -> list[str]:
        """Return addresses of the target, on the link first, then routed; 25 is open on each."""
        pool = [f"192.0.2.{n}" for n in range(2, 255) if n not in (25, 77) and not 100 <= n <= 159]
        pool += [f"198.51.100.{n}" for n in range(6, 255)]
        chosen = pool[:count]
        assert len(chosen) == count
        self.ip("target", *(f"addr replace {each}/32 dev eth0" for each in chosen))
        return chosen

    @contextlib.contextmanager
    def rules(self, text: str, ns: str = "scanner") -> Iterator[None]:
        self.nft(text, ns)
        try:
            yield
        finally:
            self.nft("delete " + text.split("{", maxsplit=1)[0].strip(), ns)

    def drop_fraction(self, fraction: float) -> contextlib.AbstractContextManager[None]:
        """Lose this part of all TCP packets, in each direction by itself."""
        rule = f"meta l4proto tcp numgen random mod 100 < {round(fraction * 100)} drop"
        chain = "chain {0} {{ type filter hook {0} priority -200\n{1}\n}}\n"
        chains = chain.format("input", rule) + chain.format("output", rule)
        return self.rules("table inet loss {\n" + chains + "}", "target")

    def own_firewall(self, *ports: int) -> contextlib.AbstractContextManager[None]:
        """Have the scanner's own firewall drop what it sends to these ports."""
        rule = f"tcp dport {{ {', '.join(map(str, ports))} }} drop"
        chain = f"chain output {{ type filter hook output priority 0\n{rule}\n}}"
        return self.rules(f"table inet own {{\n{chain}\n}}")

    @contextlib.contextmanager
    def capture(self) -> Iterator[Capture]:
        """Record the TCP packets on the scanner's wire; all are there when the block has ended."""
        with self.within("scanner", lambda: _packet_socket("eth0")) as sock:
            packets = Capture(sock)
            yield packets
            packets.update(quiet=0.05)

    def ip(self, ns: str, *commands: str) -> None:
        _tool([IP, "-n", self.netns(ns), "-batch", "-"], "\n".join(commands) + "\n")

    def nft(self, rules: str, ns: str = "target") -> None:
        _tool([IP, "netns", "exec", self.netns(ns), "nft", "-f", "-"], rules)

    def set_kernel(self, option: str, value: int, ns: str = "scanner") -> int:
        """Set an option below /proc/sys/net in a namespace; return what it was."""
        path = Path("/proc/sys/net", option)

        def write() -> int:
            before = int(path.read_text())
            path.write_text(str(value))
            return before

        return self.within(ns, write)

    # -- building -------------------------------------------------------------------------------

    def _build(self, stack: contextlib.ExitStack) -> None:
        for ns in ["scanner", "target", "third"] + (["relay"] if self._synack_delay else []):
            _tool([IP, "netns", "add", self.netns(ns)])
            for option, value in KERNEL.items():
                self.set_kernel(option, value, ns)
        if self._synack_delay:
            self._join("scanner", "eth0", "relay", "scanner0")
            self._join("relay", "target0", "target", "eth0")
            self.ip("relay", "link set scanner0 up", "link set target0 up")
        else:
            self._join("scanner", "eth0", "target", "eth0")
        self._join("target", "eth1", "third", "eth0")
        for ns, device, *addresses in (
            ("scanner", "eth0", SCANNER[4], SCANNER[6]),
            ("target", "eth0", TARGET[4], TARGET[6], "fe80::25"),
            ("target", "eth1", "198.51.100.1", "2001:db8:1::1"),
            ("third", "eth0", THIRD[4], THIRD[6]),
        ):
            lengths = [f"{each}/64 nodad" if ":" in each else f"{each}/24" for each in addresses]
            added = [f"addr add {each} dev {device}" for each in lengths]
            self.ip(ns, "link set lo up", f"link set {device} up", *added)
        for ns, *routes in (
            ("scanner", "198.51.100.0/24 via 192.0.2.25", "2001:db8:1::/64 via 2001:db8::25"),
            ("third", "192.0.2.0/24 via 198.51.100.1", "2001:db8::/64 via 2001:db8:1::1"),
        ):
            self.ip(ns, *("route add " + route for route in routes))
        self.nft(RULES)
        for port in LISTENING:
            stack.enter_context(self.listen(port))
        stack.enter_context(self.listen(25, ns="third"))
        if self._synack_delay:
            for ns in ("scanner", "target"):
                self.within(ns, lambda: _complete_checksums("eth0"))
            scanner, target = (
                stack.enter_context(self.within("relay", partial(_packet_socket, device)))
                for device in ("scanner0", "target0")
            )
            stopped = threading.Event()
            carrying = stack.enter_context(ThreadPoolExecutor(1))
            carrying.submit(_carry, scanner, target, self._synack_delay, stopped)
            stack.callback(stopped.set)

    def _join(self, ns: str, device: str, other_ns: str, other_device: str) -> None:
        link = "link add {} type veth peer name {} netns {}"
        self.ip(ns, link.format(device, other_device, self.netns(other_ns)))


def remove_stale_namespaces() -> None:
    """Remove the namespaces that a killed run left behind: those named after a dead pid."""
    for path in NETNS_FOLDER.glob("halfopen-*"):
        match = NAME.match(path.name)
        if match and not Path("/proc", match.group(1)).exists():
            _delete_namespace(path.name)


def _carry(
    scanner: socket.socket, target: socket.socket, delay: float, stopped: threading.Event
) -> None:
    """Carry frames between scanner and target, and hold back those with SYN and ACK."""
    held: deque[tuple[float, bytes]] = deque()
    while not stopped.is_set():
        # The short upper limit is what lets the end be noticed.
        wait = min(0.1, held[0][0] - time.monotonic()) if held else 0.1
        select.select([scanner, target], [], [], max(0, wait))
        for frame in _frames(scanner):
            target.send(frame)
        for frame in _frames(target):
            packet = _parse(frame)
            if packet and packet.flags == "SA":
                held.append((time.monotonic() + delay, frame))
            else:
                scanner.send(frame)
        while held and held[0][0] <= time.monotonic():
            scanner.send(held.popleft()[1])


# -- one namespace ------------------------------------------------------------------------------


def _delete_namespace(name: str) -> None:
    for pid in _pids(name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # Another run may be removing the same stale one right now.
    command = [IP, "netns", "delete", name]
    subprocess.run(command, stderr=subprocess.DEVNULL, timeout=30, check=False)
    shutil.rmtree(str(HOSTS_FOLDER / name), ignore_errors=True)


def _pids(name: str) -> dict[int, str]:
    listed = subprocess.run(
        [IP, "netns", "pids", name], capture_output=True, text=True, timeout=30, check=False
    )
    found = {}
    for pid in set(map(int, listed.stdout.split())) - {os.getpid()}:
        with contextlib.suppress(OSError):
            found[pid] = Path("/proc", str(pid), "comm").read_text().strip()
    return found


def _tool(argv: Sequence[str], text: str = "") -> None:
    done = subprocess.run(
        argv,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        env=dict(os.environ, PATH=TOOL_PATH),
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv}\n{text}{done.stdout}")


# -- sockets and packets ------------------------------------------------------------------------

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17


def _listener(port: int, address: str = "::", backlog: int = 1024) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((address, port))
    sock.listen(backlog)
    return sock


def _packet_socket(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * 1024 * 1024)
    sock.bind((device, ETH_P_ALL))
    return sock


def _frames(sock: socket.socket) -> Iterator[bytes]:
    """Return what has come in from the wire by now, without what we sent."""
    while True:
        try:
            frame, address = sock.recvfrom(65535, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if address[2] != socket.PACKET_OUTGOING:
            yield frame


def _parse(frame: bytes) -> Packet | None:
    """Return the TCP packet in an Ethernet frame; None for anything else."""
    kind, ip = frame[12:14], frame[14:]
    if kind == b"\x08\x00" and ip[9] == socket.IPPROTO_TCP:
        src, dst, tcp = ip[12:16], ip[16:20], ip[(ip[0] & 15) * 4 :]
        family = socket.AF_INET
    elif kind == b"\x86\xdd" and ip[6] == socket.IPPROTO_TCP:
        src, dst, tcp = ip[8:24], ip[24:40], ip[40:]
        family = socket.AF_INET6
    else:
        return None
    sport, dport = struct.unpack("!HH", tcp[:4])
    bits = (("S", 2), ("F", 1), ("R", 4), ("P", 8), ("A", 16), ("U", 32))
    flags = "".join(letter for letter, bit in bits if tcp[13] & bit)
    src_text, dst_text = socket.inet_ntop(family, src), socket.inet_ntop(family, dst)
    return Packet(src_text, sport, dst_text, dport, flags)


def _complete_checksums(device: str) -> None:
    """Do what `ethtool -K DEVICE tx off` does.

    veth leaves checksums to hardware that isn't there, and a frame that went through the relay
    with an unfinished one would be dropped.
    """
    setting = array.array("I", [ETHTOOL_STXCSUM, 0])
    request = struct.pack("16sP16x", device.encode(), setting.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, request)
