"""Time and CPU of checks, in pairs against the bash script they replace, or against nmap alone.

Exits with 1 if a figure is over its limit. Runs in namespaces of its own, so it needs root. Run it
on an idle machine: the first line says how busy it is.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Iterator, NamedTuple, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import dist
from lab import NMAP, TARGET, Lab, why_no_lab

HOST, OPEN_PORT, SILENT_PORT = TARGET[4], "25", "80"
PORTS = range(10_000, 11_000)
NETWORK = "10.25"
"""What 10,000 addresses begin with, all of them the target's."""
OK, CRITICAL = 0, 2
LONGEST_S = 120

# What stood in the monitor's plug-in folder before.
SCRIPT = """#!/bin/bash
HOST=$1
PORT=$2
if nmap -n -sS -p ${PORT}-$((PORT + 1)) ${HOST} | grep open | grep ${PORT}; then
    exit 0
fi
exit 2
"""

# Measures from within the namespace, so that getting there is not counted. wait4's maxrss is that
# of the largest process of the tree, and a fork starts with its parent's: hence a Python as small
# as it gets, whose 5 MB are less than any of the programs has.
METER = """
import os, sys, time
start = time.perf_counter()
pid = os.fork()
if not pid:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - start
print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, status >> 8 or status)
"""


class Cost(NamedTuple):
    """What one run took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system, of the whole tree of processes."""
    memory: float
    """MiB, of the tree's largest process."""


class Row(NamedTuple):
    """What is measured against what, and the most that the medians of the ratios may be."""

    name: str
    base: Sequence[str]
    ours: Sequence[str]
    most: Sequence[float]
    """Of the figures of a Cost, as many as have a limit."""
    pairs: int = 15


def cost(lab: Lab, command: Sequence[str], code: int = OK) -> Cost:
    """Run a command once; it must exit as expected, or its figures mean nothing."""
    meter = [sys.executable, "-I", "-S", "-c", METER, *command]
    done = lab.run(meter, timeout=LONGEST_S)
    wall, cpu, memory, status = map(float, done.stdout.split())
    if status != code:
        sys.exit(f"bench: {' '.join(command[:4])} ended with {status:.0f}, not {code}")
    return Cost(wall, cpu, memory)


def measure(lab: Lab, row: Row) -> bool:
    """Print a line for each figure; return whether one is over its limit."""
    cost(lab, row.base), cost(lab, row.ours)  # the first runs read the files
    # Base, ours, base, ours ...: what else the machine does meets both alike.
    pairs = [(cost(lab, row.base), cost(lab, row.ours)) for _ in range(row.pairs)]
    over = False
    for number, most in enumerate(row.most):
        base, ours = [pair[0][number] for pair in pairs], [pair[1][number] for pair in pairs]
        ratio = median(mine / theirs for theirs, mine in zip(base, ours))
        name = f"{row.name}: {('wall, s', 'CPU, s', 'memory, MiB')[number]}"
        over = told(name, spread(base), spread(ours), ratio, most) or over
    return over


def told(name: str, base: str, ours: str, value: float, most: float) -> bool:
    """Print a line of the table; return whether the value is over its limit."""
    verdict = "OVER" if value > most else "ok"
    print(f"{name:58}{base:23}{ours:23}{value:6.2f}{most:6.2f} {verdict}", flush=True)
    return value > most


def spread(values: list[float]) -> str:
    """Three figures that fit a column."""
    return f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def installed(folder: Path) -> list[str]:
    """Install the package as users do, with what belongs to it alone; return its commands.

    With the system's Python, as the single files have it: one that is built without its profile,
    as pyenv builds it, takes a quarter more CPU for a check.
    """
    system = "/usr/bin/python3"
    python = system if os.path.exists(system) else sys.executable
    dist.packages(folder)
    dist.must(python, "-m", "venv", str(folder))
    install = [str(folder / "bin" / "pip"), "install", "-q", *map(str, folder.glob("*.whl"))]
    dist.must(*install, env={**os.environ, "PIP_USER": "0"})
    return [str(folder / "bin" / name) for name in dist.COMMANDS]


