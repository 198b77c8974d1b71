from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from trainer_support import ENVIRONMENT, KERNELS, MakeSpec, sums, write_rows

from trainer.errors import TrainerError
from trainer.replay import hardware_warnings, plan


def call(*words: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=60
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def replayed(spec: dict[str, Any], tmp_path: Path, base: Path) -> tuple[int, list[dict[str, Any]]]:
    manifest, again = str(Path(spec["output_dir"]) / "grove.json"), str(tmp_path / "again")
    data = ["--manifest", manifest, "--train-file", spec["train_file"]]
    return call("replay", *data, "--base-model", str(base), "--output-dir", again)


def test_a_finished_run_replays_to_the_same_adapter_and_other_data_is_refused(
    make_spec: MakeSpec, tmp_path: Path, tiny_base: Path
) -> None:
    spec = make_spec(dropout=0.1)
    spec["quantization"] = {"bits": 4}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    finished = call("run", "--spec", str(tmp_path / "spec.json"))[1][-1]
    status, lines = replayed(spec, tmp_path, tiny_base)
    result = lines[-1]["replay"]
    assert status == 0 and result["same"] and result["warnings"] == []
    assert result["sha256"] == finished["sha256"]

    write_rows(Path(spec["train_file"]), sums(39))
    status, lines = replayed(spec, tmp_path, tiny_base)
    assert (status, lines[-1]["code"]) == (1, "trainer_bad_data") and "data is not the run's" in lines[-1]["message"]


def test_a_job_that_shared_its_steps_replays_alone_to_the_same_adapter(
    make_spec: MakeSpec, tmp_path: Path, tiny_base: Path
) -> None:
    jobs = []
    for i in range(3):
        spec = copy.deepcopy(make_spec(dropout=0.1, seed=i, batch_size=2 + i))
        spec |= {"job_id": f"j{i}", "output_dir": str(tmp_path / f"a{i}"), "checkpoint_dir": str(tmp_path / f"c{i}")}
        jobs.append(spec)
    (tmp_path / "spec.json").write_text(json.dumps({"version": 1, "jobs": jobs}))
    assert call("run", "--spec", str(tmp_path / "spec.json"))[0] == 0
    status, lines = replayed(jobs[1], tmp_path, tiny_base)
    result = lines[-1]["replay"]
    assert (status, result["warnings"]) == (0, [])
    assert result["same"] or not KERNELS


def test_a_run_that_its_time_budget_ended_is_refused(tmp_path: Path) -> None:
    names = ("prompt_format", "base_model", "base_sha256", "data_sha256", "adapter", "training", "versions", "hardware")
    (tmp_path / "grove.json").write_text(json.dumps({**dict.fromkeys(names), "stopped_by": "max_seconds"}))
    try:
        plan(tmp_path / "grove.json", tmp_path / "t", None, tmp_path, tmp_path / "out")
    except TrainerError as error:
        assert "time budget" in error.message
    else:
        raise AssertionError("not refused")


def test_other_hardware_is_told() -> None:
    then, here = {"device": "cpu, 2 threads", "machine": "x86_64"}, {"device": "cpu, 1 threads", "machine": "x86_64"}
    assert hardware_warnings(then, here) == ["device is cpu, 1 threads, and was cpu, 2 threads: the bytes may differ."]
