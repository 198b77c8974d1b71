"""Gemma and Phi-3, which compute otherwise than Llama: tiny models against transformers' logits and PEFT's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from harness import model_at
from logits import logits_in, logits_of, reference
from lora_py.grouped import MODULES, SlotTable
from lora_py.kernels import load_library
from lora_py.peft_files import AdapterSettings, module_shapes, read_files, sha256_of, write_adapter
from safetensors.torch import load_file, save_file
from tiny import write_tokenizer

from serving.adapters.identity import AdapterFailure
from serving.adapters.loader import Loader, PackOptions
from serving.adapters.store import DiskStore
from serving.models.batch import Batch, Chunk
from serving.models.causal import Model, TorchModel
from serving.models.config import ModelError, read_config
from serving.models.native import NativeModel

PIECES = [33, 1, 20, 16]
SMALL: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 257,
    "eos_token_id": 258,
    "pad_token_id": 0,
}
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 24, "sliding_window": 20}
LONG = {"type": "longrope", "short_factor": [1.0 + i / 8 for i in range(6)], "long_factor": [4.0] * 6}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("Gemma", {"head_dim": 32, "hidden_act": "gelu_pytorch_tanh", "num_key_value_heads": 1}),
    "gemma2": ("Gemma2", {**GEMMA, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 4.0}),
    "gemma3": (
        "Gemma3",
        {**GEMMA, "sliding_window_pattern": 2, "rope_theta": 100_000.0, "rope_local_base_freq": 500.0},
    ),
    "gemma3-stretched": ("Gemma3", {**GEMMA, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "phi3": ("Phi3", {"sliding_window": 20}),
    "phi3-part": ("Phi3", {"partial_rotary_factor": 0.75}),
    "phi3-long": (
        "Phi3",
        {"partial_rotary_factor": 0.75, "rope_scaling": LONG, "original_max_position_embeddings": 128},
    ),
}


def write_family(folder: Path, name: str) -> Path:
    """config.json as the families' own files have it: in the names of the time when they came out."""
    family, changes = FAMILIES[name]
    made = "Gemma3Text" if family == "Gemma3" else family
    written = {"architectures": [f"{family}ForCausalLM"], **SMALL, **changes}
    config = getattr(transformers, f"{made}Config")(**json.loads(json.dumps(written)))
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=1.5 / parameter.shape[1] ** 0.5)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "config.json").write_text(json.dumps({**written, "model_type": config.model_type}))
    write_tokenizer(folder)
    return folder


def write_lora(folder: Path, base: Path, modules: tuple[str, ...] | None = None) -> Path:
    """Weights that half precision holds exactly: the kernel's storage costs nothing here."""
    config = json.loads((base / "config.json").read_text())
    random = torch.Generator().manual_seed(5)

    def half(rows: int, columns: int, size: float) -> torch.Tensor:
        return (size * torch.randn(rows, columns, generator=random)).half().float()

    weights = {
        name: (half(4, size[1], size[1] ** -0.5), half(size[0], 4, 0.3))
        for name, size in module_shapes(config).items()
        if modules is None or name.rsplit(".", 1)[1] in modules
    }
    names = tuple({name.rsplit(".", 1)[1] for name in weights})
    write_adapter(folder, AdapterSettings(4, 8.0, 0.0, names, "raw", "tiny"), weights, "# tiny\n", {})
    return folder


def some_tokens(count: int) -> list[int]:
    return torch.randint(1, 256, (count,), generator=torch.Generator().manual_seed(1)).tolist()


