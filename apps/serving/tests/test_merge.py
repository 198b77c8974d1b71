from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import Served
from tiny import write_lora

from serving.adapters.merge import Merge, merge_tensors


def merge(strategy: str, density: float = 0.5, sign: str = "total", weights: tuple[float, ...] = (1.0, 1.0)) -> Merge:
    return Merge(weights, strategy, density, sign)


def of(*rows: list[float]) -> list[torch.Tensor]:
    return [torch.tensor(row) for row in rows]


def test_ties_prunes_elects_by_weight_of_values_and_averages_those_who_agree() -> None:
    tensors = of([4.0, 0.1, -3.0, 0.2], [-1.0, 5.0, -2.0, 0.1])
    got = merge_tensors(tensors, merge("ties"), torch.Generator())
    # kept: [4, 0, -3, 0] and [0, 5, -2, 0]
    assert got.tolist() == [4.0, 5.0, -2.5, 0.0]


def test_signs_by_frequency_count_heads_and_not_sizes() -> None:
    tensors = of([9.0], [-1.0], [-1.0])
    by_total = merge_tensors(tensors, merge("ties", 1.0, "total", (1.0, 1.0, 1.0)), torch.Generator())
    by_count = merge_tensors(tensors, merge("ties", 1.0, "frequency", (1.0, 1.0, 1.0)), torch.Generator())
    assert by_total.tolist() == [9.0] and by_count.tolist() == [-1.0]


def test_dare_keeps_the_mean_and_repeats_itself() -> None:
    tensors = [torch.ones(20_000), torch.ones(20_000)]
    one = merge_tensors(tensors, merge("dare_linear", 0.3), torch.Generator().manual_seed(1))
    two = merge_tensors(tensors, merge("dare_linear", 0.3), torch.Generator().manual_seed(1))
    assert torch.equal(one, two)
    assert one.mean() == pytest.approx(2.0, abs=0.05)
    assert merge_tensors(tensors, merge("dare_ties", 1.0), torch.Generator()).tolist()[0] == 1.0


def test_L8_weights_one_and_zero_are_the_first_adapter(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "a", 301)
    write_lora(tmp_path / "b", 302)
    served.gateway.adapters.update({("a", "merge-a/1"): tmp_path / "a", ("a", "merge-b/1"): tmp_path / "b"})
    ids = ["merge-a/1", "merge-b/1"]
    alone = served.generate(adapter_id="merge-a/1").json()
    merged = served.generate(merged_adapters={"ids": ids, "weights": [1.0, 0.0]})
    assert merged.json() == alone
    assert merged.headers["x-adapter-id"] == "merge-a/1,merge-b/1"
    both = served.generate(merged_adapters={"ids": ids, "weights": [1.0, 1.0]}).json()
    assert both != alone
    for strategy in ("ties", "dare_linear", "dare_ties"):
        config = {"ids": ids, "weights": [1.0, 1.0], "merge_strategy": strategy, "density": 0.5}
        answers = [served.generate(merged_adapters=config) for _ in range(2)]
        assert answers[0].status_code == 200 and answers[0].json() == answers[1].json()


def test_adapters_of_different_ranks_can_not_be_merged(served: Served) -> None:
    response = served.generate(merged_adapters={"ids": ["all-4/1", "all-16/1"], "weights": [1.0, 1.0]})
    assert response.status_code == 424 and "rank" in response.json()["error"]


def test_merge_with_an_adapter_one_may_not_use_is_refused(served: Served) -> None:
    config = {"ids": ["all-4/1", "qv-8/1"], "weights": [1.0, 1.0]}
    assert served.generate(token="pb_b", merged_adapters=config).status_code == 424
