"""The draw that looks at the largest weights alone, against one that sorts the whole vocabulary."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from serving.engine.request import Sampling
from serving.engine.sampler import Penalties, draw, make_generator


def plain_draw(logits: Tensor, sampling: Sampling, dice: float) -> int:
    weights = (logits / sampling.temperature).double().softmax(0)
    order = weights.argsort(descending=True, stable=True)[: sampling.top_k or None]
    probs = weights[order] / weights[order].sum()
    order = order[(probs.cumsum(0) - probs) < sampling.top_p].sort().values
    ends = (weights[order] / weights[order].sum()).cumsum(0)
    return int(order[min(int((ends <= dice).sum()), len(order) - 1)])


@pytest.mark.parametrize("vocab", [259, 49152])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(greedy=False, temperature=0.7),
        Sampling(greedy=False, temperature=1.5, top_k=5),
        Sampling(greedy=False, top_p=0.9),
        Sampling(greedy=False, temperature=3.0, top_p=0.95),
        Sampling(greedy=False, temperature=0.3, top_k=200, top_p=0.5),
        Sampling(greedy=False, top_k=100_000, top_p=0.999),
    ],
    ids=str,
)
def test_same_token_as_sorting_everything(vocab: int, sampling: Sampling) -> None:
    for seed in range(40):
        logits = 3 * torch.randn(vocab, generator=torch.Generator().manual_seed(seed))
        dice = float(torch.rand((), generator=make_generator(seed), dtype=torch.float64))
        assert draw(logits, sampling, make_generator(seed)) == plain_draw(logits, sampling, dice)


def test_tokens_come_as_often_as_their_chances_say() -> None:
    logits, generator = torch.tensor([0.1, 0.2, 0.3, 0.4]).log(), make_generator(3)
    seen = Counter(draw(logits, Sampling(greedy=False), generator) for _ in range(4000))
    assert [seen[token] / 4000 for token in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.025)


def test_impossible_tokens_never_come() -> None:
    logits, generator = torch.full((300,), float("-inf")), make_generator(1)
    logits[[7, 250]] = torch.tensor([1.0, 0.5])
    for sampling in (Sampling(greedy=False), Sampling(greedy=False, top_p=0.99), Sampling(greedy=False, top_k=50)):
        assert {draw(logits, sampling, generator) for _ in range(200)} == {7, 250}


def test_typical_leaves_out_what_surprises_too_much() -> None:
    logits, generator = torch.tensor([0.5, 0.25, 0.2, 0.05]).log(), make_generator(1)
    assert {draw(logits, Sampling(greedy=False, typical_p=0.6), generator) for _ in range(200)} <= {0, 1, 2}


def test_penalties_count_prompt_and_answer_as_documented() -> None:
    logits = torch.tensor([2.0, -2.0, 1.0, 1.0])
    penalties = Penalties(Sampling(repetition_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25), (0, 1), 4)
    assert penalties.apply(logits).tolist() == [1.0, -4.0, 1.0, 1.0]
    for token in (2, 2, 0):
        penalties.add(token)
    assert penalties.apply(logits).tolist() == [1.0 - 0.75, -4.0, 0.5 - 1.25, 1.0]
    assert logits.tolist() == [2.0, -2.0, 1.0, 1.0]
