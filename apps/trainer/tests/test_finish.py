"""A job ended from outside because its task's metric stopped rising: the adapter of an earlier step, in good order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_py.peft_files import adapter_sha256
from test_cli import begin, skip_to
from test_replay import replayed
from trainer_support import MakeSpec, Run, sums, write_rows

from trainer.events import Checkpoint, Event, Failed, Finished, Validation, Warning
from trainer.loop import Group

ENDLESS: dict[str, Any] = {"epochs": 1000, "checkpoint_every_steps": 2, "evaluate_every_steps": 2}


def finish(run: Run, at: int, step: int) -> Finished:
    """Runs the job to step `at`, then ends it with the adapter of `step`."""
    group = Group(run.model, torch.device("cpu"), lambda: None)
    group.join(run.job)

    def before_round(group: Group) -> None:
        if run.job.step == at:
            group.finish("job", step)

    group.run(before_round)
    assert group.outcomes == {"job": "finished"}
    done = run.events[-1]
    assert isinstance(done, Finished)
    return done


def with_validation(make_spec: MakeSpec, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    spec = make_spec(**{**ENDLESS, **changes})
    spec["validation_file"] = str(write_rows(tmp_path / "v.jsonl", sums(6)))
    return spec


@pytest.mark.parametrize("changes", [{}, {"use_dora": True}, {"early_stopping_patience": 50}], ids=str)
def test_the_adapter_is_the_checkpoint_that_was_asked_for(
    make_spec: MakeSpec, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = Run(with_validation(make_spec, tmp_path, **changes))
    done = finish(run, at=9, step=4)
    checkpoint = next(event for event in run.of(Checkpoint) if event.step == 4)
    assert done.sha256 == checkpoint.sha256 == adapter_sha256(tmp_path / "adapter")
    assert (done.stopped_by, done.steps) == ("task_metric", 9)
    assert done.validation_loss == next(event.loss for event in run.of(Validation) if event.step == 4)
    assert done.tokens == run.job.tokens > 0 and run.of(Warning) == []
    assert not any(isinstance(event, Failed) for event in run.events)


def test_where_the_checkpoint_is_gone_the_newest_state_is_kept_with_a_warning(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    run = Run(with_validation(make_spec, tmp_path))
    newest: list[Event] = []
    done = finish(run, at=8, step=5)
    newest = [event for event in run.of(Checkpoint) if event.step == 8]
    warning = run.of(Warning)[-1]
    assert warning.code == "checkpoint_missing" and "step 5" in warning.message and "step 8" in warning.message
    assert done.sha256 == newest[0].sha256


def test_a_run_that_a_metric_ended_replays_to_the_same_adapter(
    make_spec: MakeSpec, tmp_path: Path, tiny_base: Path
) -> None:
    spec = make_spec(**ENDLESS)
    done = finish(Run(spec), at=9, step=4)
    status, lines = replayed(spec, tmp_path, tiny_base)
    assert status == 0 and lines[-1]["replay"]["same"] and lines[-1]["replay"]["sha256"] == done.sha256
    grove = json.loads((tmp_path / "adapter/grove.json").read_text())
    assert (grove["step"], grove["adapter_step"]) == (9, 4)
    grove["training"]["max_seconds"] = 60
    (tmp_path / "adapter/grove.json").write_text(json.dumps(grove))
    assert "time budget" in replayed(spec, tmp_path, tiny_base)[1][-1]["message"]


@pytest.mark.parametrize("paused", [False, True])
def test_a_job_that_runs_alone_is_finished_over_stdin_even_while_it_stands(
    make_spec: MakeSpec, tmp_path: Path, paused: bool
) -> None:
    child, events = begin(tmp_path / "spec.json", make_spec(**ENDLESS))
    assert child.stdin is not None
    first = skip_to(events, "checkpoint")
    skip_to(events, "checkpoint")
    if paused:
        child.stdin.write('{"pause": "job"}\n')
        child.stdin.flush()
        skip_to(events, "paused")
    child.stdin.write(json.dumps({"finish": "other", "step": 2}) + "\n")
    child.stdin.write(json.dumps({"finish": "job", "step": first["step"]}) + "\n")
    child.stdin.flush()
    done = skip_to(events, "finished")
    assert done["stopped_by"] == "task_metric" and done["sha256"] == first["sha256"]
    assert child.wait(timeout=10) == 0
