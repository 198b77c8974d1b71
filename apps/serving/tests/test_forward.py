"""The forward pass against transformers and PEFT."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from harness import model_at
from logits import logits_of, reference
from lora_py.kernels import load_library
from lora_py.kernels.build import build
from tiny import write_lora, write_model

from serving.models.config import ModelError, read_config
from serving.models.native import NativeModel
from serving.models.weights import load_weights

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
FAMILIES = {
    "llama": {},
    "tied": {"tie_word_embeddings": True},
    "llama3-rope": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "linear-rope": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}},
    "dynamic-rope": {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}},
    "yarn": {"rope_parameters": YARN},
    "yarn-told-all": {"rope_parameters": {**YARN, "truncate": False, "beta_fast": 16, "attention_factor": 1.4}},
    "yarn-mscale": {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.0}},
    # As Qwen's model cards tell to write it.
    "qwen2-yarn": {
        "model_type": "qwen2",
        "use_sliding_window": False,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        "rope_parameters": None,
    },
    "mistral": {"model_type": "mistral", "sliding_window": 24},
    "qwen2": {"model_type": "qwen2", "sliding_window": None, "use_sliding_window": False},
    "qwen3": {"model_type": "qwen3", "sliding_window": None, "use_sliding_window": False},
}


@pytest.mark.parametrize("weights", ["torch", "fp32"])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_transformers(tmp_path: Path, family: str, weights: str) -> None:
    write_model(tmp_path, **FAMILIES[family])
    tokens = torch.randint(0, 256, (70,), generator=torch.Generator().manual_seed(1)).tolist()
    ours = logits_of(model_at(tmp_path, weights), tokens, [33, 1, 20, 16])
    torch.testing.assert_close(ours, reference(tmp_path, tokens), atol=2e-4, rtol=1e-4)


def test_yarn_reaches_as_far_as_it_stretches(tmp_path: Path) -> None:
    changes = {**FAMILIES["qwen2-yarn"], "max_position_embeddings": 64}
    write_model(tmp_path, **changes)
    assert read_config(tmp_path).max_positions == 256
    tokens = torch.randint(0, 256, (200,), generator=torch.Generator().manual_seed(4)).tolist()
    ours = logits_of(model_at(tmp_path, "fp32"), tokens, [150, 50])
    torch.testing.assert_close(ours, reference(tmp_path, tokens), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("weights", ["torch", "fp32"])
@pytest.mark.parametrize("name", ["all-4", "qv-8", "mlp-1", "rs-64", "odd-5"])
def test_adapter_logits_equal_peft(base: Path, loras: dict[str, Path], name: str, weights: str) -> None:
    tokens = torch.randint(0, 256, (40,), generator=torch.Generator().manual_seed(2)).tolist()
    ours = logits_of(model_at(base, weights), tokens, [30, 1, 9], loras[name])
    expected = reference(base, tokens, loras[name])
    assert (ours - logits_of(model_at(base, weights), tokens, [40])).abs().max() > 0.1  # the adapter matters
    torch.testing.assert_close(ours, expected, atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize("weights", ["torch", "fp32"])
def test_adapter_on_another_family_equals_peft(tmp_path: Path, weights: str) -> None:
    config = write_model(tmp_path / "base", **FAMILIES["qwen2"])
    write_lora(tmp_path / "lora", 7)
    tokens = list(range(20))
    ours = logits_of(model_at(tmp_path / "base", weights), tokens, [20], tmp_path / "lora")
    assert config["model_type"] == "qwen2"
    torch.testing.assert_close(ours, reference(tmp_path / "base", tokens, tmp_path / "lora"), atol=5e-4, rtol=1e-3)


def test_four_bit_weights_lose_no_more_than_bf16_tiles_do(tmp_path: Path) -> None:
    write_model(tmp_path, four_bits=True)
    tokens = list(range(60))
    exact = logits_of(model_at(tmp_path, "fp32"), tokens, [60])
    ours = logits_of(model_at(tmp_path, "int8"), tokens, [30, 1, 3, 5, 21])
    assert (ours - exact).pow(2).mean().sqrt() < 0.015 * exact.std()


def test_eight_bits_stay_near_other_weights(base: Path) -> None:
    tokens = list(range(60))
    exact = logits_of(model_at(base, "fp32"), tokens, [60])
    ours = logits_of(model_at(base, "int8"), tokens, [60])
    assert (ours - exact).pow(2).mean().sqrt() < 0.04 * exact.std()


@pytest.mark.parametrize("window", [None, 24, 70])
def test_eight_bit_logits_are_the_same_bits_however_a_prompt_is_cut(tmp_path: Path, window: int | None) -> None:
    write_model(tmp_path, model_type="mistral", sliding_window=window, head_dim=32, num_attention_heads=6)
    tokens = torch.randint(0, 256, (150,), generator=torch.Generator().manual_seed(3)).tolist()
    model = model_at(tmp_path, "int8")
    whole = logits_of(model, tokens, [150])
    assert torch.equal(whole, logits_of(model, tokens, [17, 1, 1, 40, 4, 2, 33, 52]))
    exact = logits_of(model_at(tmp_path, "fp32"), tokens, [150])
    assert (whole - exact).pow(2).mean().sqrt() < 0.04 * exact.std()


def test_a_build_without_matrix_tiles_answers_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if load_library() is None or "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs a C++ compiler and AVX2")
    write_model(tmp_path, head_dim=32)
    monkeypatch.setenv("GROVE_KERNEL_ARCH", "-mavx2 -mfma -mf16c")
    path = build()
    assert path is not None
    config = read_config(tmp_path)
    weights = load_weights(tmp_path, config, torch.device("cpu"))
    model = NativeModel(ctypes.CDLL(str(path)), config, weights, 256, True, 2)
    tokens = list(range(60))
    whole = logits_of(model, tokens, [60])
    assert torch.equal(whole, logits_of(model, tokens, [17, 1, 30, 12]))
    exact = logits_of(model_at(tmp_path, "fp32"), tokens, [60])
    assert (whole - exact).pow(2).mean().sqrt() < 0.04 * exact.std()


def test_unknown_family_and_rope_are_refused_by_name(tmp_path: Path) -> None:
    write_model(tmp_path / "a", model_type="gpt9")
    with pytest.raises(ModelError, match="gpt9"):
        read_config(tmp_path / "a")
    write_model(tmp_path / "b", rope_parameters={"rope_type": "spiral", "rope_theta": 10000.0})
    with pytest.raises(ModelError, match="spiral"):
        read_config(tmp_path / "b")


def test_missing_and_misshapen_weights_are_refused_by_name(tmp_path: Path) -> None:
    write_model(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"num_hidden_layers": 3', '"num_hidden_layers": 4'))
    with pytest.raises(ModelError, match=r"layers\.3\."):
        model_at(tmp_path)
