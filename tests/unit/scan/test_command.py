"""nmap's argv."""

import os
import re
from pathlib import Path
from typing import List

import pytest

import halfopen
from halfopen.scan import command, tables
from halfopen.scan.command import argv, ports, second_port

DATA_FOLDER = os.path.join(os.path.dirname(os.path.abspath(halfopen.__file__)), "nmap_data")


def words(command: str) -> List[str]:
    """Return a command's words, with our data folder in the place of DATA."""
    return [DATA_FOLDER if word == "DATA" else word for word in command.split()]


def built(time_left: float = 10) -> List[str]:
    """Return the commonest command."""
    return argv(["192.0.2.25"], [25], time_left=time_left)


def test_the_sudoers_line_of_the_examples_admits_commands_of_one_port() -> None:
    sudoers = (Path(halfopen.__file__).parents[1] / "examples" / "sudoers").read_text()
    admitted = re.sub(r"/opt/\S+/nmap_data", "DATA", sudoers[sudoers.index("^") :].rstrip())

    for addresses in (["192.0.2.25"], ["2001:db8::25", "fe80::25%eth0"]):
        typed = argv(addresses, [65535], rtt_timeout=0.5, time_left=9.5604)
        assert re.match(admitted, " ".join(typed).replace(DATA_FOLDER, "DATA"))


def test_the_ipv4_command_is_exactly_this() -> None:
    assert built() == words(
        "-n -sS -Pn --disable-arp-ping --send-ip --datadir DATA --min-rate 20 "
        "--initial-rtt-timeout 150ms --min-rtt-timeout 150ms --max-rtt-timeout 150ms "
        "--host-timeout 10000ms -p 25,26 -oX - 192.0.2.25"
    )


def test_probes_come_from_a_port_if_one_is_given() -> None:
    command = argv(["192.0.2.25"], [25], time_left=10, source_port=40001)

    assert [word for word in command if word not in built()] == ["-g", "40001"]
    assert command.index("-g") + 1 == command.index("40001")


def test_the_ipv6_command_is_exactly_this() -> None:
    addresses = ["2001:db8::25", "fe80::25%eth0"]

    assert argv(addresses, [65535], rtt_timeout=0.5, time_left=9.5604) == words(
        "-n -sS -6 -Pn --disable-arp-ping --send-ip --datadir DATA --min-rate 40 "
        "--initial-rtt-timeout 500ms --min-rtt-timeout 500ms --max-rtt-timeout 500ms "
        "--host-timeout 8000ms -p 65535,65534 -oX - 2001:db8::25 fe80::25%eth0"
    )


@pytest.mark.parametrize(
    ("count", "rate", "added"),
    [
        (2, "20", "--max-retries 1 --max-scan-delay 0"),
        (25, "250", "--max-retries 1 --max-scan-delay 0"),
        (26, "260", "--max-retries 1 --max-scan-delay 0 -v5"),
        (125, "1250", "--max-retries 1 --max-scan-delay 0 -v5"),
    ],
)
def test_the_command_of_many_ports_is_exactly_this(count: int, rate: str, added: str) -> None:
    asked = range(1000, 1000 + count)

    command = argv(["192.0.2.25"], asked, time_left=10)

    assert command == words(
        f"-n -sS -Pn --disable-arp-ping --send-ip --datadir DATA --min-rate {rate} "
        "--initial-rtt-timeout 150ms --min-rtt-timeout 150ms --max-rtt-timeout 150ms "
        f"--host-timeout 10000ms {added} -p {','.join(map(str, asked))} -oX - 192.0.2.25"
    )


@pytest.mark.parametrize(
    ("folder", "options"), [("/run/tables", ["--datadir", "/run/tables"]), ("", [])]
)
def test_in_a_single_file_nmap_reads_the_tables_of_root_or_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, options: List[str]
) -> None:
    inside_a_zip = tmp_path / "halfopen.pyz" / "halfopen" / "scan" / "command.py"
    monkeypatch.setattr(command, "__file__", str(inside_a_zip))
    monkeypatch.setattr(tables, "folder", lambda: folder)

    assert command.data_folder() == options
    assert ("--datadir" in built()) is bool(options)


def test_the_data_folder_has_the_tables_that_nmap_reads_at_its_start() -> None:
    assert {"nmap-services", "nmap-mac-prefixes"} <= set(os.listdir(DATA_FOLDER))


@pytest.mark.parametrize(("port", "second"), [(1, 2), (25, 26), (65534, 65535), (65535, 65534)])
def test_the_asked_port_is_named_first_and_the_second_is_a_real_port(
    port: int, second: int
) -> None:
    assert second_port(port) == second
    assert ports([port], plus_one=True) == f"{port},{second}"


@pytest.mark.parametrize(
    ("time_left", "limit"),
    [
        *((seconds, "1ms") for seconds in (-3.0, 0.0, 0.0004)),  # 0 would mean none
        *((seconds, f"{int(seconds * 1000)}ms") for seconds in (0.3, 1.05, 1.49, 2.2, 2.9)),
        *((4.5, "4000ms"), (5.99, "4000ms"), (6, "6000ms"), (9.9, "8000ms")),
    ],
)
def test_a_host_timeout_takes_nothing_from_a_short_wait_and_a_long_one_is_the_same_for_two_seconds(
    time_left: float, limit: str
) -> None:
    command = built(time_left=time_left)

    assert command[command.index("--host-timeout") + 1] == limit
