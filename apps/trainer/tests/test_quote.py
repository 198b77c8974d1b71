from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trainer_support import ENVIRONMENT, MakeSpec, sums, write_rows

from trainer.session import Session
from trainer.spec import parse_spec


def call(command: str, spec: dict[str, Any], tmp_path: Path) -> tuple[int, list[dict[str, Any]]]:
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    start = [sys.executable, "-m", "trainer", command, "--spec", str(tmp_path / "spec.json")]
    done = subprocess.run(start, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("changes", [{"epochs": 2}, {"epochs": 1.7, "batch_size": 7}, {"max_steps": 3}])
def test_the_quoted_tokens_and_steps_are_those_of_the_run(
    make_spec: MakeSpec, tmp_path: Path, changes: dict[str, Any]
) -> None:
    rows = [(prompt * (1 + i % 3), answer) for i, (prompt, answer) in enumerate(sums(30))]
    spec = make_spec(rows=[*rows, ("no answer", "")], **changes)
    spec["validation_file"] = str(write_rows(tmp_path / "v.jsonl", sums(5)))
    status, lines = call("quote", spec, tmp_path)
    quote = lines[0]["quote"]
    events = call("run", spec, tmp_path)[1]
    assert status == 0 and len(lines) == 1
    assert (quote["tokens"], quote["total_steps"]) == (events[-1]["tokens"], events[-1]["steps"])
    for name in ("tokens_per_epoch", "train_rows", "rows_cut", "rows_dropped", "max_length"):
        assert quote[name] == events[0][name]
    assert 0 < quote["seconds"] < 60 and quote["memory_bytes"] > 10_000_000


def test_a_quote_leaves_nothing_behind(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(max_seconds=1, epochs=1000)
    before = set(tmp_path.iterdir()) | {tmp_path / "spec.json"}
    status, lines = call("quote", spec, tmp_path)
    assert status == 0 and lines[0]["quote"]["seconds"] <= 1
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("every", [1, 3, 4, 100])
def test_as_many_checkpoints_are_counted_as_the_run_writes(make_spec: MakeSpec, tmp_path: Path, every: int) -> None:
    spec = make_spec(epochs=2, batch_size=8, checkpoint_every_steps=every)
    session = Session(lambda _: lambda _event: None, lambda: None, "fp32")
    job = session.ready(parse_spec(spec), lambda _: None)[1]
    events = call("run", spec, tmp_path)[1]
    assert job.checkpoints == sum(event["event"] == "checkpoint" for event in events)


def test_what_cannot_run_has_no_quote_but_its_reason(make_spec: MakeSpec, tmp_path: Path) -> None:
    status, lines = call("quote", make_spec(rows=[]), tmp_path)
    assert (status, lines[0]["code"]) == (1, "trainer_bad_data")
    (tmp_path / "spec.json").unlink()
    status, lines = call("quote", {"version": 1, "jobs": [make_spec()]}, tmp_path)
    assert (status, lines[0]["code"]) == (1, "trainer_bad_spec")
