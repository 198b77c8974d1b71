"""The eight tasks of /work/shared/data that are compared, with the templates its README suggests, and their rows."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Row = dict[str, str]  # prompt and completion, rendered
BATCH = 4


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    target: str  # column
    metric: Literal["accuracy", "rouge_l"]  # what the product chooses for this target
    steps: int  # of BATCH rows; each row is seen once
    test_rows: int
    template: str


TASKS = (
    Task(
        "glue_sst2",
        "label",
        "accuracy",
        32,
        100,
        "Is the feeling of this film review snippet positive or negative? One word.\n\nReview: {sentence}\nFeeling:",
    ),
    Task(
        "viggo",
        "target",
        "rouge_l",
        18,
        100,
        "Turn this dialogue act about a video game into what a person would say.\n\n"
        "Act: {meaning_representation}\nUtterance:",
    ),
    Task(
        "customer_support",
        "intent",
        "accuracy",
        200,
        100,
        "Route this bank customer message: reply with its intent name in snake case.\n\nMessage: {text}\nIntent:",
    ),
    Task(
        "glue_mrpc",
        "label",
        "accuracy",
        12,
        100,
        "Do the two sentences mean the same? Reply equivalent or not equivalent.\n\n"
        "1: {sentence1}\n2: {sentence2}\nAnswer:",
    ),
    Task(
        "wikisql",
        "sql",
        "rouge_l",
        12,
        50,
        'Write one SQL query over the table "data" that answers the question.\n\n'
        "Columns: {columns}\nQuestion: {question}\nSQL:",
    ),
    Task(
        "bc5cdr",
        "entities",
        "rouge_l",
        14,
        50,
        "List the chemicals and diseases named in the sentence as JSON with the keys chemical and disease.\n\n"
        "Sentence: {text}\nJSON:",
    ),
    Task(
        "dbpedia",
        "label",
        "accuracy",
        10,
        100,
        "Name the kind of thing this article is about: Company, EducationalInstitution, Artist, Athlete, OfficeHolder, "
        "MeanOfTransportation, Building, NaturalPlace, Village, Animal, Plant, Album, Film or WrittenWork.\n\n"
        "Title: {title}\nArticle: {content}\nKind:",
    ),
    Task(
        "e2e_nlg",
        "human_reference",
        "rouge_l",
        12,
        50,
        "Write one or two fluent sentences that say exactly what these restaurant facts say.\n\n"
        "Facts: {meaning_representation}\nText:",
    ),
)


def train_rows(data: Path, task: Task) -> list[Row]:
    return _sample(data / task.name / "train.jsonl", task, task.steps * BATCH)


def test_rows(data: Path, task: Task) -> list[Row]:
    return _sample(data / task.name / "test.jsonl", task, task.test_rows)


def labels(data: Path, task: Task) -> list[str] | None:
    """What can be answered, where that is a closed list."""
    if task.metric != "accuracy":
        return None
    files = (data / task.name / name for name in ("train.jsonl", "test.jsonl"))
    rows = (json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return sorted({row[task.target].strip() for row in rows})


def _sample(path: Path, task: Task, count: int) -> list[Row]:
    """The same rows in every run. Files are ordered (rows of one table stand together), so they are not read from the
    top."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    chosen = random.Random(17).sample(rows, min(count, len(rows)))
    return [{"prompt": task.template.format(**row), "completion": row[task.target].strip()} for row in chosen]
