"""Stands in for runner.run_all: nmap's XML as a test wants it, without a process."""

import re
import time
from collections import Counter
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from halfopen.model import NmapRun
from halfopen.scan.command import second_port
from halfopen.scan.runner import Meanwhile

NAMES = {
    "mail.example": ["192.0.2.25", "2001:db8::25"],
    "alias.example": ["192.0.2.25"],
    "local.example": ["fe80::25"],
}

SERVICES = {
    "smtp": 25,
    "http-alt": 8080,
    "914c/g": 211,
    "5M": 5,
    "M5": 6,
    "Z_a+B.c*D-e/9": 1,
    "a" * 63: 2,
}
"""TCP services that the tests' system knows."""

PORT = """<port protocol="tcp" portid="{port}"><state state="{state}" reason="{reason}" \
reason_ttl="64"/><service name="x" method="table" conf="3"/></port>"""
HOST = """<host starttime="1" endtime="1"><status state="up" reason="user-set" reason_ttl="0"/>
<address addr="{address}" addrtype="{kind}"/>
<hostnames>
</hostnames>
<ports>{ports}
</ports>
<times srtt="{srtt}" rttvar="5000" to="100000"/>
</host>"""
RUN = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun>
<nmaprun scanner="nmap" args="nmap" start="1" version="7.93" xmloutputversion="1.05">
{hosts}
<runstats><finished time="1" elapsed="0.12" exit="success"/>\
<hosts up="{up}" down="0" total="{up}"/>
</runstats>
</nmaprun>
"""

# What a test says of a port, as nmap says it.
SAYS = {
    "open": ("open", "syn-ack"),
    "closed": ("closed", "reset"),
    "rejected": ("filtered", "admin-prohibited"),
    "silent": ("filtered", "no-response"),
}
CRASH, UNHEARD = "crash", "unheard"


def hang(*_: object) -> str:
    """Answer after longer than anybody waits."""
    time.sleep(30)
    return "never"


def service_port(name: str, protocol: str) -> int:
    """Stand in for socket.getservbyname: not every system has a services file."""
    assert protocol == "tcp"
    assert "\x00" not in name, "the C library would stop reading there"
    if name not in SERVICES:
        raise OSError("service/proto not found")
    return SERVICES[name]


class FakeNmap:
    """Stands in for running nmap: answers as told, and remembers what it was asked.

    `answers`: for an address, or ADDRESS:PORT, what each run that asks about it hears; the last one
    for all further runs too. What is not there is open, but a second port is closed.
    """

    def __init__(
        self, answers: Optional[Mapping[str, Sequence[str]]] = None, srtt: int = 65
    ) -> None:
        self.answers = answers or {}
        self.srtt = srtt
        self.looks: List[List[Sequence[str]]] = []
        self.deadlines: List[float] = []
        self._runs: Dict[Tuple[str, int], int] = Counter()

    def __call__(
        self,
        commands: Sequence[Sequence[str]],
        deadline: float,
        meanwhile: Optional[Meanwhile] = None,
    ) -> List[NmapRun]:
        self.looks.append(list(commands))
        self.deadlines.append(deadline)
        ended = [self._run(command) for command in commands]
        if meanwhile is not None:
            meanwhile({})
            if len(ended) > 1:
                meanwhile(dict(enumerate(ended[:-1])))
        return ended

    @property
    def commands(self) -> List[Sequence[str]]:
        """All commands of all attempts."""
        return [command for attempt in self.looks for command in attempt]

    def _run(self, command: Sequence[str]) -> NmapRun:
        ports = ports_of(command)
        heard = {
            address: [self._answer(address, port, ports) for port in ports]
            for address in addresses_of(command)
        }
        if any(CRASH in says for says in heard.values()):
            return NmapRun(command, 1, b"", b"QUITTING!\n", 0.1)
        hosts = [self._host(a, ports, says) for a, says in heard.items() if UNHEARD not in says]
        xml = RUN.format(hosts="\n".join(hosts), up=len(hosts))
        return NmapRun(command, 0, xml.encode(), b"", 0.12)

    def _answer(self, address: str, port: int, ports: Sequence[int]) -> str:
        address = address.partition("%")[0]
        answers = self.answers.get(f"{address}:{port}")
        if answers is None:
            second = list(ports) == [ports[0], second_port(ports[0])] and port == ports[1]
            answers = ["closed"] if second else self.answers.get(address, ["open"])
        self._runs[address, port] += 1
        return answers[min(self._runs[address, port], len(answers)) - 1]

    def _host(self, address: str, ports: Sequence[int], says: Sequence[str]) -> str:
        return HOST.format(
            address=address.partition("%")[0],  # nmap prints no zone
            kind="ipv6" if ":" in address else "ipv4",
            ports="".join(
                PORT.format(port=port, state=SAYS[one][0], reason=SAYS[one][1])
                for port, one in zip(ports, says)
            ),
            srtt=self.srtt,
        )


def ports_of(command: Sequence[str]) -> List[int]:
    """Return the ports that a command names, the second one included; of a range its ends."""
    return [int(port) for port in re.split("[,-]", value_of(command, "-p"))]


def port_of(command: Sequence[str]) -> int:
    """Return the port that a command asks about first."""
    return ports_of(command)[0]


def addresses_of(command: Sequence[str]) -> List[str]:
    """Return the addresses that a command asks about."""
    return list(command[command.index("-oX") + 2 :])


def value_of(command: Sequence[str], option: str) -> str:
    """Return the word after an option."""
    return command[command.index(option) + 1]
