"""The console examples of README.md and docs/ are run, and print what they show."""

from __future__ import annotations

import os
import re
import sys

import pytest
from lab import Lab
from support.pages import BLOCKS, ROOT, Block

MARK = "=== the next command ==="
SUBCOMMANDS = ("check", "replay", "smoke", "wait", "watch")
CONSOLE = [block for block in BLOCKS if block.language == "console"]


def examples(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the lines below it."""
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.M)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2]))


def without_times(text: str) -> str:
    """Return the text with each time, and the version of nmap, in one form."""
    for pattern, form in (
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", "STAMP"),
        (r"\d\d:\d\d:\d\d", "CLOCK"),
        (r"\d+\.\d+/\d+\.\d+/\d+\.\d+", "MIN/AVG/MAX"),
        (r"(time'?=)\d+\.\d+", r"\1RTT"),
        (r"(rtt_seconds\S+) \d[\d.e-]*", r"\1 RTT"),
        (r"('=)\d+\.\d+s", r"\1RTTs"),
        (r"\d+\.\d+ ms", "RTT ms"),
        (r"\b(after|in) \d+(\.\d+)? s", r"\1 N s"),
        (r"nmap \d+\.\d+:", "nmap N:"),
        # Unless the target has just asked for us: then the kernel knows it already.
        (r"(, |  )host answers ARP: a firewall drops it", ""),
        (r'"silent_at": ("firewall"|null)', '"silent_at": WHO'),
    ):
        text = re.sub(pattern, form, text)
    return text


def as_pattern(printed: str) -> str:
    """Return a pattern of what an example shows; a line of dots stands for any lines."""
    lines = printed.splitlines(keepends=True)
    return "".join(r"(?:.*\n)*?" if line == "...\n" else re.escape(line) for line in lines)


@pytest.mark.parametrize("block", CONSOLE, ids=lambda b: f"{b.page}-{examples(b)[0][0]}")
def test_a_console_example_prints_what_it_shows(lab: Lab, block: Block) -> None:
    commands, texts = zip(*examples(block))
    script = "".join(f"{each}\ncode=$?\necho '{MARK}'\n(exit $code)\n" for each in commands)
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    result = lab.run(["bash", "-c", f"cd '{ROOT}'\n{script}"], env={**os.environ, "PATH": path})

    printed = [without_times(text) for text in result.stdout.split(MARK + "\n")[:-1]]
    shown = [without_times(text) for text in texts]
    # What fits a line of dots is as good as the line.
    assert [
        example if re.fullmatch(as_pattern(example), text) else text
        for example, text in zip(shown, printed)
    ] == shown
    assert len(printed) == len(shown)
    assert result.stderr == ""


def test_there_are_examples_of_every_command() -> None:
    commands = [command for block in CONSOLE for command, _ in examples(block)]

    for name in ("check_tcp_half_open", *(f"halfopen {each}" for each in SUBCOMMANDS)):
        assert any(name in command for command in commands), name


def test_a_line_of_dots_stands_for_any_lines_and_for_nothing_else() -> None:
    pattern = as_pattern("first\n...\nlast\n")

    assert re.fullmatch(pattern, "first\nlast\n")
    assert re.fullmatch(pattern, "first\na\nb\nlast\n")
    assert not re.fullmatch(pattern, "first\na\nb\n")
    assert not re.fullmatch(pattern, "a\nfirst\nlast\n")
