"""Two processes under torchrun, gloo on the CPU, against one: the same weights, life and endings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_py.peft_files import MODULE_PARENTS, read_adapter
from test_cli import skip_to
from trainer_support import ENVIRONMENT, MakeSpec, sums, write_rows

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
TWO = [*TORCHRUN, "--nproc-per-node", "2"]
ONE_PROCESS, TWO_PROCESSES = [sys.executable, "-m"], [*TWO, "-m"]
LONG: dict[str, Any] = {"epochs": 1000, "checkpoint_every_steps": 2}


def command(spec: Any, tmp_path: Path, start: list[str]) -> list[str]:
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    return [*start, "trainer", "run", "--precision", "fp32", "--spec", str(tmp_path / "spec.json")]


def run(spec: Any, tmp_path: Path, start: list[str]) -> tuple[int, list[dict[str, Any]]]:
    words = command(spec, tmp_path, start)
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    print(done.stdout[-2000:], done.stderr[-6000:])  # shown where a test fails
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def begin(spec: Any, tmp_path: Path) -> tuple[subprocess.Popen[str], Iterator[dict[str, Any]]]:
    pipe = subprocess.PIPE
    words = command(spec, tmp_path, TWO_PROCESSES)
    child = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT)
    assert child.stdout is not None
    return child, (json.loads(line) for line in child.stdout)


def ranks_of(child: subprocess.Popen[str]) -> dict[int, int]:
    """Rank -> process id."""
    found = {}
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    for pid in map(int, children):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        rank = next((item[5:] for item in environment if item.startswith(b"RANK=")), None)
        if rank is not None:
            found[int(rank)] = pid
    return found


def places(spec: dict[str, Any], tmp_path: Path, name: str) -> dict[str, Any]:
    return {**spec, "output_dir": str(tmp_path / name), "checkpoint_dir": str(tmp_path / f"c-{name}"), "job_id": name}


def relative(one: Path, other: Path) -> float:
    a, b = (read_adapter(folder).weights for folder in (one, other))
    flat = [torch.cat([half.flatten() for pair in weights.values() for half in pair]) for weights in (a, b)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def test_two_processes_end_where_one_does_and_a_killed_run_where_an_undisturbed_one_does(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    """Three jobs in a group: one of rows in plenty, one whose batch of one leaves a process without rows, one of
    preference pairs. The killed run is resumed by two processes."""
    pairs = [{"prompt": f"{i} is", "chosen": f" {i}", "rejected": f" {i + 1}"} for i in range(12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    changes: list[dict[str, Any]] = [
        {"rows": sums(24), "epochs": 3, "target_modules": list(MODULE_PARENTS), "batch_size": 7},
        {"rows": sums(6), "batch_size": 1, "epochs": 3, "use_dora": False},
        {"method": "dpo", "epochs": 3, "batch_size": 4},
    ]
    specs = []
    for i, change in enumerate(changes):
        # plain steps: AdamW's first ones go by the sign of a gradient, whatever its size, and so of rounding too
        spec = json.loads(json.dumps(make_spec(**change, optimizer="sgd", learning_rate=0.3)))
        rows = change.get("rows", [])
        data = write_rows(tmp_path / f"{i}.jsonl", rows) if rows else tmp_path / "pairs.jsonl"
        specs.append({**spec, "train_file": str(data), "validation_file": str(data)})

    def group(name: str) -> dict[str, Any]:
        return {"version": 1, "jobs": [places(spec, tmp_path, f"{name}-{i}") for i, spec in enumerate(specs)]}

    status, one = run(group("one"), tmp_path, ONE_PROCESS)
    assert status == 0
    status, two = run(group("two"), tmp_path, TWO_PROCESSES)
    assert status == 0

    def told(events: list[dict[str, Any]], i: int, kind: str) -> list[dict[str, Any]]:
        mine = [line["event"] for line in events if line["job_id"].endswith(f"-{i}")]
        return [event for event in mine if event["event"] == kind]

    for i in range(len(specs)):
        ends = [told(events, i, "finished") for events in (one, two)]
        assert [len(end) for end in ends] == [1, 1]
        for name in ("steps", "tokens", "bytes"):
            assert ends[0][0][name] == ends[1][0][name]
        assert ends[1][0]["train_loss"] == pytest.approx(ends[0][0]["train_loss"], rel=1e-3)
        ours, theirs = ([event["loss"] for event in told(events, i, "validation")] for events in (two, one))
        assert ours == pytest.approx(theirs, rel=1e-3)
        assert relative(tmp_path / f"two-{i}", tmp_path / f"one-{i}") < 1e-5
    assert told(two, 0, "started")[0]["device"] == "cpu, 1 threads, 2 processes"

    spec = places(make_spec(epochs=12, checkpoint_every_steps=5, dropout=0.1), tmp_path, "whole")
    expected = run(spec, tmp_path, TWO_PROCESSES)[1][-1]
    spec = places(spec, tmp_path, "killed")
    child, events = begin(spec, tmp_path)
    skip_to(events, "checkpoint")
    skip_to(events, "checkpoint")
    for pid in [*ranks_of(child).values(), child.pid]:
        os.kill(pid, signal.SIGKILL)
    child.wait()
    status, again = run({**spec, "attempt": 2}, tmp_path, TWO_PROCESSES)
    assert status == 0 and again[0]["resumed_from_step"] >= 10
    assert (again[-1]["sha256"], again[-1]["tokens"]) == (expected["sha256"], expected["tokens"])


def test_a_process_that_dies_ends_the_run_with_a_clear_failure(make_spec: MakeSpec, tmp_path: Path) -> None:
    child, events = begin(make_spec(**LONG), tmp_path)
    skip_to(events, "checkpoint")
    os.kill(ranks_of(child)[1], signal.SIGKILL)
    failed = skip_to(events, "failed")
    assert failed["code"] == "trainer_failed" and "One of the 2 trainer processes" in failed["message"]
    assert child.wait(timeout=60) == 1
    assert not (tmp_path / "adapter").exists()


def test_no_process_outlives_a_torchrun_that_was_killed(make_spec: MakeSpec, tmp_path: Path) -> None:
    child, events = begin(make_spec(**LONG), tmp_path)
    skip_to(events, "step")
    ranks = ranks_of(child)
    child.kill()
    for _ in range(200):
        if not any(Path(f"/proc/{pid}/cmdline").exists() for pid in ranks.values()):
            break
        time.sleep(0.1)
    else:
        raise AssertionError("still there")
    assert len(ranks) == 2


def test_commands_and_a_signal_reach_all_processes(make_spec: MakeSpec, tmp_path: Path) -> None:
    jobs = [places(make_spec(**LONG), tmp_path, name) for name in ("a", "b", "c")]
    child, lines = begin({"version": 1, "jobs": jobs[:1]}, tmp_path)
    assert child.stdin is not None

    def tell(command: dict[str, Any]) -> None:
        assert child.stdin is not None
        child.stdin.write(json.dumps(command) + "\n")
        child.stdin.flush()

    def await_event(job_id: str, kind: str) -> dict[str, Any]:
        line = next(line for line in lines if line["job_id"] == job_id and line["event"]["event"] == kind)
        event: dict[str, Any] = line["event"]
        return event

    checkpoint = await_event("a", "checkpoint")
    tell({"join": jobs[1]})
    await_event("b", "step")
    tell({"pause": "b"})
    await_event("b", "paused")
    tell({"finish": "a", "step": checkpoint["step"]})
    assert await_event("a", "finished")["sha256"] == checkpoint["sha256"]
    tell({"resume": "b"})
    await_event("b", "resumed")
    tell({"join": {**jobs[2], "train_file": "/nowhere"}})
    assert await_event("c", "failed")["code"] == "trainer_bad_data"
    tell({"join": jobs[2]})
    await_event("c", "step")
    tell({"cancel": "b"})
    await_event("b", "cancelled")
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    await_event("c", "cancelled")
    assert time.monotonic() - began < 5
    child.wait(timeout=60)
    assert not (tmp_path / "c").exists()


FAULTS = '''
import os, sys
import trainer.loop as loop, trainer.cli as cli, trainer.interrupt as interrupt

real, times = loop.gradient_step, [0]

def scarce(model, steps, *rest):
    """In the third round the second process has no memory for the jobs together, nor for job-1 alone."""
    times[0] += len(steps) > 1
    alone = len(steps) == 1 and list(steps)[0].spec.job_id == "job-1"
    if os.environ["RANK"] == "1" and times[0] == 3 and (alone or len(steps) > 1):
        raise MemoryError
    return real(model, steps, *rest)

loop.gradient_step = scarce
if os.environ["RANK"] == "0":
    save = loop.save_adapter
    def full(job, *rest):
        if job.spec.job_id == "job-2":
            raise OSError(28, "No space left on device")
        return save(job, *rest)
    loop.save_adapter = full
sys.exit(cli.main(sys.argv[1:], interrupt.Interrupt()))
'''


def test_what_fails_in_one_process_fails_for_all_and_ends_no_other_job(make_spec: MakeSpec, tmp_path: Path) -> None:
    script = tmp_path / "faults.py"
    script.write_text(FAULTS)
    jobs = [places(make_spec(epochs=2), tmp_path, f"job-{i}") for i in range(3)]
    (tmp_path / "spec.json").write_text(json.dumps({"version": 1, "jobs": jobs}))
    words = [*TWO, str(script), "run", "--spec", str(tmp_path / "spec.json")]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    ends: dict[str, dict[str, Any]] = {}
    for line in map(json.loads, done.stdout.splitlines()):
        ends[line["job_id"]] = line["event"]
    assert {job_id: (end["event"], end.get("code")) for job_id, end in ends.items()} == {
        "job-0": ("finished", None),
        "job-1": ("failed", "trainer_out_of_memory"),
        "job-2": ("failed", "trainer_disk_full"),
    }
    assert (tmp_path / "job-0").is_dir() and not (tmp_path / "job-2").exists()
