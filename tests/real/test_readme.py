"""The README's console examples are run, and its messages are the product's."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple

import pytest
from lab import Lab

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MARK = "=== the next command ==="


class Example(NamedTuple):
    command: str
    printed: str


def blocks() -> List[List[Example]]:
    """Return the commands of each console block, each with the lines below it."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", README, re.M | re.S):
        parts = re.split(r"^\$ (.*)\n", block, flags=re.M)
        assert parts[0] == ""
        found.append([Example(*pair) for pair in zip(parts[1::2], parts[2::2])])
    return found


def without_times(text: str) -> str:
    text = re.sub(r"time=[0-9.]+s", "time=RTT", text)
    text = re.sub(r"[0-9.]+ ms", "RTT ms", text)
    return re.sub(r'"rtt_seconds": [0-9.e-]+', '"rtt_seconds": RTT', text)


@pytest.mark.parametrize("examples", blocks(), ids=lambda block: block[0].command)
def test_a_console_example_prints_what_it_shows(lab: Lab, examples: List[Example]) -> None:
    script = "".join(f"{e.command}\ncode=$?\necho '{MARK}'\n(exit $code)\n" for e in examples)
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]

    result = lab.run(["bash", "-c", f"cd '{ROOT}'\n{script}"], env={**os.environ, "PATH": path})

    printed = result.stdout.split(MARK + "\n")
    assert [without_times(text) for text in printed[:-1]] == [
        without_times(example.printed) for example in examples
    ]
    assert result.stderr == ""


def test_there_are_examples_of_both_commands() -> None:
    commands = [example.command.split()[0] for block in blocks() for example in block]

    assert {"check_tcp_half_open", "halfopen"} <= set(commands)


def test_every_message_of_the_troubleshooting_table_is_the_products() -> None:
    table = README.split("## Troubleshooting by message")[1].split("\n## ")[0]
    messages = re.findall(r"^\| `([^`(]+)", table, re.M)
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "halfopen").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", sources).replace("{name}", "nmap")

    assert len(messages) > 8
    assert [message for message in messages if message.strip() not in joined] == []


def test_every_option_of_the_table_is_in_the_help() -> None:
    help_text = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "halfopen"), "check", "--help"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=30,
    ).stdout.decode()
    table = README.split("| option of both commands | |")[1].split("\n## ")[0]
    options = re.findall(r"`(--?[A-Za-z0-9-]+)", "\n".join(re.findall(r"^\|[^|]*\|", table, re.M)))

    assert len(options) > 12
    assert [option for option in options if option not in help_text] == []
