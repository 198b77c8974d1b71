"""Logits of whole sequences: from our models chunk by chunk, and from transformers and PEFT."""

from __future__ import annotations

from pathlib import Path

import torch
from harness import adapter_at
from lora_py.grouped import MODULES, SlotTable

from serving.models.batch import BLOCK, Batch, Chunk
from serving.models.causal import Model


def slots_of(model: Model, folders: list[Path]) -> SlotTable:
    """The adapters in slots 1, 2, ..."""
    table = SlotTable({m: model.config.linear_shape(f"layers.0.{m}")[0] for m in MODULES})  # type: ignore[index]
    for slot, folder in enumerate(folders, start=1):
        table.put(slot, adapter_at(folder, model).packed)
    return table


def logits_of(model: Model, tokens: list[int], pieces: list[int], folder: Path | None = None) -> torch.Tensor:
    """All logits of one sequence run in chunks of the given sizes."""
    return logits_in(
        model, tokens, pieces, slots_of(model, [] if folder is None else [folder]), int(folder is not None)
    )


def logits_in(model: Model, tokens: list[int], pieces: list[int], table: SlotTable, slot: int) -> torch.Tensor:
    blocks = tuple(reversed(range(len(tokens) // BLOCK + 1)))
    cache = model.new_cache(len(blocks))
    done, out = 0, []
    for count in pieces:
        chunk = Chunk(done, 0, count, slot, blocks)
        batch = Batch(tuple(tokens[done : done + count]), (chunk,), tuple(range(count)))
        out.append(model.forward(batch, cache, table).values)
        done += count
    assert done == len(tokens)
    return torch.cat(out)


def reference(folder: Path, tokens: list[int], lora: Path | None = None) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if lora is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(lora))
    with torch.inference_mode():
        return model.eval()(torch.tensor([tokens])).logits[0]
