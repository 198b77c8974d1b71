from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trainer_support import ROOT, MakeSpec

from trainer.errors import TrainerError
from trainer.session import read_request
from trainer.spec import parse_spec

FIXTURE = ROOT / "packages/contracts/fixtures/trainer-spec.json"


def test_optional_fields_have_their_defaults(make_spec: MakeSpec) -> None:
    raw = make_spec()
    for name in ("optimizer", "neftune_alpha"):
        del raw["training"][name]
    del raw["adapter"]["use_rslora"]
    spec = parse_spec(raw)
    assert (spec.training.optimizer, spec.training.neftune_alpha, spec.adapter.use_rslora) == ("adamw", 0, False)


def problem(raw: Any) -> str:
    with pytest.raises(TrainerError) as caught:
        parse_spec(raw)
    assert caught.value.code == "trainer_bad_spec"
    return caught.value.message


def test_the_golden_spec_is_read_field_by_field() -> None:
    raw = json.loads(FIXTURE.read_text())
    spec = parse_spec(raw)
    assert spec.training.learning_rate == raw["training"]["learning_rate"]
    assert spec.adapter.target_modules == tuple(raw["adapter"]["target_modules"])
    assert spec.validation_file == Path(raw["validation_file"])
    assert (spec.training.max_steps, spec.training.max_seconds) == (None, 300)


def test_an_unknown_field_is_named(make_spec: MakeSpec) -> None:
    raw = make_spec()
    raw["training"]["lerning_rate"] = 1
    assert "training.lerning_rate is not a field" in problem(raw)


@pytest.mark.parametrize("name", ["device", "training", "adapter"])
def test_a_missing_field_is_named(make_spec: MakeSpec, name: str) -> None:
    raw = make_spec()
    del raw[name]
    assert f"{name} is missing" in problem(raw)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", "3"),
        ("batch_size", 1.5),
        ("batch_size", True),
        ("learning_rate", float("nan")),
        ("rank", 0),
        ("rank", 10**6),
        ("dropout", 1),
        ("scheduler", "polynomial"),
        ("device", "tpu"),
        ("seed", -1),
        ("max_seconds", 0),
        ("target_modules", []),
        ("target_modules", ["lm_head"]),
        ("target_modules", ["q_proj", "q_proj"]),
        ("target_modules", "q_proj"),
        ("version", 2),
        ("optimizer", "adafactor"),
        ("neftune_alpha", -1),
        ("use_rslora", 1),
        ("job_id", 5),
        ("train_file", None),
    ],
)
def test_a_value_out_of_its_range_is_named(make_spec: MakeSpec, name: str, value: Any) -> None:
    assert name in problem(make_spec(**{name: value}))


def test_a_file_that_is_not_json_is_a_bad_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(TrainerError) as caught:
        read_request(tmp_path / "spec.json")
    assert caught.value.code == "trainer_bad_spec"
