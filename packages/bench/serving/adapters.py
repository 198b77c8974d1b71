"""Random adapters for the benchmark: rank 8 on every linear, each with its own content, laid out as the engine's disk
cache has them (one folder for each, named by its hash)."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lora_py.peft_files import CONFIG_FILE, WEIGHTS_FILE, AdapterSettings, module_shapes, write_adapter
from safetensors.torch import save

RANK = 8
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
OFFSETS = 4096  # adapter i and module j begin at their own place in one long noise


@dataclass(frozen=True, slots=True)
class BenchAdapter:
    folder: Path
    sha256: str


def write_adapters(root: Path, config: dict[str, Any], count: int, half: bool = False) -> list[BenchAdapter]:
    """`half`: stored in fp16, for when there are many."""
    shapes = module_shapes(config)
    template = root / ".template"
    write_adapter(template, AdapterSettings(RANK, 16.0, 0.0, MODULES, "raw", "bench"), {}, "# bench\n", {})
    settings = (template / CONFIG_FILE).read_bytes()
    shutil.rmtree(template)
    noise = torch.randn(RANK * max(map(max, shapes.values())) + OFFSETS, generator=torch.Generator().manual_seed(0))
    noise = noise.to(torch.float16 if half else torch.float32)
    ups, downs = noise * 0.02, {size[1]: noise / size[1] ** 0.5 for size in shapes.values()}
    made = []
    for number in range(count):
        tensors = {}
        for index, (name, (rows, columns)) in enumerate(shapes.items()):
            at = (number + 7 * index) % OFFSETS
            tensors[f"base_model.model.model.{name}.lora_A.weight"] = _window(downs[columns], at, RANK, columns)
            tensors[f"base_model.model.model.{name}.lora_B.weight"] = _window(ups, at, rows, RANK)
        weights = save(tensors, metadata={"format": "pt"})
        sha256 = hashlib.sha256(settings + weights).hexdigest()
        folder = root / sha256
        folder.mkdir()
        (folder / CONFIG_FILE).write_bytes(settings)
        (folder / WEIGHTS_FILE).write_bytes(weights)
        made.append(BenchAdapter(folder, sha256))
    return made


def _window(noise: torch.Tensor, at: int, rows: int, columns: int) -> torch.Tensor:
    """As good as fresh noise for a benchmark, and quick for a thousand adapters."""
    return noise[at : at + rows * columns].clone().reshape(rows, columns)
