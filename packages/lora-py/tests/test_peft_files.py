from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_py.peft_files import (
    AdapterError,
    AdapterSettings,
    adapter_sha256,
    check_against_base,
    module_shapes,
    read_adapter,
    write_adapter,
)
from lora_py.peft_weights import parted_names, unfused
from lora_py.tiny_base import CONFIG, write_tiny_base

SETTINGS = AdapterSettings(
    rank=4, alpha=8, dropout=0.05, target_modules=("q_proj", "down_proj"), prompt_format="chat", base_model="tiny"
)


def weights(rank: int = 4, targets: tuple[str, ...] = ("q_proj", "down_proj")) -> dict[str, tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return {
        name: (torch.randn(rank, size[1]), torch.randn(size[0], rank))
        for name, size in module_shapes(CONFIG).items()
        if name.endswith(targets)
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "adapter", SETTINGS, weights(), "# card\n", {"task": "t"})
    return tmp_path / "adapter"


def change(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        check_against_base(read_adapter(folder), CONFIG)
    return caught.value


def test_a_fused_linear_is_parted_into_the_products_of_its_parts() -> None:
    phi = {**CONFIG, "model_type": "phi3"}
    shapes = module_shapes(phi)
    assert shapes["layers.1.self_attn.qkv_proj"] == (64, 32) and shapes["layers.0.mlp.gate_up_proj"] == (96, 32)
    assert "layers.0.self_attn.q_proj" not in shapes and shapes["layers.0.mlp.down_proj"] == (32, 48)
    whole = {name: (torch.randn(4, size[1]), torch.randn(size[0], 4)) for name, size in shapes.items()}
    parts, origins = unfused(whole, phi)
    assert set(parts) == set(module_shapes(CONFIG))
    layer = "layers.1.self_attn"
    found = torch.cat(
        [parts[f"{layer}.{name}"][1] @ parts[f"{layer}.{name}"][0] for name in ("q_proj", "k_proj", "v_proj")]
    )
    a, b = whole[f"{layer}.qkv_proj"]
    assert torch.allclose(found, b @ a, atol=1e-5)
    assert origins[f"{layer}.k_proj"] == f"{layer}.qkv_proj" and "layers.1.mlp.down_proj" not in origins
    assert parted_names(("o_proj", "gate_up_proj")) == ("gate_proj", "o_proj", "up_proj")


def test_what_is_written_is_read_back(folder: Path) -> None:
    adapter = read_adapter(folder)
    assert (adapter.config.rank, adapter.config.alpha, adapter.config.scaling) == (4, 8, 2)
    assert adapter.config.target_modules == ("down_proj", "q_proj")
    assert (adapter.config.prompt_format, adapter.config.base_model) == ("chat", "tiny")
    for name, (a, b) in weights().items():
        assert torch.equal(adapter.weights[name][0], a) and torch.equal(adapter.weights[name][1], b)
    check_against_base(adapter, CONFIG)
    assert json.loads((folder / "grove.json").read_text())["task"] == "t"


def test_the_same_adapter_has_the_same_hash(folder: Path, tmp_path: Path) -> None:
    assert write_adapter(tmp_path / "again", SETTINGS, weights(), "other card", {}) == adapter_sha256(folder)
    assert read_adapter(folder).sha256 == adapter_sha256(folder)


def test_writing_again_replaces_the_folder_and_leaves_nothing_beside_it(folder: Path) -> None:
    write_adapter(folder, SETTINGS, weights(), "new card", {})
    assert (folder / "README.md").read_text() == "new card"
    assert [p.name for p in folder.parent.iterdir()] == ["adapter"]


def test_rslora_scales_by_the_root_of_the_rank(folder: Path) -> None:
    change(folder, use_rslora=True)
    assert read_adapter(folder).config.scaling == pytest.approx(8 / 4**0.5)


def test_a_folder_without_grove_json_is_raw(folder: Path) -> None:
    (folder / "grove.json").unlink()
    assert read_adapter(folder).config.prompt_format == "raw"


def test_peft_computes_the_same_from_the_folder(folder: Path, tmp_path: Path) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = transformers.AutoModelForCausalLM.from_pretrained(write_tiny_base(tmp_path / "base"), dtype=torch.float32)
    ids = torch.randint(4, 260, (1, 12))
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    for name, (a, b) in read_adapter(folder).weights.items():
        merged.model.get_submodule(name).weight.data += 2 * b @ a
    theirs = peft.PeftModel.from_pretrained(base, folder)
    assert torch.allclose(theirs(ids).logits, merged(ids).logits, atol=1e-4)


KINDS: list[dict[str, Any]] = [
    {"rank_pattern": {"q_proj": 2, "down_proj": 7}},
    {"alpha_pattern": {"layers.1.self_attn.v_proj": 3, "v_proj": 24}, "target_modules": ["v_proj", "up_proj"]},
    {"rank_pattern": {"^model.layers.0.self_attn.q_proj": 8, "k_proj": 1}, "alpha_pattern": {"q_proj": 5}},
    {"rank_pattern": {"o_proj": 16}, "alpha_pattern": {"o_proj": 64}, "use_rslora": True},
    {"exclude_modules": ["v_proj"]},
    {"layers_to_transform": [1], "target_modules": ["q_proj", "v_proj"]},
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind))
def test_what_peft_writes_means_here_what_it_means_there(kind: dict[str, Any], tmp_path: Path) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    torch.manual_seed(3)
    auto = transformers.AutoModelForCausalLM
    base = auto.from_pretrained(write_tiny_base(tmp_path / "base"), dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False, **kind}
    theirs = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    theirs.save_pretrained(tmp_path / "adapter")
    merged = auto.from_pretrained(tmp_path / "base", dtype=torch.float32)
    adapter = read_adapter(tmp_path / "adapter")
    check_against_base(adapter, CONFIG)
    for name, (a, b) in adapter.weights.items():
        merged.model.get_submodule(name).weight.data += adapter.config.module_scaling(name) * b @ a
    ids = torch.randint(4, 260, (1, 12))
    assert torch.allclose(theirs(ids).logits, merged(ids).logits, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("peft_type", "LOHA"),
        ("bias", "all"),
        ("use_dora", True),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"(q|v)_proj": 4}),
        ("alpha_pattern", {"layers.[01]": 4}),
        ("kasa_config", {"a": 1}),
        ("init_lora_weights", "pissa"),
        ("layer_replication", [[0, 2]]),
    ],
)
def test_what_we_cannot_serve_right_is_refused_by_name(folder: Path, key: str, value: Any) -> None:
    change(folder, **{key: value})
    error = refused(folder)
    assert error.code == "adapter_unsupported"
    assert str(value if key == "peft_type" else key) in error.message


