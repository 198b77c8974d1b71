"""The bases that transformers runs for us, against PEFT over the same model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from foreign_support import FAMILIES, write_foreign
from lora_py.peft_files import MODULE_PARENTS
from peft_oracle import oracle, random_rows, relative, stirred

from trainer.foreign import load_base
from trainer.lora import new_lora
from trainer.model import Trained
from trainer.packing import pack
from trainer.spec import AdapterSpec

CPU = torch.device("cpu")
ALL = AdapterSpec(rank=4, alpha=8, dropout=0.0, target_modules=tuple(MODULE_PARENTS))
SOME = AdapterSpec(rank=2, alpha=6, dropout=0.0, target_modules=("q_proj", "v_proj", "o_proj"))
Folder = Callable[[str], Path]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Folder:
    made: dict[str, Path] = {}

    def of(family: str) -> Path:
        if family not in made:
            made[family] = write_foreign(tmp_path_factory.mktemp("foreign") / family, family, tiny_base)
        return made[family]

    return of


@pytest.mark.parametrize("share", [True, False], ids=["shared prefix", "each row alone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_equal_those_of_peft(folder: Folder, family: str, share: bool) -> None:
    model = load_base(folder(family), CPU)
    rows = random_rows(5, prefix=9)
    for adapter in (ALL, SOME):
        lora = stirred(new_lora(adapter, model.config, 0, CPU, model.shapes(adapter)), 1)
        packed = pack([rows], [sum(len(r.completion) for r in rows)], CPU, share)
        loss = model.losses(packed, [Trained(lora)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        expected, gradients = oracle(folder(family), lora, adapter, rows)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        for name, pair in lora.pairs.items():
            for half, value in zip("AB", pair, strict=True):
                assert value.grad is not None
                assert relative(value.grad, gradients[f"{name}.{half}"]) < 2e-5, f"{name}.{half}"
