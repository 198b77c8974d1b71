"""Adapters in 8 bits: the native packing and product against their plain twins, and how much rounding they add."""

from __future__ import annotations

import ctypes

import pytest
import torch
from test_grouped import ADAPTERS, INPUTS, LAYERS, SPANS, WIDTHS
from torch import Tensor

from lora_py import byte_lora
from lora_py.arena import pack_arena
from lora_py.grouped import GROUPS, SlotTable, add_lora, group_rows
from lora_py.kernels import load_library
from lora_py.kernels.lora import add_lora_native
from lora_py.peft_weights import AdapterError

CPU = torch.device("cpu")
SIZES = [(8, 576, 1536), (1, 40, 16), (5, 70, 40), (64, 33, 17), (7, 16, 48)]  # rank, in, out


@pytest.fixture
def library() -> ctypes.CDLL:
    found = load_library()
    if found is None:
        pytest.skip("no C++ compiler")
    return found


def pair(rank: int, in_size: int, out_size: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(rank)
    return torch.randn(rank, in_size, generator=random), torch.randn(out_size, rank, generator=random) * 0.03


def native(a: Tensor, b: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    sizes = [byte_lora.a_bytes(*a.shape), byte_lora.b_bytes(a.shape[0], b.shape[0])]
    block = torch.full((sum(sizes),), 77, dtype=torch.uint8)
    assert byte_lora.pack_native([(a, b)], [scaling], block, [0, sizes[0]]) == -1
    return block[: sizes[0]], block[sizes[0] :]


@pytest.mark.parametrize("size", SIZES)
def test_native_packing_equals_the_plain_twin(library: ctypes.CDLL, size: tuple[int, int, int]) -> None:
    a, b = pair(*size)
    for ours, plain in zip(native(a, b, 1.5), byte_lora.pack_plain(a, b, 1.5), strict=True):
        assert ours.shape == plain.shape
        different = (ours != plain).nonzero().flatten()  # a value half way between two bytes may go either way
        assert len(different) <= max(2, len(plain) // 1000)
        assert (ours[different].view(torch.int8).short() - plain[different].view(torch.int8).short()).abs().le(1).all()


@pytest.mark.parametrize("size", SIZES)
def test_unpacking_gives_back_each_weight_within_half_a_step(library: ctypes.CDLL, size: tuple[int, int, int]) -> None:
    a, b = pair(*size)
    got_a, got_b = byte_lora.unpack(*native(a, b, 1.5), *size)
    assert ((got_a - a).abs() <= a.abs().amax(1, keepdim=True) / 127 * 0.505).all()  # steps are rounded to bf16
    scaled = (b * 1.5).t()
    assert ((got_b - scaled).abs() <= scaled.abs().amax(0) / 127 * 0.505).all()


@pytest.mark.parametrize("size", SIZES)
def test_packing_what_was_unpacked_changes_nothing(library: ctypes.CDLL, size: tuple[int, int, int]) -> None:
    packed = native(*pair(*size), 1.5)
    a, b = byte_lora.unpack(*packed, *size)
    again = native(a, b.t().contiguous(), 1.0)
    assert all(torch.equal(one, two) for one, two in zip(packed, again, strict=True))


def test_a_row_of_zeros_stays_zero(library: ctypes.CDLL) -> None:
    a, b = pair(4, 32, 16)
    a[1], b[3] = 0, 0
    got_a, got_b = byte_lora.unpack(*native(a, b, 1.0), 4, 32, 16)
    assert not got_a[1].any() and not got_b[:, 3].any() and got_a[0].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("half", [0, 1])
def test_a_number_that_is_not_finite_is_refused_by_name(library: ctypes.CDLL, half: int, bad: float) -> None:
    weights = {name: pair(4, INPUTS["o"], WIDTHS["self_attn.o_proj"]) for name in ("layers.0.self_attn.o_proj",)}
    weights["layers.1.self_attn.o_proj"] = pair(5, INPUTS["o"], WIDTHS["self_attn.o_proj"])
    weights["layers.1.self_attn.o_proj"][half][2, 1] = bad
    with pytest.raises(AdapterError, match=r"layers\.1\.self_attn\.o_proj"):
        pack_arena(weights, lambda name: 1.0, torch.int8, CPU, LAYERS)


def byte_table() -> SlotTable:
    slots = SlotTable(WIDTHS)
    for slot, adapter in ADAPTERS.items():
        slots.put(slot, pack_arena(adapter, lambda name: 0.5, torch.int8, CPU, LAYERS)[0])
    return slots


@pytest.mark.parametrize("group", GROUPS)
def test_native_product_equals_that_of_the_unpacked_weights(library: ctypes.CDLL, group: str) -> None:
    random = torch.Generator().manual_seed(9)
    x = torch.randn(13, INPUTS[group], generator=random)
    plain = torch.randn(13, sum(WIDTHS[m] for m in GROUPS[group]), generator=random)
    ours, before = plain.clone(), plain.clone()
    add_lora(plain, x, byte_table(), group_rows(SPANS, CPU), 1, group)
    slots = [slot for slot, _, count in SPANS for _ in range(count)]
    add_lora_native(library, ours, x, byte_table(), slots, 1, group, torch.int8)
    torch.testing.assert_close(ours, plain, atol=2e-3 * float((plain - before).abs().max()), rtol=0)


@pytest.mark.parametrize("group", GROUPS)
def test_eight_bits_change_a_product_by_about_a_hundredth(library: ctypes.CDLL, group: str) -> None:
    x = torch.randn(13, INPUTS[group], generator=torch.Generator().manual_seed(9))
    exact = torch.zeros(13, sum(WIDTHS[m] for m in GROUPS[group]))
    ours, rows = exact.clone(), group_rows(SPANS, CPU)
    whole = SlotTable(WIDTHS)
    for slot, adapter in ADAPTERS.items():
        whole.put(slot, pack_arena(adapter, lambda name: 0.5, torch.float32, CPU, LAYERS)[0])
    add_lora(exact, x, whole, rows, 1, group)
    add_lora(ours, x, byte_table(), rows, 1, group)
    assert 0 < float((ours - exact).norm() / exact.norm()) < 0.015


def test_the_kernel_of_one_format_does_not_take_the_other(library: ctypes.CDLL) -> None:
    x, y = torch.zeros(1, INPUTS["o"]), torch.zeros(1, WIDTHS["self_attn.o_proj"])
    with pytest.raises(TypeError, match="int8"):
        add_lora_native(library, y, x, byte_table(), [1], 1, "o", torch.float16)
