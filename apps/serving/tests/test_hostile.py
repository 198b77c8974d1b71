"""Adapters made to do harm: each is refused by name with its reason, and the next good one is served."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import torch
from conftest import Served
from gateway import SECRET
from lora_py.peft_files import adapter_sha256
from rig import Rig, open_rig
from safetensors.torch import load_file, save_file
from tiny import write_lora

from serving.adapters.identity import AdapterFailure, AdapterRef

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Q = "base_model.model.model.layers.0.self_attn.q_proj"
Spoil = Callable[[Path], None]


def tensors(**changes: torch.Tensor | None) -> Spoil:
    """Replaces tensors of layer 0's q_proj: A, B; or adds them under the key given."""

    def spoil(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        for key, tensor in changes.items():
            name = f"{Q}.lora_{key}.weight" if key in "AB" else key
            if tensor is None:
                del found[name]
            else:
                found[name] = tensor
        save_file(found, folder / WEIGHTS)

    return spoil


def body(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda folder: (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes())) and None


def header(change: Callable[[dict], object]) -> Spoil:
    def spoil(data: bytes) -> bytes:
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        made = json.dumps(change(head) or head).encode()
        return len(made).to_bytes(8, "little") + made + data[8 + size :]

    return body(spoil)


def config(**changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        found = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**found, **changes}))

    return spoil


def move_tensor(head: dict) -> None:
    head[f"{Q}.lora_A.weight"]["data_offsets"] = [0, 1 << 40]


def overlap(head: dict) -> None:
    first, second = [key for key in head if key != "__metadata__"][:2]
    head[second]["data_offsets"] = head[first]["data_offsets"]