def rows(lab: Lab, folder: Path, plugin: str, halfopen: str) -> Iterator[Row]:
    """Give what is measured; the folder is for the files that it needs."""
    script = folder / "check.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    article = [str(script), HOST, OPEN_PORT]
    dist.single_files(folder)
    single = str(folder / "check_tcp_half_open")
    plain = [HOST, OPEN_PORT]
    options = ["-H", HOST, "-p", OPEN_PORT, "-t", "5"]
    yield Row("HOST PORT", article, [plugin, *plain], (0.60, 0.95, 1.0))
    yield Row("-H HOST -p PORT -t 5", article, [plugin, *options], (0.65, 1.0))
    yield Row("single file: HOST PORT", article, [single, *plain], (0.65, 1.1))
    changed = [single, "-t", "5", "--exit", "error=0", *plain]
    yield Row("single file: -t 5 --exit error=0 HOST PORT", article, changed, (0.70, 1.2))
    one = [halfopen, "check", f"{HOST}:{OPEN_PORT}"]
    json = [*one, "--format", "json"]
    yield Row("halfopen check HOST:PORT --format json", article, json, (0.75, 1.2))
    pythons = dist.pythons()
    if "3.7" in pythons:
        old = [pythons["3.7"], "-IS", single, *plain]
        yield Row("single file on Python 3.7: HOST PORT", article, old, (0.9, 1.5))

    addresses = lab.many_addresses(250)
    many = [halfopen, "check", *(f"{address}:{OPEN_PORT}" for address in addresses)]
    yield Row("250 targets of one port, vs. one target", one, many, (2.0,))
    alone = [NMAP, "-n", "-sS", "-Pn", "-p"]
    check = [halfopen, "check", "--timeout", "60", "--targets"]
    ports, hosts = folder / "ports", folder / "hosts"
    ports.write_text("".join(f"{HOST}:{port}\n" for port in PORTS))
    base = [*alone, f"{PORTS[0]}-{PORTS[-1]}", HOST]
    yield Row("1,000 ports of one host, vs. nmap alone", base, [*check, str(ports)], (4.0,), 5)
    addresses = [f"{NETWORK}.{number // 250}.{number % 250 + 1}" for number in range(10_000)]
    hosts.write_text("".join(f"{address}:{OPEN_PORT}\n" for address in addresses))
    (folder / "list").write_text("\n".join(addresses))
    # A check scans two ports of each.
    base = [*alone, f"{OPEN_PORT},26", "-iL", str(folder / "list")]
    yield Row("10,000 hosts, vs. nmap alone", base, [*check, str(hosts)], (2.0,), 3)


def widen(lab: Lab) -> None:
    """Give the target 10,000 addresses more, and have it listen on 1,000 ports more."""
    rule = f"tcp dport {PORTS[0]}-{PORTS[-1]} redirect to :{OPEN_PORT}\n"
    redirect = f"table inet wide {{ chain in {{ type nat hook prerouting priority 0; {rule} }}\n }}"
    network = f"{NETWORK}.0.0/16"
    for ns, command, text in (
        ("target", ["nft", "-f", "-"], redirect),
        ("target", ["ip", "route", "add", "local", network, "dev", "lo"], None),
        ("scanner", ["ip", "route", "add", network, "via", HOST], None),
    ):
        done = lab.run(command, ns, input=text)
        if done.returncode:
            sys.exit(f"bench: {' '.join(command)}: {done.stderr}")


def main() -> int:
    """Measure everything and return the exit code."""
    lacking = why_no_lab()
    if lacking:
        sys.exit(f"bench: {lacking}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs; median (min-max)")
    print(
        f"{'check_tcp_half_open, but where it says halfopen':58}{'base':23}{'ours':23} ratio limit"
    )
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        widen(lab)
        plugin, halfopen = installed(Path(folder, "installed"))
        over = [measure(lab, row) for row in rows(lab, Path(folder), plugin, halfopen)]
        silent = [cost(lab, [plugin, HOST, SILENT_PORT], CRITICAL).wall for _ in range(5)]
        over.append(told("a silent port: longest wall, s", "", spread(silent), max(silent), 2.2))
    return int(any(over))


if __name__ == "__main__":
    sys.exit(main())
