"""The lines of a training file, each parsed strictly into one of four kinds of row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from trainer.errors import TrainerError

DataKind = Literal["completion", "messages", "text", "preference"]
LONGEST_LINE = 10_000_000  # bytes
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Completion:
    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Messages:
    """A conversation that ends with an assistant's message. Answers of `weight` 0 are context and not learned."""

    messages: tuple[Mapping[str, str], ...]  # {"role", "content"}
    learned: tuple[bool, ...]  # a message each


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Preference:
    prompt: str
    chosen: str
    rejected: str


Row = Completion | Messages | Text | Preference
FIELDS: dict[DataKind, tuple[str, ...]] = {
    "completion": ("prompt", "completion"),
    "messages": ("messages",),
    "text": ("text",),
    "preference": ("prompt", "chosen", "rejected"),
}


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


def parse_lines(path: Path, digest: Digest, asked: DataKind | None) -> Iterator[tuple[int, DataKind, Row]]:
    """Line number, kind and row. `asked` None: the first row says what kind the file has. Every row is of one kind."""
    kind = asked
    for number, line in _lines(path, digest):
        value = _object(line, number, path)
        if kind is None:
            kind = _kind_of(value, number, path)
        yield number, kind, _row(value, kind, f"{path.name}, line {number}")


def bad_data(message: str) -> TrainerError:
    return TrainerError("trainer_bad_data", message)


def _lines(path: Path, digest: Digest) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                digest.update(raw)
                if len(raw) > LONGEST_LINE:
                    raise bad_data(f"{path.name}, line {number} is longer than 10 MB.")
                line = raw.decode("utf-8")
                if line.strip():
                    yield number, line
    except FileNotFoundError as error:
        raise bad_data(f"There is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise bad_data(f"{path.name} is not UTF-8 text.") from error


def _object(line: str, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad_data(f"{path.name}, line {number} is not JSON: {error}") from error


def _kind_of(value: Any, number: int, path: Path) -> DataKind:
    names = set(value) if isinstance(value, dict) else set()
    for kind, fields in FIELDS.items():
        if names == set(fields):
            return kind
    forms = "; ".join(" and ".join(fields) for fields in FIELDS.values())
    raise bad_data(f"{path.name}, line {number} must have exactly the fields of one kind of row: {forms}.")


def _row(value: Any, kind: DataKind, where: str) -> Row:
    fields = FIELDS[kind]
    if not isinstance(value, dict) or set(value) != set(fields):
        raise bad_data(f"{where} must have exactly {' and '.join(fields)}, as every row of this file.")
    if kind == "messages":
        return _messages(value["messages"], where)
    if not all(isinstance(value[name], str) for name in fields):
        raise bad_data(f"{where}: {' and '.join(fields)} must be text.")
    if kind == "text":
        return Text(value["text"])
    if kind == "completion":
        return Completion(value["prompt"], value["completion"])
    return Preference(value["prompt"], value["chosen"], value["rejected"])


def _messages(value: Any, where: str) -> Messages:
    if not isinstance(value, list) or not value:
        raise bad_data(f"{where}: messages must be a list of at least one message.")
    learned = []
    for at, message in enumerate(value, 1):
        names = set(message) if isinstance(message, dict) else set()
        if names not in ({"role", "content"}, {"role", "content", "weight"}):
            raise bad_data(f"{where}, message {at} must have role and content (and weight, if any), nothing else.")
        if message["role"] not in ROLES:
            raise bad_data(f"{where}, message {at}: role must be one of {', '.join(ROLES)}.")
        if not isinstance(message["content"], str):
            raise bad_data(f"{where}, message {at}: content must be text.")
        answer = message["role"] == "assistant"
        weight = message.get("weight", 1)
        if isinstance(weight, bool) or weight not in (0, 1) or ("weight" in message and not answer):
            raise bad_data(f"{where}, message {at}: weight is 0 or 1, and stands on the assistant's messages only.")
        learned.append(answer and weight == 1)
    if value[-1]["role"] != "assistant":
        raise bad_data(f"{where}: the last message must be the assistant's.")
    first = next(i for i, message in enumerate(value) if message["role"] == "assistant")
    if not any(message["role"] == "user" for message in value[:first]):
        raise bad_data(f"{where}: a user's message must come before the assistant's first.")
    return Messages(tuple({"role": m["role"], "content": m["content"]} for m in value), tuple(learned))
