"""What an answer has to be: the plain forward pass of base weights with one adapter merged into them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import torch
from lora_py.grouped import SlotTable
from lora_py.peft_files import Weights
from torch import Tensor

from serving.models.batch import BLOCK, Batch, Chunk
from serving.models.causal import TorchModel
from serving.models.config import read_config
from serving.models.weights import ModelWeights, load_weights

GROUPS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
MERGED = 24  # models kept; older ones are merged again when they are asked for
POSITIONS = 512


class Oracle:
    def __init__(self, base: Path) -> None:
        self.config = read_config(base)
        self.weights = load_weights(base, self.config, torch.device("cpu"))
        self._adapters: dict[str, tuple[Weights, float]] = {}
        self._models: OrderedDict[str, TorchModel] = OrderedDict()

    def add(self, key: str, weights: Weights, scaling: float) -> None:
        self._adapters[key] = weights, scaling

    def forget(self, key: str) -> None:
        self._adapters.pop(key, None)
        self._models.pop(key, None)

    def logits(self, key: str, tokens: tuple[int, ...], first: int) -> Tensor:
        """[len(tokens) - first, vocab]: what the adapter (none: "") says after tokens[first] and each later one."""
        model, rows = self._model(key), tuple(range(first, len(tokens)))
        blocks = tuple(range(len(tokens) // BLOCK + 1))
        batch = Batch(tokens, (Chunk(0, 0, len(tokens), 0, blocks),), rows)
        return model.forward(batch, model.new_cache(len(blocks)), SlotTable({})).values

    def _model(self, key: str) -> TorchModel:
        if key not in self._models:
            merged = self._merged(*self._adapters[key]) if key else self.weights
            self._models[key] = TorchModel(self.config, merged, POSITIONS)
            while len(self._models) > MERGED:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    def _merged(self, weights: Weights, scaling: float) -> ModelWeights:
        layers = []
        for index, layer in enumerate(self.weights.layers):
            changed = {}
            for name, modules in GROUPS.items():
                target, start = getattr(layer, name).clone(), 0
                for module in modules:
                    shape = self.config.linear_shape(f"layers.{index}.{module}")
                    assert shape is not None
                    pair = weights.get(f"layers.{index}.{module}")
                    if pair is not None:
                        target[start : start + shape[0]] += scaling * (pair[1] @ pair[0])
                    start += shape[0]
                changed[name] = target
            layers.append(replace(layer, **changed))
        return replace(self.weights, layers=tuple(layers))
