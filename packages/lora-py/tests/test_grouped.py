"""The native grouped LoRA kernel against its plain twin, and the plain twin against merged weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_py.grouped import GROUPS, SlotTable, add_lora, group_rows, pack_adapter
from lora_py.kernels import build, load_library
from lora_py.kernels.lora import add_lora_native

WIDTHS = {
    "self_attn.q_proj": 48,
    "self_attn.k_proj": 16,
    "self_attn.v_proj": 16,
    "self_attn.o_proj": 40,
    "mlp.gate_proj": 70,
    "mlp.up_proj": 70,
    "mlp.down_proj": 40,
}
INPUTS = {"qkv": 40, "o": 48, "gate_up": 40, "down": 70}
LAYERS = 2


def weights(seed: int, rank: int, modules: tuple[str, ...]) -> dict[str, tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    found = {}
    for group, names in GROUPS.items():
        for module in names:
            if module in modules:
                a = torch.randn(rank, INPUTS[group], generator=random).half().float()
                b = torch.randn(WIDTHS[module], rank, generator=random).half().float()
                found[f"layers.1.{module}"] = (a, b)
    return found


ADAPTERS = {
    1: weights(1, 4, tuple(WIDTHS)),
    2: weights(2, 64, ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")),
    3: weights(3, 1, tuple(WIDTHS)),
    4: weights(4, 7, ("mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj")),
}
SPANS = [(0, 0, 2), (1, 2, 3), (2, 5, 1), (3, 6, 4), (1, 10, 1), (4, 11, 2)]  # slot, start, count


def table(dtype: torch.dtype) -> SlotTable:
    slots = SlotTable(WIDTHS)
    for slot, adapter in ADAPTERS.items():
        slots.put(slot, pack_adapter(adapter, 0.5, dtype, torch.device("cpu"), LAYERS))
    return slots


@pytest.mark.parametrize("group", GROUPS)
def test_plain_twin_equals_merged_weights(group: str) -> None:
    random = torch.Generator().manual_seed(9)
    x = torch.randn(13, INPUTS[group], generator=random)
    expected = torch.zeros(13, sum(WIDTHS[m] for m in GROUPS[group]))
    y = expected.clone()
    for slot, start, count in SPANS:
        column = 0
        for module in GROUPS[group]:
            pair = ADAPTERS.get(slot, {}).get(f"layers.1.{module}")
            if pair is not None:
                delta = 0.5 * (pair[1] @ pair[0])
                expected[start : start + count, column : column + WIDTHS[module]] += (
                    x[start : start + count] @ delta.t()
                )
            column += WIDTHS[module]
    add_lora(y, x, table(torch.float32), group_rows(SPANS, torch.device("cpu")), 1, group)
    torch.testing.assert_close(y, expected, atol=1e-3, rtol=1e-4)
    add_lora(untouched := y.clone(), x, table(torch.float32), group_rows(SPANS, torch.device("cpu")), 0, group)
    assert torch.equal(untouched, y)  # the adapters have nothing in layer 0


@pytest.mark.parametrize("group", GROUPS)
def test_native_kernel_equals_plain_twin(group: str) -> None:
    library = load_library()
    if library is None:
        pytest.skip("no C++ compiler")
    random = torch.Generator().manual_seed(9)
    x = torch.randn(13, INPUTS[group], generator=random)
    plain = torch.randn(13, sum(WIDTHS[m] for m in GROUPS[group]), generator=random)
    native = plain.clone()
    add_lora(plain, x, table(torch.float16), group_rows(SPANS, torch.device("cpu")), 1, group)
    add_lora_native(library, native, x, table(torch.float16), [s for s, _, n in SPANS for _ in range(n)], 1, group)
    torch.testing.assert_close(native, plain, atol=1e-3, rtol=1e-4)


def test_slot_that_was_emptied_is_an_error_and_never_the_base() -> None:
    slots = table(torch.float32)
    slots.put(2, None)
    with pytest.raises(LookupError):
        add_lora(torch.zeros(13, 80), torch.zeros(13, 40), slots, group_rows(SPANS, torch.device("cpu")), 1, "qkv")
    with pytest.raises(ValueError, match="base"):
        slots.put(0, None)


def test_without_a_compiler_there_is_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert build.build() is None


def test_build_command_prints_the_library(tmp_path: Path) -> None:
    if load_library() is None:
        pytest.skip("no C++ compiler")
    here = Path(__file__).parents[1]
    command = [sys.executable, "-m", "lora_py.kernels"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here)
    assert Path(done.stdout.strip()).exists()
