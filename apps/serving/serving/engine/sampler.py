"""From logits to tokens. Each row is chosen from its own logits and its own random numbers alone, so a request's
tokens don't depend on what shares its batch."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from serving.engine.request import Sampling

WATERMARK_GAMMA = 0.5
WATERMARK_DELTA = 2.0
PIECE = 64
BIN_SHIFT = 18  # leaves a weight's exponent and five bits behind it
BINS = (0x3F80_0000 >> BIN_SHIFT) + 1  # the last one is that of 1.0


def make_generator(seed: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(seed & 0x7FFF_FFFF_FFFF_FFFF)
    return generator


class Penalties:
    """One request's: repetition counts prompt and produced tokens, frequency and presence count produced ones, as
    OpenAI does. Kept up to date token by token."""

    def __init__(self, sampling: Sampling, prompt: tuple[int, ...], max_new_tokens: int) -> None:
        self._sampling = sampling
        seen = sorted(set(prompt))
        self._place = {token: index for index, token in enumerate(seen)}
        self._tokens = torch.empty(len(seen) + max_new_tokens, dtype=torch.long)
        self._tokens[: len(seen)] = torch.tensor(seen)
        self._counts = torch.zeros(len(self._tokens))

    @staticmethod
    def wanted(sampling: Sampling) -> bool:
        return sampling.repetition_penalty != 1.0 or bool(sampling.frequency_penalty or sampling.presence_penalty)

    def add(self, token: int) -> None:
        place = self._place.setdefault(token, len(self._place))
        self._tokens[place] = token
        self._counts[place] += 1

    def apply(self, logits: Tensor) -> Tensor:
        sampling = self._sampling
        tokens, counts = self._tokens[: len(self._place)], self._counts[: len(self._place)]
        values = logits[tokens]
        if sampling.repetition_penalty != 1.0:
            strength = sampling.repetition_penalty
            values = torch.where(values < 0, values * strength, values / strength)
        values -= counts * sampling.frequency_penalty + (counts > 0) * sampling.presence_penalty
        return logits.index_copy(0, tokens, values)


def watermarked(logits: Tensor, previous: int) -> Tensor:
    """Kirchenbauer et al.: a green list seeded by the token before gets a bonus."""
    digest = hashlib.blake2b(previous.to_bytes(8, "little"), digest_size=8).digest()
    order = torch.randperm(logits.numel(), generator=make_generator(int.from_bytes(digest, "little")))
    logits = logits.clone()
    logits[order[: int(logits.numel() * WATERMARK_GAMMA)]] += WATERMARK_DELTA
    return logits


def draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token of one row [vocab] at temperature, top_k, top_p and typical_p."""
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    scaled = logits / sampling.temperature
    weights = scaled.sub_(scaled.max()).exp_()
    dice = float(torch.rand((), generator=generator, dtype=torch.float64))
    if not sampling.top_k and sampling.top_p >= 1.0 and sampling.typical_p >= 1.0:
        return _pick(weights, dice)
    kept = _kept(weights, sampling.top_k, sampling.top_p)
    if sampling.typical_p < 1.0:
        kept = kept[_typical(weights[kept], sampling.typical_p)]
    return int(kept[_pick(weights[kept], dice)])


def _pick(weights: Tensor, dice: float) -> int:
    """Where `dice` in [0, 1) falls when the weights are laid end to end; never on a weight of nothing."""
    ends = weights.cumsum(0, dtype=torch.float64)
    whole = float(ends[-1])
    index = int(torch.searchsorted(ends, dice * whole, right=True))
    return index if index < len(weights) else int(weights.nonzero()[-1])


def _kept(weights: Tensor, top_k: int, top_p: float) -> Tensor:
    """Tokens, ascending, of the `top_k` largest weights, and of these the least number that make up `top_p`."""
    if top_k == 0:
        return torch.arange(len(weights)) if top_p >= 1.0 else _nucleus(weights, top_p)
    values, tokens = _largest(weights, min(top_k, len(weights)))
    if top_p < 1.0:
        ends = values.cumsum(0, dtype=torch.float64)
        tokens = tokens[ends - values < top_p * float(ends[-1])]
    return tokens.sort().values


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """Tokens, ascending: the least number of the largest weights, in [0, 1], that make up `top_p` of all.

    A float's first bits order it, so weights are counted by these, and only those of the bin in which `top_p` is
    reached are sorted.
    """
    bins = weights.view(torch.int32) >> BIN_SHIFT
    ends = torch.bincount(bins, weights.double(), BINS).flip(0).cumsum(0)
    enough = top_p * float(ends[-1])
    at = int(torch.searchsorted(ends, enough))
    missing = enough - (float(ends[at - 1]) if at else 0.0)
    tokens = (bins >= BINS - 1 - at).nonzero()[:, 0]
    edge = (bins[tokens] == BINS - 1 - at).nonzero()[:, 0]
    values, order = weights[tokens[edge]].sort(descending=True, stable=True)
    unneeded = values.cumsum(0, dtype=torch.float64) - values >= missing
    keep = torch.ones(len(tokens), dtype=torch.bool)
    keep[edge[order[unneeded]]] = False
    return tokens[keep]


def _largest(weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest, descending. They lie in the `count` pieces whose own largest are the largest."""
    size = len(weights)
    if count >= size:
        values, tokens = weights.sort(descending=True, stable=True)
        return values, tokens
    if size % PIECE or count * 2 > size // PIECE:
        values, tokens = weights.topk(count)
        return values, tokens
    pieces = weights.view(-1, PIECE)
    chosen = pieces.amax(1).topk(count).indices
    values, places = pieces[chosen].flatten().topk(count)
    return values, chosen[places // PIECE] * PIECE + places % PIECE


def _typical(weights: Tensor, mass: float) -> Tensor:
    """Which of the weights are as surprising as their entropy says, up to `mass` of them; a mask."""
    probs = weights / weights.sum()
    logs = probs.clamp_min(1e-30).log()
    entropy = -(probs * logs).sum()
    order = ((-logs) - entropy).abs().argsort(stable=True)
    count = int((probs[order].cumsum(0) < mass).sum()) + 1
    keep = torch.zeros(len(weights), dtype=torch.bool)
    keep[order[:count]] = True
    return keep
