"""TCP half-open health check: nmap's SYN scan as a monitoring plugin."""

__version__ = "0.1.0"
