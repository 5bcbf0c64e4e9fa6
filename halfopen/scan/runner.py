"""Runs many nmap side by side under a hard deadline, and collects what they print."""

import select
import time
from typing import Callable, Dict, List, Mapping, Optional, Sequence

from halfopen.model import FLOOD, LATE, ON_TIME, UNSTARTED, NmapRun
from halfopen.scan import process
from halfopen.scan.attempts import SIDE_BY_SIDE
from halfopen.scan.spawn import Process

# nmap prints about 600 bytes a host and 1.5 KB around them; far beyond that it has gone mad.
MAX_OUTPUT = 1000000

Meanwhile = Callable[[Mapping[int, NmapRun]], None]
"""What to do while nmap runs, with the runs that have ended, by their place among the commands."""


def run_all(
    commands: Sequence[Sequence[str]],
    deadline: float,
    meanwhile: Optional[Meanwhile] = None,
) -> List[NmapRun]:
    """Run the commands side by side and return what each gave, in order.

    At `deadline` (`time.monotonic` seconds) every run that has not ended is killed with its whole
    process group; one whose turn had not come by then is returned as UNSTARTED. `meanwhile` is
    called after the first start, and when one has ended and others have not: its work costs no
    time then. Raises CheckError if a command cannot be started.
    """
    results: Dict[int, NmapRun] = {}
    waiting = list(enumerate(commands))
    running: Dict[int, Process] = {}
    told = -1
    try:
        while waiting or running:
            while waiting and len(running) < SIDE_BY_SIDE and _time_left(deadline):
                index, argv = waiting.pop(0)
                running[index] = process.take(argv) or process.start(argv)
            if meanwhile is not None and len(results) > told:
                told = len(results)
                meanwhile(results)
            left = _time_left(deadline)
            _read(list(running.values()), left)
            if left == 0:  # one that ended meanwhile is not late: a pipe's 64 KiB, and now its end
                _read(list(running.values()), 0)
            for index, run in list(running.items()):
                # It may close its pipes long before it ends.
                if _is_flood(run) or (not run.pipes and run.has_exited()):
                    results[index] = _ended(running.pop(index), ON_TIME)
            if left == 0:  # after what had been printed by then was read
                break
    finally:
        process.kill(*running.values())
        results.update({index: _ended(run, LATE) for index, run in running.items()})
    results.update({index: NmapRun(argv, 0, b"", b"", 0.0, UNSTARTED) for index, argv in waiting})
    return [results[index] for index in range(len(commands))]


def _read(running: Sequence[Process], seconds: float) -> None:
    """Read what there is to read; wait for it, but no longer than that."""
    readers = {pipe: run for run in running for pipe in run.pipes}
    poll = select.poll()
    for pipe in readers:
        poll.register(pipe, select.POLLIN)
    # No event tells that a process has ended, on every Python: ask again soon.
    longest = 1.0 if all(run.pipes for run in running) else 0.001
    # A signal that comes just before poll() is seen when it returns.
    for pipe, _ in poll.poll(1000 * min(seconds, longest)):
        readers[pipe].read(pipe)


def _is_flood(run: Process) -> bool:
    return max(map(len, run.printed.values())) > MAX_OUTPUT


def _ended(run: Process, cut: str) -> NmapRun:
    """End what is left of a run and its group, and return what it gave."""
    process.kill(run)
    stdout, stderr = run.printed.values()
    seconds = time.monotonic() - run.started
    cut = FLOOD if _is_flood(run) else cut
    return NmapRun(run.argv, run.exit_code or 0, stdout, stderr, seconds, cut)


def _time_left(deadline: float) -> float:
    return 0.0 if process.interrupted else max(0.0, deadline - time.monotonic())
