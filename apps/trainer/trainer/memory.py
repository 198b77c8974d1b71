"""What a job will hold in memory, from the base's files and the job's settings alone, and what is free: a job that
cannot fit is told so before it takes hours to find out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from lora_py.base_model import BaseModelError, open_folder

from trainer.errors import TrainerError
from trainer.optimizers import STATE_BYTES
from trainer.packing import Example
from trainer.spec import Spec
from trainer.step import MICRO_TOKENS

WIDE = 4  # bytes of a number that is not a linear's weight
QUANTIZED_BYTES = {4: 0.52, 8: 1.0}  # of a weight, scales included
ON_THE_WAY_BACK = 1.3  # gradients beside what is kept, and what the allocator holds back: measured on SmolLM2-135M
HEAD_ROWS = 256  # rows of logits that exist at one time
CGROUP = Path("/sys/fs/cgroup")
GB = 1e9


@dataclass(frozen=True, slots=True)
class Need:
    base: float  # bytes
    adapter: float  # its weights, gradient and optimizer
    step: float  # what a step keeps for the way back

    @property
    def total(self) -> float:
        return self.base + self.adapter + self.step


def base_bytes(path: Path, product_dtype: torch.dtype, bits: int | None) -> float:
    """The base as the trainer keeps it: the linears of its layers as they are multiplied, or quantized."""
    try:
        base = open_folder(path)
    except BaseModelError as error:
        raise TrainerError("trainer_bad_spec", str(error)) from error
    each = product_dtype.itemsize if bits is None else QUANTIZED_BYTES[bits]
    total = 0.0
    for file in base.weight_files:
        for name, shape in _shapes(file).items():
            if name.startswith("lm_head.") and base.config.get("tie_word_embeddings", False):
                continue
            linear = len(shape) == 2 and ".layers." in name
            total += prod(shape) * (each if linear else WIDE)
    return total


def _shapes(file: Path) -> dict[str, list[int]]:
    """Of the tensors of a safetensors file, from its header."""
    with file.open("rb") as stored:
        header = json.loads(stored.read(int.from_bytes(stored.read(8), "little")))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def adapter_bytes(spec: Spec, numbers: int, held: bool = False) -> float:
    """Of so many trained numbers. `held`: without their values and gradient, which are there from the beginning."""
    best = WIDE if spec.training.early_stopping_patience is not None else 0
    return numbers * ((0 if held else 2 * WIDE) + best + STATE_BYTES[spec.training.optimizer])


@dataclass(frozen=True, slots=True)
class Pass:
    """The largest share of a step that goes through the base at one time."""

    tokens: int
    longest: int  # tokens of its longest row


def largest_pass(examples: Sequence[Example], batch_size: int) -> Pass:
    lengths = sorted((example.length for example in examples), reverse=True)
    return Pass(max(lengths[0], min(MICRO_TOKENS, sum(lengths[:batch_size]))), lengths[0])


def step_bytes(config: Mapping[str, Any], size: Pass, use_dora: bool = False) -> float:
    """At its peak, which is early on the way back."""
    head = 2 * min(size.tokens, HEAD_ROWS) * int(config["vocab_size"]) * WIDE
    return ON_THE_WAY_BACK * (kept_bytes(config, size, use_dora) + head)


def kept_bytes(config: Mapping[str, Any], size: Pass, use_dora: bool) -> float:
    """What the layers keep for the way back: inputs of norms and linears; the attention's queries, keys, values, result
    and, as numbers, its mask; and of DoRA the outputs that the magnitudes scale."""
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    key_heads = int(config.get("num_key_value_heads") or heads)
    dim, inner = int(config.get("head_dim") or hidden // heads), int(config["intermediate_size"])
    each = 4 * hidden + 3 * inner + 3 * heads * dim + 2 * key_heads * dim
    if use_dora:
        each += 2 * hidden + 2 * inner + heads * dim + 2 * key_heads * dim
    mask = heads // key_heads * size.longest**2
    return WIDE * int(config["num_hidden_layers"]) * (size.tokens * each + mask)


def available_bytes(device: torch.device) -> int:
    """Free on the device; of main memory, what the machine and the container have left, swap included."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available + psutil.swap_memory().free)
    return min(free, _left_in_container(CGROUP, free))


def _left_in_container(cgroup: Path, otherwise: int) -> int:
    """Memory that is only a cache of files is given back where it is asked for."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        caches = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return otherwise
    return otherwise if limit == "max" else int(limit) - used + int(caches.get("inactive_file", 0))


def refuse_what_cannot_fit(need: Need, free: int, spec: Spec, size: Pass | None = None) -> None:
    """size: the pass that `need.step` is of."""
    if need.total <= free:
        return
    told, cures = [f"{need.base / GB:.2f} GB for the base model"] if need.base else [], []
    if need.base and spec.quantization is None:
        cures.append("quantization of the base to 8 or 4 bits")
    if size is not None:
        told.append(f"{need.adapter / GB:.2f} GB for the adapter and its optimizer")
        told.append(f"{need.step / GB:.2f} GB for a step of {size.tokens:,} tokens")
        if size.tokens > size.longest:
            cures.append(f"a training.batch_size below {spec.training.batch_size}")
        cures.append(f"a training.max_length below {size.longest}")
        cures.append(f"an adapter.rank below {spec.adapter.rank}")
    what = "This job" if need.base else "Beside its base model, this job"
    raise TrainerError(
        "trainer_out_of_memory",
        f"{what} needs about {need.total / GB:.2f} GB of memory, and {free / GB:.2f} GB are free: {', '.join(told)}. "
        f"What helps: {', '.join(cures)}{' or ' if cures else ''}a machine with more memory.",
    )
