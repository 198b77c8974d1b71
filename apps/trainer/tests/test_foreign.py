"""The bases that transformers runs for us, against PEFT over the same model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from foreign_support import FAMILIES, Folder
from lora_py.peft_files import MODULE_PARENTS
from peft_oracle import oracle, random_rows, relative, stirred
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.base import Base
from trainer.foreign import ForeignModel
from trainer.foreign_load import load_base
from trainer.foreign_table import make_table
from trainer.lora import Lora, masks, new_lora, noise
from trainer.model import Trained
from trainer.packing import Example, pack
from trainer.spec import AdapterSpec

CPU = torch.device("cpu")
ALL = AdapterSpec(rank=4, alpha=8, dropout=0.0, target_modules=tuple(MODULE_PARENTS))
SOME = AdapterSpec(rank=2, alpha=6, dropout=0.0, target_modules=("q_proj", "v_proj", "o_proj"))


def adapter_for(model: Base, adapter: AdapterSpec, seed: int = 0) -> Lora:
    shapes = model.shapes(adapter)
    return stirred(new_lora(adapter, model.config, seed, CPU, shapes, model.squares), seed + 1)


def gradient(model: Base, jobs: list[Trained], rows: list[list[Example]]) -> tuple[Tensor, list[Tensor]]:
    """Loss tokens' losses, and each job's gradient."""
    for job in jobs:
        job.lora.flat_grad.zero_()
    losses = model.losses(pack(rows, [sum(len(r.completion) for r in own) for own in rows], CPU), jobs)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return losses.detach(), [job.lora.flat_grad.clone() for job in jobs]


@pytest.mark.parametrize("share", [True, False], ids=["shared prefix", "each row alone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_equal_those_of_peft(foreign: Folder, family: str, share: bool) -> None:
    model = load_base(foreign(family), CPU)
    rows = random_rows(5, prefix=9)
    for adapter in (ALL, SOME):
        lora = adapter_for(model, adapter)
        packed = pack([rows], [sum(len(r.completion) for r in rows)], CPU, share)
        loss = model.losses(packed, [Trained(lora)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        expected, gradients = oracle(foreign(family), lora, adapter, rows)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        for name, pair in lora.pairs.items():
            for half, value in zip("AB", pair, strict=True):
                assert value.grad is not None
                assert relative(value.grad, gradients[f"{name}.{half}"]) < 2e-5, f"{name}.{half}"


def test_a_step_is_a_table_of_its_rows_each_padded_at_its_end() -> None:
    rows = [random_rows(4, prefix=6), random_rows(2, prefix=0, seed=4)]
    packed = pack(rows, [1, 1], CPU)
    table = make_table(packed)
    ids = packed.ids[table.tokens]
    for line, row in zip(ids.tolist(), [row for own in rows for row in own], strict=True):
        tokens = row.prompt + row.completion[:-1]
        assert tuple(line[: len(tokens)]) == tokens
    assert table.spans == [(0, 4 * ids.shape[1]), (4 * ids.shape[1], 6 * ids.shape[1])]
    seen, wanted = ids.flatten()[table.outputs + 1][:-1], packed.targets[:-1]
    inner = wanted != 1  # but for the last of each row, the next token of the table is the one to predict
    assert torch.equal(seen[inner], wanted[inner])


@pytest.mark.parametrize("family", ["Gemma2", "Phi3"])
def test_jobs_in_one_pass_have_each_the_losses_and_gradient_that_they_have_alone(foreign: Folder, family: str) -> None:
    model = load_base(foreign(family), CPU)
    jobs = [Trained(adapter_for(model, ALL)), Trained(adapter_for(model, SOME, 3))]
    rows = [random_rows(5, prefix=9), random_rows(3, prefix=0, seed=4)]
    together, gradients = gradient(model, jobs, rows)
    alone = [gradient(model, [job], [own]) for job, own in zip(jobs, rows, strict=True)]
    assert torch.allclose(together, torch.cat([losses for losses, _ in alone]), atol=1e-6)
    for grouped, (_, (single,)) in zip(gradients, alone, strict=True):
        assert relative(grouped, single) < 1e-5


def test_another_jobs_infinities_stay_with_it(foreign: Folder) -> None:
    model = load_base(foreign("Gemma3"), CPU)
    jobs = [Trained(adapter_for(model, SOME)), Trained(adapter_for(model, SOME, 3))]
    rows = [random_rows(3, prefix=4), random_rows(3, prefix=4, seed=4)]
    _, (sound, _) = gradient(model, jobs, rows)
    jobs[1].lora.flat.fill_(float("nan"))
    _, (beside, poisoned) = gradient(model, jobs, rows)
    assert torch.equal(sound, beside) and poisoned.isnan().any()


def test_dropout_and_noise_change_a_step_and_repeat_with_it(foreign: Folder) -> None:
    model = load_base(foreign("Gemma"), CPU)
    lora = new_lora(AdapterSpec(4, 8, 0.3, ALL.target_modules), {}, 0, CPU, model.shapes(ALL))
    stirred(lora, 1)
    rows = [random_rows(4, prefix=6)]

    def losses(step: int | None, alpha: float = 0.0) -> Tensor:
        dropped = None if step is None else masks(lora, 5, step, 0, 200 * model.widest)
        added = None if step is None else noise(alpha, 5, step, 0)
        return gradient(model, [Trained(lora, dropped, added)], rows)[0]

    assert torch.equal(losses(1), losses(1)) and not torch.allclose(losses(1), losses(2))
    assert not torch.allclose(losses(1), losses(None))
    assert torch.equal(losses(1, 5.0), losses(1, 5.0)) and not torch.allclose(losses(1, 5.0), losses(1))


def test_a_quantized_base_trains_as_peft_does_over_the_values_that_it_keeps(foreign: Folder, tmp_path: Path) -> None:
    model = load_base(foreign("Phi3"), CPU, quantized="nf4")
    assert isinstance(model, ForeignModel)
    kept = shutil.copytree(foreign("Phi3"), tmp_path / "kept")
    tensors = load_file(kept / "model.safetensors")
    for name, weight in model.weights.items():
        assert not torch.equal(tensors[f"model.{name}.weight"], weight.dense())
        tensors[f"model.{name}.weight"] = weight.dense()
    save_file(tensors, kept / "model.safetensors", metadata={"format": "pt"})
    lora, rows = adapter_for(model, ALL), random_rows(5, prefix=4)
    losses, (found,) = gradient(model, [Trained(lora)], [rows])
    expected, gradients = oracle(kept, lora, ALL, rows)
    assert float(losses.sum()) == pytest.approx(expected, rel=1e-5)
    theirs = torch.cat([gradients[f"{name}.{half}"].flatten() for name in lora.pairs for half in "AB"])
    assert relative(found, theirs) < 2e-5


def test_products_in_bf16_keep_loss_and_direction(foreign: Folder) -> None:
    whole, small = load_base(foreign("Gemma"), CPU), load_base(foreign("Gemma"), CPU, torch.bfloat16)
    found = [gradient(m, [Trained(adapter_for(m, ALL))], [random_rows(6, 4)]) for m in (whole, small)]
    (exact, (direction,)), (near, (other,)) = found
    assert not torch.equal(exact, near) and "bf16 products" in small.notes
    assert float(near.sum()) == pytest.approx(float(exact.sum()), rel=0.01)
    assert float(torch.cosine_similarity(direction, other, 0)) > 0.99
