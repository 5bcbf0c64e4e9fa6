"""What is typed after an option to its value, or an error that says what is right.

Loaded before nmap starts (fast_path.py), so it imports next to nothing.
"""

from halfopen.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

    from halfopen.cli.options import Command

    Reader = Callable[[str], object]
    """The text given, to the value; raises UsageError, with what is to follow the option and the
    text, for a wrong one."""
    Raw = Dict[str, Any]
    """An option's key to what was typed: a text or None, True or False; also the arguments."""
    Values = Dict[str, Any]
    """The same after reading; "family" tells which of -4 and -6 it is."""

HOUR, DAY = 3600.0, 86400.0
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": HOUR, "d": DAY}
STATES = ("open", "closed", "filtered")
"""model.PORT_STATES, which takes 5 ms to load."""
_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


def _seconds(text: str) -> "Optional[float]":
    digits = text.rstrip("dhms")
    unit = _UNITS.get(text[len(digits) :])
    whole, _, part = digits.partition(".")
    # float() alone would take nan, 1_0, 1e9 and digits of other scripts.
    if unit is None or not (whole + part).isdigit() or not digits.isascii():
        return None
    return round(float(digits) * unit, 9)  # 9 ms are not 0.009000000000000001 s


def time(most: float, least: float = 0.0) -> "Reader":
    """Return a reader of times, above 0 and from `least` to `most` seconds."""

    def read(text: str) -> float:
        seconds = _seconds(text)
        if seconds and least <= seconds <= most:
            return seconds
        start = f"from {least:g}s" if least else "above 0,"
        end = f"{most / DAY:g}d" if most >= DAY else f"{most / HOUR:g}h"
        raise UsageError(f" is not a time {start} up to {end}; write 5, 0.5, 5s, 500ms, 2m or 1h")

    return read


def limit(text: str) -> object:
    """Return the upper end, in seconds, of a threshold as the plugin guidelines write ranges.

    Nothing but an upper end means anything for a round trip: a short one is never bad.
    """
    low, colon, high = text.rpartition(":")
    if text.startswith("@"):
        why = ": '@' warns inside of a range, and a short round trip is never bad; leave it out"
    elif colon and low not in ("", "~") and _seconds(low) is None:
        why = " is not a range; write 0.05, 50ms or 0:0.05"
    elif colon and not high:
        why = " has no upper limit; write 0.05, 50ms or 0:0.05"
    elif _seconds(low):
        why = f": a short round trip is never bad; leave out the lower limit: {high}"
    else:
        return time(HOUR)(high)
    raise UsageError(why)


def count(text: str) -> int:
    """Return a number from 1 to a million."""
    if text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= 1000000:
        return int(text)
    raise UsageError(" is not a number from 1 to 1000000")


def choice(*names: str) -> "Reader":
    """Return a reader that takes one of these names."""

    def read(text: str) -> str:
        if text in names:
            return text
        raise UsageError(" is not one of {}".format(", ".join(names)))

    return read


def format_name(text: str) -> object:
    """Return the name of a format."""
    from halfopen.formats.registry import FORMATS  # noqa: PLC0415  takes 10 ms

    return choice(*FORMATS)(text)


def exit_map(text: str) -> "Dict[str, int]":
    """Return STATE=CODE,... as a map from state to exit code.

    States are open, closed, filtered and error; codes 0 to 255, or ok, warning, critical, unknown.
    """
    codes: Dict[str, int] = {}
    for pair in text.split(","):
        name, _, code = pair.partition("=")
        number = _CODES.get(code.lower())
        if code.isascii() and code.isdigit() and len(code) <= 3 and int(code) <= 255:
            number = int(code)
        if name not in (*STATES, "error") or number is None:
            raise UsageError(
                f": {pair!r} is not STATE=CODE, with a state of {', '.join(STATES)}, error and a "
                "code of 0 to 255 or ok, warning, critical, unknown"
            )
        codes[name] = number
    return codes


# -- all options of a command -------------------------------------------------------------------


def read(command: "Command", raw: "Raw") -> "Values":
    """Return what was typed as values; raise UsageError for the first that is wrong."""
    found = dict(raw)
    for option in command.options:
        text = raw[option.key]
        if option.read is not None and text is not None:
            try:
                found[option.key] = option.read(text)
            except UsageError as error:
                raise UsageError(f"{option.names[0]} {text!r}{error}") from None
    if raw.get("ipv4") and raw["ipv6"]:
        raise UsageError("-4 and -6 exclude each other; leave out one")
    found["family"] = 4 if raw.get("ipv4") else 6 if raw.get("ipv6") else None
    if "targets" in raw:
        _refuse_two_ways(raw)
    warning, critical = found.get("warning"), found.get("critical")
    if warning is not None and critical is not None and warning > critical:
        typed = f"--warning {raw['warning']!r} is above --critical {raw['critical']!r}"
        raise UsageError(f"{typed}; swap them")
    if found.get("exit") and found["format"]:
        _refuse_unknown_codes(found["format"], found["exit"])
    return found


def _refuse_two_ways(raw: "Raw") -> None:
    """Raise UsageError unless the targets are given in one way, and in full."""
    host, port = raw["hostname"] is not None, raw["port"] is not None
    if bool(raw["arguments"]) + (host or port) + (raw["targets"] is not None) > 1:
        raise UsageError("targets given in two ways; give arguments, or -H and -p, or --targets")
    if host != port:
        raise UsageError("-H and -p go together; add {}".format("-p PORT" if host else "-H HOST"))


def _refuse_unknown_codes(format_name: str, codes: "Dict[str, int]") -> None:
    """Raise UsageError if the format's caller would misread a code."""
    from halfopen.formats.registry import FORMATS  # noqa: PLC0415  takes 10 ms

    only = FORMATS[format_name].only
    if only == ():
        raise UsageError(f"--exit changes nothing for {format_name}: what is printed decides")
    if only is not None and not set(codes.values()) <= set(only):
        known = " and ".join(map(str, only))
        raise UsageError(f"--exit: {format_name} knows the codes {known} only")
