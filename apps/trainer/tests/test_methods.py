"""Optimizers, rsLoRA and NEFTune, each against its plain form, and each resumable."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from lora_py.peft_files import read_adapter
from lora_py.tiny_base import CONFIG
from torch.nn import Parameter
from trainer_support import MakeSpec, Run, sums

from trainer.interrupt import Stopped
from trainer.loop import Group
from trainer.lora import new_lora, noise
from trainer.optimizers import Lion
from trainer.spec import AdapterSpec

METHODS: list[dict[str, Any]] = [
    {"optimizer": "adamw", "weight_decay": 0.1},
    {"optimizer": "adamw_8bit", "weight_decay": 0.1},
    {"optimizer": "adam"},
    {"optimizer": "sgd", "learning_rate": 0.5},
    {"optimizer": "lion", "learning_rate": 0.002},
    {"use_rslora": True},
    {"use_dora": True, "dropout": 0.1},
    {"neftune_alpha": 5},
]


@pytest.mark.parametrize("changes", METHODS, ids=str)
def test_each_method_learns_and_resumes_to_the_same_hash(
    make_spec: MakeSpec, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"rows": sums(32), "epochs": 6, "checkpoint_every_steps": 3, **changes}
    whole = Run(make_spec(**settings, output_dir=str(tmp_path / "w"), checkpoint_dir=str(tmp_path / "cw")))
    expected = whole.train()
    losses = [event.loss for event in whole.events if event.event == "step"]
    assert expected.train_loss < losses[0]

    stopped = Run(make_spec(**settings))

    def check() -> None:
        if stopped.job.step >= 10:
            raise Stopped

    group = Group(stopped.model, torch.device("cpu"), check)
    group.join(stopped.job)
    group.run()
    again = Run(make_spec(**settings))
    assert again.job.step == 9
    assert again.train().sha256 == expected.sha256


def test_rslora_scales_as_peft_reads_it_back(make_spec: MakeSpec, tiny_base: Path, tmp_path: Path) -> None:
    run = Run(make_spec(use_rslora=True, rank=4, alpha=8, epochs=1))
    run.train()
    assert read_adapter(tmp_path / "adapter").config.scaling == pytest.approx(4.0) == run.job.lora.scaling
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    assert theirs.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"] == pytest.approx(4.0)


def test_lion_moves_by_the_sign_of_its_momentum() -> None:
    parameter = Parameter(torch.tensor([1.0, -1.0, 0.5]))
    optimizer = Lion([parameter], lr=0.1, weight_decay=0.5)
    value, momentum = parameter.detach().clone(), torch.zeros(3)
    for gradient in (torch.tensor([3.0, -0.1, 0.0]), torch.tensor([-0.2, -5.0, 1.0])):
        parameter.grad = gradient
        optimizer.step()
        value = value * (1 - 0.1 * 0.5) - 0.1 * torch.sign(0.9 * momentum + 0.1 * gradient)
        momentum = 0.99 * momentum + 0.01 * gradient
        assert torch.allclose(parameter, value)


def test_noise_has_the_size_that_neftune_gives_it_and_repeats() -> None:
    x, lengths = torch.zeros(6, 64), torch.tensor([2, 2, 2, 2, 50, 50])
    made = noise(5.0, seed=1, step=2, part=0)
    again = noise(5.0, seed=1, step=2, part=0)
    assert made and again and noise(0.0, 1, 2, 0) is None
    noisy = made.add(x, lengths)
    assert torch.equal(noisy, again.add(x, lengths))
    for rows, length in ((noisy[:4], 2), (noisy[4:], 50)):
        bound = 5 / math.sqrt(length * 64)
        assert 0.9 * bound < float(rows.abs().max()) <= bound


def test_rank_and_alpha_set_the_plain_scale() -> None:
    lora = new_lora(AdapterSpec(4, 6, 0.0, ("q_proj",)), CONFIG, 0, torch.device("cpu"))
    assert lora.scaling == 1.5
