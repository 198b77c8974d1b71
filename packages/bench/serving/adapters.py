"""Random adapters for the benchmark: rank 8 on every linear, each with its own content, laid out as the engine's disk
cache has them (one folder for each, named by its hash)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lora_py.peft_files import AdapterSettings, adapter_sha256, module_shapes, write_adapter
from safetensors.torch import save_file

RANK = 8
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class BenchAdapter:
    folder: Path
    sha256: str


def write_adapters(root: Path, config: dict[str, Any], count: int, half: bool = False) -> list[BenchAdapter]:
    """`half`: stored in fp16, for when there are many."""
    shapes = module_shapes(config)
    settings = AdapterSettings(RANK, 16.0, 0.0, MODULES, "raw", "bench")
    longest = max(RANK * max(size) for size in shapes.values())
    noise = torch.randn(longest + 4096 + len(shapes) * 7, generator=torch.Generator().manual_seed(0))
    made = []
    for number in range(count):
        weights = {name: _pair(noise, number + 7 * i, *size) for i, (name, size) in enumerate(shapes.items())}
        work = root / f".writing-{number}"
        write_adapter(work, settings, weights if not half else {}, "# bench\n", {"number": number})
        if half:
            tensors = {
                f"base_model.model.model.{name}.lora_{letter}.weight": tensor.to(torch.float16)
                for name, pair in weights.items()
                for letter, tensor in zip("AB", pair, strict=True)
            }
            save_file(tensors, str(work / "adapter_model.safetensors"), metadata={"format": "pt"})
        sha256 = adapter_sha256(work)
        work.rename(root / sha256)
        made.append(BenchAdapter(root / sha256, sha256))
    return made


def _pair(noise: torch.Tensor, at: int, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A window of one long noise: as good as fresh noise for a benchmark, and quick for a thousand adapters."""
    at %= 4096
    a = noise[at : at + RANK * columns].reshape(RANK, columns) / columns**0.5
    b = noise[at + 1 : at + 1 + RANK * rows].reshape(rows, RANK) * 0.02
    return a.contiguous(), b.contiguous()
