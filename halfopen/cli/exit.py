"""The one way out of every command: the exit code is decided, then one thing is printed."""

import errno
import os
import signal
import sys
from typing import Any, Callable, NoReturn, Sequence

from halfopen.errors import HalfopenError
from halfopen.formats.registry import FORMATS, Output, output
from halfopen.model import Report, Status, failure
from halfopen.scan import process


def leave(main: Callable[[Sequence[str]], Output], format_name: str, file: str = "") -> NoReturn:
    """Run `main` on the command line, print what it returns, and end the process.

    Whatever `main` raises becomes UNKNOWN in the format, and goes to the file if one is named.
    """
    _take_signals(format_name)
    try:
        result = main(sys.argv[1:])
    except BaseException as error:  # noqa: BLE001  a bug of ours is no verdict on a server
        told = error if isinstance(error, HalfopenError) else HalfopenError(_bug(error))
        failed = output(format_name, Report((failure(told),)), {}, verbose=False)
        # Where the result was to go: an old file must not go on saying "up".
        result = failed._replace(file=file or None)
    process.kill_all()
    if result.file:
        result = _written(result, format_name)
    _print(result)
    # Not sys.exit: nothing that is left to tidy up may change the code, or take time.
    os._exit(result.code)


def _written(result: Output, format_name: str) -> Output:
    """Write the text to its file; return what is left to print: nothing, or why it failed."""
    from halfopen import files  # noqa: PLC0415  what only --output needs

    try:
        files.replace(str(result.file), _encoded(result.text))
    except HalfopenError as error:
        # Whoever goes by what is printed now has only the exit code to go by.
        code = FORMATS[format_name].codes[Status.UNKNOWN] or 3
        return Output(f"halfopen: {error}", code, stream=2)
    return result._replace(text="")


def _bug(error: BaseException) -> str:
    if isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM:
        return "no memory left; free some, or raise the limit (ulimit -v)"
    trace: Any = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
    return "halfopen itself failed at {} ({}: {}); please report this line".format(
        place, type(error).__name__, str(error).replace("\n", " ")
    )


def _take_signals(format_name: str) -> None:
    if FORMATS[format_name].code_on_signal:
        process.code_on_signal = FORMATS[format_name].codes[Status.UNKNOWN]
    for number in process.ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's choice stands
            signal.signal(number, process.end_by_signal)
    process.let_signals_in()


def _encoded(text: str) -> bytes:
    return (text + "\n").encode("utf-8", "backslashreplace") if text else b""


def _print(result: Output) -> None:
    """Write all or what can be written: a closed pipe or a full disk changes no verdict."""
    for stream, text in ((result.stream, result.text), (2, result.note)):
        data = _encoded(text)
        try:
            while data:
                data = data[os.write(stream, data) :]
        except OSError:
            pass
