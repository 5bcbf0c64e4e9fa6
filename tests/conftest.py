"""HALFOPEN_NO_SKIPS=1 makes a run with skips fail: in CI nothing may be skipped."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections import Counter
from typing import Any, Callable, Iterator

import pytest
from support.commands import run

from halfopen.scan import head_start, netlink

__all__ = ["run"]  # a fixture of several folders
NO_SKIPS = os.environ.get("HALFOPEN_NO_SKIPS") == "1"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail for skips; those of pytest-xdist's workers are counted by who started them."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if NO_SKIPS and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many were skipped and why, a line a reason."""
    skipped = Counter(report.longrepr[2] for report in terminalreporter.getreports("skipped"))
    for why, count in skipped.most_common():
        verb = "may not be skipped" if NO_SKIPS else "skipped"
        terminalreporter.write_line(f"{count} {verb}: {why[len('Skipped: ') :]}")


def pytest_configure() -> None:
    """Undo what whoever started pytest had ignored: it would be ignored in the commands, too."""
    for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "CHLD"):
        number = getattr(signal, f"SIG{name}")
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _coverage_sees_all_threads() -> Iterator[None]:
    """Trace the threads of deadline.py, too: they are not threading's, which coverage.py hooks."""
    hook = getattr(threading, "gettrace", lambda: None)()  # from Python 3.10 on
    really = _thread.start_new_thread

    def start(work: Callable[..., object], words: tuple[Any, ...]) -> int:
        def traced() -> None:
            sys.settrace(hook)
            work(*words)

        return really(traced, ())

    if hook is not None:
        _thread.start_new_thread = start  # type: ignore[assignment]
    yield
    _thread.start_new_thread = really


@pytest.fixture(autouse=True)
def _begin_now() -> None:
    """Each test is a command of its own, as far as time limits go."""
    head_start.begin()


@pytest.fixture(autouse=True)
def _kernel_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test in this process ask this machine's kernel about a silent target."""

    def refuse(*_: object) -> bytes:
        raise PermissionError

    monkeypatch.setattr(netlink, "_ask", refuse)
