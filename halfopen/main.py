"""Both commands begin here; the format asked for is read here. Imports come late: nmap is first."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Sequence

LAST_WORDS = b"TCP HALF-OPEN UNKNOWN - no memory to say why; free some, or raise ulimit -v\n"


def check_tcp_half_open() -> "NoReturn":
    """Run the command check_tcp_half_open; never returns."""
    _run("check_tcp_half_open")


def halfopen() -> "NoReturn":
    """Run the command halfopen; never returns."""
    _run("halfopen")


def _run(program: str) -> "NoReturn":
    typed = sys.argv[1:]
    asked = last_value(typed, "--format").lower()  # F5, a wrong name, still means f5
    # Where there is not even memory to give up, Python would exit with 1: Nagios's WARNING.
    sys.excepthook = lambda *_: _end(LAST_WORDS, asked)
    try:
        from halfopen.scan import head_start  # noqa: PLC0415

        head_start.begin()
        _prepare()
        from halfopen.cli import early  # noqa: PLC0415

        early.start_plain(program, typed)
        from halfopen.cli import fast_path  # noqa: PLC0415

        parsed = fast_path.begin(program, typed)
        from halfopen.cli import commands  # noqa: PLC0415
        from halfopen.cli.exit import leave  # noqa: PLC0415
    except BaseException as error:  # noqa: BLE001  whatever it is, the server is not to blame
        _give_up(error, asked)
    try:
        asked = commands.format_asked_for(program, typed, asked)
        checks = program != "halfopen" or typed[:1] == ["check"]
        leave(
            lambda typed: commands.main(program, typed, parsed, asked),
            asked or commands.default_format(program),
            last_value(typed, "--output") if checks else "",
        )
    except Exception as error:  # noqa: BLE001  not enough memory even to say so, perhaps
        _give_up(error, asked)


def last_value(typed: "Sequence[str]", option: str) -> str:
    """Return what follows the option, `OPTION VALUE` or `OPTION=VALUE`; "" if it is not there.

    The command line has not been parsed yet, and may be wrong. The last one counts, as for typer.
    """
    value = ""
    for word, following in zip(typed, [*typed[1:], ""]):
        if word == option:
            value = following
        elif word.startswith(option + "="):
            value = word[len(option) + 1 :]
    return value


def _prepare() -> None:
    import _signal as signal  # type: ignore[import-not-found] # noqa: PLC0415  see process.py
    import gc  # noqa: PLC0415

    # Until exit.py takes the signals: Ctrl-C ends us, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # An ignored SIGCHLD, inherited, would hide every exit code.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A check ends before its garbage could matter; looking for it is 4% of the CPU time.
    gc.disable()
    _open_standard_descriptors()


def _open_standard_descriptors() -> None:
    """Put /dev/null where 0, 1 or 2 is closed, as HAProxy may leave them.

    Or else a socket of the resolver's lands there, and what we print goes into it.
    """
    opened = 0
    try:
        while opened <= 2:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
        os.close(opened)
    except OSError:
        pass


def _give_up(error: BaseException, asked: str) -> "NoReturn":
    """Say that our own modules can't be loaded, or have no memory, by means that need none."""
    line = LAST_WORDS
    try:
        process = sys.modules.get("halfopen.scan.process")
        if process:
            process.kill_all()
        advice = "install it again"
        if isinstance(error, (MemoryError, OSError)):
            advice = "free some memory, or raise the limits (ulimit -n, -v)"
        text = f"TCP HALF-OPEN UNKNOWN - cannot load halfopen ({error!r}); {advice}\n"
        line = text.encode("ascii", "backslashreplace")
    finally:
        _end(line, asked)  # whatever went wrong on the way here


def _end(line: bytes, asked: str) -> "NoReturn":
    try:
        os.write(2 if asked == "f5" else 1, line)  # to F5 any output is up
    finally:
        # A failed check's code, as registry.py has it: keepalived takes any above 1 for up, systemd
        # all but 255 for a reason to skip.
        balancers = ("haproxy", "keepalived", "ldirectord")
        os._exit(1 if asked in balancers else 255 if asked == "systemd" else 3)
