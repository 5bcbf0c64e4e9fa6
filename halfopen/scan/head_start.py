"""The commonest check, of an IPv4 address by root, starts nmap before all else is loaded.

Loading Python's modules takes half as long as the scan; loaded while it runs, they cost nothing,
and the check takes a tenth less. Nothing else changes: check.py builds its command as ever, and
runner.py takes this run if it has the same arguments; if not, it is killed, and another started.
"""

import os
import time

from halfopen.scan import command, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

TIMEOUT = 10.0
"""Seconds that a check may take by default, as the monitoring plugins guidelines have it."""

began = time.monotonic()
"""When this command began (`time.monotonic` seconds): its time limit counts Python's start, too."""


def begin() -> None:
    """Begin a command now: another may have run in this process before."""
    global began
    began = time.monotonic()


def start(words: "Sequence[str]") -> None:
    """Start nmap if the arguments are a plain IPv4 address and a number, and we are root."""
    if len(words) not in (2, 4) or os.geteuid() != 0:
        return
    host, port = words[-2:]
    if any(word.startswith("-") for word in words):
        return  # four arguments can be options
    if not _is_ipv4(host) or not _is_number(port, 1, 65535):
        return
    try:
        nmap = process.find_program(os.environ.get("HALFOPEN_NMAP") or "nmap")
    except Exception:  # noqa: BLE001  check.py meets it again, and says so
        return
    arguments = command.argv(
        [host],
        int(port),
        version=4,
        rtt_timeout=command.QUICK_RTT_TIMEOUT,
        time_left=TIMEOUT - 0.001,
    )
    process.start_early([nmap, *arguments])


def _is_ipv4(word: str) -> bool:
    """Return whether the word is an address in canonical form that one host can have."""
    numbers = word.split(".")
    return (
        len(numbers) == 4
        and _is_number(numbers[0], 1, 223)
        and all(_is_number(number, 0, 255) for number in numbers)
    )


def _is_number(word: str, least: int, most: int) -> bool:
    digits = word.isascii() and word.isdigit() and len(word) <= 5
    return digits and str(int(word)) == word and least <= int(word) <= most
