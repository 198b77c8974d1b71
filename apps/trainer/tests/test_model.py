"""The fast forward and backward against their plain twins: transformers' model under PEFT, and autograd."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_py.peft_files import MODULE_PARENTS
from lora_py.tiny_base import CONFIG, write_tiny_base
from peft_oracle import oracle, random_rows, relative, stirred
from torch import Tensor
from torch.nn import functional as F

from trainer.errors import TrainerError
from trainer.frozen import Whole
from trainer.layers import HeadLoss, RmsNorm, Rotary, SwiGlu
from trainer.lora import masks, new_lora
from trainer.lora_linear import LoraLinear, LoraPart, LoraRows
from trainer.model import Trained, load_model
from trainer.packing import pack
from trainer.spec import AdapterSpec

CPU = torch.device("cpu")
ALL = AdapterSpec(rank=4, alpha=8, dropout=0.0, target_modules=tuple(MODULE_PARENTS))
SOME = AdapterSpec(rank=2, alpha=6, dropout=0.0, target_modules=("q_proj", "v_proj"))
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
QWEN2 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
QWEN3 = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 16, "tie_word_embeddings": False}
MISTRAL = {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None}


@pytest.mark.parametrize("share", [True, False], ids=["shared prefix", "each row alone"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"rope_scaling": LLAMA3}, {"tie_word_embeddings": False}, QWEN2, QWEN3, MISTRAL, {"num_key_value_heads": 4}],
    ids=["llama", "llama3 rope", "untied head", "qwen2", "qwen3", "mistral", "no grouped heads"],
)
def test_loss_and_gradients_equal_those_of_peft(tmp_path: Path, changes: dict[str, Any], share: bool) -> None:
    base = write_tiny_base(tmp_path / "base", **changes)
    model = load_model(base, CPU, torch.float32)
    rows = random_rows(5, prefix=9)
    for adapter in (ALL, SOME):
        lora = stirred(new_lora(adapter, model.config, 0, CPU), 1)
        packed = pack([rows], [sum(len(r.completion) for r in rows)], CPU, share)
        loss = model.losses(packed, [Trained(lora)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        expected, gradients = oracle(base, lora, adapter, rows)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        for name, pair in lora.pairs.items():
            for half, value in zip("AB", pair, strict=True):
                assert value.grad is not None
                assert relative(value.grad, gradients[f"{name}.{half}"]) < 2e-4, f"{name}.{half}"


def test_products_in_bf16_keep_loss_and_direction(tiny_base: Path) -> None:
    rows, lora = random_rows(6, prefix=5), stirred(new_lora(ALL, CONFIG, 0, CPU), 1)
    packed = pack([rows], [sum(len(r.completion) for r in rows)], CPU)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        lora.flat_grad.zero_()
        loss = load_model(tiny_base, CPU, torch.float32, dtype).losses(packed, [Trained(lora)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((loss.item(), lora.flat_grad.clone()))
    assert found[1][0] == pytest.approx(found[0][0], rel=0.01)
    assert float(torch.cosine_similarity(found[0][1], found[1][1], 0)) > 0.999
    assert not torch.equal(found[0][1], found[1][1])


def test_sharing_the_prefix_leaves_fewer_tokens() -> None:
    rows = random_rows(6, prefix=20)
    shared, alone = (pack([rows], [1], CPU, share) for share in (True, False))
    assert len(alone.ids) - len(shared.ids) == 5 * 20


def test_a_step_in_parts_has_the_gradient_of_the_whole(tiny_base: Path) -> None:
    model = load_model(tiny_base, CPU, torch.float32)
    rows, lora = random_rows(6, prefix=5), stirred(new_lora(ALL, CONFIG, 0, CPU), 1)
    tokens = sum(len(r.completion) for r in rows)
    model.losses(pack([rows], [tokens], CPU), [Trained(lora)]).sum().backward()  # type: ignore[no-untyped-call]
    whole = lora.flat_grad.clone()
    lora.flat_grad.zero_()
    for part in (rows[:2], rows[2:]):
        model.losses(pack([part], [tokens], CPU), [Trained(lora)]).sum().backward()  # type: ignore[no-untyped-call]
    assert relative(lora.flat_grad, whole) < 1e-5


def test_a_new_adapter_changes_nothing_yet_and_starts_as_pefts(tiny_base: Path) -> None:
    lora = new_lora(ALL, CONFIG, 3, CPU)
    for a, b in lora.pairs.values():
        bound = a.shape[1] ** -0.5
        assert float(b.abs().max()) == 0
        assert 0.8 * bound < float(a.abs().max()) <= bound
    assert torch.equal(lora.flat, new_lora(ALL, CONFIG, 3, CPU).flat)
    assert not torch.equal(lora.flat, new_lora(ALL, CONFIG, 4, CPU).flat)


def test_dropout_keeps_the_mean_and_repeats_for_the_same_step() -> None:
    lora = dataclasses.replace(new_lora(SOME, CONFIG, 0, CPU), dropout=0.25)
    first, again, other = (masks(lora, 5, step, 0, 64 * 64) for step in (1, 1, 2))
    assert first and again and other
    mask = first.next(64, 64)
    assert torch.equal(mask, again.next(64, 64)) and not torch.equal(mask, other.next(64, 64))
    assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float(mask.max()) == pytest.approx(4 / 3)
    assert masks(dataclasses.replace(lora, dropout=0.0), 5, 1, 0, 8) is None


def test_unknown_rope_scaling_is_refused_by_name(tmp_path: Path) -> None:
    model = load_model(
        write_tiny_base(tmp_path / "b", rope_scaling={"rope_type": "yarn", "factor": 2}), CPU, torch.float32
    )
    rows = random_rows(2, 2)
    with pytest.raises(TrainerError, match="yarn"):
        model.losses(pack([rows], [1], CPU), [Trained(new_lora(SOME, CONFIG, 0, CPU))])


def test_the_sliding_window_bounds_the_length(tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "b", **{**MISTRAL, "sliding_window": 100})
    assert load_model(base, CPU, torch.float32).max_length == 100


# --- the layers, each against the obvious way to write it, gradients by autograd in double precision


def double(*size: int) -> Tensor:
    return torch.randn(*size, dtype=torch.float64).requires_grad_()


def assert_twins(fast: Tensor, plain: Tensor, *leaves: Tensor) -> None:
    weight = torch.randn_like(plain)
    ours = torch.autograd.grad((fast * weight).sum(), leaves)
    theirs = torch.autograd.grad((plain * weight).sum(), leaves)
    assert torch.allclose(fast, plain, atol=1e-9)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_lora_linear_of_two_jobs_and_rows_of_neither() -> None:
    torch.manual_seed(0)
    x, weight, bias = double(9, 6), torch.randn(10, 6, dtype=torch.float64), torch.randn(10, dtype=torch.float64)
    pairs = [double(2, 6), double(4, 2), double(2, 6), double(6, 2), double(3, 6), double(4, 3)]
    keep = (torch.rand(4, 6) > 0.3).double() / 0.7
    first = LoraRows(0, 4, (LoraPart(0, 4, 2.0), LoraPart(4, 10, 2.0)), keep)
    second = LoraRows(5, 9, (LoraPart(6, 10, 0.5),), None)
    fast = LoraLinear.apply(x, Whole(weight), bias, (first, second), *pairs)  # type: ignore[no-untyped-call]
    dropped = x[:4] * keep
    base = x @ weight.t() + bias
    top = base[:4] + 2.0 * torch.cat([dropped @ pairs[i].t() @ pairs[i + 1].t() for i in (0, 2)], 1)
    low = base[5:] + F.pad(0.5 * x[5:] @ pairs[4].t() @ pairs[5].t(), (6, 0))
    assert_twins(fast, torch.cat([top, base[4:5], low]), x, *pairs)


def test_rms_norm() -> None:
    torch.manual_seed(0)
    x, weight = double(5, 8), torch.randn(8, dtype=torch.float64)
    fast = RmsNorm.apply(x, weight, 1e-5)  # type: ignore[no-untyped-call]
    plain = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight
    gradient = torch.autograd.grad((fast * weight).sum(), x)[0]
    expected = torch.autograd.grad((plain * weight).sum(), x)[0]
    # the norm is taken in single precision whatever the input is
    assert torch.allclose(fast, plain, atol=1e-5) and torch.allclose(gradient, expected, atol=1e-5)


def test_rotary() -> None:
    torch.manual_seed(0)
    x, angle = double(5, 7, 8), torch.randn(5, 1, 4, dtype=torch.float64)
    low, high = x[:, :5].chunk(2, -1)
    turned = torch.cat([low * angle.cos() - high * angle.sin(), high * angle.cos() + low * angle.sin()], -1)
    fast = torch.cat(Rotary.apply(x, angle.cos(), angle.sin(), [3, 2, 2]), 1)  # type: ignore[no-untyped-call]
    assert_twins(fast, torch.cat([turned, x[:, 5:]], 1), x)


def test_swiglu() -> None:
    torch.manual_seed(0)
    both = double(5, 8)
    gate, up = both.chunk(2, -1)
    assert_twins(SwiGlu.apply(both), F.silu(gate) * up, both)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_head_loss_in_chunks_of_any_size(chunk: int) -> None:
    torch.manual_seed(0)
    x, head = torch.randn(7, 8, requires_grad=True), torch.randn(20, 8)
    targets, weights = torch.randint(20, (7,)), torch.rand(7)
    fast = HeadLoss.apply(x, head, targets, weights, chunk)  # type: ignore[no-untyped-call]
    plain = F.cross_entropy(x @ head.t(), targets, reduction="none") * weights
    ours, theirs = (torch.autograd.grad(loss.sum(), x, retain_graph=True)[0] for loss in (fast, plain))
    assert torch.allclose(fast, plain, atol=1e-5) and torch.allclose(ours, theirs, atol=1e-5)
