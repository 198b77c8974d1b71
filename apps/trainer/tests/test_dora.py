"""DoRA against PEFT's own: loss, gradients and the saved folder; in a group; with dropout and a quantized base."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from lora_py.merge_base import read_mergeable
from lora_py.peft_files import MODULE_PARENTS, AdapterError, read_adapter
from lora_py.tiny_base import write_tiny_base
from torch import Tensor
from trainer_support import CPU, MakeSpec, Run, sums

from trainer.frozen import Whole
from trainer.loop import Group
from trainer.lora import Lora, new_lora
from trainer.lora_linear import LoraLinear, LoraPart, LoraRows
from trainer.model import Model, Trained, load_model
from trainer.packing import Example, pack
from trainer.spec import AdapterSpec
from trainer.step import gradient_step

ALL = AdapterSpec(rank=4, alpha=8, dropout=0.0, target_modules=tuple(MODULE_PARENTS), use_dora=True)
SOME = AdapterSpec(rank=2, alpha=6, dropout=0.0, target_modules=("q_proj", "down_proj"), use_dora=True, use_rslora=True)
QWEN2 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}  # its linears have biases


def stirred(model: Model, adapter: AdapterSpec, seed: int = 1) -> Lora:
    """A, B and magnitudes away from where they start."""
    lora = new_lora(adapter, model.config, 0, CPU, squares=model.squares)
    noise = torch.randn(lora.flat.shape, generator=torch.Generator().manual_seed(seed))
    lora.restore(lora.flat + 0.1 * noise)
    return lora


def rows(count: int = 5) -> list[Example]:
    generator = torch.Generator().manual_seed(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(4, 260, (n,), generator=generator).tolist())

    head = tokens(9)
    return [Example(head + tokens(3 + i % 4), (*tokens(1 + i % 3), 1)) for i in range(count)]


def of_peft(base: Path, lora: Lora, adapter: AdapterSpec) -> tuple[Any, dict[str, Tensor]]:
    """PEFT's model with our weights, and its parameters by our names."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    config = peft.LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        target_modules=list(adapter.target_modules),
        use_dora=True,
        use_rslora=adapter.use_rslora,
    )
    wrapped = peft.get_peft_model(model, config)
    parameters = dict(wrapped.named_parameters())
    found = {}
    for name, value in named(lora).items():
        module, kind = name.rsplit(".", 1)
        key = "lora_magnitude_vector" if kind == "M" else f"lora_{kind}"
        found[name] = parameters[f"base_model.model.model.{module}.{key}.default.weight"]
        found[name].data.copy_(value)
    return wrapped, found


def named(lora: Lora) -> dict[str, Tensor]:
    found = {f"{name}.M": dora.magnitude for name, dora in lora.doras.items()}
    for name, (a, b) in lora.pairs.items():
        found |= {f"{name}.A": a, f"{name}.B": b}
    return found


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))


def loss_of_peft(wrapped: Any, examples: list[Example]) -> Tensor:
    longest = max(row.length for row in examples)
    ids, labels = torch.zeros(len(examples), longest, dtype=torch.long), torch.full((len(examples), longest), -100)
    for i, row in enumerate(examples):
        ids[i, : row.length] = torch.tensor(row.prompt + row.completion)
        labels[i, len(row.prompt) : row.length] = torch.tensor(row.completion)
    loss: Tensor = wrapped(input_ids=ids, labels=labels).loss
    return loss


