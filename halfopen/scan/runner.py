"""Runs many nmap side by side under a hard deadline, and collects what they print."""

import os
import selectors
import time
from typing import Callable, Dict, List, Optional, Sequence

from halfopen.model import FLOOD, LATE, ON_TIME, UNSTARTED, NmapRun
from halfopen.scan import process
from halfopen.scan.attempts import SIDE_BY_SIDE

# nmap prints about 600 bytes a host and 1.5 KB around them; far beyond that it has gone mad.
MAX_OUTPUT = 1000000


class _Run:
    """A running nmap and what it has printed so far."""

    def __init__(self, argv: Sequence[str], selector: selectors.BaseSelector) -> None:
        self.argv = argv
        self.process = process.take(argv) or process.start(argv)
        self.selector = selector
        self.printed = {self.process.stdout: b"", self.process.stderr: b""}
        self.open_pipes = list(self.printed)
        self.cut = ON_TIME
        for pipe in self.open_pipes:
            selector.register(pipe, selectors.EVENT_READ, self)

    def read(self, pipe: int) -> None:
        """Take what a pipe has; at its end, close it."""
        chunk = os.read(pipe, 65536)
        self.printed[pipe] += chunk
        if len(self.printed[pipe]) > MAX_OUTPUT:
            self.cut = FLOOD
        if not chunk:
            self._close(pipe)

    def has_ended(self) -> bool:
        """Return whether the run was cut or has ended; it may close its pipes long before that."""
        return bool(self.cut) or (not self.open_pipes and self.process.has_exited())

    def finish(self) -> NmapRun:
        """End what is left of the run and its group, and return what it gave."""
        for pipe in list(self.open_pipes):
            self._close(pipe)
        process.kill(self.process)
        stdout, stderr = self.printed.values()
        seconds = time.monotonic() - self.process.started
        return NmapRun(self.argv, self.process.exit_code or 0, stdout, stderr, seconds, self.cut)

    def _close(self, pipe: int) -> None:
        self.selector.unregister(pipe)
        self.open_pipes.remove(pipe)
        os.close(pipe)


def run_all(
    commands: Sequence[Sequence[str]],
    deadline: float,
    meanwhile: Optional[Callable[[], None]] = None,
) -> List[NmapRun]:
    """Run the commands side by side and return what each gave, in order.

    At `deadline` (`time.monotonic` seconds) every run that has not ended is killed with its whole
    process group; one whose turn had not come by then is returned as UNSTARTED. `meanwhile` is
    called once after the first start: work that needs no answer costs no time then. Raises
    CheckError if a command cannot be started.
    """
    results: Dict[int, NmapRun] = {}
    waiting = list(enumerate(commands))
    running: Dict[int, _Run] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < SIDE_BY_SIDE and _time_left(deadline):
                    index, argv = waiting.pop(0)
                    running[index] = _Run(argv, selector)
                if meanwhile is not None:
                    meanwhile()
                    meanwhile = None
                left = _time_left(deadline)
                # No event tells that a process has ended, on every Python: ask again soon.
                ending = any(not run.open_pipes for run in running.values())
                # A signal that comes just before select() is seen when it returns.
                for key, _ in selector.select(min(left, 0.001 if ending else 1.0)):
                    key.data.read(key.fd)
                for index, run in list(running.items()):
                    if run.has_ended():
                        results[index] = running.pop(index).finish()
                if left == 0:  # after what had been printed by then was read
                    break
        finally:
            process.kill(*(run.process for run in running.values()))
            for index, run in running.items():
                run.cut = run.cut or LATE
                results[index] = run.finish()
    for index, argv in waiting:
        results[index] = NmapRun(argv, 0, b"", b"", 0.0, UNSTARTED)
    return [results[index] for index in range(len(commands))]


def _time_left(deadline: float) -> float:
    return 0.0 if process.interrupted() else max(0.0, deadline - time.monotonic())
