"""PEFT's loss and gradients on the same rows: what every way of ours to compute them is held against."""

from __future__ import annotations

from pathlib import Path

import peft
import torch
import transformers
from torch import Tensor

from trainer.lora import Lora
from trainer.packing import Example
from trainer.spec import AdapterSpec


def random_rows(count: int, prefix: int, seed: int = 0) -> list[Example]:
    generator = torch.Generator().manual_seed(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, 260, (n,), generator=generator).tolist())

    head = tokens(prefix)
    return [Example(head + tokens(3 + i % 4), (*tokens(1 + i % 3), 1)) for i in range(count)]


def stirred(lora: Lora, seed: int) -> Lora:
    """B away from zero, so that every gradient has something to say."""
    noise = torch.randn(lora.flat.shape, generator=torch.Generator().manual_seed(seed))
    lora.restore(lora.flat + 0.1 * noise)
    return lora


def oracle(base: Path, lora: Lora, adapter: AdapterSpec, rows: list[Example]) -> tuple[float, dict[str, Tensor]]:
    """PEFT's loss and gradients on the rows, padded to one table."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    modules = {name.rsplit(".", 1)[1] for name in lora.pairs}
    config = peft.LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=sorted(modules))
    wrapped = peft.get_peft_model(model, config)
    parameters = dict(wrapped.named_parameters())
    keys = {}
    for name, pair in lora.pairs.items():
        for half, value in zip("AB", pair, strict=True):
            keys[f"{name}.{half}"] = parameters[f"base_model.model.model.{name}.lora_{half}.default.weight"]
            keys[f"{name}.{half}"].data.copy_(value)
    longest = max(row.length for row in rows)
    ids, labels = torch.zeros(len(rows), longest, dtype=torch.long), torch.full((len(rows), longest), -100)
    attention = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : row.length] = torch.tensor(row.prompt + row.completion)
        labels[i, len(row.prompt) : row.length] = torch.tensor(row.completion)
        attention[i, : row.length] = 1
    loss = wrapped(input_ids=ids, attention_mask=attention, labels=labels).loss
    loss.backward()
    return loss.item(), {key: value.grad for key, value in keys.items() if value.grad is not None}


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))
