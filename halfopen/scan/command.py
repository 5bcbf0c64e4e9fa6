"""Pure: addresses and limits to nmap's argv. Each workaround is a function that says why.

Loaded before nmap starts (cli/early.py), so it imports next to nothing.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence


QUICK_RTT_TIMEOUT = 0.15
"""Seconds that nmap waits for each of its two probes when it is asked first."""

MAX_PORTS = 125
"""Ports of one host in one nmap run: as many as nmap still lists one by one with -v5."""

_MAX_PROBES = 128
"""Ports of all hosts in one nmap run. Packets to hosts that answer no ARP wait in the kernel,
charged to nmap's raw socket: from about 80 such hosts with two ports its send buffer
(wmem_default, 208 KiB) is full and nmap blocks for 3 s, until the kernel gives up on ARP. Measured
on Linux 6.18 with nmap 7.93: 60 dead hosts 0.37 s, 100 dead hosts 3.3 s."""


def max_hosts(asked: "Sequence[int]") -> int:
    """Return how many hosts one run may ask about these ports: 64 for one or two."""
    return _MAX_PROBES // max(2, len(asked))


def second_port(port: int) -> int:
    """Return the port to scan beside the asked one: the next, and 65534 for 65535.

    nmap before 7.80 with a system libpcap of 1.5 or later hands packets over up to 200 ms late,
    and calls an open port filtered when it is scanned alone; with two ports its first
    retransmission waits for 1000 ms (scan_engine.cc) and the answer arrives in time. nmap of
    today has the same thin budget for one port when the network itself is slow.
    """
    return port + 1 if port < 65535 else 65534


def ports(asked: "Sequence[int]", plus_one: bool) -> str:
    """Return the argument of -p. An asked port is named first: a recording says which it was.

    Several asked ports are each other's second port. No range: the sudoers line admits two ports
    and no more.
    """
    alone = len(asked) == 1 and plus_one
    return ",".join(map(str, [*asked, second_port(asked[0])] if alone else asked))


def several_ports(asked: "Sequence[int]") -> "List[str]":
    """Return what makes the run of several asked ports like that of one.

    Each silent port gets two probes (nmap sends more once other ports have answered a later one),
    and lost packets slow down no others: with 25 ports and 20% loss a run took up to 0.95 s, and
    takes 0.5 s. More than 25 ports in one state nmap lists only when it is verbose, 25 a level.
    """
    if len(asked) == 1:
        return []
    return ["--max-retries", "1", "--max-scan-delay", "0", *(["-v5"] if len(asked) > 25 else [])]


def family_flag(address: str) -> "List[str]":
    """Return -6 for IPv6: without it nmap skips an IPv6 address, and exits 0."""
    return ["-6"] if ":" in address else []


def no_discovery() -> "List[str]":
    """Return the options that switch off host discovery, and leave ARP to the kernel.

    A check of one port must not depend on ping, and discovery costs a third of the time.
    """
    return ["-Pn", "--disable-arp-ping", "--send-ip"]


def timing(rtt_timeout: float, probes: int) -> "List[str]":
    """Return the timing options: wait 2 * rtt_timeout for a silent port, neither less nor more.

    nmap would wait for 1000 ms before its first retransmission to two ports or more; --min-rate
    makes it send as soon as the RTT timeout has passed (all versions from 7.70 to 7.991). The
    rate of 10 packets a second for each of the `probes` sends them all within 0.1 s.
    """
    rtt = _milliseconds(rtt_timeout)
    limits = f"--initial-rtt-timeout {rtt} --min-rtt-timeout {rtt} --max-rtt-timeout {rtt}"
    return f"--min-rate {10 * probes} {limits}".split()


def data_folder() -> "List[str]":
    """Return --datadir with our nearly empty tables: nmap reads 27,000 lines at each start.

    78 ms become 50 ms, and CPU 44 ms 10 ms.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = os.path.join(package, "nmap_data")
    if not os.path.isdir(folder):  # it is inside a zip
        from halfopen.scan import tables  # noqa: PLC0415  the package has no use for it

        folder = tables.folder()
    return ["--datadir", folder] if folder else []


def argv(  # noqa: PLR0913  one keyword for each thing that shapes the command
    addresses: "Sequence[str]",
    asked: "Sequence[int]",
    *,
    time_left: float,
    rtt_timeout: float = QUICK_RTT_TIMEOUT,
    plus_one: bool = True,
    source_port: "Optional[int]" = None,
) -> "List[str]":
    """Return nmap's arguments, without the program itself.

    `addresses`: canonical IP addresses of one family. `asked`: at most MAX_PORTS ports.
    `rtt_timeout`: seconds that nmap waits for each of its two probes. `time_left`: seconds until
    our deadline. `source_port`: where the probes come from, if connection tracking is to find them
    (silence.py).
    """
    how = [*family_flag(addresses[0]), *no_discovery(), *data_folder()]
    how += timing(rtt_timeout, len(addresses) * max(2, len(asked)))
    how += [*host_timeout(time_left), *several_ports(asked), "-p", ports(asked, plus_one)]
    how += [] if source_port is None else ["-g", str(source_port)]
    return ["-n", "-sS", *how, "-oX", "-", *addresses]


def host_timeout(time_left: float) -> "List[str]":
    """Return --host-timeout: nmap ends by itself should we be killed.

    In steps of 2 s where they don't matter, so that a run that started a moment earlier has the
    same arguments.
    """
    return ["--host-timeout", _milliseconds(time_left if time_left < 4 else time_left // 2 * 2)]


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1000))}ms"
