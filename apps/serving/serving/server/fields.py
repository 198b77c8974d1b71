"""Reads JSON bodies field by field. A wrong type is a BodyError (plain text in LoRAX), null means absent."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.requests import Request

from serving.server.errors import ApiError, BodyError

MAX_BODY_BYTES = 16 << 20


class Fields:
    def __init__(self, data: dict[str, Any], path: str = "") -> None:
        self.data = data
        self.path = path

    def _get(self, name: str, kinds: type | tuple[type, ...], what: str) -> Any:
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise BodyError(422, f"{self.path}{name}: expected {what}")
        return value

    def text(self, name: str) -> str | None:
        value: str | None = self._get(name, str, "a string")
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise BodyError(422, f"missing field `{self.path}{name}`")
        return value

    def flag(self, name: str) -> bool | None:
        value: bool | None = self._get(name, bool, "a boolean")
        return value

    def whole(self, name: str, signed: bool = False) -> int | None:
        value: int | None = self._get(name, int, "a whole number")
        if value is not None and (value < (-(2**63) if signed else 0) or value >= 2**64):
            raise BodyError(422, f"{self.path}{name}: out of range")
        return value

    def number(self, name: str) -> float | None:
        value = self._get(name, (int, float), "a number")
        if value is not None and not math.isfinite(value):
            raise BodyError(422, f"{self.path}{name}: expected a finite number")
        return None if value is None else float(value)

    def texts(self, name: str) -> list[str] | None:
        value = self._get(name, list, "an array of strings")
        if value is not None and not all(isinstance(item, str) for item in value):
            raise BodyError(422, f"{self.path}{name}: expected an array of strings")
        return value  # type: ignore[no-any-return]

    def numbers(self, name: str) -> list[float] | None:
        value = self._get(name, list, "an array of numbers")
        if value is not None and not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
            raise BodyError(422, f"{self.path}{name}: expected an array of numbers")
        return None if value is None else [float(v) for v in value]

    def object(self, name: str) -> Fields | None:
        value = self._get(name, dict, "an object")
        return None if value is None else Fields(value, f"{self.path}{name}.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


async def read_body(request: Request) -> Fields:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise BodyError(415, "Expected request with `Content-Type: application/json`")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise ApiError(413, "validation", f"Input validation error: the body is over {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
    try:
        data = json.loads(b"".join(chunks), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BodyError(400, f"Failed to parse the request body as JSON: {error}") from error
    if not isinstance(data, dict):
        raise BodyError(422, "Failed to deserialize the JSON body: expected an object")
    return Fields(data)
