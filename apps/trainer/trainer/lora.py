"""One job's adapter while it trains: all A, B and magnitudes in one flat tensor, with one flat gradient, so that
clipping and the optimizer are single vector operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from lora_py.peft_files import Weights, module_shapes, scaling_of
from torch import Tensor

from trainer.dora import Dora, length
from trainer.native import Adapters
from trainer.spec import AdapterSpec

INIT_STREAM = 0x1A17  # keeps the seeds of different uses of one job apart
DROPOUT_STREAM = 0xD407
NOISE_STREAM = 0x4E46


@dataclass(frozen=True, slots=True)
class Lora:
    flat: Tensor
    flat_grad: Tensor
    pairs: Mapping[str, tuple[Tensor, Tensor]]  # "layers.0.self_attn.q_proj" -> (A, B), views of `flat`
    scaling: float
    dropout: float
    doras: Mapping[str, Dora] = field(default_factory=dict)  # of every module, or of none
    origin: str | None = None  # SHA-256 of the adapter that it goes on from
    native: dict[tuple[str, ...], Adapters | None] = field(default_factory=dict)  # by the modules of a fused linear

    @property
    def modules(self) -> tuple[str, ...]:
        """The base's own names of the linears that it touches."""
        return tuple(sorted({name.rsplit(".", 1)[1] for name in self.pairs}))

    def adapters(self, names: tuple[str, ...], begins: Sequence[int]) -> Adapters | None:
        """The native form of these modules, whose outputs begin at those columns of one fused linear; None: it has to
        go through torch."""
        if names not in self.native:
            pairs = [self.pairs[name] for name in names]
            fits = not self.doras and Adapters.fit(pairs)
            self.native[names] = Adapters(pairs, begins, self.scaling) if fits else None
        return self.native[names]

    def snapshot(self) -> Tensor:
        return self.flat.detach().clone()

    def restore(self, values: Tensor) -> None:
        with torch.no_grad():
            self.flat.copy_(values)

    def weights(self) -> Weights:
        return {name: (a.detach(), b.detach()) for name, (a, b) in self.pairs.items()}

    def magnitudes(self) -> dict[str, Tensor]:
        return {name: dora.magnitude.detach() for name, dora in self.doras.items()}


def new_lora(
    adapter: AdapterSpec,
    base_config: Mapping[str, Any],
    seed: int,
    device: torch.device,
    shapes: Mapping[str, tuple[int, int]] | None = None,
    squares: Callable[[str], Tensor] | None = None,
) -> Lora:
    """PEFT's start: A uniform as kaiming_uniform_(a=sqrt(5)) has it, B zero, so training begins at the base model.
    `shapes`: the linears to adapt; None: those of a base of the Llama family. `squares`, which DoRA needs: as
    `Base.squares`."""
    shapes = targeted_shapes(base_config, adapter.target_modules) if shapes is None else shapes
    size = adapter_size(adapter, shapes)
    generator = generator_for(seed, INIT_STREAM)
    flat = torch.zeros(size)
    at = 0
    places: list[tuple[str, int, tuple[int, int], tuple[int, int]]] = []
    for name, (out_size, in_size) in shapes.items():
        bound = 1 / math.sqrt(in_size)
        flat[at : at + adapter.rank * in_size].uniform_(-bound, bound, generator=generator)
        places.append((name, at, (adapter.rank, in_size), (out_size, adapter.rank)))
        at += adapter.rank * (in_size + out_size)
    flat = flat.to(device)
    grad = torch.zeros_like(flat)
    pairs = {}
    for name, begin, a_shape, b_shape in places:
        middle = begin + math.prod(a_shape)
        pairs[name] = (
            _leaf(flat, grad, begin, a_shape),
            _leaf(flat, grad, middle, b_shape),
        )
    doras = {}
    if adapter.use_dora:
        assert squares is not None
        for name, (out_size, _) in shapes.items():
            doras[name] = Dora(_leaf(flat, grad, at, (out_size,)), squares(name))
            doras[name].magnitude.data.copy_(length(doras[name].squares))
            at += out_size
    scaling = scaling_of(adapter.rank, adapter.alpha, adapter.use_rslora)
    return Lora(flat, grad, pairs, scaling, adapter.dropout, doras)


