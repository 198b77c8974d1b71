"""A packed step as transformers takes it: one table, a row of the step in each line, padded at its end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.lora import Masks
from trainer.packing import Group, Packed


@dataclass(frozen=True, slots=True)
class Table:
    """A pad repeats the first token of its job: it lies behind its row, where no token of the row can look."""

    tokens: Tensor  # [rows, longest] -> packed token
    spans: list[tuple[int, int]]  # of each job, in the flattened table
    own: list[Tensor]  # of each job: [its part of the flattened table] -> packed token, counted from its first
    outputs: Tensor  # [loss tokens] -> place in the flattened table


def make_table(packed: Packed) -> Table:
    longest = max(group.middle - group.begin + group.padded.shape[1] for group in packed.groups)
    parts = [_part(group, longest) for group in packed.groups]
    spans, outputs, at = [], [], 0
    for group, part in zip(packed.groups, parts, strict=True):
        spans.append((at, at + part.numel()))
        outputs.append(at + _places(group, longest)[packed.outputs[group.loss_rows] - group.middle])
        at += part.numel()
    return Table(
        torch.cat(parts),
        spans,
        [part.flatten() - group.begin for group, part in zip(packed.groups, parts, strict=True)],
        torch.cat(outputs),
    )


def _part(group: Group, longest: int) -> Tensor:
    """[rows of the job, longest] -> packed token"""
    rows, own = group.padded.shape
    prefix = torch.arange(group.begin, group.middle, device=group.padded.device).expand(rows, -1)
    pads = group.padded.new_full((rows, longest - prefix.shape[1] - own), group.begin)
    return torch.cat([prefix, group.middle + group.padded, pads], 1)


def _places(group: Group, longest: int) -> Tensor:
    """[own tokens of the job] -> place in its flattened part"""
    own = group.padded.shape[1]
    row = torch.div(group.valid, own, rounding_mode="floor")
    return row * longest + (group.middle - group.begin) + group.valid % own


@dataclass(frozen=True, slots=True)
class TableMasks:
    """A job's dropout masks of packed tokens, laid out as the table is: a shared prefix has one mask in all rows."""

    masks: Masks
    packed: int  # tokens of the job
    own: Tensor

    def next(self, rows: int, width: int) -> Tensor:
        return self.masks.next(self.packed, width)[self.own]
