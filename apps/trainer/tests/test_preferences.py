"""DPO and ORPO against their formulas over PEFT's model, and a quantized base against its own weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from lora_py.peft_files import MODULE_PARENTS
from lora_py.quantized_base import quantized_linears
from safetensors.torch import load_file, save_file
from test_model import oracle, random_rows, relative, stirred
from torch import Tensor
from torch.nn.functional import logsigmoid
from trainer_support import MakeSpec, Run

from trainer.frozen import Quantized
from trainer.lora import new_lora
from trainer.model import Trained, load_model
from trainer.packing import Example, pack
from trainer.spec import AdapterSpec
from trainer.step import gradient_step

CPU = torch.device("cpu")
PAIRS = [{"prompt": f"{i} + {i} =", "chosen": str(2 * i), "rejected": f"{i}{i} or so"} for i in range(12)]


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    return str(file)


def under_peft(base: Path, run: Run) -> tuple[Any, dict[str, Tensor]]:
    adapter = run.job.spec.adapter
    config = peft.LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=list(adapter.target_modules))
    plain = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    wrapped = peft.get_peft_model(plain, config)
    parameters = dict(wrapped.named_parameters())
    found = {}
    for name, pair in run.job.lora.pairs.items():
        for half, value in zip("AB", pair, strict=True):
            found[f"{name}.{half}"] = parameters[f"base_model.model.model.{name}.lora_{half}.default.weight"]
            found[f"{name}.{half}"].data.copy_(value)
    return wrapped, found


def logp(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> Tensor:
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    chances = logits.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)]
    return chances.sum()


def dpo(model: Any, rows: list[Example], beta: float) -> Tensor:
    total = torch.zeros(())
    for row in rows:
        ours = [logp(model, row.prompt, answer) for answer in row.completions]
        with model.disable_adapter(), torch.no_grad():
            base = [logp(model, row.prompt, answer) for answer in row.completions]
        total = total - logsigmoid(beta * ((ours[0] - base[0]) - (ours[1] - base[1])))
    return total / len(rows)


def orpo(model: Any, rows: list[Example], beta: float) -> Tensor:
    likelihood, ratio = torch.zeros(()), torch.zeros(())
    for row in rows:
        sums = [logp(model, row.prompt, answer) for answer in row.completions]
        means = [one / len(answer) for one, answer in zip(sums, row.completions, strict=True)]
        odds = [mean - torch.log1p(-mean.exp()) for mean in means]
        likelihood = likelihood - sums[0]
        ratio = ratio - logsigmoid(odds[0] - odds[1])
    return likelihood / sum(len(row.completion) for row in rows) + beta * ratio / len(rows)


@pytest.mark.parametrize(("method", "formula"), [("dpo", dpo), ("orpo", orpo)])
def test_loss_and_gradients_are_those_of_the_formula(
    make_spec: MakeSpec, tiny_base: Path, pairs: str, method: str, formula: Any
) -> None:
    run = Run(make_spec(train_file=pairs, method=method, beta=0.3, rank=4))
    stirred(run.job.lora, 1)
    rows = list(run.job.train.examples[:6])
    found = gradient_step(run.model, {run.job: rows}, CPU, lambda: None)[run.job]
    model, parameters = under_peft(tiny_base, run)
    loss = formula(model, rows, 0.3)
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-4)
    for name, pair in run.job.lora.pairs.items():
        for half, value in zip("AB", pair, strict=True):
            theirs = parameters[f"{name}.{half}"].grad
            assert value.grad is not None and theirs is not None
            assert relative(value.grad, theirs) < 1e-3, f"{name}.{half}"


@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_training_prefers_the_wanted_answers(make_spec: MakeSpec, pairs: str, method: str) -> None:
    run = Run(make_spec(train_file=pairs, method=method, epochs=8, rank=4, learning_rate=0.01))
    run.train()
    steps = [event for event in run.events if event.event == "step"]
    assert steps[-1].preferred is not None and steps[-1].preferred > 0.9
    assert steps[-1].loss < steps[0].loss


@pytest.mark.parametrize(("kind", "share"), [("nf4", 0.16), ("int8", 0.3)])
def test_a_quantized_base_trains_as_the_base_of_its_own_weights(
    tiny_base: Path, tmp_path: Path, kind: Any, share: float
) -> None:
    shutil.copytree(tiny_base, tmp_path / "dense")
    weights = load_file(tiny_base / "model.safetensors")
    for name, weight in quantized_linears(tiny_base, kind):
        weights[f"model.{name}.weight"] = weight.dequantize()
    save_file(weights, tmp_path / "dense/model.safetensors", {"format": "pt"})
    adapter = AdapterSpec(rank=4, alpha=8, dropout=0.0, target_modules=tuple(MODULE_PARENTS))
    model = load_model(tiny_base, CPU, torch.float32, quantized=kind)
    lora, rows = stirred(new_lora(adapter, model.config, 0, CPU), 1), random_rows(5, prefix=9)
    packed = pack([rows], [sum(len(row.completion) for row in rows)], CPU)
    loss = model.losses(packed, [Trained(lora)]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    expected, gradients = oracle(tmp_path / "dense", lora, adapter, rows)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    for name, pair in lora.pairs.items():
        for half, value in zip("AB", pair, strict=True):
            assert value.grad is not None
            assert relative(value.grad, gradients[f"{name}.{half}"]) < 2e-4, f"{name}.{half}"
    kept = [linear.weight for layer in model.layers for linear in layer.linears.values()]
    parts = [part for weight in kept if isinstance(weight, Quantized) for part in weight.parts]
    assert sum(part.nbytes for part in parts) < share * sum(4 * part.shape.numel() for part in parts)