def adapter_size(adapter: AdapterSpec, shapes: Mapping[str, tuple[int, int]]) -> int:
    """Trained numbers."""
    size = sum(adapter.rank * (out_size + in_size) for out_size, in_size in shapes.values())
    return size + (sum(out_size for out_size, _ in shapes.values()) if adapter.use_dora else 0)


def targeted_shapes(base_config: Mapping[str, Any], target_modules: Collection[str]) -> dict[str, tuple[int, int]]:
    return {n: s for n, s in module_shapes(base_config).items() if n.rsplit(".", 1)[1] in target_modules}


def no_lora(device: torch.device) -> Lora:
    """The base alone."""
    nothing = torch.zeros(0, device=device)
    return Lora(nothing, nothing, {}, 0.0, 0.0)


def _leaf(flat: Tensor, grad: Tensor, begin: int, shape: tuple[int, ...]) -> Tensor:
    end = begin + math.prod(shape)
    leaf = flat[begin:end].view(shape).detach().requires_grad_()
    leaf.grad = grad[begin:end].view(shape)  # autograd adds into it in place
    return leaf


def generator_for(seed: int, *streams: int) -> torch.Generator:
    """A generator that depends on its arguments alone, so a resumed run draws what the first would have drawn."""
    mixed = seed & (2**64 - 1)
    for stream in streams:  # splitmix64
        mixed = (mixed + 0x9E3779B97F4A7C15 * (stream + 1)) & (2**64 - 1)
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        mixed ^= mixed >> 31
    return torch.Generator().manual_seed(mixed >> 1)


class Masks(Protocol):
    def next(self, rows: int, width: int) -> Tensor:
        """What is kept of the next linear's input, already divided by the keep probability."""
        ...


class DropoutMasks:
    """Masks of one job for one pass. One pool of kept and dropped entries is drawn, and every layer's input reads it
    from its own random place: drawing each mask afresh took a tenth of a step."""

    def __init__(self, probability: float, generator: torch.Generator, largest: int, device: torch.device) -> None:
        pool = torch.empty(2 * largest, dtype=torch.float32).bernoulli_(1 - probability, generator=generator)
        self._pool = pool.div_(1 - probability).to(device)
        self._generator, self._largest = generator, largest

    def next(self, rows: int, width: int) -> Tensor:
        begin = int(torch.randint(self._largest, (1,), generator=self._generator))
        return self._pool[begin : begin + rows * width].view(rows, width)


def masks(lora: Lora, seed: int, step: int, part: int, largest: int) -> DropoutMasks | None:
    if lora.dropout == 0:
        return None
    return DropoutMasks(lora.dropout, generator_for(seed, DROPOUT_STREAM, step, part), largest, lora.flat.device)


@dataclass(frozen=True, slots=True)
class Noise:
    """NEFTune (arXiv 2310.05914): uniform noise on a row's embeddings, of size alpha / sqrt(tokens of the row * width).
    The shared prefix has one noise a step, as it goes through the base once."""

    alpha: float
    generator: torch.Generator

    def add(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: [tokens, width], lengths: [tokens], how many tokens each one's row has"""
        noise = torch.empty(x.shape, dtype=torch.float32).uniform_(-1, 1, generator=self.generator).to(x)
        return x + noise * (self.alpha / (lengths * x.shape[1]).sqrt())[:, None]


def noise(alpha: float, seed: int, step: int, part: int) -> Noise | None:
    return Noise(alpha, generator_for(seed, NOISE_STREAM, step, part)) if alpha else None
