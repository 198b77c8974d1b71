"""Several jobs in one step over one base, against the plain twin: each job alone."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_py.peft_files import MODULE_PARENTS, read_adapter
from lora_py.tiny_base import write_tiny_base
from trainer_support import ENVIRONMENT, KERNELS, MakeSpec, write_rows

from trainer import loop, native, step
from trainer.data import read_rows
from trainer.encode import encoder
from trainer.events import Event, Failed, Finished
from trainer.job import Job
from trainer.loop import Group
from trainer.lora import new_lora
from trainer.model import Model, load_model
from trainer.objectives import Measured, Totals
from trainer.packing import Example
from trainer.spec import parse_spec
from trainer.step import Part, combine, gradient_step

CPU = torch.device("cpu")
WORDS = ["red", "blue", "green", "round", "flat"]
SHAPES: list[dict[str, Any]] = [
    {"rank": 4, "seed": 1},
    {"rank": 8, "seed": 2, "target_modules": list(MODULE_PARENTS)},
    {"rank": 2, "seed": 3, "target_modules": ["o_proj"], "batch_size": 3},
    {"rank": 16, "seed": 4, "target_modules": ["gate_proj", "up_proj"], "dropout": 0.2},
    {"rank": 4, "seed": 5, "target_modules": ["k_proj"], "learning_rate": 0.001, "scheduler": "linear"},
    {"rank": 4, "seed": 6, "batch_size": 1, "max_steps": 4},
    {"rank": 1, "seed": 7, "target_modules": ["down_proj"], "dropout": 0.1},
    {"rank": 4, "seed": 8, "weight_decay": 0.1, "max_grad_norm": 0.05},
    {"rank": 4, "seed": 9, "use_dora": True, "dropout": 0.1},
]
TILES = native.multiplies(torch.zeros(1, 64), torch.zeros(64, 64, dtype=torch.bfloat16))


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Model:
    return load_model(tiny_base, CPU, torch.float32)


@pytest.fixture
def specs(make_spec: MakeSpec, tmp_path: Path) -> list[dict[str, Any]]:
    """Jobs of different data, rank, modules, batch size, dropout, schedule and length."""
    made = []
    for i, changes in enumerate(SHAPES):
        spec = copy.deepcopy(make_spec(**changes))
        rows = [(f"Task {i}. {'Consider. ' * (i % 3)}{WORDS[n % 5]} {n}:", WORDS[(n + i) % 5]) for n in range(12 + i)]
        spec["train_file"] = str(write_rows(tmp_path / f"t{i}.jsonl", rows))
        spec["job_id"], spec["output_dir"] = f"job-{i}", str(tmp_path / f"a{i}")
        spec["checkpoint_dir"] = str(tmp_path / f"c{i}")
        made.append(spec)
    return made


def make_job(raw: dict[str, Any], model: Model, events: list[Event] | None = None) -> Job:
    spec = parse_spec(raw)
    rows = read_rows(spec.train_file, encoder(spec.base_model.path, model.config, "raw"), None, 256)
    lora = new_lora(spec.adapter, model.config, spec.training.seed, CPU, squares=model.squares)
    job = Job(spec, rows, None, lora, ([] if events is None else events).append, lambda: 0.0)
    job.start("cpu")
    return job


def run(jobs: list[Job], model: Model) -> Group:
    group = Group(model, CPU, lambda: None)
    for job in jobs:
        group.join(job)
    group.run()
    return group


def stir(job: Job) -> None:
    noise = torch.randn(job.lora.flat.shape, generator=torch.Generator().manual_seed(job.spec.training.seed))
    job.lora.restore(job.lora.flat + 0.05 * noise)


def same(a: torch.Tensor, b: torch.Tensor, otherwise: float) -> bool:
    """To the bit, where there are kernels."""
    return torch.equal(a, b) if KERNELS else float((a - b).norm() / b.norm()) < otherwise


def test_one_step_of_many_jobs_has_each_jobs_own_gradient_and_loss(model: Model, specs: list[dict[str, Any]]) -> None:
    jobs = [make_job(spec, model) for spec in specs]
    for job in jobs:
        stir(job)
    together = gradient_step(model, {job: job.next_rows() for job in jobs}, CPU, lambda: None)
    for job in jobs:
        grouped = job.lora.flat_grad.clone()
        job.lora.flat_grad.zero_()
        alone = gradient_step(model, {job: job.next_rows()}, CPU, lambda: None)
        assert together[job].loss == pytest.approx(alone[job].loss, rel=1e-5)
        assert same(grouped, job.lora.flat_grad, otherwise=1e-5)


def test_whole_runs_end_where_solo_runs_end(model: Model, specs: list[dict[str, Any]], tmp_path: Path) -> None:
    grouped = [make_job(spec, model) for spec in specs]
    assert set(run(grouped, model).outcomes.values()) == {"finished"}
    for spec, job in zip(specs, grouped, strict=True):
        alone = make_job({**spec, "output_dir": str(tmp_path / "alone"), "checkpoint_dir": str(tmp_path / "x")}, model)
        run([alone], model)
        assert (alone.step, alone.tokens) == (job.step, job.tokens)
        assert same(job.lora.flat, alone.lora.flat, otherwise=1e-3)


@pytest.mark.parametrize("products", [torch.float32, *([torch.bfloat16] if TILES else [])])
def test_neither_company_nor_threads_change_a_bit_of_a_step(
    products: torch.dtype, specs: list[dict[str, Any]], tmp_path: Path
) -> None:
    base = write_tiny_base(tmp_path / "base", hidden_size=128, head_dim=32, intermediate_size=640)
    model = load_model(base, CPU, torch.float32, products)
    jobs = [make_job({**spec, "base_model": {**spec["base_model"], "path": str(base)}}, model) for spec in specs]
    for job in jobs:
        stir(job)

    def gradients(*parts: list[Job]) -> list[torch.Tensor]:
        for part in parts:
            gradient_step(model, {job: job.next_rows() for job in part}, CPU, lambda: None)
        found = [job.lora.flat_grad.clone() for job in jobs]
        for job in jobs:
            job.lora.flat_grad.zero_()
        return found

    threads = torch.get_num_threads()
    found = [gradients(*([job] for job in jobs)), gradients(jobs[:3], jobs[3:]), gradients(jobs)]
    torch.set_num_threads(2 if threads == 1 else 1)
    found.append(gradients(jobs))
    torch.set_num_threads(threads)
    for others in found[1:]:
        for alone, shared in zip(found[0], others, strict=True):
            assert float(alone.abs().sum()) > 0
            assert same(shared, alone, otherwise=1e-5)


def test_a_job_that_diverges_fails_alone(model: Model, specs: list[dict[str, Any]]) -> None:
    events: list[list[Event]] = [[] for _ in specs]
    jobs = [make_job(spec, model, own) for spec, own in zip(specs, events, strict=True)]
    for job in jobs:
        stir(job)
    jobs[2].lora.flat.fill_(float("nan"))
    steps = {job: job.next_rows() for job in jobs}
    gradient_step(model, steps, CPU, lambda: None)
    poisoned = [job.lora.flat_grad.clone() for job in jobs]
    for job in jobs:
        job.lora.flat_grad.zero_()
    jobs[2].lora.flat.fill_(0.01)
    gradient_step(model, steps, CPU, lambda: None)
    assert all(
        torch.equal(a, job.lora.flat_grad) for i, (a, job) in enumerate(zip(poisoned, jobs, strict=True)) if i != 2
    )

    jobs[2].lora.flat.fill_(float("nan"))
    outcomes = run(jobs, model).outcomes
    assert [job_id for job_id, outcome in outcomes.items() if outcome == "failed"] == ["job-2"]
    failed = events[2][-1]
    assert isinstance(failed, Failed) and failed.code == "trainer_diverged"
    assert all(isinstance(own[-1], Finished) for i, own in enumerate(events) if i != 2)


def test_out_of_memory_together_is_tried_alone(
    model: Model, specs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop.gradient_step

    def scarce(model: Model, steps: dict[Job, list[Example]], *rest: Any) -> dict[Job, Measured]:
        if len(steps) > 1 or next(iter(steps)).spec.job_id == "job-1":
            raise MemoryError
        return real(model, steps, *rest)

    monkeypatch.setattr(loop, "gradient_step", scarce)
    outcomes = run([make_job(spec, model) for spec in specs[:3]], model).outcomes
    assert outcomes == {"job-0": "finished", "job-1": "failed", "job-2": "finished"}


def test_passes_of_the_base_hold_each_job_once_and_keep_the_limit(model: Model, specs: list[dict[str, Any]]) -> None:
    jobs = [make_job(spec, model) for spec in specs[:3]]
    rows = [Example(tuple(range(50)), (1,)) for _ in range(2)]
    parts = [Part(job, i, rows[i : i + 1], Totals.of(rows)) for job in jobs for i in range(2)]
    passes = combine(parts, 120)
    assert sorted(len(one) for one in passes) == [1, 1, 2, 2] or sum(len(one) for one in passes) == 6
    assert all(len({part.job for part in one}) == len(one) <= 2 for one in passes)


# --- as a process


def talk(spec: Any, lines: list[Any], tmp_path: Path) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    (tmp_path / "group.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "run", "--spec", str(tmp_path / "group.json")],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=90,
    )
    events: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        value = json.loads(line)
        events.setdefault(value["job_id"], []).append(value["event"])
    return done.returncode, events


def test_a_group_runs_to_the_end_of_each_job_with_joins_cancels_and_refusals(
    specs: list[dict[str, Any]], make_spec: MakeSpec, tmp_path: Path
) -> None:
    endless = {**specs[0], "training": {**specs[0]["training"], "epochs": 1000}}
    broken = {**specs[1], "train_file": str(write_rows(tmp_path / "none.jsonl", []))}
    elsewhere = {**specs[4], "base_model": {"id": "other", "path": "/other"}}
    commands = [{"join": specs[3]}, {"cancel": "job-0"}, {"nonsense": 1}, {"join": specs[2]}]
    status, events = talk({"version": 1, "jobs": [endless, broken, specs[2], elsewhere]}, commands, tmp_path)
    assert status == 0
    last = {job_id: own[-1] for job_id, own in events.items()}
    assert last["job-0"]["event"] == "cancelled"
    assert (last["job-1"]["event"], last["job-1"]["code"]) == ("failed", "trainer_bad_data")
    assert last["job-3"]["event"] == "finished"
    assert (last["job-4"]["event"], last["job-4"]["code"]) == ("failed", "trainer_bad_spec")
    finished = next(event for event in events["job-2"] if event["event"] == "finished")
    assert read_adapter(tmp_path / "a2").sha256 == finished["sha256"]
    assert any(e["event"] == "failed" and "twice" in e["message"] for e in events["job-2"])


def test_a_group_without_jobs_is_a_bad_spec(tmp_path: Path) -> None:
    (tmp_path / "group.json").write_text('{"version": 1, "jobs": []}')
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "run", "--spec", str(tmp_path / "group.json")],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 1 and json.loads(done.stdout)["code"] == "trainer_bad_spec"


def test_nothing_of_a_pass_is_alive_in_the_next(
    specs: list[dict[str, Any]], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []
    objective, pack = step.objective, step.pack

    def remembered(*args: Any) -> tuple[torch.Tensor, Measured]:
        loss, measured = objective(*args)
        made.append(weakref.ref(loss))
        return loss, measured

    def watched(*args: Any) -> Any:
        alive.extend(one() is not None for one in made)
        return pack(*args)

    monkeypatch.setattr(step, "objective", remembered)
    monkeypatch.setattr(step, "pack", watched)
    monkeypatch.setattr(step, "MICRO_TOKENS", 64)
    jobs = [make_job(raw, model) for raw in specs[:3]]
    gradient_step(model, {job: job.next_rows() for job in jobs}, CPU, lambda: None)
    assert len(alive) > 2
    assert not any(alive)
