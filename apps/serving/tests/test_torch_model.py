"""The plain model as each machine gets it: without a compiler, in 16 bits, with the GPU's LoRA layer (interpreted)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from harness import model_at
from logits import logits_of, reference, slots_of
from lora_py.kernels import load_library
from tiny import write_model

from serving.models.batch import BLOCK, Batch, Chunk, KvCache
from serving.models.causal import Model, TorchModel
from serving.models.config import ModelError
from serving.models.load import plain_dtype

CPU = torch.device("cpu")
NAMES = ["all-4", "rs-64", "mlp-1", "odd-5"]
LENGTHS = [3, 16, 17, 40, 41, 70]  # cells seen at the next token: below, at and past a block's and a bucket's end


def sequence(index: int) -> list[int]:
    random = torch.Generator().manual_seed(index)
    return torch.randint(0, 256, (LENGTHS[index] + 1,), generator=random).tolist()


def chunk_of(index: int, start: int, position: int, count: int) -> Chunk:
    """Every sequence has its own adapter and, backwards, its own blocks."""
    blocks = range(8 * index + 7, 8 * index - 1, -1)
    return Chunk(position, start, count, index % (len(NAMES) + 1), tuple(blocks))


def poisoned_cache(model: Model) -> KvCache:
    cache = model.new_cache(8 * len(LENGTHS))
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("nan"))
    return cache


def next_logits(model: Model, loras: dict[str, Path], together: bool) -> torch.Tensor:
    """The logits of each sequence's last token, after its others have been computed: in one batch or one by one."""
    slots = slots_of(model, [loras[name] for name in NAMES])
    cache, out = poisoned_cache(model), []
    for index, length in enumerate(LENGTHS):
        tokens = tuple(sequence(index))
        model.forward(Batch(tokens[:length], (chunk_of(index, 0, 0, length),), ()), cache, slots)
        if not together:
            batch = Batch(tokens[length:], (chunk_of(index, 0, length, 1),), (0,))
            out.append(model.forward(batch, cache, slots).values)
    if together:
        last = tuple(sequence(index)[-1] for index in range(len(LENGTHS)))
        chunks = tuple(chunk_of(index, index, length, 1) for index, length in enumerate(LENGTHS))
        out.append(model.forward(Batch(last, chunks, tuple(range(len(LENGTHS)))), cache, slots).values)
    return torch.cat(out)


@pytest.mark.parametrize("window", [None, 24])
def test_a_batch_of_many_lengths_gives_what_each_gives_alone_and_never_reads_a_free_cell(
    tmp_path: Path, loras: dict[str, Path], window: int | None
) -> None:
    write_model(tmp_path, **({} if window is None else {"model_type": "mistral", "sliding_window": window}))
    model = model_at(tmp_path, "torch")
    alone = next_logits(model, loras, together=False)
    torch.testing.assert_close(next_logits(model, loras, together=True), alone, atol=1e-4, rtol=1e-4)
    for index in range(len(LENGTHS)):
        adapter = None if index % (len(NAMES) + 1) == 0 else loras[NAMES[index % (len(NAMES) + 1) - 1]]
        expected = reference(tmp_path, sequence(index), adapter)[-1]
        torch.testing.assert_close(alone[index], expected, atol=1e-3, rtol=1e-3)


def test_without_a_compiler_the_plain_model_answers_as_peft_does(
    base: Path, loras: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    load_library.cache_clear()
    try:
        model = model_at(base, "auto")
        with pytest.raises(ModelError, match="compiler"):
            model_at(base, "int8")
    finally:
        load_library.cache_clear()
    assert isinstance(model, TorchModel) and model.weight_name == "float32"
    tokens = sequence(3)
    ours = logits_of(model, tokens, [30, 1, len(tokens) - 31], loras["all-16"])
    torch.testing.assert_close(ours, reference(base, tokens, loras["all-16"]), atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize(("weights", "dtype", "error"), [("fp16", torch.float16, 0.01), ("bf16", torch.bfloat16, 0.05)])
def test_16_bit_weights_stay_near_32_bit_ones(
    base: Path, loras: dict[str, Path], weights: str, dtype: torch.dtype, error: float
) -> None:
    model, tokens = model_at(base, weights), sequence(5)
    assert model.adapter_dtype == model.new_cache(1).keys.dtype == dtype
    exact = logits_of(model_at(base, "torch"), tokens, [70, 1], loras["all-4"])
    ours = logits_of(model, tokens, [70, 1], loras["all-4"])
    assert ours.dtype == torch.float32
    assert (ours - exact).pow(2).mean().sqrt() < error * exact.std()


def test_a_gpu_computes_in_16_bits_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    for supported, dtype in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert plain_dtype("auto", gpu) == dtype
    assert plain_dtype("auto", CPU) == plain_dtype("fp32", gpu) == plain_dtype("torch", gpu) == torch.float32


@pytest.mark.parametrize("weights", ["torch", "fp16"])
def test_the_gpu_s_lora_layer_gives_the_same_logits(base: Path, loras: dict[str, Path], weights: str) -> None:
    pytest.importorskip("triton")
    from lora_py.kernels.triton_lora import plan_triton

    plain = model_at(base, weights)
    assert isinstance(plain, TorchModel)
    ours = TorchModel(plain.config, plain.weights, 512, plan_triton)
    expected = next_logits(plain, loras, together=True)
    error = 1e-4 if weights == "torch" else 0.02
    torch.testing.assert_close(next_logits(ours, loras, together=True), expected, atol=error * 10, rtol=error)


def test_a_long_prompt_in_chunks_reads_what_the_earlier_chunks_wrote(base: Path) -> None:
    tokens = torch.randint(0, 256, (9 * BLOCK,), generator=torch.Generator().manual_seed(3)).tolist()
    whole = logits_of(model_at(base, "torch"), tokens, [len(tokens)])
    pieces = logits_of(model_at(base, "torch"), tokens, [1, BLOCK, BLOCK - 1, 2 * BLOCK + 5, 5 * BLOCK - 5])
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-4)
