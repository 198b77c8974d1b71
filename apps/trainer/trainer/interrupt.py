"""When to stop: after SIGTERM or SIGINT, or when nobody reads the events any more (the worker died, or torchrun).

Imports nothing heavy, so that a signal which comes while torch is still loading is not lost.
"""

from __future__ import annotations

import os
import select
import signal
import sys


class Stopped(Exception):
    """Raised in the middle of whatever goes on when the process was told to stop."""


class Interrupt:
    def __init__(self) -> None:
        self._asked = False
        # torchrun that is killed leaves its processes behind, and the next attempt must find nobody in its folder
        self._parent = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._reader = select.poll()
        self._reader.register(sys.stdout.fileno(), 0)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask)

    def _ask(self, _signal: int, _frame: object) -> None:
        self._asked = True

    def check(self) -> None:
        if self._asked:
            raise Stopped
        if any(state & (select.POLLERR | select.POLLNVAL) for _, state in self._reader.poll(0)):
            raise BrokenPipeError("nobody reads the events")
        if self._parent not in (None, os.getppid()):
            raise BrokenPipeError("torchrun is gone")
