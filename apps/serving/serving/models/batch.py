"""What one forward pass computes: chunks of many sequences, laid end to end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 16  # tokens in one KV block


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one sequence: their first position, where they start in the batch, and where its KV lies."""

    position: int
    start: int
    count: int
    slot: int  # adapter slot; 0 is the base model
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    tokens: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    logit_rows: tuple[int, ...]  # the rows of the batch whose logits are wanted


@dataclass(frozen=True, slots=True)
class Logits:
    """What a forward pass says about the wanted rows."""

    values: Tensor  # [rows, vocab], float32, in main memory
    norms: Tensor  # [rows]: log of the sum of exponentials
    best: list[int]  # the first of each row's largest


class KvCache:
    """Keys and values in blocks of 16 tokens; a sequence's block table says which are its own."""

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        blocks: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (layers, blocks, kv_heads, BLOCK, head_dim)
        self.keys: Tensor = torch.empty(shape, device=device, dtype=dtype)
        self.values: Tensor = torch.empty(shape, device=device, dtype=dtype)
        self.blocks = blocks

    def copy_block(self, source: int, target: int) -> None:
        self.keys[:, target] = self.keys[:, source]
        self.values[:, target] = self.values[:, source]
