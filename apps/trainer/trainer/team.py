"""Several processes that train the same jobs, each on its share of the rows of every step, as torchrun starts them.

All hold the same base, adapters and optimizers and take every decision alike: what only one of them can know (the time,
a command, a signal, a failure) is shared before it is acted upon. The first process alone writes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.errors import FailureCode, TrainerError, as_trainer_error
from trainer.interrupt import Stopped

FINE, FAILED, STOPPED, UNREAD = range(4)  # how an act ended; the worst of all is that of each
T = TypeVar("T")
R = TypeVar("R")


class PeerLost(TrainerError):
    """Another process is gone, so nothing can be agreed upon any more."""

    def __init__(self, size: int) -> None:
        words = "ended unexpectedly, most often because memory ran out, so the others stopped."
        super().__init__("trainer_failed", f"One of the {size} trainer processes {words}")


class Team:
    """A process by itself."""

    rank = 0
    size = 1
    local_rank = 0  # among those of this machine: which GPU is its own

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def now(self) -> float:
        return time.monotonic()

    def together(self, act: Callable[[], T]) -> T:
        """Done by all, or failed and stopped for all. Two of these are never inside one another."""
        return act()

    def share(self, rows: Sequence[R]) -> list[R]:
        """The rows that are this process's own."""
        return list(rows)

    def add(self, tensor: Tensor) -> None:
        """The sum over all processes, in place."""

    def told(self, lines: list[str]) -> list[str]:
        """What the first process was told."""
        return lines


class Ranks(Team):
    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.local_rank = int(os.environ["LOCAL_RANK"])
        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        self._time = 0.0
        self._worst(FINE)

    def now(self) -> float:
        """The first process's time, as it was when all were last together: a schedule that follows the clock is then
        the same for all."""
        return self._time

    def together(self, act: Callable[[], T]) -> T:
        result: list[T] = []
        own, error = FINE, None
        try:
            result.append(act())
        except Stopped:
            own = STOPPED
        except BrokenPipeError:
            own = UNREAD
        except Exception as caught:
            own, error = FAILED, caught
        worst = self._worst(own)
        if worst == STOPPED:
            raise Stopped
        if worst == UNREAD:
            raise BrokenPipeError("nobody reads the events")
        if worst == FAILED:
            raise self._first_failure(error) from error
        return result[0]

    def share(self, rows: Sequence[R]) -> list[R]:
        return list(rows[self.rank :: self.size])

    def add(self, tensor: Tensor) -> None:
        self._joint(lambda: dist.all_reduce(tensor))

    def told(self, lines: list[str]) -> list[str]:
        box = [lines]
        self._joint(lambda: dist.broadcast_object_list(box, src=0))
        return box[0]

    def _worst(self, own: int) -> int:
        shared = torch.tensor([own, time.monotonic() if self.leads else float("-inf")], dtype=torch.float64)
        self._joint(lambda: dist.all_reduce(shared, dist.ReduceOp.MAX))
        self._time = float(shared[1])
        return int(shared[0])

    def _first_failure(self, own: Exception | None) -> TrainerError:
        known = None if own is None else as_trainer_error(own)
        told: list[tuple[FailureCode, str] | None] = [None] * self.size
        mine = None if known is None else (known.code, known.message)
        self._joint(lambda: dist.all_gather_object(told, mine))
        return next(TrainerError(*failure) for failure in told if failure is not None)

    def _joint(self, act: Callable[[], object]) -> None:
        try:
            act()
        except RuntimeError as error:
            raise PeerLost(self.size) from error


def processes() -> int:
    """As torchrun's environment has it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_team() -> Team:
    return Ranks() if processes() > 1 else Team()
