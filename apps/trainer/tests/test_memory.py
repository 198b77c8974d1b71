"""What is told of memory before a job begins: close to what it takes, and refused in words where that is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_py.tiny_base import write_tiny_base
from test_quote import call
from torch import Tensor
from trainer_support import CPU, MakeSpec, sums

from trainer import memory, session
from trainer.errors import TrainerError
from trainer.events import Event, Failed
from trainer.lora import adapter_size, new_lora
from trainer.memory import Need, Pass, largest_pass, refuse_what_cannot_fit
from trainer.model import Trained, load_model
from trainer.packing import Example, pack
from trainer.session import Session
from trainer.spec import AdapterSpec, parse_spec

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}], ids=str)
@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, None), (torch.bfloat16, None), (torch.float32, 8)])
def test_a_base_takes_the_bytes_that_its_files_foretell(
    tmp_path: Path, changes: dict[str, Any], dtype: torch.dtype, bits: int | None
) -> None:
    base = write_tiny_base(tmp_path / "base", intermediate_size=512, **changes)
    model = load_model(base, CPU, torch.float32, dtype, quantized=None if bits is None else "int8")
    held = model.embeddings.nbytes + model.norm.nbytes + (0 if model.head is model.embeddings else model.head.nbytes)
    for layer in model.layers:
        held += layer.input_norm.nbytes + layer.mlp_norm.nbytes
        held += sum(
            linear.weight.dense().numel() * (bits or 8 * dtype.itemsize) // 8 for linear in layer.linears.values()
        )
    assert memory.base_bytes(base, dtype, bits) == pytest.approx(held)


@pytest.mark.parametrize("use_dora", [False, True])
def test_a_step_keeps_the_bytes_that_are_foretold(tmp_path: Path, use_dora: bool) -> None:
    """Counted where it is known exactly: what autograd keeps, each storage once."""
    base = write_tiny_base(tmp_path / "base", hidden_size=128, intermediate_size=256, num_hidden_layers=12)
    model = load_model(base, CPU, torch.float32)
    adapter = AdapterSpec(1, 8, 0.0, MODULES, use_dora=use_dora)
    lora = new_lora(adapter, model.config, 0, CPU, squares=model.squares)
    rows = [Example(tuple(range(4 + i, 100 + i)), tuple(range(100, 132))) for i in range(4)]
    storages: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()  # alive, so no address comes twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.losses(pack([rows], [1], CPU), [Trained(lora)]).sum()
    assert torch.isfinite(loss)
    kept = sum(storage.nbytes() for storage in storages.values()) - lora.flat.nbytes
    foretold = memory.kept_bytes(model.config, largest_pass(rows, 4), use_dora)
    assert foretold == pytest.approx(kept, rel=0.1)


def test_the_largest_pass_is_that_of_the_longest_rows_or_of_one_that_is_longer_than_a_pass() -> None:
    short, long = Example((1,) * 99, (2,)), Example((1,) * 4999, (2,))
    assert largest_pass([short] * 50, 4) == Pass(400, 100)
    assert largest_pass([short] * 50, 40) == Pass(1024, 100)
    assert largest_pass([short, long], 2) == Pass(5000, 5000)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit"])
def test_a_quote_counts_the_optimizer_and_tells_what_is_free(
    make_spec: MakeSpec, tmp_path: Path, optimizer: str
) -> None:
    spec = make_spec(rank=256, target_modules=list(MODULES), optimizer=optimizer, epochs=1)
    quote = call("quote", spec, tmp_path)[1][0]["quote"]
    assert quote["memory_available_bytes"] > quote["memory_bytes"] > 100_000_000
    parsed = parse_spec(spec)
    numbers = adapter_size(
        parsed.adapter, load_model(parsed.base_model.path, CPU, torch.float32).shapes(parsed.adapter)
    )
    state = memory.adapter_bytes(parsed, numbers, held=True)
    assert state == numbers * (8 if optimizer == "adamw" else 2.03125)


def failures(raw: dict[str, Any]) -> list[str]:
    events: list[Event] = []
    Session(lambda _: events.append, lambda: None).add(raw)
    assert all(event.code == "trainer_out_of_memory" for event in events if isinstance(event, Failed))
    return [event.message for event in events if isinstance(event, Failed)]


def test_a_base_that_cannot_fit_is_not_loaded(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(session, "load_base", never)
    monkeypatch.setattr(session, "available_bytes", lambda _: 10_000)
    (message,) = failures(make_spec())
    assert "0.00 GB are free" in message and "for the base model" in message and "quantization" in message


def test_a_step_that_cannot_fit_is_refused_before_the_first_with_numbers_and_cures(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(rows=sums(64), batch_size=32, rank=16)
    free = [1_000_000_000, 2_000_000]
    monkeypatch.setattr(session, "available_bytes", lambda _: free.pop(0))
    (message,) = failures(spec)
    assert "Beside its base model, this job needs about" in message and "for a step of" in message
    for cure in ("training.batch_size below 32", "training.max_length below", "adapter.rank below 16"):
        assert cure in message
    monkeypatch.undo()
    assert failures(spec) == []


def test_a_single_long_row_is_not_blamed_on_the_batch(make_spec: MakeSpec) -> None:
    spec = parse_spec(make_spec())
    with pytest.raises(TrainerError) as caught:
        refuse_what_cannot_fit(Need(0, 1e9, 9e9), 5_000_000_000, spec, Pass(5000, 5000))
    assert "10.00 GB" in caught.value.message and "5.00 GB are free" in caught.value.message
    assert "batch_size" not in caught.value.message and "training.max_length below 5000" in caught.value.message


def test_the_limit_of_the_container_counts_and_its_file_cache_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 400000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_bytes(CPU) == 900_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes(CPU) > 900_000
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "nowhere")
    assert memory.available_bytes(CPU) > 900_000


def test_jobs_of_a_group_share_the_memory_of_a_step(make_spec: MakeSpec, tmp_path: Path, monkeypatch: Any) -> None:
    """The second job of the same size asks for its adapter alone."""
    needs: list[Need] = []
    monkeypatch.setattr(session, "refuse_what_cannot_fit", lambda need, *_: needs.append(need))
    events: list[Event] = []
    shared = Session(lambda _: events.append, lambda: None)
    for name in "ab":
        raw = json.loads(json.dumps(make_spec()))
        shared.add({**raw, "job_id": name, "checkpoint_dir": str(tmp_path / name)})
    assert [event.event for event in events] == ["started", "started"]
    assert needs[0].base > 0 and needs[1].step > 0
    assert (needs[2].base, needs[2].step) == (0, 0) and needs[2].adapter == needs[1].adapter > 0
