"""The installed commands, and how to compare what they print."""

from __future__ import annotations

import re
import sys
from pathlib import Path

PLUGIN = Path(sys.executable).with_name("check_tcp_half_open")
HALFOPEN = Path(sys.executable).with_name("halfopen")


def plugin(*words: object) -> list[str]:
    """Return the command line of check_tcp_half_open with these words."""
    return [str(PLUGIN), *map(str, words)]


def halfopen(*words: object) -> list[str]:
    """Return the command line of halfopen with these words."""
    return [str(HALFOPEN), *map(str, words)]


def name(host: str, port: int) -> str:
    """Return HOST:PORT as it is printed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def masked(text: str) -> str:
    """Return the text with T in place of the round-trip time, without who may have been silent.

    Whether the kernel has asked a neighbour again, and so knows, depends on when it last did.
    """
    text = re.sub(r"(, |  )host answers (ARP|neighbour discovery): a firewall drops it", "", text)
    return re.sub(r"=\d+\.\d{6}s;", "=T;", text)
