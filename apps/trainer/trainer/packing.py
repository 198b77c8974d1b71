"""Rows of one or more jobs as one step's tokens, end to end without padding.

Each job's rows stand behind the prefix that all of them share (its prompt template), which is computed once:

    [ prefix of job 0 | row 0 | row 1 | … ][ prefix of job 1 | row 0 | … ]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Example:
    prompt: tuple[int, ...]  # up to the first token that carries loss
    completion: tuple[int, ...]  # from there to the last one; an answer's last is EOS
    skipped: tuple[tuple[int, int], ...] = ()  # [begin, end) within the completion, without loss: others' turns
    rejected: tuple[int, ...] | None = None  # of a preference pair: the answer not wanted to the same prompt

    @property
    def completions(self) -> tuple[tuple[int, ...], ...]:
        return (self.completion,) if self.rejected is None else (self.completion, self.rejected)

    @property
    def length(self) -> int:
        """Billable tokens: of a pair, those of both sequences."""
        return sum(len(self.prompt) + len(answer) for answer in self.completions)

    @property
    def longest(self) -> int:
        return len(self.prompt) + max(len(answer) for answer in self.completions)

    @property
    def loss_tokens(self) -> int:
        return sum(map(len, self.completions)) - sum(end - begin for begin, end in self.skipped)


@dataclass(frozen=True, slots=True)
class Group:
    """The tokens of one job: `begin:middle` is the shared prefix, `middle:end` the rows' own tokens."""

    begin: int
    middle: int
    end: int
    padded: Tensor  # [rows, longest] -> own token, counted from `middle`; pads point at token 0
    valid: Tensor  # [own tokens] -> its place in the flattened `padded`
    mask: Tensor  # [longest, prefix + longest], True where a query may look
    lengths: Tensor  # [prefix + own tokens], how long each one's row is; the prefix counts as the longest
    loss_rows: slice  # this job's share of `Packed.outputs`
    sequences: Tensor  # [loss tokens of this job] -> number of its sequence; a pair is two in a row, the chosen first


@dataclass(frozen=True, slots=True)
class Packed:
    ids: Tensor  # [tokens]
    positions: Tensor  # [tokens]
    groups: tuple[Group, ...]
    outputs: Tensor  # [loss tokens] -> token that predicts
    targets: Tensor  # [loss tokens] -> token that is predicted
    weights: Tensor  # [loss tokens], one over the loss tokens of the job's whole step


def shared_prefix(rows: Sequence[Example]) -> int:
    """How many leading tokens all prompts have in common. The last prompt token stays a row's own: it carries loss."""
    if sum(len(row.completions) for row in rows) < 2:
        return 0
    longest = min(len(row.prompt) for row in rows) - 1
    low, high = min(row.prompt for row in rows), max(row.prompt for row in rows)
    return next((i for i in range(max(0, longest)) if low[i] != high[i]), max(0, longest))


def packed_tokens(rows: Sequence[Example]) -> int:
    prefix = shared_prefix(rows)
    return prefix + sum(own_tokens(row, prefix) for row in rows)


def own_tokens(row: Example, prefix: int) -> int:
    """What a row adds behind the shared prefix."""
    return row.length - prefix * len(row.completions)


def pack(
    jobs: Sequence[Sequence[Example]], loss_tokens: Sequence[int], device: torch.device, share: bool = True
) -> Packed:
    """`loss_tokens`: how many tokens carry loss in each job's step, of which these rows may be a part. 1 leaves each
    token its whole loss."""
    ids: list[int] = []
    positions: list[int] = []
    outputs: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    groups = []
    for rows, total in zip(jobs, loss_tokens, strict=True):
        begin, first_output = len(ids), len(outputs)
        prefix = shared_prefix(rows) if share else 0
        ids += rows[0].prompt[:prefix]
        positions += range(prefix)
        lengths: list[int] = []
        sequences: list[int] = []
        for row in rows:
            for answer in row.completions:
                start = len(ids) - prefix + len(row.prompt)
                tokens = row.prompt + answer
                # the last token predicts nothing, so it is left out
                ids += tokens[prefix:-1]
                positions += range(prefix, len(tokens) - 1)
                for first, stop in _learned(len(answer), row.skipped):
                    outputs += range(start + first - 1, start + stop - 1)
                    targets += answer[first:stop]
                sequences += [len(lengths)] * (len(outputs) - first_output - len(sequences))
                lengths.append(len(tokens) - 1 - prefix)
        weights += [1 / total] * (len(outputs) - first_output)
        groups.append(_group(begin, prefix, lengths, slice(first_output, len(outputs)), sequences, device))
    return Packed(
        torch.tensor(ids, device=device),
        torch.tensor(positions, device=device),
        tuple(groups),
        torch.tensor(outputs, device=device),
        torch.tensor(targets, device=device),
        torch.tensor(weights, device=device),
    )


def _learned(length: int, skipped: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans between those that are skipped."""
    begins = [0, *(end for _, end in skipped)]
    ends = [*(begin for begin, _ in skipped), length]
    return list(zip(begins, ends, strict=True))


def _group(
    begin: int, prefix: int, lengths: list[int], loss_rows: slice, sequences: list[int], device: torch.device
) -> Group:
    longest = max(lengths)
    sizes = torch.tensor(lengths)
    starts = sizes.cumsum(0) - sizes
    within = torch.arange(longest)
    real = within[None] < sizes[:, None]
    padded = torch.where(real, starts[:, None] + within[None], 0)
    causal = torch.ones(longest, prefix + longest, dtype=torch.bool).tril(prefix)
    return Group(
        begin,
        begin + prefix,
        begin + prefix + sum(lengths),
        padded.to(device),
        real.flatten().nonzero().squeeze(1).to(device),
        causal.to(device),
        torch.cat([torch.full((prefix,), prefix + longest), (sizes + prefix).repeat_interleave(sizes)]).to(device),
        loss_rows,
        torch.tensor(sequences, device=device),
    )
