"""A PEFT adapter as a GGUF LoRA file, which llama.cpp and what builds on it load beside their own base file.

    python -m lora_py.gguf_lora --adapter FOLDER --base FOLDER --out adapter.gguf [--dtype f16]

Only the base's config.json is read. The file appears by one rename.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFType, GGUFWriter, Keys, LlamaFileType
from numpy.typing import NDArray

from lora_py.gguf_convert import LAYER_NAMES
from lora_py.peft_files import Adapter, AdapterError, check_against_base, read_adapter

# llama.cpp's name of each base we train: it runs Mistral as a Llama.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
DTYPES = {"f32": (np.float32, LlamaFileType.ALL_F32), "f16": (np.float16, LlamaFileType.MOSTLY_F16)}
_GGUF_NAMES = {peft: gguf for gguf, peft in LAYER_NAMES.items()}


def write_gguf_lora(adapter: Adapter, base_config: Mapping[str, Any], out: Path, dtype: str = "f32") -> None:
    """Raises AdapterError where the adapter does not fit the base or llama.cpp has no name for the base."""
    check_against_base(adapter, base_config)
    architecture = ARCHITECTURES.get(str(base_config.get("model_type")))
    if architecture is None:
        kind = base_config.get("model_type")
        raise AdapterError("adapter_unsupported", f"There is no GGUF form of adapters for a base of type {kind!r}.")
    number, file_type = DTYPES[dtype]
    descriptor, work = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    os.close(descriptor)
    try:
        writer = GGUFWriter(work, architecture)
        writer.add_type(GGUFType.ADAPTER)
        writer.add_file_type(file_type)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        alpha = adapter.config.scaling * adapter.config.rank
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
        for name, (a, b) in adapter.weights.items():
            # llama.cpp scales every module by alpha / its rank; what differs from that goes into B
            extra = adapter.config.module_scaling(name) * a.shape[0] / alpha if alpha else 1.0
            up = _rotary_rows(b.numpy() * np.float32(extra), name, base_config, architecture)
            tensor = _tensor_name(name)
            writer.add_tensor(f"{tensor}.lora_a", np.ascontiguousarray(a.numpy(), dtype=number))
            writer.add_tensor(f"{tensor}.lora_b", np.ascontiguousarray(up, dtype=number))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        Path(work).chmod(0o644)
        Path(work).rename(out)
    finally:
        Path(work).unlink(missing_ok=True)


def _tensor_name(name: str) -> str:
    """ "layers.3.self_attn.q_proj" -> "blk.3.attn_q.weight" """
    _, layer, module = name.split(".", 2)
    return f"blk.{layer}.{_GGUF_NAMES[module]}.weight"


def _rotary_rows(
    b: NDArray[np.float32], name: str, config: Mapping[str, Any], architecture: str
) -> NDArray[np.float32]:
    """B [out, rank] in the base file's row order: for Llama, GGUF interleaves the two halves of each rotary pair."""
    if architecture != "llama" or not name.endswith(("q_proj", "k_proj")):
        return b
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
    halves = b.reshape(-1, 2, head_dim // 2, b.shape[1])
    interleaved: NDArray[np.float32] = halves.swapaxes(1, 2).reshape(b.shape)
    return interleaved


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lora_py.gguf_lora", description=__doc__)
    parser.add_argument("--adapter", type=Path, required=True, help="a PEFT adapter folder")
    parser.add_argument("--base", type=Path, required=True, help="folder with the base model's config.json")
    parser.add_argument("--out", type=Path, required=True, help="the .gguf file to write")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="f32")
    arguments = parser.parse_args(argv)
    try:
        config = json.loads((arguments.base / "config.json").read_text(encoding="utf-8"))
        write_gguf_lora(read_adapter(arguments.adapter), config, arguments.out.resolve(), arguments.dtype)
    except (AdapterError, OSError, ValueError) as error:
        print(f"gguf_lora: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
