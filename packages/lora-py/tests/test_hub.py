"""Push and pull with the real huggingface_hub client, against a server that speaks the hub's wire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_py.hub_server import TOKEN, HubState, hub_server
from lora_py.peft_files import AdapterSettings, adapter_sha256, module_shapes, write_adapter
from lora_py.tiny_base import write_tiny_base

HERE = Path(__file__).parents[1]
FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md", "grove.json")
CARD = "---\nbase_model: tiny\n---\n\n# Sums\n"


@pytest.fixture
def hub() -> Iterator[HubState]:
    with hub_server() as state:
        yield state


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "tiny"
    write_tiny_base(folder)
    return folder


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    shapes = module_shapes(json.loads((base / "config.json").read_text()))
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: (torch.randn(4, shape[1], generator=generator), torch.randn(shape[0], 4, generator=generator))
        for name, shape in shapes.items()
        if name.endswith(("q_proj", "down_proj"))
    }
    settings = AdapterSettings(4, 8, 0.1, ("q_proj", "down_proj"), "chat", "tiny")
    write_adapter(tmp_path / "adapter", settings, weights, CARD, {"prompt_template": "Sum {a} and {b}"})
    return tmp_path / "adapter"


def ask(act: str, **request: Any) -> tuple[int, dict[str, Any], str]:
    """Exit status, answer, and everything that a log could have kept."""
    done = subprocess.run(
        [sys.executable, "-m", "lora_py.hub", act],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(HERE), "HF_HOME": str(Path(request["folder"]).parent / "home")},
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def push(hub: HubState, folder: Path, **more: Any) -> tuple[int, dict[str, Any], str]:
    asked = {"endpoint": hub.url, "token": TOKEN, "folder": str(folder), "repo": "acme/sums", "private": True}
    return ask("push", **{**asked, "message": "sums/1 from Grove", **more})


def pull(hub: HubState, folder: Path, base: Path, **more: Any) -> tuple[int, dict[str, Any], str]:
    asked = {"endpoint": hub.url, "token": TOKEN, "folder": str(folder), "repo": "acme/sums", "revision": "main"}
    return ask("pull", **{**asked, "base": str(base), "max_bytes": 1 << 20, **more})


def test_what_was_pushed_is_pulled_back_to_the_byte(hub: HubState, adapter: Path, base: Path, tmp_path: Path) -> None:
    status, pushed, said = push(hub, adapter)
    assert status == 0, said
    assert pushed == {"commit": hub.branches["acme/sums", "main"], "url": f"{hub.url}/acme/sums"}
    assert hub.private == {"acme/sums"} and TOKEN not in said
    assert len(hub.objects) == 1  # the weights went to the store, the rest with the commit

    status, pulled, said = pull(hub, tmp_path / "back", base)
    assert status == 0, said
    assert pulled["sha256"] == adapter_sha256(adapter) == adapter_sha256(tmp_path / "back")
    assert pulled["commit"] == pushed["commit"] and TOKEN not in said
    assert {path.name for path in (tmp_path / "back").iterdir()} == set(FILES)
    for name in FILES:
        assert (tmp_path / "back" / name).read_bytes() == (adapter / name).read_bytes()
    about = {"rank": 4, "alpha": 8.0, "dropout": 0.1, "prompt_format": "chat", "base_model": "tiny"}
    assert about.items() <= pulled.items() and pulled["prompt_template"] == "Sum {a} and {b}"
    assert hub.tokens_at_store == [""]


def test_a_second_push_adds_a_commit_to_the_repository_that_is_there(hub: HubState, adapter: Path) -> None:
    first = push(hub, adapter)[1]["commit"]
    (adapter / "README.md").write_text(CARD + "\nScored 0.9.\n")
    status, second, said = push(hub, adapter)
    assert status == 0 and second["commit"] != first, said
    assert len(hub.objects) == 1
    assert (hub.commits[second["commit"]] / "README.md").read_text().endswith("Scored 0.9.\n")


def test_other_files_of_the_folder_stay_at_home(hub: HubState, adapter: Path) -> None:
    (adapter / "optimizer.pt").write_bytes(b"private")
    commit = push(hub, adapter)[1]["commit"]
    assert not (hub.commits[commit] / "optimizer.pt").exists()


@pytest.mark.parametrize("token", ["hf_wrong", None])
def test_a_token_that_may_not_write_is_told_so(hub: HubState, adapter: Path, token: str | None) -> None:
    status, answer, said = push(hub, adapter, token=token)
    assert (status, answer["error"]["code"]) == (1, "hub_refused")
    assert "hf_wrong" not in said and not hub.branches


def test_a_private_repository_is_not_found_without_its_token(hub: HubState, adapter: Path, base: Path) -> None:
    push(hub, adapter)
    status, answer, _ = pull(hub, adapter.parent / "back", base, token=None)
    assert (status, answer["error"]["code"]) == (1, "hub_refused")
    assert "was not found on the hub, or the token does not open it" in answer["error"]["message"]
    assert pull(hub, adapter.parent / "back", base, revision="v9")[1]["error"]["message"].endswith("no such revision.")


def test_a_hub_that_is_away_may_be_asked_again(adapter: Path, base: Path) -> None:
    gone = HubState(url="http://127.0.0.1:9")
    assert pull(gone, adapter.parent / "back", base)[1]["error"]["code"] == "hub_unavailable"


def refused(hub: HubState, adapter: Path, base: Path) -> str:
    files = {path.name: path.read_bytes() for path in adapter.iterdir()}
    hub.add_commit("acme/sums", files)
    status, answer, _ = pull(hub, adapter.parent / "back", base)
    assert status == 1
    return f"{answer['error']['code']}: {answer['error']['message']}"


def test_pickled_weights_are_refused_before_anything_is_fetched(hub: HubState, adapter: Path, base: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert "no adapter_model.safetensors at its root. Pickled weights are never loaded." in refused(hub, adapter, base)
    assert not any("resolve" in line for line in hub.requests)


def test_a_file_over_the_limit_is_refused_before_it_is_fetched(hub: HubState, adapter: Path, base: Path) -> None:
    with (adapter / "adapter_model.safetensors").open("ab") as file:
        file.truncate((1 << 20) + 1)
    assert f"has {(1 << 20) + 1} bytes; at most {1 << 20} are taken" in refused(hub, adapter, base)
    assert not any("resolve" in line for line in hub.requests)


def test_modules_that_the_base_has_not_are_refused_by_name(hub: HubState, adapter: Path, base: Path) -> None:
    other = adapter.parent / "other"
    other.mkdir()
    config = json.loads((base / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    assert "The base model has no module named layers.1." in refused(hub, adapter, other)


def test_saved_modules_are_refused_by_name(hub: HubState, adapter: Path, base: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "modules_to_save": ["lm_head"]}))
    assert "modules_to_save is set, which is not supported" in refused(hub, adapter, base)
