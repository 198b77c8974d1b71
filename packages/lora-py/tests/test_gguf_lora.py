from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader

from lora_py.gguf_convert import LAYER_NAMES, _tensor
from lora_py.gguf_lora import main, write_gguf_lora
from lora_py.peft_files import AdapterError, AdapterSettings, module_shapes, read_adapter, write_adapter
from lora_py.tiny_base import CONFIG, write_tiny_base

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapter_folder(path: Path, use_rslora: bool = False, **config_changes: object) -> Path:
    torch.manual_seed(1)
    weights = {name: (torch.randn(4, size[1]), torch.randn(size[0], 4)) for name, size in module_shapes(CONFIG).items()}
    write_adapter(path, AdapterSettings(4, 6.0, 0.0, TARGETS, "raw", "tiny", use_rslora), weights, "# card\n", {})
    file = path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config_changes}))
    return path


def delta_as_llama_cpp_adds_it(file: Path, module: str) -> torch.Tensor:
    """What the file adds to a base weight, brought back to Hugging Face's row order by the base's own converter."""
    reader = GGUFReader(file)
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    _, layer, parts = module.split(".", 2)
    name = next(f"blk.{layer}.{gguf}.weight" for gguf, peft in LAYER_NAMES.items() if peft == parts)
    a, b = (tensors[f"{name}.lora_{half}"].astype(np.float32) for half in "ab")
    scale = reader.fields["adapter.lora.alpha"].contents() / b.shape[1]
    delta = SimpleNamespace(name=name, data=scale * (b @ a), tensor_type=GGMLQuantizationType.F32)
    return torch.from_numpy(_tensor(delta, CONFIG))


@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}, {"alpha_pattern": {"k_proj": 40}}])
def test_the_file_changes_every_base_weight_as_peft_does(tmp_path: Path, changes: dict[str, object]) -> None:
    adapter = read_adapter(adapter_folder(tmp_path / "adapter", **changes))
    write_gguf_lora(adapter, CONFIG, tmp_path / "a.gguf")
    for module, (a, b) in adapter.weights.items():
        wanted = adapter.config.module_scaling(module) * (b @ a)
        torch.testing.assert_close(delta_as_llama_cpp_adds_it(tmp_path / "a.gguf", module), wanted)


def test_bases_that_llama_cpp_does_not_reorder_keep_their_rows(tmp_path: Path) -> None:
    adapter = read_adapter(adapter_folder(tmp_path / "adapter"))
    write_gguf_lora(adapter, {**CONFIG, "model_type": "qwen3"}, tmp_path / "a.gguf")
    reader = GGUFReader(tmp_path / "a.gguf")
    assert reader.fields["general.architecture"].contents() == "qwen3"
    rows = next(tensor.data for tensor in reader.tensors if tensor.name == "blk.0.attn_q.weight.lora_b")
    np.testing.assert_array_equal(rows, adapter.weights["layers.0.self_attn.q_proj"][1].numpy())


def test_the_command_writes_half_precision_and_names_itself_a_lora_adapter(tmp_path: Path) -> None:
    base, adapter = write_tiny_base(tmp_path / "base"), adapter_folder(tmp_path / "adapter")
    out = tmp_path / "a.gguf"
    assert main(["--adapter", str(adapter), "--base", str(base), "--out", str(out), "--dtype", "f16"]) == 0
    reader = GGUFReader(out)
    assert [reader.fields[key].contents() for key in ("general.type", "adapter.type")] == ["adapter", "lora"]
    assert {tensor.tensor_type for tensor in reader.tensors} == {GGMLQuantizationType.F16}
    assert len(reader.tensors) == 2 * len(module_shapes(CONFIG))


def test_an_adapter_of_another_base_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    adapter = read_adapter(adapter_folder(tmp_path / "adapter"))
    with pytest.raises(AdapterError, match="another base"):
        write_gguf_lora(adapter, {**CONFIG, "intermediate_size": 64}, tmp_path / "a.gguf")
    assert list(tmp_path.glob("*.gguf")) == []
