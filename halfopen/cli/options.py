"""Words of options to valid settings, or a clear error."""

import re
from typing import Dict, NamedTuple, Optional, Sequence

from halfopen.errors import UsageError
from halfopen.formats.registry import FORMATS, ExitMap
from halfopen.model import PORT_STATES, Expectation

MAX_SECONDS = 3600.0
_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


class Wording(NamedTuple):
    """What counts as good, and how the caller wants to be told."""

    format_name: str
    exit_map: ExitMap
    expectation: Expectation


def wording(
    format_name: str,
    expect: str = "open",
    exit_codes: str = "",
    warning: Optional[str] = None,
    critical: Optional[str] = None,
) -> Wording:
    """Return the words of --format, --expect, --exit, --warning and --critical as a Wording.

    Raises UsageError for the first bad one.
    """
    one_of("--format", format_name, list(FORMATS))
    limits = [
        None if word is None else seconds(option, word)
        for option, word in (("--warning", warning), ("--critical", critical))
    ]
    return Wording(
        format_name,
        _known(format_name, exit_map("--exit", exit_codes)) if exit_codes else {},
        Expectation(state("--expect", expect), *limits),
    )


def _known(format_name: str, codes: Dict[str, int]) -> Dict[str, int]:
    """Return the map; raise UsageError if the format's caller would misread a code."""
    only = FORMATS[format_name].only
    if only is None or all(code in only for code in codes.values()):
        return codes
    if not only:
        raise UsageError(f"--exit changes nothing for {format_name}: what is printed decides")
    raise UsageError(
        "--exit: {} knows the codes {} only".format(format_name, " and ".join(map(str, only)))
    )


def seconds(option: str, word: str) -> float:
    """Return a positive number of seconds, at most 3600; raise UsageError otherwise."""
    number = re.match(r"([0-9]+\.?[0-9]*|\.[0-9]+)\Z", word)
    if number is None or not 0 < float(word) <= MAX_SECONDS:
        raise UsageError(
            f"{option} {word!r} is not a number of seconds above 0 and up to {MAX_SECONDS:g}"
        )
    return float(word)


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def span(option: str, word: str, least: float = 0.0) -> float:
    """Return a time span in seconds: a number with s, m, h or d, or without; up to 365 d.

    Raises UsageError for anything else, and for less than `least` seconds.
    """
    number = re.match(r"([0-9]+\.?[0-9]*|\.[0-9]+)([smhd]?)\Z", word)
    length = float(number.group(1)) * _UNITS[number.group(2)] if number else -1.0
    if not (least <= length <= 365 * 86400 and length > 0):
        from_ = f"from {least:g} s" if least else "above 0"
        raise UsageError(
            f"{option} {word!r} is no time span: 90, 90s, 5m, 2h, {from_} and up to 365d"
        )
    return length


def count(option: str, word: str) -> int:
    """Return a number from 1 to a million; raise UsageError for anything else."""
    if not (word.isascii() and word.isdigit() and len(word) <= 7 and 1 <= int(word) <= 1000000):
        raise UsageError(f"{option} {word!r} is not a number from 1 to 1000000")
    return int(word)


def one_of(option: str, word: str, words: Sequence[str]) -> str:
    """Return the word; raise UsageError if it is not one of those."""
    if word not in words:
        raise UsageError("{} {!r} is not one of {}".format(option, word, ", ".join(words)))
    return word


def state(option: str, word: str) -> str:
    """Return a port state; raise UsageError for any other word."""
    return one_of(option, word, PORT_STATES)


def exit_map(option: str, word: str) -> Dict[str, int]:
    """Return STATE=CODE,... as a map from state to exit code; raise UsageError if it is none.

    States are open, closed, filtered and error; codes 0 to 255, or ok, warning, critical, unknown.
    """
    codes: Dict[str, int] = {}
    for pair in word.split(","):
        name, _, code = pair.partition("=")
        number = _code(code)
        if name not in (*PORT_STATES, "error") or number is None:
            raise UsageError(
                "{} {!r}: {!r} is not STATE=CODE, with a state of {}, error and a code of 0 to "
                "255 or ok, warning, critical, unknown".format(
                    option, word, pair, ", ".join(PORT_STATES)
                )
            )
        codes[name] = number
    return codes


def _code(word: str) -> Optional[int]:
    if word.lower() in _CODES:
        return _CODES[word.lower()]
    if word.isdigit() and word.isascii() and len(word) <= 3 and int(word) <= 255:
        return int(word)
    return None


def family(ipv4: bool, ipv6: bool) -> Optional[int]:
    """Return 4 for -4, 6 for -6, None for neither; raise UsageError for both."""
    if ipv4 and ipv6:
        raise UsageError("-4 and -6 exclude each other; leave out one")
    return 4 if ipv4 else 6 if ipv6 else None
