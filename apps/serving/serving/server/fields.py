"""Reads JSON bodies field by field. A wrong type is a BodyError (plain text in LoRAX), null means absent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request

from serving.server.errors import ApiError, BodyError

MAX_BODY_BYTES = 16 << 20
MAX_DEPTH = 100
MAX_NUMBER = 1e300


class Fields:
    def __init__(self, data: dict[str, Any], path: str = "") -> None:
        self.data = data
        self.path = path

    def _get(self, name: str, kinds: type | tuple[type, ...], what: str) -> Any:
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self._wrong(name, f"expected {what}")
        return value

    def _wrong(self, name: str, why: str) -> BodyError:
        return BodyError(422, f"{self.path}{name}: {why}", f"{self.path}{name}")

    def text(self, name: str) -> str | None:
        value: str | None = self._get(name, str, "a string")
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise BodyError(422, f"missing field `{self.path}{name}`", f"{self.path}{name}")
        return value

    def flag(self, name: str) -> bool | None:
        value: bool | None = self._get(name, bool, "a boolean")
        return value

    def whole(self, name: str, signed: bool = False) -> int | None:
        value: int | None = self._get(name, int, "a whole number")
        if value is not None and (value < (-(2**63) if signed else 0) or value >= 2**64):
            raise self._wrong(name, "out of range")
        return value

    def number(self, name: str) -> float | None:
        value = self._get(name, (int, float), "a number")
        return None if value is None else self._finite(name, value)

    def _finite(self, name: str, value: int | float) -> float:
        if abs(value) > MAX_NUMBER:  # also true of infinity, and compares integers of any size
            raise self._wrong(name, "out of range")
        return float(value)

    def texts(self, name: str) -> list[str] | None:
        value = self._get(name, list, "an array of strings")
        if value is not None and not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "expected an array of strings")
        return value  # type: ignore[no-any-return]

    def numbers(self, name: str) -> list[float] | None:
        value = self._get(name, list, "an array of numbers")
        if value is not None and not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
            raise self._wrong(name, "expected an array of numbers")
        return None if value is None else [self._finite(name, v) for v in value]

    def object(self, name: str) -> Fields | None:
        value = self._get(name, dict, "an object")
        return None if value is None else Fields(value, f"{self.path}{name}.")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)[:80]
        raise BodyError(422, f"duplicate field `{twice}`; send it once", twice)
    return data


def _check_shape(data: Any) -> None:
    """Refuses what later steps can't take: nesting that ends in a recursion, and halves of characters."""
    level = [data]
    for _ in range(MAX_DEPTH):
        following: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(item)
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
            elif isinstance(item, str) and not item.isascii():
                _check_text(item)
        if not following:
            return
        level = following
    raise BodyError(422, f"The JSON body is nested deeper than {MAX_DEPTH} levels")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BodyError(422, "The JSON body holds half of a surrogate pair, which is not text") from error


async def _read(request: Request) -> bytes:
    chunks, size = [], 0
    length = request.headers.get("content-length", "")
    too_long = ApiError(413, "validation", f"Input validation error: the body is over {MAX_BODY_BYTES} bytes")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise too_long
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_long
        chunks.append(chunk)
    return b"".join(chunks)


async def read_body(request: Request) -> Fields:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise BodyError(415, "Expected request with `Content-Type: application/json`")
    patience: float = request.app.state.context.settings.client_timeout_s
    try:
        raw = await asyncio.wait_for(_read(request), patience)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise BodyError(408, f"The body did not arrive within {patience:g} s; send it faster") from error
    try:
        data = json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise BodyError(400, f"Failed to parse the request body as JSON: {error}") from error
    if not isinstance(data, dict):
        raise BodyError(422, "Failed to deserialize the JSON body: expected an object")
    _check_shape(data)
    return Fields(data)
