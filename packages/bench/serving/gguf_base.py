"""The base for llama.cpp: the 4-bit file that our base folder was made from, with every matrix as Q8_0."""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize
from lora_py import base_model


def ensure_q8_0(folder: Path) -> Path:
    target = folder / "base-q8_0.gguf"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        source = base_model._fetch(folder, lambda text: print(text, file=sys.stderr))
        _convert(source, folder / "base-q8_0.part")
        (folder / "base-q8_0.part").rename(target)
        source.unlink()
    return target


def _convert(source: Path, target: Path) -> None:
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == gguf.Keys.General.ARCHITECTURE:
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if values.ndim == 2:
            packed = quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor.name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
