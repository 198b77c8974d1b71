"""Merged models against PEFT's merge_and_unload, as transformers loads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from lora_py.base_model import BaseModelError
from lora_py.merge_base import main, merge_into_base
from lora_py.peft_files import AdapterError
from lora_py.tiny_base import write_tiny_base

HERE = Path(__file__).parents[1]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "lora_alpha": 8, "target_modules": ALL},
    "rslora": {"r": 16, "lora_alpha": 16, "target_modules": ["q_proj", "down_proj"], "use_rslora": True},
    "patterns": {"r": 2, "target_modules": ALL, "rank_pattern": {"up_proj": 6}, "alpha_pattern": {"v_proj": 3}},
    "dora": {"r": 4, "lora_alpha": 8, "target_modules": ALL, "use_dora": True},
}


def write_adapter_of_peft(base: Path, folder: Path, **kind: Any) -> Path:
    torch.manual_seed(4)
    config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **kind)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, parameter in model.named_parameters():
        if "magnitude" in name:
            parameter.data.mul_(1 + 0.3 * torch.rand_like(parameter))
    model.save_pretrained(folder)
    return folder


def logits(model: Any) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model.eval()(torch.arange(40)[None] * 5 % 260).logits
    return found


def peft_logits(base: Path, adapter: Path) -> Tensor:
    return logits(
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).merge_and_unload()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"model_type": "qwen2", "tie_word_embeddings": False}], ids=["llama", "qwen2"])
def test_merged_model_equals_peft_s(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    if changes:
        changes["architectures"] = ["Qwen2ForCausalLM"]
    base = write_tiny_base(tmp_path / "base", **changes)
    adapter = write_adapter_of_peft(base, tmp_path / "adapter", **KINDS[kind])
    merge_into_base(base, adapter, tmp_path / "merged")
    ours = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    torch.testing.assert_close(ours, peft_logits(base, adapter), atol=1e-5, rtol=1e-5)
    assert (ours - logits(AutoModelForCausalLM.from_pretrained(base))).abs().max() > 0.1
    texts = [AutoTokenizer.from_pretrained(folder)("Hi there").input_ids for folder in (base, tmp_path / "merged")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("family", ["Gemma", "Phi3"])
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_a_family_that_computes_otherwise_merges_like_peft_s(tmp_path: Path, family: str, dora: bool) -> None:
    small = {"vocab_size": 260, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "pad_token_id": 3}
    config = getattr(transformers, f"{family}Config")(**small, num_attention_heads=4, num_key_value_heads=2)
    getattr(transformers, f"{family}ForCausalLM")(config).save_pretrained(tmp_path / "base")
    (tmp_path / "base/tokenizer.json").write_text("{}")
    modules = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"] if family == "Phi3" else ALL
    adapter = write_adapter_of_peft(tmp_path / "base", tmp_path / "adapter", r=4, target_modules=modules, use_dora=dora)
    merge_into_base(tmp_path / "base", adapter, tmp_path / "merged")
    ours = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    torch.testing.assert_close(ours, peft_logits(tmp_path / "base", adapter), atol=1e-5, rtol=1e-5)


def test_sharded_bf16_base_keeps_its_files_and_dtype(tmp_path: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(write_tiny_base(tmp_path / "plain"), dtype=torch.bfloat16)
    plain.save_pretrained(tmp_path / "base", max_shard_size="20KB")
    (tmp_path / "base/tokenizer.json").write_bytes((tmp_path / "plain/tokenizer.json").read_bytes())
    adapter = write_adapter_of_peft(tmp_path / "base", tmp_path / "adapter", **KINDS["lora"])
    merge_into_base(tmp_path / "base", adapter, tmp_path / "merged")
    names = {file.name for file in (tmp_path / "base").iterdir()}
    assert len(names) > 4 and names | {"README.md"} == {file.name for file in (tmp_path / "merged").iterdir()}
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert merged.dtype == torch.bfloat16
    exact = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    exact = PeftModel.from_pretrained(exact, str(adapter)).merge_and_unload()
    for name, weight in merged.named_parameters():
        assert torch.equal(weight, exact.get_parameter(name).bfloat16()), name  # rounded once


BIG = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 10, "num_attention_heads": 8, "head_dim": 64}
PEAK = """
import re, sys
from pathlib import Path
from lora_py.merge_base import merge_into_base
import torch

def peak():  # getrusage would count the parent's memory before exec
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
(torch.randn(64, 64) @ torch.randn(64, 64)).sum()
before = peak()
merge_into_base(*map(Path, sys.argv[1:]))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_memory_stays_far_below_the_base(tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "base", **BIG)
    adapter = write_adapter_of_peft(base, tmp_path / "adapter", r=2, target_modules=ALL)
    command = [sys.executable, "-c", PEAK, base, adapter, tmp_path / "merged"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=True)
    size = (base / "model.safetensors").stat().st_size
    assert size > 100_000_000
    assert int(done.stdout) < 0.35 * size


def test_refusals_leave_nothing_behind(tmp_path: Path) -> None:
    base, other = write_tiny_base(tmp_path / "base"), write_tiny_base(tmp_path / "other", hidden_size=64, head_dim=16)
    adapter = write_adapter_of_peft(base, tmp_path / "adapter", **KINDS["dora"])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(AdapterError, match="trained on another base"):
        merge_into_base(other, adapter, tmp_path / "merged")
    with pytest.raises(BaseModelError, match="already there"):
        merge_into_base(base, adapter, other)
    weights = load_file(base / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, base / "model.safetensors")
    with pytest.raises(BaseModelError, match=r"no tensor model\.layers\.1\.mlp\.up_proj\.weight"):
        merge_into_base(base, adapter, tmp_path / "merged")
    weights["model.layers.1.mlp.up_proj.weight"] = torch.zeros(48, 32, dtype=torch.int8)
    save_file(weights, base / "model.safetensors")
    with pytest.raises(BaseModelError, match="stored as I8"):
        merge_into_base(base, adapter, tmp_path / "merged")
    (base / "config.json").write_text(
        json.dumps({**json.loads((base / "config.json").read_text()), "quantization_config": {"bits": 4}})
    )
    with pytest.raises(BaseModelError, match="stored quantized"):
        merge_into_base(base, adapter, tmp_path / "merged")
    assert sorted(tmp_path.iterdir()) == before


def test_dora_adapter_without_a_magnitude_is_refused_by_name(tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "base")
    adapter = write_adapter_of_peft(base, tmp_path / "adapter", **KINDS["dora"])
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    del tensors[next(key for key in tensors if "magnitude" in key)]
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match="magnitude"):
        merge_into_base(base, adapter, tmp_path / "merged")


def test_command_prints_the_folder_or_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = write_tiny_base(tmp_path / "base")
    adapter = write_adapter_of_peft(base, tmp_path / "adapter", **KINDS["lora"])
    flags = ["--base", str(base), "--adapter", str(adapter), "--out", str(tmp_path / "merged")]
    assert main(flags) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "merged")
    assert main(flags) == 1
    assert "already there" in capsys.readouterr().err
