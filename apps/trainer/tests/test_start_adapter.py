"""Going on from an adapter: PEFT's own folders taken as they are, what does not fit refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from lora_py.peft_files import read_adapter
from lora_py.tiny_base import write_tiny_base
from safetensors.torch import load_file, save_file
from test_replay import call
from torch import Tensor
from trainer_support import MakeSpec, Run, sums

from trainer.errors import TrainerError
from trainer.start_adapter import go_on_from

MODULES = ["q_proj", "v_proj", "down_proj"]


def folder_of_peft(base: Path, folder: Path, **changes: Any) -> Path:
    """What PEFT writes, with weights away from where they start."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": MODULES, **changes}
    wrapped = peft.get_peft_model(model, peft.LoraConfig(**settings))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    wrapped.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [({}, {}), ({"use_rslora": True}, {"use_rslora": True}), ({"use_dora": True}, {"use_dora": True})],
    ids=["lora", "rslora", "dora"],
)
def test_a_folder_of_peft_is_where_the_job_begins(
    make_spec: MakeSpec, tiny_base: Path, tmp_path: Path, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    folder = folder_of_peft(tiny_base, tmp_path / "start", **theirs)
    run = Run(make_spec(init_adapter=str(folder), **ours))
    stored = load_file(folder / "adapter_model.safetensors")
    for name, (a, b) in run.job.lora.pairs.items():
        assert torch.equal(a, stored[f"base_model.model.model.{name}.lora_A.weight"])
        assert torch.equal(b, stored[f"base_model.model.model.{name}.lora_B.weight"])
    for name, magnitude in run.job.lora.magnitudes().items():
        assert torch.equal(magnitude, stored[f"base_model.model.model.{name}.lora_magnitude_vector"])
    assert len(run.job.lora.magnitudes()) == (len(run.job.lora.pairs) if ours.get("use_dora") else 0)
    began = run.job.lora.snapshot()
    run.train()
    assert not torch.equal(run.job.lora.flat, began)


def test_training_goes_on_where_the_first_job_ended(make_spec: MakeSpec, tmp_path: Path) -> None:
    first = Run(make_spec(rows=sums(32), epochs=6, output_dir=str(tmp_path / "first")))
    first.train()
    again = make_spec(rows=sums(32), init_adapter=str(tmp_path / "first"), checkpoint_dir=str(tmp_path / "c2"))
    second = Run(again)
    second.train()
    losses = [[event.loss for event in run.events if event.event == "step"] for run in (first, second)]
    assert losses[1][0] < 0.7 * losses[0][0]


def test_a_resumed_job_needs_the_same_start_and_a_replay_asks_for_it(
    make_spec: MakeSpec, tiny_base: Path, tmp_path: Path
) -> None:
    start = folder_of_peft(tiny_base, tmp_path / "start")
    other = folder_of_peft(tiny_base, tmp_path / "other", lora_dropout=0.5)
    spec = make_spec(init_adapter=str(start), checkpoint_every_steps=2, max_steps=4)
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    finished = call("run", "--spec", str(tmp_path / "spec.json"))[1][-1]
    grove = json.loads((tmp_path / "adapter/grove.json").read_text())
    assert grove["init_adapter_sha256"] == read_adapter(start).sha256
    assert str(start) not in json.dumps(grove)

    moved = shutil.copytree(start, tmp_path / "elsewhere")
    assert Run({**spec, "adapter": {**spec["adapter"], "init_adapter": str(moved)}}).job.step == 2
    assert Run({**spec, "adapter": {**spec["adapter"], "init_adapter": str(other)}}).job.step == 0

    words = ["replay", "--manifest", str(tmp_path / "adapter/grove.json"), "--train-file", spec["train_file"]]
    words += ["--base-model", str(tiny_base), "--output-dir", str(tmp_path / "again")]
    status, lines = call(*words)
    assert status == 1 and "--init-adapter" in lines[-1]["message"]
    status, lines = call(*words, "--init-adapter", str(other))
    assert status == 1 and "adapter to go on from is not the run's" in lines[-1]["message"]
    status, lines = call(*words, "--init-adapter", str(moved))
    assert status == 0 and lines[-1]["replay"]["same"] and lines[-1]["replay"]["sha256"] == finished["sha256"]


def rewrite_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite_weights(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def of_other_base(folder: Path) -> None:
    (folder / "grove.json").write_text(json.dumps({"base_sha256": "0" * 64}))


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def with_nan(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.full_like(tensor, float("nan")) for name, tensor in tensors.items()}


REFUSED: list[tuple[dict[str, Any], Callable[[Path], None], str]] = [
    ({"rank": 8}, lambda _: None, "its rank is 4 at layers.0.self_attn.q_proj, and adapter.rank is 8"),
    ({"alpha": 16}, lambda _: None, "set adapter.alpha to 8 and adapter.use_rslora to false"),
    ({"use_rslora": True}, lambda _: None, "set adapter.alpha to 8 and adapter.use_rslora to false"),
    ({"use_dora": True}, lambda _: None, "set adapter.use_dora to false"),
    ({"target_modules": ["q_proj", "v_proj"]}, lambda _: None, "also on layers.0.mlp.down_proj"),
    ({"target_modules": [*MODULES, "o_proj"]}, lambda _: None, "not on layers.0.self_attn.o_proj"),
    ({}, lambda folder: rewrite_config(folder, base_model_name_or_path="org/Other-7B"), "trained on org/Other-7B"),
    ({}, of_other_base, "whose weights are not those of tiny"),
    ({}, lambda folder: rewrite_config(folder, use_dora=True), "set adapter.use_dora to true"),
    ({}, lambda folder: rewrite_config(folder, peft_type="IA3"), "IA3"),
    ({}, lambda folder: rewrite_config(folder, bias="all"), "bias"),
    ({}, lambda folder: rewrite_weights(folder, with_nan), "no numbers"),
    ({}, lambda folder: rewrite_weights(folder, lambda t: {**t, "lm_head.weight": torch.ones(1)}), "lm_head.weight"),
    ({}, lambda folder: rewrite_weights(folder, lambda t: dict(list(t.items())[1:])), "no lora_A of"),
    ({}, pickled, "Pickled weights"),
    ({}, lambda folder: shutil.rmtree(folder), "has no adapter_config.json"),
]


@pytest.mark.parametrize(("changes", "harm", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_a_start_that_does_not_fit_is_refused_by_name(
    make_spec: MakeSpec,
    tiny_base: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    harm: Callable[[Path], None],
    words: str,
) -> None:
    folder = folder_of_peft(tiny_base, tmp_path / "start")
    harm(folder)
    with pytest.raises(TrainerError) as caught:
        Run(make_spec(init_adapter=str(folder), **changes))
    assert caught.value.code == "trainer_bad_spec" and words in caught.value.message


def test_an_adapter_of_a_base_of_another_size_is_refused_by_name(make_spec: MakeSpec, tmp_path: Path) -> None:
    wide = write_tiny_base(tmp_path / "wide", intermediate_size=64)
    folder = folder_of_peft(wide, tmp_path / "start")
    with pytest.raises(TrainerError, match=r"4x64 there and 4x48 here: it was trained on another base"):
        Run(make_spec(init_adapter=str(folder)))


def test_a_name_of_the_same_model_elsewhere_is_the_same_base(
    make_spec: MakeSpec, tiny_base: Path, tmp_path: Path
) -> None:
    folder = folder_of_peft(tiny_base, tmp_path / "start")
    run = Run(make_spec())
    for name in ("someone/Tiny", "/their/own/path"):
        rewrite_config(folder, base_model_name_or_path=name)
        assert go_on_from(folder, run.spec, run.job.lora).origin is not None
