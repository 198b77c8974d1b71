"""What LoRAX answers over a causal base model on the routes that need an embedding or a classification model."""

from __future__ import annotations

from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response

from serving.server.errors import ApiError, generation
from serving.server.fields import Fields, read_body


def _refuse(ability: str) -> NoReturn:
    """LoRAX finds out in its shard, so the refusal is a failed generation."""
    raise generation(f"Server error: Model does not support {ability}")


def _check_texts(body: Fields, name: str) -> None:
    if body.data.get(name) is None:
        body.required_text(name)
    body.texts(name)


async def embed(request: Request) -> Response:
    (await read_body(request)).required_text("inputs")
    _refuse("embeddings")


async def classify(request: Request) -> Response:
    (await read_body(request)).required_text("inputs")
    _refuse("classification")


async def classify_batch(request: Request) -> Response:
    _check_texts(await read_body(request), "inputs")
    _refuse("classification")


async def openai_embeddings(request: Request) -> Response:
    given = (await read_body(request)).data.get("input")
    if not isinstance(given, str | list):
        raise ApiError(400, "invalid_input", "Invalid input", "input")
    _refuse("embeddings")
