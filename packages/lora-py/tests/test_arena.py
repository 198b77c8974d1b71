from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_py.arena import NotPacked, pack_arena, read_packed, write_packed
from lora_py.grouped import PackedAdapter, pack_adapter
from lora_py.peft_files import module_shapes
from lora_py.peft_weights import AdapterError, Weights
from lora_py.tiny_base import CONFIG

CPU = torch.device("cpu")
ABOUT = {"sha256": "ab" * 32, "base": "tiny"}


def weights(rank: int = 5) -> Weights:
    torch.manual_seed(1)
    return {
        name: (torch.randn(rank, size[1]), torch.randn(size[0], rank)) for name, size in module_shapes(CONFIG).items()
    }


def values(adapter: PackedAdapter) -> list[Tensor]:
    return [half for pair in adapter.pairs.values() for half in (pair.a, pair.b)]


def same(one: PackedAdapter, two: PackedAdapter) -> bool:
    equal = all(torch.equal(a, b) for a, b in zip(values(one), values(two), strict=True))
    return equal and list(one.pairs) == list(two.pairs) and (one.rank, one.nbytes) == (two.rank, two.nbytes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_block_holds_to_the_bit_what_packing_one_by_one_gives(dtype: torch.dtype) -> None:
    made, _, _ = pack_arena(weights(), lambda name: 1.7, dtype, CPU, 2)
    plain = pack_adapter(weights(), 1.7, dtype, CPU, 2)
    assert same(made, plain)
    assert torch.equal(made.table[:, :, 2], plain.table[:, :, 2])


def test_the_table_points_at_the_pairs_and_each_starts_a_cache_line() -> None:
    made, _, _ = pack_arena({"layers.1.mlp.up_proj": (torch.ones(3, 32), torch.ones(48, 3))}, lambda n: 1.0,
                            torch.float16, CPU, 2)  # fmt: skip
    pair = made.pairs[1, "mlp.up_proj"]
    assert made.table[1, 5].tolist() == [pair.a.data_ptr(), pair.b.data_ptr(), 3]
    assert made.table.count_nonzero() == 3
    assert pair.a.data_ptr() % 64 == pair.b.data_ptr() % 64 == 0


def test_each_module_has_its_own_scale() -> None:
    made, _, _ = pack_arena(weights(), lambda name: 2.0 if "q_proj" in name else 1.0, torch.float16, CPU, 2)
    for name, factor in (("q_proj", 2.0), ("v_proj", 1.0)):
        expected = (weights()[f"layers.0.self_attn.{name}"][1] * factor).t().half()
        assert torch.equal(made.pairs[0, f"self_attn.{name}"].b, expected)


def test_weights_that_half_precision_can_not_hold_are_refused_by_name() -> None:
    large = weights()
    large["layers.1.mlp.down_proj"][1][3, 2] = 1e6
    with pytest.raises(AdapterError, match=r"layers\.1\.mlp\.down_proj.*float16"):
        pack_arena(large, lambda name: 1.0, torch.float16, CPU, 2)


def written(folder: Path) -> tuple[Path, PackedAdapter]:
    made, arena, places = pack_arena(weights(), lambda name: 1.5, torch.float16, CPU, 2)
    write_packed(folder / "x.packed", arena, places, ABOUT)
    return folder / "x.packed", made


def test_a_file_gives_back_what_was_packed_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path, made = written(tmp_path)
    assert same(read_packed(path, ABOUT, torch.float16, CPU, 2), made)
    assert [p.name for p in tmp_path.iterdir()] == ["x.packed"]


def test_every_kind_of_damage_is_noticed(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    whole = path.read_bytes()
    spots = [*range(0, 48), *range(48, len(whole), 997), len(whole) - 1]
    for spot in spots:
        path.write_bytes(whole[:spot] + bytes([whole[spot] ^ 4]) + whole[spot + 1 :])
        with pytest.raises(NotPacked):
            read_packed(path, ABOUT, torch.float16, CPU, 2)
    for size in (0, 10, 39, 40, 1000, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(NotPacked):
            read_packed(path, ABOUT, torch.float16, CPU, 2)


def test_a_block_of_another_adapter_base_or_type_is_not_used(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    with pytest.raises(NotPacked):
        read_packed(path, {**ABOUT, "sha256": "cd" * 32}, torch.float16, CPU, 2)
    with pytest.raises(NotPacked):
        read_packed(path, ABOUT, torch.float32, CPU, 2)
