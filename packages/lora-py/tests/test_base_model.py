from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lora_py import base_model
from lora_py.base_model import BaseModelError, ensure_default, open_base


def folder(path: Path, model_type: str = "llama", weights: str = "model.safetensors") -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (path / "tokenizer.json").write_text("{}")
    (path / weights).write_bytes(b"")
    return path


def test_a_hugging_face_folder_is_used_as_it_is(tmp_path: Path) -> None:
    base = open_base(folder(tmp_path / "qwen", "qwen2"))
    assert base.config["model_type"] == "qwen2"
    assert [file.name for file in base.weight_files] == ["model.safetensors"]


def test_sharded_weights_are_found_through_their_index(tmp_path: Path) -> None:
    path = folder(tmp_path / "big", weights="model-1.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    assert [file.name for file in open_base(path).weight_files] == ["model-1.safetensors"]


def test_an_index_that_points_outside_its_folder_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "evil")
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(BaseModelError, match="outside its folder"):
        open_base(path)


def test_other_architectures_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="bert"):
        open_base(folder(tmp_path / "bert", "bert"))


def test_a_folder_of_a_family_that_computes_otherwise_is_taken_as_the_stack_s_base(tmp_path: Path) -> None:
    gemma = folder(tmp_path / "gemma", "gemma3_text")
    assert ensure_default(gemma, print).config["model_type"] == "gemma3_text"
    with pytest.raises(BaseModelError, match="gemma3_text"):
        open_base(gemma)
    with pytest.raises(BaseModelError, match="bert"):
        ensure_default(folder(tmp_path / "bert", "bert"), print)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"model\.safetensors is missing"):
        open_base(folder(tmp_path / "old", weights="pytorch_model.bin"))


def test_an_existing_folder_is_returned_without_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model.subprocess, "run", lambda *_a, **_k: pytest.fail("fetched"))
    assert ensure_default(folder(tmp_path / "mine"), print).path == tmp_path / "mine"


def test_a_failed_fetch_says_why_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found\n")
    monkeypatch.setattr(base_model.subprocess, "run", lambda *_a, **_k: answer)
    with pytest.raises(BaseModelError, match="No matching distribution"):
        ensure_default(tmp_path / "base", print)
    assert list(tmp_path.iterdir()) == []


def test_the_work_folder_of_a_killed_process_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f".base.{dead.pid}.xyz").mkdir()
    answer = subprocess.CompletedProcess([], 1, "", "no network")
    monkeypatch.setattr(base_model.subprocess, "run", lambda *_a, **_k: answer)
    with pytest.raises(BaseModelError):
        ensure_default(tmp_path / "base", print)
    assert list(tmp_path.iterdir()) == []
