"""`/api-doc/openapi.json` and `/docs`, Swagger UI on this server's own files: it reaches no other host."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import swagger_ui_bundle
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from serving.server.context import VERSION, context_of
from serving.server.params import Limits
from serving.server.schemas import Schema, make_schemas, ref

NATIVE, OPENAI, GROVE, SERVER = "LoRAX", "OpenAI", "Adapters", "Server"
_JSON, _EVENTS, _TEXT = "application/json", "text/event-stream", "text/plain"
_WHOLE, _STREAM = {_JSON: "GenerateResponse"}, {_EVENTS: "StreamResponse"}
_CHAT = dict.fromkeys((_JSON, _EVENTS), "ChatCompletionResponse")
_COMPLETION = dict.fromkeys((_JSON, _EVENTS), "CompletionResponse")
_NO_EMBEDDINGS, _NO_CLASSES = "Refused: the base is no embedding model", "Refused: the base is no classifier"
# method, path, family, what it does, request schema, answers of a 200 by media type
_ROUTES: tuple[tuple[str, str, str, str, str | None, dict[str, str]], ...] = (
    ("post", "/", NATIVE, "Generate, streamed or whole", "CompatGenerateRequest", _WHOLE | _STREAM),
    ("post", "/invocations", NATIVE, "The same, for SageMaker", "CompatGenerateRequest", _WHOLE | _STREAM),
    ("post", "/generate", NATIVE, "Generate", "GenerateRequest", _WHOLE),
    ("post", "/generate_stream", NATIVE, "Generate, one event for each token", "GenerateRequest", _STREAM),
    ("post", "/tokenize", NATIVE, "The tokens of a text", "TokenizeRequest", {_JSON: "TokenizeResponse"}),
    ("post", "/embed", NATIVE, _NO_EMBEDDINGS, "Inputs", {}),
    ("post", "/classify", NATIVE, _NO_CLASSES, "Inputs", {}),
    ("post", "/classify_batch", NATIVE, _NO_CLASSES, "InputsBatch", {}),
    ("post", "/score", GROVE, "How likely continuations are", "ScoreRequest", {_JSON: "ScoreResponse"}),
    ("get", "/adapters", GROVE, "The caller's adapters and their states", None, {_JSON: "AdapterList"}),
    ("post", "/adapters/load", GROVE, "Load before the first request", "LoadRequest", {_JSON: "Adapter"}),
    ("post", "/adapters/unload", GROVE, "Out of memory", "UnloadRequest", {_JSON: "UnloadResponse"}),
    ("post", "/v1/chat/completions", OPENAI, "Chat", "ChatCompletionRequest", _CHAT),
    ("post", "/v1/completions", OPENAI, "Complete", "CompletionRequest", _COMPLETION),
    ("post", "/v1/embeddings", OPENAI, _NO_EMBEDDINGS, "EmbedRequest", {}),
    ("get", "/v1/models", OPENAI, "The base and the caller's adapters", None, {_JSON: "ModelList"}),
    ("get", "/v1/models/{model}", OPENAI, "One of them", None, {_JSON: "Model"}),
    ("get", "/", SERVER, "Whether a token can be produced", None, {}),
    ("get", "/health", SERVER, "Whether a token can be produced", None, {}),
    ("get", "/ping", SERVER, "Whether a token can be produced", None, {}),
    ("get", "/startup", SERVER, "The same, always with a real token", None, {}),
    ("get", "/info", SERVER, "The base model and the limits", None, {_JSON: ""}),
    ("get", "/metrics", SERVER, "Prometheus text, or JSON by `Accept`", None, {_TEXT: "", _JSON: ""}),
)
_CODES = {
    400: "The body is not JSON, or wrong in OpenAI's routes",
    404: "No such model, in OpenAI's routes",
    422: "A field is missing or out of bounds",
    424: "Generation failed, or the adapter can't be had",
    429: "Overloaded: `Retry-After` says when",
    500: "Something went wrong here",
}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Grove serving API</title>
<link rel="stylesheet" href="docs/files/swagger-ui.css"></head><body><div id="ui"></div>
<script src="docs/files/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "api-doc/openapi.json", dom_id: "#ui"})</script></body></html>"""


def _content(media: str, name: str) -> Schema:
    schema = ref(name) if name else {"type": "object" if media == _JSON else "string"}
    return {media: {"schema": schema}}


def _operation(family: str, text: str, body: str | None, answers: dict[str, str], path: str) -> dict[str, Any]:
    error = "OpenAiError" if family == OPENAI else "ErrorResponse"
    operation: dict[str, Any] = {"tags": [family], "summary": text, "responses": {}}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _content(_JSON, body)}
    if body is None or answers:
        content = {media: schema for m, name in answers.items() for media, schema in _content(m, name).items()}
        operation["responses"]["200"] = {"description": "Done", **({"content": content} if content else {})}
    codes = (503,) if family == SERVER else tuple(_CODES)
    for code in codes:
        text = _CODES.get(code, "Not healthy")
        operation["responses"][str(code)] = {"description": text, "content": _content(_JSON, error)}
    if "{model}" in path:
        operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation


@functools.cache
def make_document(limits: Limits) -> dict[str, Any]:
    """OpenAPI 3.0; every route of `app.py` but the two of this file."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, family, text, body, answers in _ROUTES:
        paths.setdefault(path, {})[method] = _operation(family, text, body, answers, path)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Grove serving",
            "version": VERSION,
            "license": {"name": "Apache-2.0"},
            "description": "Many LoRA adapters on one base, by LoRAX's and OpenAI's protocols.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": make_schemas(limits),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


async def openapi(request: Request) -> Response:
    return JSONResponse(make_document(context_of(request).limits))


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


def swagger_files() -> StaticFiles:
    return StaticFiles(directory=Path(swagger_ui_bundle.swagger_ui_path))
