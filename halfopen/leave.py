"""The one way out of every command: the exit code is decided, then one thing is printed."""

import os
import signal
import sys
from typing import Callable, NoReturn, Sequence

from halfopen import head_start, nmap_run
from halfopen.check import Report, failure
from halfopen.conventions import CONVENTIONS, Output, output
from halfopen.errors import HalfopenError

Main = Callable[[Sequence[str]], Output]


def leave(main: Main, convention: str) -> NoReturn:
    """Run `main` on the command line's words, print what it returns, and end the process.

    Whatever `main` raises becomes UNKNOWN, in the convention that the words name with --as, or
    else in the given one.
    """
    _take_signals()
    words = sys.argv[1:]
    try:
        result = main(words)
    except HalfopenError as error:
        result = _failed(error, words, convention)
    except BaseException as error:  # noqa: BLE001  a bug of ours is no verdict on a server
        result = _failed(HalfopenError(_bug(error)), words, convention)
    nmap_run.kill_all()
    _print(result)
    # Not sys.exit: nothing that is left to tidy up may change the code, or take time.
    os._exit(result.code)


def _failed(error: HalfopenError, words: Sequence[str], default: str) -> Output:
    return output(_convention(words, default), Report((failure(error),)), {}, verbose=False)


def _convention(words: Sequence[str], default: str) -> str:
    """Return the convention that the words ask for: they may not have been parsed."""
    for word, following in zip(words, [*words[1:], ""]):
        name = following if word == "--as" else word[5:] if word.startswith("--as=") else ""
        if name in CONVENTIONS:
            return name
    return default


def _bug(error: BaseException) -> str:
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return "halfopen itself failed at {} ({}: {}); please report this line".format(
        place, type(error).__name__, str(error).replace("\n", " ")
    )


def _take_signals() -> None:
    for number in head_start.ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's choice stands
            signal.signal(number, nmap_run.end_by_signal)
    head_start.let_signals_in()


def _print(result: Output) -> None:
    """Write all or what can be written: a closed pipe or a full disk changes no verdict."""
    data = (result.text + "\n").encode("utf-8", "backslashreplace") if result.text else b""
    try:
        while data:
            data = data[os.write(result.stream, data) :]
    except OSError:
        pass
