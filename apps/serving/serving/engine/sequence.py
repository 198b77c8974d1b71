"""A request while it runs: its tokens, its KV blocks, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from serving.engine.blocks import BlockPool, chain_hash, root_hash
from serving.engine.draft import Drafter
from serving.engine.request import Alternatives, Request
from serving.engine.sampler import Penalties
from serving.models.batch import BLOCK


def blocks_for(tokens: int) -> int:
    return (tokens + BLOCK - 1) // BLOCK


def worst_case(request: Request) -> int:
    """Blocks that the request can come to hold. The last token of an answer is never run, so it needs no place."""
    prompt = len(request.prompt)
    if not request.continuations:
        return blocks_for(prompt + request.max_new_tokens - 1)
    shared = prompt // BLOCK
    own = sum(blocks_for(prompt + len(c) - 1) - shared for c in request.continuations if len(c) > 1)
    return blocks_for(prompt) + own


@dataclass(slots=True, eq=False)
class Sequence:
    request: Request
    slot: int
    tokens: list[int]
    since: float  # when it arrived
    blocks: list[int] = field(default_factory=list)
    done: int = 0  # tokens whose keys and values are in the cache
    named: int = 0  # full blocks published so far
    name: bytes = b""
    reserved: int = 0  # blocks still promised to it
    produced: list[int] = field(default_factory=list)
    prompt_logprobs: list[float] = field(default_factory=list)
    prompt_alternatives: list[Alternatives] = field(default_factory=list)
    cached_tokens: int = 0
    queue_s: float = 0.0
    generator: torch.Generator | None = None
    penalties: Penalties | None = None
    drafter: Drafter | None = None
    score: ScoreGroup | None = None
    branch: int = -1  # which continuation this is; -1 is the prompt itself
    ended: bool = False
    missing: list[bytes] = field(default_factory=list)  # prefix blocks that it is computing for everyone

    @property
    def left(self) -> int:
        return len(self.tokens) - self.done

    def past_deadline(self, now: float) -> bool:
        return self.request.deadline is not None and self.request.deadline <= now

    @property
    def in_prompt(self) -> bool:
        """Whether what is left to run was given, rather than just produced."""
        return self.left > 1 or not self.produced

    def publish(self, pool: BlockPool) -> None:
        while (self.named + 1) * BLOCK <= self.done and self.named < len(self.blocks):
            start = self.named * BLOCK
            self.name = chain_hash(self.name, self.tokens[start : start + BLOCK])
            pool.publish(self.blocks[self.named], self.name)
            self.named += 1


@dataclass(slots=True, eq=False)
class ScoreGroup:
    """The continuations of one prompt; answered when the last one is scored."""

    sums: list[float]
    waiting: int


def prefix_names(request: Request) -> list[bytes]:
    """Names of the full blocks before the last prompt token (which must run, to have its logits)."""
    name = root_hash(request.adapter.key if request.adapter else "base")
    names = []
    for start in range(0, (len(request.prompt) - 1) // BLOCK * BLOCK, BLOCK):
        name = chain_hash(name, request.prompt[start : start + BLOCK])
        names.append(name)
    return names
