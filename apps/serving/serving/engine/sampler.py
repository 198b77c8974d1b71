"""From logits to tokens. Each row is chosen from its own logits and its own random numbers alone, so a request's
tokens don't depend on what shares its batch."""

from __future__ import annotations

import hashlib
from collections import Counter

import torch
from torch import Tensor

from serving.engine.request import Sampling

WATERMARK_GAMMA = 0.5
WATERMARK_DELTA = 2.0


def make_generator(seed: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(seed & 0x7FFF_FFFF_FFFF_FFFF)
    return generator


def penalized(logits: Tensor, sampling: Sampling, prompt: tuple[int, ...], produced: list[int]) -> Tensor:
    """Repetition counts prompt and produced tokens, frequency and presence count produced ones, as OpenAI does."""
    if sampling.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*prompt, *produced}))
        values = logits[seen]
        strength = sampling.repetition_penalty
        logits = logits.clone()
        logits[seen] = torch.where(values < 0, values * strength, values / strength)
    if produced and (sampling.frequency_penalty or sampling.presence_penalty):
        counts = Counter(produced)
        tokens = torch.tensor(list(counts))
        times = torch.tensor([float(n) for n in counts.values()])
        logits = logits.clone()
        logits[tokens] -= times * sampling.frequency_penalty + sampling.presence_penalty
    return logits


def watermarked(logits: Tensor, previous: int) -> Tensor:
    """Kirchenbauer et al.: a green list seeded by the token before gets a bonus."""
    digest = hashlib.blake2b(previous.to_bytes(8, "little"), digest_size=8).digest()
    order = torch.randperm(logits.numel(), generator=make_generator(int.from_bytes(digest, "little")))
    logits = logits.clone()
    logits[order[: int(logits.numel() * WATERMARK_GAMMA)]] += WATERMARK_DELTA
    return logits


def _typical(probs: Tensor, mass: float) -> Tensor:
    logs = probs.clamp_min(1e-30).log()
    entropy = -(probs * logs).sum()
    order = ((-logs) - entropy).abs().argsort(stable=True)
    keep_count = int((probs[order].cumsum(0) < mass).sum()) + 1
    keep = torch.zeros_like(probs, dtype=torch.bool)
    keep[order[:keep_count]] = True
    return probs * keep


def draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token of one row [vocab] at temperature, top_k, top_p and typical_p."""
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    values, order = (logits / sampling.temperature).sort(descending=True, stable=True)
    if sampling.top_k:
        values, order = values[: sampling.top_k], order[: sampling.top_k]
    probs = values.softmax(0)
    if sampling.top_p < 1.0:
        before = probs.cumsum(0) - probs
        probs = probs * (before < sampling.top_p)
    if sampling.typical_p < 1.0:
        probs = _typical(probs / probs.sum(), sampling.typical_p)
    point = torch.rand((), generator=generator, dtype=torch.float64) * probs.double().sum()
    index = int((probs.double().cumsum(0) <= point).sum())
    last = int(probs.nonzero()[-1])
    return int(order[min(index, last)])
