"""A job's own decisions, in process and with a clock that the test moves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from trainer_support import CPU, MakeSpec, Run, Ticking, sums, write_rows

from trainer.checkpoint import Position, read_latest, write_checkpoint
from trainer.errors import TrainerError, as_trainer_error
from trainer.events import Cancelled, Started, StepDone, Validation, Warning
from trainer.interrupt import Stopped
from trainer.loop import Group
from trainer.objectives import Measured


def test_a_time_budget_ends_the_run_with_the_rate_near_zero(make_spec: MakeSpec) -> None:
    run = Run(make_spec(epochs=1000, max_seconds=100), Ticking(0.5))
    done = run.train()
    assert done.stopped_by == "max_seconds" and 100 <= done.seconds < 110
    assert run.of(StepDone)[-1].learning_rate < 0.1 * 0.01


def test_the_manifest_holds_what_a_replay_needs(make_spec: MakeSpec, tmp_path: Path, tiny_base: Path) -> None:
    spec = make_spec(max_steps=1)
    Run(spec).train()
    grove = json.loads((tmp_path / "adapter/grove.json").read_text())
    assert grove["base_sha256"] == hashlib.sha256((tiny_base / "model.safetensors").read_bytes()).hexdigest()
    assert grove["data_sha256"] == hashlib.sha256((tmp_path / "train.jsonl").read_bytes()).hexdigest()
    assert (grove["training"]["seed"], grove["training"]["max_steps"]) == (7, 1)
    assert grove["versions"]["torch"] == torch.__version__ and grove["hardware"]["device"] == "cpu"


def test_max_steps_ends_the_run(make_spec: MakeSpec) -> None:
    done = Run(make_spec(max_steps=3)).train()
    assert (done.steps, done.stopped_by) == (3, "max_steps")


def test_early_stopping_keeps_the_best_adapter(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(epochs=50, learning_rate=0.3, evaluate_every_steps=2, early_stopping_patience=3)
    spec["validation_file"] = str(write_rows(tmp_path / "v.jsonl", [("Add the numbers.\n9 + 9 =", "18")] * 4))
    run = Run(spec)
    done = run.train()
    losses = [event.loss for event in run.of(Validation)]
    assert done.stopped_by == "early_stopping" and done.steps < 250
    assert done.validation_loss == min(losses) and losses[-3:] == [x for x in losses[-3:] if x >= min(losses)]


def test_early_stopping_without_validation_rows_is_told(make_spec: MakeSpec) -> None:
    assert [w.code for w in Run(make_spec(early_stopping_patience=2)).of(Warning)] == ["no_validation"]


def test_a_large_validation_file_is_sampled_and_said_so(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec()
    spec["validation_file"] = str(write_rows(tmp_path / "v.jsonl", sums(500)))
    run = Run(spec)
    assert len(run.job.validation_rows) == 32 and run.of(Started)[0].validation_rows == 500
    assert "validation_sampled" in [w.code for w in run.of(Warning)]


def test_without_validation_the_result_says_none(make_spec: MakeSpec) -> None:
    assert Run(make_spec(epochs=1)).train().validation_loss is None


def test_a_stop_in_mid_step_ends_the_loop(make_spec: MakeSpec) -> None:
    run, calls = Run(make_spec()), iter(range(10**9))

    def check() -> None:
        if next(calls) == 10:
            raise Stopped

    group = Group(run.model, CPU, check)
    group.join(run.job)
    group.run()
    assert group.outcomes == {"job": "cancelled"} and run.job.step < run.job.total_steps
    assert isinstance(run.events[-1], Cancelled)


def test_gradients_are_clipped_to_the_norm(make_spec: MakeSpec) -> None:
    run = Run(make_spec(max_grad_norm=0.001, weight_decay=0))
    run.job.lora.flat_grad.fill_(1.0)
    run.job.update(Measured(1.0), [])
    assert run.job._optimizer.state[run.job._parameter]["exp_avg"].norm() == pytest.approx(0.0001, rel=1e-3)


def position(step: int) -> Position:
    return Position(step, 10, 1.5, (0.5, 0.25), None, 0.5, 1)


def test_a_checkpoint_comes_back_whole_and_only_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, "f", position(step), {"adapter": torch.full((3,), float(step))})
    found, ignored = read_latest(tmp_path, "f")
    assert found is not None and ignored == []
    assert found[0] == position(3) and found[1]["adapter"].tolist() == [3, 3, 3]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_broken_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, "f", position(step), {"adapter": torch.zeros(3)})
    newest = tmp_path / "step-00000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:50])
    found, ignored = read_latest(tmp_path, "f")
    assert found is not None and found[0].step == 1
    assert len(ignored) == 1 and "step-00000002" in ignored[0]


def test_a_half_written_checkpoint_is_never_looked_at(tmp_path: Path) -> None:
    (tmp_path / "step-00000009.part").write_bytes(b"half")
    assert read_latest(tmp_path, "f") == (None, [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(28, "No space left on device"), "trainer_disk_full"),
        (MemoryError(), "trainer_out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "trainer_out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "trainer_out_of_memory"),
        (PermissionError(13, "denied"), "trainer_failed"),
        (ValueError("x"), "trainer_failed"),
        (TrainerError("trainer_bad_data", "x"), "trainer_bad_data"),
    ],
)
def test_every_kind_of_failure_has_its_code(error: Exception, code: str) -> None:
    assert as_trainer_error(error).code == code