@pytest.mark.parametrize("changes", [{}, QWEN2], ids=["llama", "qwen2, with biases"])
@pytest.mark.parametrize("adapter", [ALL, SOME], ids=["all modules", "two modules, rsLoRA"])
def test_loss_and_gradients_equal_those_of_peft(tmp_path: Path, changes: dict[str, Any], adapter: AdapterSpec) -> None:
    base = write_tiny_base(tmp_path / "base", **changes)
    model, examples = load_model(base, CPU, torch.float32), rows()
    lora = stirred(model, adapter)
    loss = model.losses(pack([examples], [sum(len(r.completion) for r in examples)], CPU), [Trained(lora)]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    wrapped, theirs = of_peft(base, lora, adapter)
    expected = loss_of_peft(wrapped, examples)
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, value in named(lora).items():
        gradient = theirs[name].grad
        assert value.grad is not None and gradient is not None
        assert relative(value.grad, gradient) < 2e-4, name


def test_a_new_dora_is_the_base_and_starts_at_pefts_magnitudes(tiny_base: Path) -> None:
    model = load_model(tiny_base, CPU, torch.float32)
    fresh = new_lora(ALL, model.config, 0, CPU, squares=model.squares)
    plain = AdapterSpec(4, 8, 0.0, ALL.target_modules)
    assert torch.equal(fresh.flat[: -sum(len(d.magnitude) for d in fresh.doras.values())], flat_of(plain, model))
    packed = pack([rows()], [1], CPU)
    alone = model.losses(packed, [Trained(new_lora(plain, model.config, 0, CPU))])
    assert torch.allclose(model.losses(packed, [Trained(fresh)]), alone, atol=1e-5)
    theirs = dict(of_peft_fresh(tiny_base).named_parameters())
    for name, magnitude in fresh.magnitudes().items():
        key = f"base_model.model.model.{name}.lora_magnitude_vector.default.weight"
        assert torch.allclose(magnitude, theirs[key], rtol=1e-5)


def flat_of(adapter: AdapterSpec, model: Model) -> Tensor:
    return new_lora(adapter, model.config, 0, CPU).flat


def of_peft_fresh(base: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(ALL.target_modules), use_dora=True)
    return peft.get_peft_model(model, config)


def test_dropped_inputs_go_through_base_and_lora_as_in_peft() -> None:
    """The plain twin, in double precision, of two DoRA jobs and one of LoRA, with biases and dropout."""
    torch.manual_seed(0)

    def double(*size: int) -> Tensor:
        return torch.randn(*size, dtype=torch.float64).requires_grad_()

    x, weight, bias = double(12, 6), torch.randn(10, 6, dtype=torch.float64), torch.randn(10, dtype=torch.float64)
    keep = (torch.rand(4, 6) > 0.3).double() / 0.7
    first = [double(2, 6), double(4, 2), double(4)]
    second = [double(3, 6), double(6, 3), double(6)]
    third = [double(2, 6), double(10, 2)]

    def norm(columns: slice, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        return (weight[columns] + scaling * b @ a).detach().norm(dim=1)

    jobs = (
        LoraRows(0, 4, (LoraPart(0, 4, 2.0, norm(slice(0, 4), first[0], first[1], 2.0)),), keep),
        LoraRows(4, 8, (LoraPart(4, 10, 0.5, norm(slice(4, 10), second[0], second[1], 0.5)),), None),
        LoraRows(8, 12, (LoraPart(0, 10, 3.0),), None),
    )
    fast = LoraLinear.apply(x, Whole(weight), bias, jobs, *first, *second, *third)  # type: ignore[no-untyped-call]

    def dora(inputs: Tensor, columns: slice, own: list[Tensor], scaling: float) -> Tensor:
        scale = own[2] / norm(columns, own[0], own[1], scaling)
        base = inputs @ weight[columns].t()
        return (scale - 1) * base + scale * scaling * (inputs @ own[0].t() @ own[1].t())

    plain = x @ weight.t() + bias
    plain = plain + torch.cat(
        [
            torch.nn.functional.pad(dora(x[:4] * keep, slice(0, 4), first, 2.0), (0, 6)),
            torch.nn.functional.pad(dora(x[4:8], slice(4, 10), second, 0.5), (4, 0)),
            3.0 * x[8:] @ third[0].t() @ third[1].t(),
        ]
    )
    leaves, target = [x, *first, *second, *third], torch.randn_like(plain)
    assert torch.allclose(fast, plain, atol=1e-9)
    ours = torch.autograd.grad((fast * target).sum(), leaves)
    theirs = torch.autograd.grad((plain * target).sum(), leaves)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-8)


def test_the_saved_folder_has_equal_logits_in_peft_and_can_be_merged(
    make_spec: MakeSpec, tiny_base: Path, tmp_path: Path
) -> None:
    run = Run(make_spec(use_dora=True, target_modules=list(MODULE_PARENTS), epochs=3, learning_rate=0.02))
    finished, folder = run.train(), tmp_path / "adapter"
    assert finished.train_loss < run.of(type(run.events[1]))[0].loss
    assert json.loads((folder / "adapter_config.json").read_text())["use_dora"] is True
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, folder).eval()
    example = Example(tuple(range(4, 40)), (41, 42, 43, 1))
    packed = pack([[example]], [1], CPU)
    with torch.no_grad():
        ours = run.model.hidden(packed, [Trained(run.job.lora)]) @ run.model.head.t()
        logits = theirs(torch.tensor([example.prompt + example.completion])).logits[0, len(example.prompt) - 1 : -1]
    assert torch.allclose(ours, logits, atol=1e-4)
    moved = [d.magnitude.detach() / d.squares.sqrt() - 1 for d in run.job.lora.doras.values()]
    assert max(float(change.abs().max()) for change in moved) > 1e-3
    assert set(read_mergeable(folder).magnitudes) == set(run.job.lora.pairs)
    with pytest.raises(AdapterError, match="use_dora"):
        read_adapter(folder)  # what the engine does with it


