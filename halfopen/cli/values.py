"""What is typed after an option to its value, or an error that says what is right.

Loaded before nmap starts (fast_path.py), so it imports next to nothing.
"""

from halfopen.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Sequence

    from halfopen.cli.options import Command

    Reader = Callable[[str, str], object]
    """The option's name and the text given, to the value; raises UsageError for a wrong text."""
    Raw = Dict[str, Any]
    """An option's key to what was typed: a text or None, True or False; also the arguments."""
    Values = Dict[str, Any]
    """The same after reading; "family" in place of -4 and -6."""

HOUR, DAY = 3600.0, 86400.0
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": HOUR, "d": DAY}
_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


def _number(text: str) -> "Optional[float]":
    whole, _, part = text.partition(".")
    # float() alone would take nan, 1_0, 1e9 and digits of other scripts.
    return float(text) if (whole + part).isdigit() and text.isascii() else None


def _seconds(text: str) -> "Optional[float]":
    digits = text.rstrip("dhms")
    number, unit = _number(digits), text[len(digits) :]
    if number is None or not (unit == "ms" or unit in _UNITS):
        return None
    return number / 1000 if unit == "ms" else number * _UNITS[unit]


def time(most: float, least: float = 0.0) -> "Reader":
    """Return a reader of times, above 0 and from `least` to `most` seconds."""

    def read(option: str, text: str) -> float:
        seconds = _seconds(text)
        if seconds is not None and least <= seconds <= most and seconds > 0:
            return seconds
        raise UsageError(
            "{} {!r} is not a time {} up to {}; write 5, 0.5, 5s, 500ms, 2m or 1h".format(
                option,
                text,
                f"from {least:g}s" if least else "above 0,",
                f"{most / DAY:g}d" if most >= DAY else f"{most / HOUR:g}h",
            )
        )

    return read


def limit(option: str, text: str) -> float:
    """Return the upper end, in seconds, of a threshold as the plugin guidelines write ranges.

    Nothing but an upper end means anything for a round trip: a short one is never bad.
    """
    if text.startswith("@"):
        raise UsageError(
            f"{option} {text!r}: '@' warns inside of a range, and a short round trip is never bad; "
            "leave it out"
        )
    low, colon, high = text.rpartition(":")
    if colon and low not in ("", "~") and _seconds(low) is None:
        raise UsageError(f"{option} {text!r} is not a range; write 0.05, 50ms or 0:0.05")
    if colon and not high:
        raise UsageError(f"{option} {text!r} has no upper limit; write 0.05, 50ms or 0:0.05")
    if _seconds(low):
        raise UsageError(
            f"{option} {text!r}: a short round trip is never bad; leave out the lower limit: {high}"
        )
    return float(time(HOUR)(option, high))  # type: ignore[arg-type]


def count(option: str, text: str) -> int:
    """Return a number from 1 to a million."""
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= 1000000):
        raise UsageError(f"{option} {text!r} is not a number from 1 to 1000000")
    return int(text)


def choice(*names: str) -> "Reader":
    """Return a reader that takes one of these names."""

    def read(option: str, text: str) -> str:
        return _one_of(names, option, text)

    return read


def _one_of(names: "Sequence[str]", option: str, text: str) -> str:
    if text not in names:
        raise UsageError("{} {!r} is not one of {}".format(option, text, ", ".join(names)))
    return text


def state(option: str, text: str) -> str:
    """Return a port state."""
    if text != "open":
        from halfopen.model import PORT_STATES  # noqa: PLC0415  takes 5 ms, and open is usual

        _one_of(PORT_STATES, option, text)
    return text


def format_name(option: str, text: str) -> str:
    """Return the name of a format."""
    from halfopen.formats.registry import FORMATS  # noqa: PLC0415  takes 10 ms

    return _one_of(list(FORMATS), option, text)


def exit_map(option: str, text: str) -> "Dict[str, int]":
    """Return STATE=CODE,... as a map from state to exit code.

    States are open, closed, filtered and error; codes 0 to 255, or ok, warning, critical, unknown.
    """
    from halfopen.model import PORT_STATES  # noqa: PLC0415  as above

    codes: Dict[str, int] = {}
    for pair in text.split(","):
        name, _, code = pair.partition("=")
        number = _code(code)
        if name not in (*PORT_STATES, "error") or number is None:
            raise UsageError(
                "{} {!r}: {!r} is not STATE=CODE, with a state of {}, error and a code of 0 to "
                "255 or ok, warning, critical, unknown".format(
                    option, text, pair, ", ".join(PORT_STATES)
                )
            )
        codes[name] = number
    return codes


def _code(text: str) -> "Optional[int]":
    if text.lower() in _CODES:
        return _CODES[text.lower()]
    if text.isdigit() and text.isascii() and len(text) <= 3 and int(text) <= 255:
        return int(text)
    return None


# -- all options of a command -------------------------------------------------------------------


def read(command: "Command", raw: "Raw") -> "Values":
    """Return what was typed as values; raise UsageError for the first that is wrong."""
    found: Values = {"arguments": raw["arguments"]}
    for option in command.options:
        text = raw[option.key]
        found[option.key] = (
            text if option.read is None or text is None else option.read(option.names[0], text)
        )
    if "ipv4" in found:
        if found["ipv4"] and found["ipv6"]:
            raise UsageError("-4 and -6 exclude each other; leave out one")
        found["family"] = 4 if found["ipv4"] else 6 if found["ipv6"] else None
    warning, critical = found.get("warning"), found.get("critical")
    if warning is not None and critical is not None and warning > critical:
        raise UsageError(
            "--warning {!r} is above --critical {!r}; swap them".format(
                raw["warning"], raw["critical"]
            )
        )
    if found.get("exit") and found["format"]:
        _refuse_unknown_codes(found["format"], found["exit"])
    return found


def _refuse_unknown_codes(format_name: str, codes: "Dict[str, int]") -> None:
    """Raise UsageError if the format's caller would misread a code."""
    from halfopen.formats import registry  # noqa: PLC0415  takes 10 ms

    only = registry.FORMATS[format_name].only
    if only is None or all(code in only for code in codes.values()):
        return
    if not only:
        raise UsageError(f"--exit changes nothing for {format_name}: what is printed decides")
    raise UsageError(
        "--exit: {} knows the codes {} only".format(format_name, " and ".join(map(str, only)))
    )


def refuse_command_after_targets(typed: "Sequence[str]", arguments: "Sequence[str]") -> None:
    """Raise UsageError for `wait A B -- COMMAND`: other programs of this kind would run it."""
    if "--" not in typed:
        return
    after = list(typed[typed.index("--") + 1 :])
    if len(after) < len(arguments) and list(arguments[len(arguments) - len(after) :]) == after:
        raise UsageError("no command is run here; write `&& COMMAND` after it, in place of `--`")
