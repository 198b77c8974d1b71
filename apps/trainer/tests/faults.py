"""Seeded faults against the trainer process: killed at a random moment, no room for a file, a loss that is no number.

    python tests/faults.py --count 100 --seed 1

Each fault strikes one run of a short job over a tiny base; the job is then started again until it ends. The final
adapter must have the hash of an undisturbed run. Prints one JSON line; exit status 1 where a job was lost or differs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer_support import ENVIRONMENT, sums, tiny_folder, write_rows

Kind = Literal["killed", "no room", "not a number"]
KINDS: tuple[Kind, ...] = ("killed", "killed", "killed", "no room", "not a number")
EXPECTED = {"no room": "trainer_disk_full", "not a number": "trainer_diverged"}
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Seen:
    kind: Kind
    struck: bool  # the first run did not reach its end
    same: bool  # the final adapter is that of an undisturbed run
    fault: str | None  # what was wrong, if anything


def make_spec(folder: Path, base: Path) -> dict[str, Any]:
    training = {
        "epochs": 30, "max_steps": None, "max_seconds": None, "batch_size": 8, "learning_rate": 0.01,
        "scheduler": "cosine", "warmup_ratio": 0.1, "weight_decay": 0, "max_grad_norm": 1, "max_length": None,
        "evaluate_every_steps": 0, "checkpoint_every_steps": 5, "early_stopping_patience": None, "seed": 7,
    }  # fmt: skip
    modules = ["q_proj", "v_proj", "down_proj"]
    return {
        "version": 1,
        "job_id": "job",
        "attempt": 1,
        "base_model": {"id": "tiny", "path": str(base)},
        "train_file": str(write_rows(folder / "train.jsonl", sums(40))),
        "validation_file": None,
        "output_dir": str(folder / "adapter"),
        "checkpoint_dir": str(folder / "checkpoints"),
        "prompt_format": "raw",
        "adapter": {"rank": 16, "alpha": 16, "dropout": 0.1, "target_modules": modules},
        "training": training,
        "device": "cpu",
    }


def run(folder: Path, spec: dict[str, Any], kill_after: float | None = None, blocks: int | None = None) -> list[Any]:
    """The events that were read. `blocks`: a file may have so many KiB. `kill_after`: seconds."""
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    start = [sys.executable, "-m", "trainer", "run", "--spec", str(path)]
    if blocks is not None:
        start = ["bash", "-c", f'ulimit -f {blocks} && exec "$@"', "limited", *start]
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    ) as child:
        if kill_after is not None:
            time.sleep(kill_after)
            child.kill()
        text, _ = child.communicate(timeout=120)
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in whole]


def strike(kind: Kind, folder: Path, base: Path, seconds: float, expected: str, chance: random.Random) -> Seen:
    spec = make_spec(folder, base)
    first = dict(spec)
    if kind == "killed":
        events = run(folder, spec, kill_after=chance.uniform(0.2, seconds))
    elif kind == "no room":
        events = run(folder, spec, blocks=chance.choice([1, 5, 20, 40]))
    else:
        rates = {**spec["training"], "learning_rate": 10.0, "optimizer": "sgd", "weight_decay": 10.0}
        first["training"] = rates
        first["adapter"] = {**spec["adapter"], "alpha": 1e6}
        events = run(folder, first)
    last = events[-1] if events else {"event": "nothing"}
    wanted = EXPECTED.get(kind)
    if wanted is not None and last.get("code") != wanted:
        return Seen(kind, False, False, f"{kind}: ended with {last}")
    if wanted is not None and (folder / "adapter").exists():
        return Seen(kind, True, False, f"{kind}: an adapter was written")
    for attempt in range(2, 2 + ATTEMPTS):
        done = run(folder, {**spec, "attempt": attempt})[-1]
        if done["event"] == "finished":
            same = done["sha256"] == expected
            return Seen(kind, last["event"] != "finished", same, None if same else f"{kind}: {done['sha256']}")
    return Seen(kind, True, False, f"{kind}: lost, {done}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=400.0, help="no new fault after so long")
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    seen: list[Seen] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        base = tiny_folder(root / "base")
        (root / "whole").mkdir()
        begin = time.monotonic()
        expected = run(root / "whole", make_spec(root / "whole", base))[-1]["sha256"]
        seconds = time.monotonic() - begin
        for number in range(asked.count):
            if time.monotonic() - begin > asked.seconds:
                break
            folder = root / str(number)
            folder.mkdir()
            seen.append(strike(chance.choice(KINDS), folder, base, seconds, expected, chance))
    faults = [one.fault for one in seen if one.fault]
    print(json.dumps({
        "faults": len(seen),
        "of": Counter(one.kind for one in seen),
        "struck": sum(one.struck for one in seen),
        "same_hash": sum(one.same for one in seen),
        "seconds_of_an_undisturbed_run": round(seconds, 1),
        "seconds": round(time.monotonic() - begin, 1),
        "wrong": faults[:10],
    }))  # fmt: skip
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
