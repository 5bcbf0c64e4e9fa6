"""Both commands: words alone go straight through; options go to typer's parser.

typer takes longer to start than nmap to scan.
"""

import os
from typing import Sequence

from halfopen.check import check
from halfopen.deadline import call_by
from halfopen.formats.registry import DEFAULT_FORMAT, PLUGIN_FORMAT, Output, output
from halfopen.model import ScanOptions
from halfopen.scan import head_start
from halfopen.scan.head_start import TIMEOUT
from halfopen.targets.parse import Parse, parse_plugin_words, parse_targets


def main(words: Sequence[str]) -> Output:
    """Return what `check_tcp_half_open WORDS` prints, and its exit code.

    Raises UsageError for bad words.
    """
    # A negative number is a bad port, not an option.
    if len(words) in (2, 4) and not any(_is_option(word) for word in words):
        return _straight(words, parse_plugin_words, PLUGIN_FORMAT)
    from halfopen.cli import app  # noqa: PLC0415  slow to import

    return app.plugin(words)


def main_halfopen(words: Sequence[str]) -> Output:
    """Return what `halfopen WORDS` prints, and its exit code; raise UsageError for bad words."""
    if words[:1] == ["check"] and words[1:] and not any(_is_option(word) for word in words):
        return _straight(words[1:], parse_targets, DEFAULT_FORMAT)
    from halfopen.cli import app  # noqa: PLC0415  slow to import

    return app.main(words)


def _is_option(word: str) -> bool:
    if word in ("-4", "-6"):
        return True
    return word.startswith("-") and not word[1:2].isdigit()


def _straight(words: Sequence[str], parse: Parse, format_name: str) -> Output:
    deadline = head_start.began + TIMEOUT
    targets = call_by(lambda: parse(words, None), deadline, "looking up the port")
    report = check(targets, deadline, ScanOptions(nmap=os.environ.get("HALFOPEN_NMAP") or "nmap"))
    return output(format_name, report, {}, verbose=False)