def loaded(model: Model, base: Path, lora: Path) -> SlotTable:
    """The adapter in slot 1, by the way that an adapter of the server takes."""
    config = json.loads((base / "config.json").read_text())
    options = PackOptions(model.adapter_dtype, torch.device("cpu"), 64, model.config.layers)
    loader = Loader(DiskStore(lora.parent / "cache", 1 << 30), config, options, 1 << 30)
    files = read_files(lora)
    table = SlotTable({m: model.config.linear_shape(f"layers.0.{m}")[0] for m in MODULES})  # type: ignore[index]
    table.put(1, loader.from_bytes("one", sha256_of(*files), *files).adapter.packed)
    return table


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_equal_transformers_and_with_an_adapter_pefts(tmp_path: Path, name: str) -> None:
    base = write_family(tmp_path / "base", name)
    lora = write_lora(tmp_path / "lora", base)
    tokens = some_tokens(70)
    model = model_at(base, "torch")
    assert isinstance(model, TorchModel)
    plain = reference(base, tokens)
    torch.testing.assert_close(logits_of(model, tokens, PIECES), plain, atol=2e-4, rtol=1e-4)
    adapted = reference(base, tokens, lora)
    assert (adapted - plain).abs().max() > 0.1
    ours = logits_in(model, tokens, PIECES, loaded(model, base, lora), 1)
    torch.testing.assert_close(ours, adapted, atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize("weights", ["fp32", "int8"])
def test_the_native_kernels_compute_phi_3_whose_heads_turn_whole(tmp_path: Path, weights: str) -> None:
    if load_library() is None:
        pytest.skip("needs a C++ compiler")
    base = write_family(tmp_path / "base", "phi3")
    lora, tokens = write_lora(tmp_path / "lora", base), some_tokens(70)
    model = model_at(base, weights)
    assert isinstance(model, NativeModel)
    ours, expected = logits_in(model, tokens, PIECES, loaded(model, base, lora), 1), reference(base, tokens, lora)
    if weights == "fp32":
        torch.testing.assert_close(ours, expected, atol=5e-4, rtol=1e-3)
    else:
        assert (ours - expected).pow(2).mean().sqrt() < 0.08 * expected.std()


@pytest.mark.parametrize("name", ["gemma3", "phi3-part"])
def test_what_the_native_kernels_do_not_compute_runs_in_torch_and_says_so_where_they_are_asked_for(
    tmp_path: Path, name: str
) -> None:
    base = write_family(tmp_path / "base", name)
    assert isinstance(model_at(base, "auto"), TorchModel) and isinstance(model_at(base, "fp32"), TorchModel)
    with pytest.raises(ModelError, match=r"native kernels, which do not compute this (gemma3_text|phi3)"):
        model_at(base, "int8")


@pytest.mark.parametrize("name", ["gemma2", "gemma3"])
def test_rows_that_decode_together_see_what_each_sees_alone(tmp_path: Path, name: str) -> None:
    """Lengths within and beyond the window, in one step."""
    model = model_at(write_family(tmp_path / "base", name), "torch")
    lengths = [3, 19, 20, 21, 40]
    cache, table, alone = model.new_cache(4 * len(lengths)), SlotTable({}), []
    for index, length in enumerate(lengths):
        tokens = some_tokens(41)[: length + 1]
        alone.append(logits_of(model, tokens, [length + 1])[-1])
        blocks = tuple(range(4 * index, 4 * index + 4))
        model.forward(Batch(tuple(tokens[:length]), (Chunk(0, 0, length, 0, blocks),), ()), cache, table)
    last = tuple(some_tokens(41)[length] for length in lengths)
    chunks = tuple(
        Chunk(length, index, 1, 0, tuple(range(4 * index, 4 * index + 4))) for index, length in enumerate(lengths)
    )
    together = model.forward(Batch(last, chunks, tuple(range(len(lengths)))), cache, table).values
    torch.testing.assert_close(together, torch.stack(alone), atol=2e-4, rtol=1e-4)


def test_16_bits_stay_near_the_whole_weights_and_keep_a_norm_s_small_ones(tmp_path: Path) -> None:
    base, tokens = write_family(tmp_path / "base", "gemma3"), some_tokens(40)
    stored = load_file(base / "model.safetensors")
    stored["model.norm.weight"].fill_(0.001)
    save_file(stored, base / "model.safetensors", metadata={"format": "pt"})
    whole, small = model_at(base, "torch"), model_at(base, "bf16")
    exact, ours = (logits_of(model, tokens, [40]) for model in (whole, small))
    assert (ours - exact).pow(2).mean().sqrt() < 0.05 * exact.std()
    assert isinstance(small, TorchModel)
    assert small.weights.embed.dtype == torch.bfloat16 and torch.equal(small.weights.norm, torch.full((64,), 1.001))


def test_a_fused_linear_s_own_rank_and_scale_are_its_parts(tmp_path: Path) -> None:
    base = write_family(tmp_path / "base", "phi3")
    lora, tokens = write_lora(tmp_path / "lora", base), some_tokens(30)
    config = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps({**config, "alpha_pattern": {"qkv_proj": 32, "o_proj": 2}}))
    model = model_at(base, "torch")
    ours = logits_in(model, tokens, [30], loaded(model, base, lora), 1)
    torch.testing.assert_close(ours, reference(base, tokens, lora), atol=5e-4, rtol=1e-3)


def test_a_stretched_phi_3_is_served_up_to_its_original_length(tmp_path: Path) -> None:
    assert read_config(write_family(tmp_path / "base", "phi3-long")).max_positions == 128


def test_the_configuration_of_newer_files_is_read_the_same(tmp_path: Path) -> None:
    """transformers 5 writes a rope for each kind of layer, and names the kinds."""
    base = write_family(tmp_path / "base", "gemma3")
    old = read_config(base)
    transformers.AutoConfig.from_pretrained(base).save_pretrained(base)
    assert "full_attention" in json.loads((base / "config.json").read_text())["rope_parameters"]
    assert read_config(base) == old and old.variant.open_layers == {1, 3}


def test_what_is_not_computed_is_refused_by_name(tmp_path: Path) -> None:
    base = write_family(tmp_path / "base", "gemma3")
    config = json.loads((base / "config.json").read_text())
    for changes, words in (
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"hidden_activation": "relu"}, "relu"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"model_type": "gemma3"}, "'gemma3' is not supported"),
    ):
        (base / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ModelError, match=words):
            read_config(base)


def test_an_adapter_of_fused_linears_is_refused_by_a_base_that_keeps_them_apart(tmp_path: Path) -> None:
    phi = write_family(tmp_path / "phi", "phi3")
    lora = write_lora(tmp_path / "lora", phi, ("qkv_proj",))
    gemma = write_family(tmp_path / "gemma", "gemma")
    with pytest.raises(AdapterFailure, match=r"no module named layers\.0\.self_attn\.qkv_proj"):
        loaded(model_at(gemma, "torch"), gemma, lora)
    apart = write_lora(tmp_path / "apart", gemma, ("q_proj",))
    with pytest.raises(AdapterFailure, match="q_proj"):
        loaded(model_at(phi, "torch"), phi, apart)