def test_dora_beside_lora_in_a_group_ends_where_it_ends_alone(make_spec: MakeSpec, tmp_path: Path) -> None:
    def made(i: int, where: str) -> Run:
        spec = copy.deepcopy(make_spec(rows=sums(24), use_dora=i != 1, seed=i, dropout=0.1 * i))
        spec["job_id"] = f"job-{i}"
        spec["output_dir"], spec["checkpoint_dir"] = str(tmp_path / f"{where}{i}"), str(tmp_path / f"{where}c{i}")
        return Run(spec)

    together = [made(i, "t") for i in range(3)]
    model = together[0].model
    alone_grads = []
    for run in together:
        gradient_step(model, {run.job: run.job.next_rows()}, CPU, lambda: None)
        alone_grads.append(run.job.lora.flat_grad.clone())
        run.job.lora.flat_grad.zero_()
    gradient_step(model, {run.job: run.job.next_rows() for run in together}, CPU, lambda: None)
    for run, gradient in zip(together, alone_grads, strict=True):
        assert relative(run.job.lora.flat_grad, gradient) < 1e-5
        run.job.lora.flat_grad.zero_()
    group = Group(model, CPU, lambda: None)
    for run in together:
        group.join(run.job)
    group.run()
    for i, run in enumerate(together):
        alone = made(i, "a")
        alone.train()
        assert relative(run.job.lora.flat, alone.job.lora.flat) < 1e-3


def test_dora_over_a_quantized_base_measures_the_dequantized_weights(tiny_base: Path) -> None:
    whole = load_model(tiny_base, CPU, torch.float32)
    quantized = load_model(tiny_base, CPU, torch.float32, quantized="nf4")
    name = "layers.0.self_attn.v_proj"
    linear = quantized.layers[0].linears["qkv"]
    begin, end = linear.columns["self_attn.v_proj"]
    assert torch.allclose(quantized.squares(name), linear.weight.dense()[begin:end].square().sum(1))
    assert not torch.equal(quantized.squares(name), whole.squares(name))
    losses = quantized.losses(pack([rows()], [1], CPU), [Trained(stirred(quantized, ALL))])
    assert torch.isfinite(losses).all()
