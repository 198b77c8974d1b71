"""One task's test rows answered by several subjects at once, and scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from answers import answer_all, choose_all, scores
from lora_py.prompts import encode_completion, load_tokenizer
from tasks import Row, Task

MARGIN = 4  # tokens an answer may be longer than the longest reference, as in the product


@dataclass(frozen=True, slots=True)
class Scores:
    """One a row: of the text that was generated, and of the choice among the task's labels where it has some."""

    free: list[float]
    forced: list[float] | None


def evaluate(
    base: Path, port: int, work: Path, task: Task, rows: list[Row], labels: list[str] | None, subjects: list[str]
) -> dict[str, Scores]:
    """Scores of each subject (`base`, or an adapter's folder in the task's), all of them in one batch of the engine.
    The answers are kept beside the adapters."""
    limit = longest_answer(base, rows)
    asked = [
        (None if subject == "base" else f"{task.name}/{subject}", row["prompt"]) for row in rows for subject in subjects
    ]
    answers = answer_all(port, asked, limit)
    choices = None if labels is None else choose_all(port, asked, labels)
    found = {}
    for i, subject in enumerate(subjects):
        own = answers[i :: len(subjects)]
        shown = [{**row, "answer": answer} for row, answer in zip(rows, own, strict=True)]
        (work / task.name / f"{subject}.answers.json").write_text(json.dumps(shown, indent=1))
        forced = None if choices is None else scores(task, choices[i :: len(subjects)], rows)
        found[subject] = Scores(scores(task, own, rows), forced)
    return found


def longest_answer(base: Path, rows: list[Row]) -> int:
    tokenizer = load_tokenizer(base)
    return MARGIN + max(len(encode_completion(tokenizer, row["completion"], 0, spaced=True)) for row in rows)
