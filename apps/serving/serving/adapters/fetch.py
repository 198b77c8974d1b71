"""What all downloads share: how long they may take, how large they may be, and when they are tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from lora_py.peft_files import CONFIG_LIMIT, WEIGHTS_FILE

from serving.adapters.identity import AdapterFailure

RETRY_PAUSES_S = (0.2, 0.8)
T = TypeVar("T")


class Writable(Protocol):
    def write(self, block: bytes, /) -> int: ...


class Unreachable(AdapterFailure):
    """No answer, a broken one, or a server's own fault: trying again may help."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    connect_s: float = 5.0
    stall_s: float = 10.0  # without one byte
    total_s: float = 120.0  # all tries of all files of an adapter
    max_bytes: int = 2 << 30  # of one file


class Sink:
    """A file on its way to disk. Refuses what is too large, and gives up on what takes too long however it trickles."""

    def __init__(self, file: Writable, adapter_id: str, name: str, limits: FetchLimits, deadline: float) -> None:
        self._file = file
        self._adapter_id = adapter_id
        self._name = name
        self._limits = limits
        self._max_bytes = limits.max_bytes if name == WEIGHTS_FILE else min(limits.max_bytes, CONFIG_LIMIT)
        self._deadline = deadline
        self._size = 0

    def write(self, block: bytes) -> int:
        self._size += len(block)
        if self._size > self._max_bytes:
            raise AdapterFailure(f"{self._name} of adapter {self._adapter_id} is larger than {self._max_bytes} bytes")
        if time.monotonic() > self._deadline:
            raise Unreachable(f"fetching adapter {self._adapter_id} took over {self._limits.total_s:g} s")
        return self._file.write(block)


def with_retries(work: Callable[[], T], deadline: float, pauses: tuple[float, ...] = RETRY_PAUSES_S) -> T:
    """The work's result; a try that met an unreachable server is repeated after a pause, until the deadline."""
    for pause in pauses:
        try:
            return work()
        except Unreachable:
            wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 (only spreads the tries)
            if time.monotonic() + wait >= deadline:
                raise
            time.sleep(wait)
    return work()