BAD: dict[str, tuple[Spoil, str]] = {
    "cut-off": (body(lambda data: data[:-64]), "not a readable safetensors"),
    "empty": (body(lambda data: b""), "not a readable safetensors"),
    "header-of-an-exabyte": (body(lambda data: (1 << 60).to_bytes(8, "little") + data[8:]), "header of more than"),
    "header-not-json": (body(lambda data: data[:8] + b"\xff" * (len(data) - 8)), "not a readable safetensors"),
    "offsets-beyond-the-end": (header(move_tensor), "not a readable safetensors"),
    "tensors-that-overlap": (header(overlap), "not a readable safetensors"),
    "shape-of-another-rank": (tensors(A=torch.zeros(5, 64)), "which do not fit r=4"),
    "shape-of-another-base": (tensors(A=torch.zeros(4, 128)), "another base"),
    "three-dimensions": (tensors(B=torch.zeros(64, 4, 1)), "which do not fit r=4"),
    "nan": (tensors(A=torch.full((4, 64), float("nan"))), "not finite"),
    "infinity": (tensors(B=torch.full((64, 4), float("inf"))), "not finite"),
    "both-infinities": (tensors(B=torch.tensor([[float("inf"), -float("inf")] * 2] * 64)), "not finite"),
    "too-large-for-half": (tensors(B=torch.full((64, 4), 3e38)), "too large for float"),
    "integers": (tensors(A=torch.zeros(4, 64, dtype=torch.int8)), "not made of floating-point"),
    "one-half": (tensors(A=None), "lora_B only"),
    "a-layer-too-many": (
        tensors(**{key.replace("layers.0", "layers.3"): t for key, t in
                   {f"{Q}.lora_A.weight": torch.zeros(4, 64), f"{Q}.lora_B.weight": torch.zeros(64, 4)}.items()}),
        "layers.3.self_attn.q_proj",
    ),
    "tensor-of-the-head": (tensors(**{"base_model.model.lm_head.weight": torch.zeros(2)}), "lm_head"),
    "rank-of-a-million": (config(r=10**6), "r must be a whole number"),
    "rank-that-is-not-the-files": (config(r=8), "which do not fit r=8"),
    "alpha-of-nan": (config(lora_alpha=float("nan")), "lora_alpha must be a number"),
    "alpha-of-1e300": (config(lora_alpha=1e300), "too large for float"),
    "pattern-that-never-ends": (config(alpha_pattern={"(a+)+$": 4}), "alpha_pattern names"),
    "config-too-deep": (lambda folder: (folder / CONFIG).write_text("[" * 100_000) and None, "not readable JSON"),
    "config-too-long": (lambda folder: (folder / CONFIG).write_text(" " * (2 << 20)) and None, "larger than"),
    "over-64": (lambda folder: write_lora(folder, 1, 65) and None, "rank 65; the limit is 64"),
}  # fmt: skip


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    with open_rig(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_do_harm_are_refused_by_name_and_the_next_adapter_is_served(rig: Rig, name: str) -> None:
    spoil, why = BAD[name]
    folder = rig.root / "bad" / name
    write_lora(folder, 1)
    spoil(folder)
    rig.gateway.adapters["a", f"{name}/1"] = folder
    ref = AdapterRef("a", f"{name}/1", adapter_sha256(folder), "raw", "grove")
    with pytest.raises(AdapterFailure, match=name) as caught:
        rig.load(ref)
    assert why in str(caught.value)
    assert rig.record(ref).state == "failed" and why in rig.record(ref).error
    assert not list(rig.cache.glob(f"{ref.sha256}-*")), "a refused adapter left a packed block"
    rig.load(rig.publish("good", 100 + list(BAD).index(name)))


def link_folder(local: Path, outside: Path) -> None:
    (local / "x").symlink_to(outside)


def link_weights(local: Path, outside: Path) -> None:
    write_lora(local / "x", 1)
    (local / "x" / WEIGHTS).unlink()
    (local / "x" / WEIGHTS).symlink_to(outside / WEIGHTS)


def link_config(local: Path, outside: Path) -> None:
    write_lora(local / "x", 1)
    (local / "x" / CONFIG).unlink()
    (local / "x" / CONFIG).symlink_to("/etc/passwd")


def link_format(local: Path, outside: Path) -> None:
    write_lora(local / "x", 1)
    (local / "x" / "grove.json").unlink()
    (local / "x" / "grove.json").symlink_to(outside / "grove.json")


def pipe(local: Path, outside: Path) -> None:
    write_lora(local / "x", 1)
    (local / "x" / WEIGHTS).unlink()
    os.mkfifo(local / "x" / WEIGHTS)


@pytest.mark.parametrize("trick", [link_folder, link_weights, link_config, link_format, pipe])
def test_nothing_leads_out_of_the_local_root(tmp_path: Path, trick: Callable[[Path, Path], None]) -> None:
    write_lora(tmp_path / "outside", 1)
    with open_rig(tmp_path) as rig:
        trick(tmp_path / "local", tmp_path / "outside")
        with pytest.raises(AdapterFailure, match="adapter x"):
            rig.locate("local", "x")


@pytest.mark.parametrize("name", ["..", "../outside", "x/../../outside", "/etc", "x//y", "", ".hidden", "x\x00y", "é"])
def test_local_names_that_are_no_folder_names_are_refused(tmp_path: Path, name: str) -> None:
    write_lora(tmp_path / "outside", 1)
    with open_rig(tmp_path) as rig, pytest.raises(AdapterFailure, match="not a folder name"):
        rig.locate("local", name)


def test_a_server_goes_on_serving_through_all_of_it(served: Served, tmp_path: Path) -> None:
    before = served.generate(adapter_id="all-4/1").json()
    for number, (name, (spoil, why)) in enumerate(BAD.items()):
        write_lora(tmp_path / name, 1)
        spoil(tmp_path / name)
        served.gateway.adapters["a", f"{name}/9"] = tmp_path / name
        answer = served.generate(adapter_id=f"{name}/9")
        assert answer.status_code == 424 and why in answer.json()["error"], name
        if number % 8 == 0:
            assert served.generate(adapter_id="all-4/1").json() == before
    listed = httpx.get(f"{served.url}/adapters", headers={"authorization": f"Bearer {SECRET}"}).json()["adapters"]
    assert sum(a["state"] == "failed" and a["id"].endswith("/9") for a in listed) == len(BAD)
    assert served.http.get("/health").status_code == 200
