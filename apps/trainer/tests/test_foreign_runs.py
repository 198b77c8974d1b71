"""Whole runs over the bases that transformers runs for us, and what is refused before one begins."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from foreign_support import FAMILIES, Folder
from lora_py.peft_files import MODULE_PARENTS
from peft_oracle import random_rows
from trainer_support import ENVIRONMENT, MakeSpec, Run, sums, write_rows

from trainer.errors import TrainerError
from trainer.events import StepDone, Warning
from trainer.foreign import ForeignModel
from trainer.foreign_load import load_base
from trainer.interrupt import Stopped
from trainer.loop import Group
from trainer.model import Trained
from trainer.packing import pack
from trainer.spec import AdapterSpec

CPU = torch.device("cpu")
SOME = AdapterSpec(rank=2, alpha=6, dropout=0.0, target_modules=("q_proj", "v_proj", "o_proj"))


def spec_for(make_spec: MakeSpec, base: Path, **changes: Any) -> dict[str, Any]:
    return {**make_spec(**changes), "base_model": {"id": "foreign", "path": str(base)}}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_job_learns_loads_in_peft_with_equal_logits(
    make_spec: MakeSpec, foreign: Folder, tmp_path: Path, family: str
) -> None:
    run = Run(spec_for(make_spec, foreign(family), rows=sums(24), target_modules=list(MODULE_PARENTS), epochs=1))
    run.train()
    base = transformers.AutoModelForCausalLM.from_pretrained(foreign(family), dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    row = random_rows(1, 12)[0]
    assert isinstance(run.model, ForeignModel)
    hidden = run.model.hidden(pack([[row]], [1], CPU), [Trained(run.job.lora)])
    begin = len(row.prompt) - 1
    with torch.no_grad():
        logits = theirs(torch.tensor([row.prompt + row.completion])).logits[0, begin:-1]
    assert torch.allclose(run.model.logits(hidden), logits, atol=1e-4)
    modules = set(json.loads((tmp_path / "adapter/adapter_config.json").read_text())["target_modules"])
    assert modules == {name.rsplit(".", 1)[1] for name in run.model.linears}
    told = [event.message for event in run.of(Warning) if event.code == "modules_mapped"]
    assert bool(told) == (modules != set(MODULE_PARENTS)) and all(name in told[0] for name in modules if told)


@pytest.mark.parametrize("method", [{"method": "sft", "dropout": 0.1}, {"use_dora": True}], ids=str)
def test_a_stopped_job_resumes_to_the_hash_of_an_undisturbed_one(
    make_spec: MakeSpec, foreign: Folder, tmp_path: Path, method: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"rows": sums(16), "epochs": 3, "checkpoint_every_steps": 2, **method}
    whole = {**settings, "output_dir": str(tmp_path / "w"), "checkpoint_dir": str(tmp_path / "cw")}
    expected = Run(spec_for(make_spec, foreign("Gemma2"), **whole)).train()
    stopped = Run(spec_for(make_spec, foreign("Gemma2"), **settings))

    def check() -> None:
        if stopped.job.step >= 3:
            raise Stopped

    group = Group(stopped.model, CPU, check)
    group.join(stopped.job)
    group.run()
    again = Run(spec_for(make_spec, foreign("Gemma2"), **settings))
    assert again.job.step == 2
    assert again.train().sha256 == expected.sha256


def test_a_job_goes_on_from_an_adapter_of_the_base_s_own_linears(
    make_spec: MakeSpec, foreign: Folder, tmp_path: Path
) -> None:
    first = Run(spec_for(make_spec, foreign("Phi3"), output_dir=str(tmp_path / "first"), epochs=1))
    first.train()
    paths = {"init_adapter": str(tmp_path / "first"), "checkpoint_dir": str(tmp_path / "c")}
    second = Run(spec_for(make_spec, foreign("Phi3"), **paths))
    assert torch.equal(second.job.lora.flat, first.job.lora.flat)


@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_preferences_are_learned(make_spec: MakeSpec, foreign: Folder, tmp_path: Path, method: str) -> None:
    rows = [{"prompt": f"Say {w}:", "chosen": " yes", "rejected": " no"} for w in ("red", "blue", "green", "round")]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 4))
    spec = spec_for(make_spec, foreign("Gemma3"), method=method, epochs=8, batch_size=4)
    run = Run({**spec, "train_file": str(tmp_path / "pairs.jsonl")})
    run.train()
    steps = run.of(StepDone)
    assert steps[-1].loss < 0.8 * steps[0].loss and steps[-1].preferred == 1


def test_the_process_trains_and_its_quote_holds(make_spec: MakeSpec, foreign: Folder, tmp_path: Path) -> None:
    spec = spec_for(make_spec, foreign("Phi3"), rows=sums(20), epochs=2)
    spec["validation_file"] = str(write_rows(tmp_path / "v.jsonl", sums(4)))
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    found = {}
    for command in ("quote", "run"):
        start = [sys.executable, "-m", "trainer", command, "--spec", str(tmp_path / "spec.json")]
        done = subprocess.run(start, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
        assert done.returncode == 0, done.stderr
        found[command] = [json.loads(line) for line in done.stdout.splitlines()]
    (quote,), events = found["quote"], found["run"]
    started = next(event for event in events if event["event"] == "started")
    assert (quote["quote"]["tokens"], quote["quote"]["total_steps"]) == (events[-1]["tokens"], events[-1]["steps"])
    assert "transformers" in started["device"] and events[-1]["validation_loss"] is not None
    manifest = json.loads((tmp_path / "adapter/grove.json").read_text())
    assert (
        manifest["modules"] == ["down_proj", "qkv_proj"]
        and manifest["adapter"]["target_modules"] != manifest["modules"]
    )


# --- what is refused


def refused(path: Path) -> str:
    with pytest.raises(TrainerError) as failure:
        load_base(path, CPU)
    assert failure.value.code == "trainer_bad_spec"
    return failure.value.message


def changed(folder: Path, target: Path, **config: Any) -> Path:
    shutil.copytree(folder, target)
    written = {**json.loads((folder / "config.json").read_text()), **config}
    (target / "config.json").write_text(json.dumps(written))
    return target


def test_an_unknown_architecture_is_refused_with_those_that_are_taken(foreign: Folder, tmp_path: Path) -> None:
    odd = {
        "architectures": ["RobotForCausalLM"],
        "model_type": "robot",
        "auto_map": {"AutoModelForCausalLM": "x.Robot"},
    }
    message = refused(changed(foreign("Gemma"), tmp_path / "odd", **odd))
    for words in ("robot", "RobotForCausalLM", "qwen3", "Gemma3ForCausalLM", "Phi3ForCausalLM", "never run"):
        assert words in message
    pictures = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}
    assert "Gemma3ForConditionalGeneration" in refused(changed(foreign("Gemma3"), tmp_path / "pictures", **pictures))


def test_code_that_comes_with_a_model_is_not_run(foreign: Folder, tmp_path: Path) -> None:
    theirs = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
    base = changed(foreign("Phi3"), tmp_path / "base", auto_map=theirs)
    (base / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert load_base(base, CPU).notes
    assert not (tmp_path / "ran").exists()


def test_what_would_train_another_model_than_the_one_named_is_refused(foreign: Folder, tmp_path: Path) -> None:
    packed = {"quantization_config": {"quant_method": "gptq"}}
    assert "quantization_config" in refused(changed(foreign("Gemma"), tmp_path / "packed", **packed))
    both = {"use_bidirectional_attention": True}
    assert "use_bidirectional_attention" in refused(changed(foreign("Gemma3"), tmp_path / "both", **both))
    assert "model.layers.3." in refused(changed(foreign("Gemma"), tmp_path / "short", num_hidden_layers=4))
    assert "config.json says 32x64" in refused(changed(foreign("Gemma"), tmp_path / "wide", intermediate_size=64))
    adapter = changed(foreign("Gemma"), tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text("{}")
    assert "adapter beside" in refused(adapter)
    pickled = changed(foreign("Gemma"), tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "safetensors only" in refused(pickled)


def test_a_linear_that_a_base_has_not_is_refused_by_name(foreign: Folder) -> None:
    phi, phi3 = load_base(foreign("Phi"), CPU), load_base(foreign("Phi3"), CPU)
    with pytest.raises(TrainerError, match=r"gate_proj.*PhiForCausalLM.*up_proj"):
        phi.shapes(dataclasses.replace(SOME, target_modules=("q_proj", "gate_proj")))
    only_q = dataclasses.replace(SOME, target_modules=("q_proj",))
    assert {name.rsplit(".", 1)[1] for name in phi3.shapes(only_q)} == {"qkv_proj"}
    assert {name.rsplit(".", 1)[1] for name in phi.shapes(only_q)} == {"q_proj"}
