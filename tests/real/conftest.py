"""One network for all tests with the real nmap; without root or the tools they are skipped."""

from support.fixtures import able, farm, installed, lab, machine

__all__ = ["able", "farm", "installed", "lab", "machine"]
