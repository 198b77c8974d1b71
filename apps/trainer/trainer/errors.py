"""The trainer's failures, each with a code of the product's error table and words for the job's owner."""

from __future__ import annotations

import errno
from typing import Literal

import torch

FailureCode = Literal[
    "trainer_bad_spec",
    "trainer_bad_data",
    "trainer_out_of_memory",
    "trainer_diverged",
    "trainer_disk_full",
    "trainer_failed",
]
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class TrainerError(Exception):
    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code: FailureCode = code
        self.message = message


def as_trainer_error(error: Exception) -> TrainerError:
    """Gives an exception from anywhere below the code and the words that fit it."""
    if isinstance(error, TrainerError):
        return error
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return TrainerError("trainer_disk_full", "The disk is full. Free some space and start the job again.")
    allocation = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or allocation:
        return TrainerError(
            "trainer_out_of_memory",
            "There was not enough memory for a training step. Lower the batch size, the maximum length or the rank.",
        )
    return TrainerError("trainer_failed", f"The trainer stopped on an unexpected {type(error).__name__}: {error}")
