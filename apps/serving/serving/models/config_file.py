"""config.json as it lies in a base model's folder, field by field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


class ModelError(Exception):
    """The base model folder can't be served; the message says why."""


def read_json(path: Path) -> dict[str, object]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not a JSON object")
    return data


@dataclass(frozen=True, slots=True)
class Fields:
    data: dict[str, object]
    path: Path

    def number(self, name: str, default: float | None = None) -> float:
        value = self.data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelError(f"{self.path}: {name} is missing or not a number")
        return float(value)

    def whole(self, name: str, default: int | None = None) -> int:
        return int(self.number(name, default))

    def flag(self, name: str, default: bool) -> bool:
        value = self.data.get(name, default)
        return default if value is None else bool(value)

    def maybe(self, name: str) -> float | None:
        return None if self.data.get(name) is None else self.number(name)

    def numbers(self, name: str) -> tuple[float, ...]:
        value = self.data.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, int | float) for item in value):
            raise ModelError(f"{self.path}: {name} is missing or not a list of numbers")
        return tuple(float(item) for item in value)

    def inner(self, name: str) -> Fields | None:
        value = self.data.get(name)
        return Fields(value, self.path) if isinstance(value, dict) else None
