"""Pure: addresses and limits to nmap's argv. Each workaround is a function that says why."""

import os
from typing import List, NamedTuple, Sequence, Tuple

STATES = ("open", "closed", "filtered")
"""What a SYN scan can find a port to be."""


class Look(NamedTuple):
    """How patiently to ask once. nmap sends a silent port two probes in each run."""

    rtt_timeout: float
    """Seconds that nmap waits for the answer to each of the two probes."""
    runs: int
    """How many nmap ask the same, side by side: 2 probes each against packet loss."""

    @property
    def conclusive(self) -> bool:
        """Whether silence means something, rather than that there was no time to wait."""
        return self.rtt_timeout >= QUICK.rtt_timeout


QUICK = Look(rtt_timeout=0.15, runs=1)
"""Nearly every answer is had here; a late delivery of 200 ms (nmap before 7.80) fits in, too."""

PATIENT = Look(rtt_timeout=0.5, runs=3)
"""Only for the silent. 1 s of patience; with the quick look's, 8 probes: at 20% loss in each
direction an open port stays silent to all of them 0.36**8 = 0.03% of the time."""

START = 0.15
"""Seconds to leave for nmap's own start and end in each look (40 to 60 ms on an idle machine)."""

EACH = 0.01
"""Seconds to add for each nmap that starts at the same time: its CPU time."""

SIDE_BY_SIDE = 32
"""How many nmap run at the same time at most."""

MAX_HOSTS = 64
"""Hosts in one nmap run. Packets to hosts that answer no ARP wait in the kernel, charged to
nmap's raw socket: from about 80 such hosts its send buffer (wmem_default, 208 KiB) is full and
nmap blocks for 3 s, until the kernel gives up on ARP. Measured on Linux 6.18 with nmap 7.93:
60 dead hosts 0.37 s, 100 dead hosts 3.3 s."""


def plan(budget: float, questions: int = 1) -> Tuple[Look, ...]:
    """Return the looks that fit into `budget` seconds: quick, then patient; or patient alone.

    `questions` are asked by a run of nmap each, side by side as far as SIDE_BY_SIDE goes. The
    patient look is shortened to fit; where too little would be left of it after a quick one, it
    is the only one.
    """
    runs = max(1, min(PATIENT.runs, SIDE_BY_SIDE // questions))
    waves = -(-questions // SIDE_BY_SIDE)
    patient = PATIENT._replace(runs=runs)
    after_quick = budget / waves - _took(QUICK, questions)
    shortened = _fitting(patient, after_quick, questions)
    if shortened.rtt_timeout > QUICK.rtt_timeout:
        return (QUICK, shortened)
    return (_fitting(patient, budget / waves, questions),)


def enough(questions: int = 1) -> float:
    """Return how many seconds the whole plan takes at most, in one wave."""
    return _took(QUICK, questions) + _took(PATIENT, questions)


def _took(look: Look, questions: int) -> float:
    return START + EACH * min(SIDE_BY_SIDE, questions * look.runs) + 2 * look.rtt_timeout


def _fitting(look: Look, seconds: float, questions: int) -> Look:
    spare = (seconds - _took(look._replace(rtt_timeout=0), questions)) / 2
    return look._replace(rtt_timeout=max(0.01, min(look.rtt_timeout, spare)))


def second_port(port: int) -> int:
    """Return the port to scan beside the asked one: the next, and 65534 for 65535.

    nmap before 7.80 with a system libpcap of 1.5 or later hands packets over up to 200 ms late,
    and calls an open port filtered when it is scanned alone; with two ports its first
    retransmission waits for 1000 ms (scan_engine.cc) and the answer arrives in time. nmap of
    today has the same thin budget for one port when the network itself is slow.
    """
    return port + 1 if port < 65535 else 65534


def ports(port: int, plus_one: bool) -> str:
    """Return the argument of -p. The asked port is named first: a recording says which it was."""
    if not plus_one:
        return str(port)
    neighbour = second_port(port)
    return "{}{}{}".format(port, "-" if neighbour > port else ",", neighbour)


def family_flag(version: int) -> List[str]:
    """Return -6 for IPv6: without it nmap skips an IPv6 address, and exits 0."""
    return ["-6"] if version == 6 else []


def no_discovery() -> List[str]:
    """Return the options that leave out host discovery, and leave ARP to the kernel.

    A check of one port must not depend on ping, and discovery costs a third of the time.
    """
    return ["-Pn", "--disable-arp-ping", "--send-ip"]


def patience(look: Look, hosts: int) -> List[str]:
    """Return the timing options: wait 2 * rtt_timeout for a silent port, neither less nor more.

    nmap would wait for 1000 ms before its first retransmission to two ports or more; --min-rate
    makes it send as soon as the RTT timeout has passed (all versions from 7.70 to 7.93). The
    rate of 20 packets a second for each host sends to all of them within 0.1 s.
    """
    rtt = _milliseconds(look.rtt_timeout)
    return [
        "--min-rate",
        str(20 * hosts),
        "--initial-rtt-timeout",
        rtt,
        "--min-rtt-timeout",
        rtt,
        "--max-rtt-timeout",
        rtt,
    ]


def data_folder() -> List[str]:
    """Return --datadir with our nearly empty tables: nmap reads 27,000 lines at each start.

    78 ms become 50 ms, and CPU 44 ms 10 ms. Left out where the folder is not a real one, as
    inside a zip.
    """
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nmap_data")
    return ["--datadir", folder] if os.path.isdir(folder) else []


def argv(  # noqa: PLR0913  one keyword for each thing that shapes the command
    addresses: Sequence[str],
    port: int,
    *,
    version: int,
    look: Look,
    time_left: float,
    plus_one: bool = True,
) -> List[str]:
    """Return nmap's arguments, without the program itself.

    `addresses`: canonical IP addresses of one `version` (4 or 6). `time_left`: seconds until
    our deadline; with it as --host-timeout, nmap ends by itself should we be killed.
    """
    return [
        "-n",
        "-sS",
        *family_flag(version),
        *no_discovery(),
        *data_folder(),
        *patience(look, len(addresses)),
        "--host-timeout",
        _milliseconds(time_left),
        "-p",
        ports(port, plus_one),
        "-oX",
        "-",
        *addresses,
    ]


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1000))}ms"
