"""An open port of another host: halfopen's own scan must find it, and plain ones should."""

import contextlib
import time
from functools import partial
from typing import Callable, Iterator, List, Sequence, Tuple

from halfopen.errors import HalfopenError, NoTimeError
from halfopen.smoke.asking import ask, ask_plainly
from halfopen.smoke.findings import About, Context, Finding, Outcome
from halfopen.smoke.targets import Port

_REPEATS = 5
"""How often each scan is made: late packets make some of them wrong, not always all."""

_GROUP = "two hosts"
_SCANS: Tuple[Tuple[str, About, Callable[[Context, Sequence[Port]], List[Finding]]], ...] = (
    ("halfopen's own scan", About.WITH_NEXT, ask),
    ("plain scan, port alone", About.PLAIN_ALONE, partial(ask_plainly, plus_one=False)),
    ("plain scan, with the next port", About.WITH_NEXT, ask_plainly),
)


def two_hosts(context: Context) -> Iterator[Finding]:
    """Scan an open port from one namespace to another, in each way, while there is time."""
    untested = Outcome.INCONCLUSIVE if context.suspect else Outcome.SKIPPED
    with contextlib.ExitStack() as stack:
        try:
            port = stack.enter_context(context.machine.second_host())
        except (HalfopenError, OSError) as error:
            yield Finding(_GROUP, "open port", untested, str(error))
            return
        for name, about, scan in _SCANS:
            detail = "no time left; raise --timeout"
            tried: List[Finding] = []
            while len(tried) < _REPEATS and time.monotonic() < context.deadline:
                found = scan(context, [port])[0]
                if found.outcome is Outcome.INCONCLUSIVE:
                    detail = found.detail
                    break  # our time ran out, which says nothing about nmap
                tried.append(found)
                if isinstance(found.error, NoTimeError):
                    break  # it hangs, and the other scans need the time
            if not tried:
                yield Finding(_GROUP, name, untested, detail)
                return
            yield _summary(tried)._replace(group=_GROUP, name=name, about=about)


def _summary(tried: Sequence[Finding]) -> Finding:
    """Return one finding instead of several of the same scan."""
    runs = tuple(run for each in tried for run in each.runs)
    wrong = [each.detail for each in tried if each.outcome is not Outcome.OK]
    negative = sum(b'<times srtt="-' in run.stdout for run in runs)
    details = [f"{len(tried) - len(wrong)} of {len(tried)} open", *wrong[:1]]
    if negative:
        details.append(f"{negative} with a negative round trip")
    outcome, seconds = Outcome.FAILED if wrong else Outcome.OK, sum(each.seconds for each in tried)
    return tried[0]._replace(outcome=outcome, detail=", ".join(details), seconds=seconds, runs=runs)
