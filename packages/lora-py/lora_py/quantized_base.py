"""A frozen base's linears in 4 or 8 bits (QLoRA): quantized once, dequantized for each product, never updated.

The formats are bitsandbytes' own, so the base that an adapter was trained on here is the base PEFT quantizes:

- `nf4`: blocks of 64 weights with double quantization, as `BitsAndBytesConfig(load_in_4bit=True,
  bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)`.
- `int8`: one scale for each output row, as `load_in_8bit=True` keeps weights. Activations stay as they are, where
  bitsandbytes' `Linear8bitLt` rounds them to 8 bits too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import safe_open
from torch import Tensor

from lora_py.base_model import BaseModelError, open_base
from lora_py.peft_weights import module_shapes

Kind = Literal["nf4", "int8"]
NF4_BLOCK = 64


class QuantizedWeight(Protocol):
    """One linear's weight of size `shape` ([out, in]) in a few bits."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def nbytes(self) -> int:
        """Bytes that stay in memory, scales included."""
        ...

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """A new tensor [out, in] on the device of the weight. The same values on every call."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Nf4Weight:
    data: Tensor  # two weights a byte
    state: Any  # bitsandbytes' QuantState: the blocks' scales, themselves in 8 bits

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.state.shape)

    @property
    def nbytes(self) -> int:
        scales = (self.state.absmax, self.state.offset, self.state.state2.absmax)
        return sum(tensor.nbytes for tensor in (self.data, *scales))

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        from bitsandbytes.functional import dequantize_4bit

        weight: Tensor = dequantize_4bit(self.data, self.state)
        return weight.to(dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Int8Weight:
    data: Tensor  # [out, in], int8
    largest: Tensor  # [out], float32: what 127 stands for in each row

    @property
    def shape(self) -> torch.Size:
        return self.data.shape

    @property
    def nbytes(self) -> int:
        return self.data.nbytes + self.largest.nbytes

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.data.float().mul_((self.largest / 127)[:, None]).to(dtype)


def quantize(weight: Tensor, kind: Kind) -> QuantizedWeight:
    """weight: [out, in], floating point, on any device that bitsandbytes runs on. ValueError for anything else."""
    from bitsandbytes import functional

    if weight.dim() != 2 or not weight.is_floating_point():
        raise ValueError(f"a linear's weight is a matrix of floats, not {weight.dtype} of size {tuple(weight.shape)}")
    if kind == "nf4":
        data, state = functional.quantize_4bit(
            weight.float().contiguous(), blocksize=NF4_BLOCK, compress_statistics=True, quant_type="nf4"
        )
        return Nf4Weight(data, state)
    if kind == "int8":
        rounded, largest, _ = functional.int8_vectorwise_quant(weight.half().contiguous())
        return Int8Weight(rounded, largest)
    raise ValueError(f"{kind!r} is not a way to quantize: use nf4 or int8")


def quantized_linears(
    folder: Path, kind: Kind, device: torch.device | None = None
) -> Iterator[tuple[str, QuantizedWeight]]:
    """Every adaptable linear of a base folder, such as "layers.0.mlp.up_proj", read and quantized one at a time.

    Raises BaseModelError where the folder is not a base model that we run, or lacks a linear.
    """
    base = open_base(folder)
    missing = set(module_shapes(base.config))
    for file in base.weight_files:
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - not a dict
                name = key.removeprefix("model.").removesuffix(".weight")
                if name in missing and key == f"model.{name}.weight":
                    missing.remove(name)
                    yield name, quantize(tensors.get_tensor(key).to(device or "cpu"), kind)
    if missing:
        raise BaseModelError(f"The base model at {folder} has no tensor model.{min(missing)}.weight.")
