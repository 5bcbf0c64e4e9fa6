"""check_tcp_half_open: the article's form goes straight through; anything else to the parser."""

import os
import time
from typing import NoReturn, Sequence

from halfopen import within
from halfopen.check import Means, check
from halfopen.conventions import Output, output
from halfopen.leave import leave
from halfopen.target import parse_plugin_words

CONVENTION = "nagios"
TIMEOUT = 10.0
"""Seconds that a check may take by default, as the monitoring plugins guidelines have it."""


def console() -> NoReturn:
    """Entry point of the command check_tcp_half_open."""
    leave(main, CONVENTION)


def main(words: Sequence[str]) -> Output:
    """Return what `check_tcp_half_open WORDS` prints, and its exit code.

    Raises UsageError for bad words.
    """
    if not is_plain(words):
        from halfopen.cli import plugin  # noqa: PLC0415  typer takes longer to start than nmap

        return plugin(words)
    deadline = time.monotonic() + TIMEOUT
    targets = within.call(lambda: parse_plugin_words(words), deadline, "looking up the port")
    report = check(targets, deadline, Means(nmap=os.environ.get("HALFOPEN_NMAP") or "nmap"))
    return output(CONVENTION, report, {}, verbose=False)


def is_plain(words: Sequence[str]) -> bool:
    """Return whether the words are HOST PORT or VIP VPORT RIP RPORT, without options.

    A negative number is a bad port, not an option.
    """
    return len(words) in (2, 4) and not any(map(_is_option, words))


def _is_option(word: str) -> bool:
    if word in ("-4", "-6"):
        return True
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit()
