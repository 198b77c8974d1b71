"""The order of the rows: shuffled by seed and epoch, rows of like length together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.lora import generator_for
from trainer.packing import Example, own_tokens, shared_prefix

ORDER_STREAM = 0x02DE
WINDOW = 25  # batches whose rows are sorted by length together
VALIDATION_STREAM = 0x7A11
VALIDATION_SHARE = 0.15  # validation rows read over a run, as a share of training rows
FEWEST_VALIDATION_ROWS = 32


def epoch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch, as row numbers. Depends on the arguments alone, so a resumed run finds its place."""
    generator = generator_for(seed, ORDER_STREAM, epoch)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for at in range(0, len(order), batch_size * WINDOW):
        window = sorted(order[at : at + batch_size * WINDOW], key=lambda row: lengths[row])
        batches += [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def micro_batches(rows: Sequence[Example], token_limit: int) -> list[list[Example]]:
    """Splits a step's rows where their tokens, with a shared prefix counted once, would exceed the limit. A longer row
    goes alone."""
    prefix = shared_prefix(rows)
    parts: list[list[Example]] = []
    used = token_limit + 1
    for row in rows:
        own = own_tokens(row, prefix)
        if used + own > token_limit:
            parts.append([])
            used = prefix
        parts[-1].append(row)
        used += own
    return parts


def validation_sample(examples: Sequence[Example], trained_rows: int, times: int, seed: int) -> list[Example]:
    """The rows that each of `times` validations of a run over `trained_rows` rows reads, to keep them short."""
    ordered = sorted(examples, key=lambda example: example.length)
    count = max(FEWEST_VALIDATION_ROWS, int(VALIDATION_SHARE * trained_rows / times))
    if count >= len(ordered):
        return ordered
    chosen = torch.randperm(len(ordered), generator=generator_for(seed, VALIDATION_STREAM))[:count].sort().values
    return [ordered[i] for i in chosen.tolist()]
