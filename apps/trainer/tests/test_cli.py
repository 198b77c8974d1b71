"""The process as the worker sees it: a spec file in, event lines and an exit status out, an adapter folder beside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from lora_py.peft_files import check_against_base, read_adapter
from lora_py.tiny_base import CONFIG, write_tiny_base
from trainer_support import ENVIRONMENT, MakeSpec, sums

from trainer.encode import encoder
from trainer.lora import new_lora
from trainer.model import Trained, load_model
from trainer.packing import pack
from trainer.rows import Completion
from trainer.spec import parse_spec

LONG = {"epochs": 1000, "checkpoint_every_steps": 5}


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    return tmp_path / "spec.json"


def command(spec_file: Path) -> list[str]:
    return [sys.executable, "-m", "trainer", "run", "--spec", str(spec_file)]


def run(spec_file: Path, spec: dict[str, Any], **options: Any) -> tuple[int, list[dict[str, Any]]]:
    spec_file.write_text(json.dumps(spec))
    done = subprocess.run(command(spec_file), capture_output=True, text=True, env=ENVIRONMENT, timeout=60, **options)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def begin(spec_file: Path, spec: dict[str, Any]) -> tuple[subprocess.Popen[str], Iterator[dict[str, Any]]]:
    spec_file.write_text(json.dumps(spec))
    pipe = subprocess.PIPE
    child = subprocess.Popen(command(spec_file), stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT)
    assert child.stdout is not None
    return child, (json.loads(line) for line in child.stdout)


def skip_to(events: Iterator[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(event for event in events if event["event"] == kind)


def failure(status: int, events: list[dict[str, Any]]) -> str:
    assert status == 1 and events[-1]["event"] == "failed"
    return str(events[-1]["code"])


def test_a_job_learns_and_leaves_an_adapter_that_peft_loads(
    make_spec: MakeSpec, spec_file: Path, tiny_base: Path, tmp_path: Path
) -> None:
    spec = make_spec(rows=sums(60), epochs=6, rank=8, dropout=0.05)
    spec["validation_file"] = spec["train_file"]
    status, events = run(spec_file, spec)
    assert status == 0
    assert [events[0]["event"], events[-1]["event"]] == ["started", "finished"]
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["step"] == events[0]["total_steps"] == 48
    assert steps[-1]["loss"] < 0.7 * steps[0]["loss"]
    assert {"validation", "checkpoint"} <= {event["event"] for event in events}
    done = events[-1]
    assert done["tokens"] == 6 * events[0]["tokens_per_epoch"] and done["stopped_by"] == "epochs"

    adapter = read_adapter(tmp_path / "adapter")
    check_against_base(adapter, CONFIG)
    assert (adapter.sha256, adapter.bytes) == (done["sha256"], done["bytes"])
    assert "job `job`" in (tmp_path / "adapter/README.md").read_text()

    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    example = encoder(tiny_base, CONFIG, "raw").encode(Completion("Add the numbers.\n2 + 3 =", "5"))
    assert example is not None
    ids = torch.tensor([example.prompt + example.completion])
    expected = torch.log_softmax(theirs(ids).logits[0, len(example.prompt) - 1 : -1], -1)
    model = load_model(tiny_base, torch.device("cpu"), torch.float32)
    lora = new_lora(parse_spec(spec).adapter, CONFIG, 0, torch.device("cpu"))
    for name, pair in lora.pairs.items():
        for half, value in zip(pair, adapter.weights[name], strict=True):
            half.data.copy_(value)
    hidden = model.hidden(pack([[example]], [1], torch.device("cpu")), [Trained(lora)])
    assert torch.allclose(torch.log_softmax(hidden @ model.head.t(), -1), expected, atol=1e-4)


def test_the_same_spec_gives_the_same_adapter(make_spec: MakeSpec, spec_file: Path, tmp_path: Path) -> None:
    hashes = set()
    for attempt in "ab":
        spec = make_spec(output_dir=str(tmp_path / attempt), checkpoint_dir=str(tmp_path / f"c{attempt}"), dropout=0.1)
        hashes.add(run(spec_file, spec)[1][-1]["sha256"])
    assert len(hashes) == 1


def test_a_killed_job_resumes_to_the_hash_of_an_undisturbed_one(
    make_spec: MakeSpec, spec_file: Path, tmp_path: Path
) -> None:
    settings = {"epochs": 30, "checkpoint_every_steps": 5, "dropout": 0.1}
    whole = make_spec(**settings, output_dir=str(tmp_path / "whole"), checkpoint_dir=str(tmp_path / "c"))
    expected = run(spec_file, whole)[1][-1]
    spec = make_spec(**settings)
    child, events = begin(spec_file, spec)
    for _ in range(3):
        skip_to(events, "checkpoint")
    child.kill()
    child.wait()
    status, again = run(spec_file, {**spec, "attempt": 2})
    assert status == 0
    assert 15 <= again[0]["resumed_from_step"] < 150
    assert (again[-1]["sha256"], again[-1]["tokens"]) == (expected["sha256"], expected["tokens"])


def test_sigterm_cancels_within_five_seconds_and_writes_no_adapter(
    make_spec: MakeSpec, spec_file: Path, tmp_path: Path
) -> None:
    child, events = begin(spec_file, make_spec(**LONG))
    step = skip_to(events, "step")
    started = time.monotonic()
    child.send_signal(signal.SIGTERM)
    cancelled = skip_to(events, "cancelled")
    assert child.wait(timeout=5) == 3 and time.monotonic() - started < 5
    assert cancelled["step"] >= step["step"] and cancelled["tokens"] > 0
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("delay", [0.25, 1.0, 2.0])
def test_a_signal_before_the_first_step_cancels_too(make_spec: MakeSpec, spec_file: Path, delay: float) -> None:
    """While torch loads, while the base loads, while 20,000 rows are read."""
    child, events = begin(spec_file, make_spec(rows=sums(20_000), **LONG))
    time.sleep(delay)
    started = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert skip_to(events, "cancelled")["tokens"] >= 0
    assert child.wait(timeout=30) == 3 and time.monotonic() - started < 20


def test_a_trainer_whose_worker_died_stops_by_itself(make_spec: MakeSpec, spec_file: Path) -> None:
    child, events = begin(spec_file, make_spec(**LONG))
    skip_to(events, "step")
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(timeout=10) == 1


def test_a_run_that_blows_up_is_called_diverged_and_leaves_no_adapter(
    make_spec: MakeSpec, spec_file: Path, tmp_path: Path
) -> None:
    base = write_tiny_base(tmp_path / "base")
    spec = make_spec()
    spec["base_model"]["path"] = str(base)
    (base / "config.json").write_text(json.dumps({**CONFIG, "rms_norm_eps": float("nan")}))
    assert failure(*run(spec_file, spec)) == "trainer_diverged"
    assert not (tmp_path / "adapter").exists()


def test_a_full_disk_has_its_own_code(make_spec: MakeSpec, spec_file: Path, tmp_path: Path) -> None:
    spec = make_spec(rank=64, target_modules=list(read_modules()))
    spec_file.write_text(json.dumps(spec))
    limited = ["bash", "-c", 'ulimit -f 100 && exec "$@"', "limited", *command(spec_file)]  # files of 100 KB at most
    done = subprocess.run(limited, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert failure(done.returncode, events) == "trainer_disk_full"
    assert not (tmp_path / "adapter").exists()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def read_modules() -> tuple[str, ...]:
    return ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def test_too_little_memory_has_its_own_code(make_spec: MakeSpec, spec_file: Path, tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "base", intermediate_size=4096)
    spec = make_spec(rank=256, target_modules=list(read_modules()), batch_size=64, rows=sums(64), epochs=1)
    spec["base_model"]["path"] = str(base)
    spec_file.write_text(json.dumps(spec))
    limited = (
        "import resource, sys, trainer.cli as cli, trainer.interrupt as interrupt\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 40_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "sys.exit(cli.main(sys.argv[1:], interrupt.Interrupt()))"
    )
    start = [sys.executable, "-c", limited, "run", "--spec", str(spec_file)]
    done = subprocess.run(start, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert failure(done.returncode, events) == "trainer_out_of_memory", done.stderr[-2000:]


def test_bad_specs_and_bad_data_have_their_own_codes(make_spec: MakeSpec, spec_file: Path) -> None:
    assert failure(*run(spec_file, make_spec(rank=0))) == "trainer_bad_spec"
    assert failure(*run(spec_file, make_spec(rows=[]))) == "trainer_bad_data"
    missing = make_spec()
    missing["base_model"]["path"] = "/nowhere"
    assert failure(*run(spec_file, missing)) == "trainer_bad_spec"


def test_one_row_trains(make_spec: MakeSpec, spec_file: Path) -> None:
    status, events = run(spec_file, make_spec(rows=[("Say", "yes")], epochs=3))
    assert status == 0 and events[-1]["steps"] == 3


def test_a_checkpoint_of_other_data_is_left_alone_with_a_warning(make_spec: MakeSpec, spec_file: Path) -> None:
    run(spec_file, make_spec(rows=sums(20), checkpoint_every_steps=2))
    status, events = run(spec_file, make_spec(rows=sums(24), checkpoint_every_steps=2))
    assert status == 0 and events[0]["event"] == "warning" and events[0]["code"] == "checkpoint_ignored"
    assert next(e for e in events if e["event"] == "started")["resumed_from_step"] == 0