@pytest.mark.parametrize("rank", [0, -1, 2.5, "8", None, True, 10**9, float("nan")])
def test_a_senseless_rank_is_refused(folder: Path, rank: Any) -> None:
    change(folder, r=rank)
    assert refused(folder).code == "adapter_invalid"


def test_a_pickled_adapter_is_never_loaded(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    error = refused(folder)
    assert error.code == "adapter_not_found" and "never loaded" in error.message


def test_a_cut_off_file_is_refused(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(folder).code == "adapter_invalid"


def test_a_hash_that_does_not_match_is_refused(folder: Path) -> None:
    with pytest.raises(AdapterError, match="SHA-256"):
        read_adapter(folder, expected_sha256="0" * 64)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_broken_configuration_is_refused(folder: Path, text: str) -> None:
    (folder / "adapter_config.json").write_text(text)
    assert refused(folder).code == "adapter_invalid"


def rewrite(folder: Path, rename: dict[str, str] | None = None, **tensors: Tensor) -> None:
    path = folder / "adapter_model.safetensors"
    found = {(rename or {}).get(k, k): v for k, v in load_file(path).items()}
    save_file({**found, **tensors}, path)


def key(module: str, half: str = "A") -> str:
    return f"base_model.model.model.{module}.lora_{half}.weight"


def test_modules_the_base_does_not_have_are_refused_by_name(folder: Path) -> None:
    halves = {key("layers.0.self_attn.q_proj", h): key("layers.7.self_attn.q_proj", h) for h in "AB"}
    rewrite(folder, halves)
    error = refused(folder)
    assert error.code == "adapter_modules_mismatch" and "layers.7.self_attn.q_proj" in error.message


def test_tensors_of_another_kind_are_refused_by_name(folder: Path) -> None:
    rewrite(folder, {key("layers.0.self_attn.q_proj"): "base_model.model.lm_head.lora_A.weight"})
    error = refused(folder)
    assert error.code == "adapter_modules_mismatch" and "lm_head" in error.message


def test_an_adapter_of_a_larger_base_is_refused(folder: Path) -> None:
    rewrite(folder, **{key("layers.1.mlp.down_proj"): torch.zeros(4, 96)})
    error = refused(folder)
    assert error.code == "adapter_modules_mismatch" and "another base" in error.message


@pytest.mark.parametrize(
    "tensor",
    [torch.full((4, 32), float("nan")), torch.zeros(3, 32), torch.zeros(4, 32, dtype=torch.int32), torch.zeros(4)],
)
def test_weights_that_make_no_sense_are_refused(folder: Path, tensor: Tensor) -> None:
    rewrite(folder, **{key("layers.0.self_attn.q_proj"): tensor})
    assert refused(folder).code == "adapter_invalid"


def test_ranks_that_are_not_what_the_pattern_says_are_refused(folder: Path) -> None:
    change(folder, rank_pattern={"q_proj": 2})
    error = refused(folder)
    assert error.code == "adapter_invalid" and "r=2" in error.message


def test_weights_of_modules_that_the_configuration_does_not_target_are_refused(folder: Path) -> None:
    change(folder, target_modules=["q_proj"])
    error = refused(folder)
    assert error.code == "adapter_invalid" and "down_proj" in error.message


def test_an_enormous_header_is_refused_before_it_is_parsed(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes((50 << 20).to_bytes(8, "little") + b"{" * 100)
    error = refused(folder)
    assert error.code == "adapter_invalid" and "header" in error.message


def test_a_file_over_the_limit_is_refused_unread(folder: Path) -> None:
    with pytest.raises(AdapterError, match="larger than 1000 bytes"):
        read_adapter(folder, max_bytes=1000)


def test_one_half_without_the_other_is_refused(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    found = load_file(path)
    del found[key("layers.0.self_attn.q_proj", "B")]
    save_file(found, path)
    assert refused(folder).code == "adapter_invalid"
