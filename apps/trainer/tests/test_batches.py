from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.batches import epoch_order, micro_batches
from trainer.packing import Example, shared_prefix

lengths = st.lists(st.integers(1, 500), min_size=1, max_size=300)


@given(lengths=lengths, size=st.integers(1, 20), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
def test_every_row_is_used_once_an_epoch(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    batches = epoch_order(lengths, size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert batches == epoch_order(lengths, size, seed, epoch)


def test_epochs_and_seeds_differ_in_their_order() -> None:
    rows = list(range(100))
    assert epoch_order(rows, 4, 1, 0) != epoch_order(rows, 4, 1, 1) != epoch_order(rows, 4, 2, 1)


def test_rows_of_like_length_go_together() -> None:
    rows = [i % 10 for i in range(200)]
    spread = [max(rows[i] for i in b) - min(rows[i] for i in b) for b in epoch_order(rows, 8, 0, 0)]
    assert max(spread) <= 2


@given(lengths=lengths, limit=st.integers(1, 1000))
def test_parts_keep_within_the_limit_but_for_single_rows(lengths: list[int], limit: int) -> None:
    rows = [Example(tuple(range(n)), (1,)) for n in lengths]
    parts = micro_batches(rows, limit)
    assert [row for part in parts for row in part] == rows
    prefix = shared_prefix(rows)
    assert all(len(p) == 1 or prefix + sum(r.length - prefix for r in p) <= limit for p in parts)


@given(rows=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=2, max_size=6))
def test_the_shared_prefix_is_the_longest_that_leaves_each_prompt_a_token(rows: list[list[int]]) -> None:
    found = shared_prefix([Example(tuple(row), (9,)) for row in rows])
    most = min(len(row) for row in rows) - 1
    same = [i for i in range(most) if len({row[i] for row in rows}) > 1]
    assert found == (same[0] if same else most)
