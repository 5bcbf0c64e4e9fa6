"""NRPE: its contract, and what is its own."""

from __future__ import annotations

import re

from .contract import EndingContract
from .nrpe import NEEDS, NRPE

__all__ = ["NEEDS"]


class TestContract(EndingContract):
    HOST = NRPE

    def test_the_line_passes_through_whole(self, host: NRPE) -> None:
        line = r"TCP HALF-OPEN OK - 192.0.2.11:443 open \(syn-ack\) https \| time=0\.\d{6}s;;;0\n"
        assert re.fullmatch(line, host.ask("-c", "half_open_web1").stdout)
