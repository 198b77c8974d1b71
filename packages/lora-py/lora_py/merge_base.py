"""An adapter merged into its base: a model folder of its own, which needs neither Grove nor PEFT.

    python -m lora_py.merge_base --base FOLDER --adapter FOLDER --out FOLDER

Every file of weights is copied tensor by tensor under its own header, so one tensor is in memory at a time, however
large the base is. Sums are taken in float32 and stored as the base stores them. LoRA, rsLoRA and DoRA adapters; one
that was trained over a quantized base (QLoRA) is merged into the base before it was quantized, as PEFT does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lora_py.base_model import LLAMA_LAYOUT, BaseModel, BaseModelError, open_base
from lora_py.peft_config import CONFIG_FILE, json_object
from lora_py.peft_files import Adapter, check_against_base, parse_adapter, prompt_format, read_files, sha256_of
from lora_py.peft_weights import WEIGHTS_FILE, AdapterError

COPY_BLOCK = 1 << 22
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
KEPT_SUFFIXES = {".json", ".txt", ".model", ".jinja"}  # configuration, tokenizer, chat template
KEPT_NAMES = ("license", "licence", "notice")
_MAGNITUDE = re.compile(r"base_model\.model\.(?:model\.)?(layers\.\d+\.\w+\.\w+)\.lora_magnitude_vector(?:\.weight)?")


@dataclass(frozen=True, slots=True)
class Mergeable:
    """An adapter and, for DoRA, the length that each output's weights are brought to: module -> [out]."""

    adapter: Adapter
    magnitudes: dict[str, Tensor]

    def merged(self, name: str, weight: Tensor) -> Tensor:
        """weight: [out, in], float32, of the module "layers.0.mlp.up_proj"; changed in place."""
        a, b = self.adapter.weights[name]
        weight += (b @ a) * self.adapter.config.module_scaling(name)
        if name in self.magnitudes:
            weight *= (self.magnitudes[name] / torch.linalg.norm(weight, dim=1))[:, None]
        return weight


def read_mergeable(folder: Path) -> Mergeable:
    """As `read_adapter`, DoRA included. Raises AdapterError."""
    config, data = read_files(folder)
    sha256, magnitudes = sha256_of(config, data), {}
    raw = json_object(config, CONFIG_FILE)
    if raw.get("use_dora") is True:
        try:
            tensors = load(data)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE} is not a readable safetensors file.") from error
        magnitudes = {match[1]: tensors.pop(key) for key in list(tensors) if (match := _MAGNITUDE.fullmatch(key))}
        config, data = json.dumps({**raw, "use_dora": False}).encode(), save(tensors)
    adapter = parse_adapter(config, data, sha256, prompt_format(folder))
    if raw.get("use_dora") is True:
        _check_magnitudes(adapter, magnitudes)
    return Mergeable(adapter, {name: magnitude.float() for name, magnitude in magnitudes.items()})


def _check_magnitudes(adapter: Adapter, magnitudes: dict[str, Tensor]) -> None:
    if lone := set(adapter.weights) ^ set(magnitudes):
        message = f"{WEIGHTS_FILE}: {min(lone)} has either A and B or a magnitude, not both."
        raise AdapterError("adapter_invalid", message)
    for name, magnitude in magnitudes.items():
        if magnitude.shape != adapter.weights[name][1].shape[:1] or not torch.isfinite(magnitude).all():
            raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE}: {name} has magnitudes that do not fit it.")


def merge_into_base(base_folder: Path, adapter_folder: Path, out: Path) -> Mergeable:
    """Writes `out` by one rename. Raises BaseModelError or AdapterError, and leaves nothing behind then."""
    base = open_base(base_folder, LLAMA_LAYOUT)
    if base.config.get("quantization_config") is not None:
        raise BaseModelError(f"{base_folder} is stored quantized: merge into the model before it was quantized.")
    mergeable = read_mergeable(adapter_folder)
    check_against_base(mergeable.adapter, base.config)
    if out.exists():
        raise BaseModelError(f"{out} is already there.")
    out.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(file.stat().st_size for file in base.weight_files) + COPY_BLOCK
    if shutil.disk_usage(out.parent).free < needed:
        raise BaseModelError(f"{out.parent} needs {needed // 1_000_000} MB free for the merged model.")
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    work.chmod(0o755)
    try:
        waiting = set(mergeable.adapter.weights)
        for file in base.weight_files:
            _merge_file(file, work / file.name, mergeable, waiting)
        if waiting:
            raise BaseModelError(f"The base model at {base_folder} has no tensor model.{min(waiting)}.weight.")
        _copy_rest(base, work)
        (work / "README.md").write_text(_card(base, mergeable.adapter), encoding="utf-8")
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return mergeable


def _merge_file(source: Path, target: Path, mergeable: Mergeable, waiting: set[str]) -> None:
    """Copies one safetensors file; takes the modules that were merged out of `waiting`."""
    with source.open("rb") as read, target.open("wb") as write:
        size = read.read(8)
        header = read.read(int.from_bytes(size, "little"))
        write.write(size + header)
        tensors: dict[str, Any] = json.loads(header)
        tensors.pop("__metadata__", None)
        for key, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
            length = entry["data_offsets"][1] - entry["data_offsets"][0]
            name = key.removeprefix("model.").removesuffix(".weight")
            if name not in waiting or key != f"model.{name}.weight":
                _copy(read, write, length, source)
                continue
            dtype = DTYPES.get(entry["dtype"])
            if dtype is None:
                raise BaseModelError(f"{source}: {key} is stored as {entry['dtype']}, which can't be merged into.")
            data = bytearray(length)
            if read.readinto(data) != length:
                raise BaseModelError(f"{source} is cut off.")
            weight = torch.frombuffer(data, dtype=dtype).view(entry["shape"])
            merged = mergeable.merged(name, weight.float()).to(dtype)
            write.write(merged.view(torch.uint8).numpy().data)
            waiting.remove(name)
        write.flush()
        os.fsync(write.fileno())


def _copy(read: IO[bytes], write: IO[bytes], length: int, source: Path) -> None:
    while length:
        block = read.read(min(length, COPY_BLOCK))
        if not block:
            raise BaseModelError(f"{source} is cut off.")
        write.write(block)
        length -= len(block)


def _copy_rest(base: BaseModel, work: Path) -> None:
    for file in sorted(base.path.iterdir()):
        wanted = file.suffix in KEPT_SUFFIXES or file.name.lower().startswith(KEPT_NAMES)
        if file.is_file() and wanted and not (work / file.name).exists():
            shutil.copyfile(file, work / file.name)


def _card(base: BaseModel, adapter: Adapter) -> str:
    kind = adapter.config
    lines = (
        f"# {base.path.resolve().name}, fine-tuned",
        "",
        f"The base model with a LoRA adapter merged into it: rank {kind.rank}, {', '.join(kind.target_modules)}.",
        f"The adapter's SHA-256 is {adapter.sha256}. The base model's licence applies.",
    )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lora_py.merge_base", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="the base model's folder")
    parser.add_argument("--adapter", type=Path, required=True, help="a PEFT adapter folder")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write; it must not exist")
    arguments = parser.parse_args(argv)
    try:
        merge_into_base(arguments.base, arguments.adapter, arguments.out)
    except (AdapterError, BaseModelError, OSError) as error:
        print(f"merge_base: {error}", file=sys.stderr)
        return 1
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
