"""Quantized weights against bitsandbytes' own layers, which are what PEFT trains over."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes as bnb
import pytest
import torch
from torch import Tensor

from lora_py.base_model import BaseModelError
from lora_py.quantized_base import Kind, quantize, quantized_linears
from lora_py.tiny_base import write_tiny_base


def weight(out_size: int = 96, in_size: int = 70) -> Tensor:
    return torch.randn(out_size, in_size, generator=torch.Generator().manual_seed(1)) * 0.05


@pytest.mark.parametrize("in_size", [64, 70])  # rows that end with a block and rows that do not
def test_nf4_equals_a_linear4bit_of_bitsandbytes_forward_and_back(in_size: int) -> None:
    w = weight(in_size=in_size)
    theirs = bnb.nn.Linear4bit(in_size, 96, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    theirs.weight = bnb.nn.Params4bit(w.clone(), requires_grad=False, quant_type="nf4", compress_statistics=True)
    theirs = theirs.to("cpu")  # quantizes
    x, dy = torch.randn(5, in_size, requires_grad=True), torch.randn(5, 96)
    y = theirs(x)
    (dx,) = torch.autograd.grad(y, x, dy)
    ours = quantize(w, "nf4").dequantize()
    torch.testing.assert_close(x @ ours.t(), y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dy @ ours, dx, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours, bnb.functional.dequantize_4bit(theirs.weight.data, theirs.weight.quant_state))


def test_int8_holds_the_weights_of_a_linear8bit_of_bitsandbytes() -> None:
    w = weight()
    theirs = bnb.nn.Linear8bitLt(70, 96, bias=False, has_fp16_weights=False, threshold=6.0)
    theirs.weight = bnb.nn.Int8Params(w.clone(), requires_grad=False, has_fp16_weights=False)
    theirs = theirs.to("cpu")
    x, dy = torch.randn(5, 70, requires_grad=True), torch.randn(5, 96)
    y = theirs(x)
    (dx,) = torch.autograd.grad(y, x, dy)
    ours = quantize(w, "int8").dequantize()
    torch.testing.assert_close(dy @ ours, dx, rtol=2e-3, atol=2e-3)  # theirs multiplies in half precision
    error = (x @ ours.t() - y).norm() / y.norm()
    assert error < 0.02  # theirs rounds activations to 8 bits, ours does not
    assert torch.equal(ours, theirs.state.CB.float() * (theirs.state.SCB / 127)[:, None])


@pytest.mark.parametrize(("kind", "share", "error"), [("nf4", 0.13, 0.1), ("int8", 0.27, 0.01)])
def test_bytes_and_error_are_those_of_the_kind(kind: Kind, share: float, error: float) -> None:
    w = weight(256, 512)
    quantized = quantize(w, kind)
    assert quantized.shape == w.shape
    assert quantized.nbytes < share * w.nbytes
    assert (quantized.dequantize() - w).norm() < error * w.norm()
    assert torch.equal(quantized.dequantize(torch.bfloat16), quantized.dequantize().bfloat16())


def test_zeros_stay_zeros() -> None:
    w = weight()
    w[3] = 0
    for kind in ("nf4", "int8"):
        assert torch.equal(quantize(torch.zeros(8, 64), kind).dequantize(), torch.zeros(8, 64))
    assert not quantize(w, "int8").dequantize()[3].any()


def test_what_can_not_be_quantized_is_refused() -> None:
    with pytest.raises(ValueError, match="nf4 or int8"):
        quantize(weight(), "fp4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="matrix of floats"):
        quantize(torch.zeros(4, 4, dtype=torch.int64), "nf4")


def test_every_linear_of_a_base_folder_comes_once(tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "base")
    found = list(quantized_linears(base, "nf4"))
    names = [name for name, _ in found]
    assert len(names) == len(set(names)) == 2 * 7
    assert dict(found)["layers.1.mlp.down_proj"].shape == (32, 48)
    with pytest.raises(BaseModelError, match="not a base model folder"):
        list(quantized_linears(tmp_path, "nf4"))
