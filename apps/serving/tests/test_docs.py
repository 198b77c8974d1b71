"""What `/api-doc/openapi.json` says, against what the server does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import Served
from starlette.routing import Route

from serving.server import app, docs
from serving.server.fields import Fields
from serving.server.openai.params import UNSUPPORTED, read_openai_params
from serving.server.params import Limits, read_params
from serving.server.schemas import make_schemas

LIMITS = Limits(100, 200, 4, 4)


class Watched(Fields):
    """Remembers which fields were asked for."""

    def __init__(self, asked: set[str]) -> None:
        super().__init__({})
        self.data = Asked(asked)


class Asked(dict[str, Any]):
    def __init__(self, asked: set[str]) -> None:
        super().__init__()
        self._asked = asked

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return default


def parts_of(document: dict[str, Any], reference: str) -> dict[str, Any]:
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    assert isinstance(found, dict)
    return found


def check(document: dict[str, Any], schema: dict[str, Any], value: Any, where: str) -> None:
    """Every field of a real answer is told, with its kind."""
    if "$ref" in schema:
        return check(document, parts_of(document, schema["$ref"]), value, where)
    if value is None:
        assert schema.get("nullable"), where
    elif isinstance(value, dict):
        for name, inner in value.items():
            assert name in schema["properties"], f"{where}.{name} is not told"
            check(document, schema["properties"][name], inner, f"{where}.{name}")
        assert set(schema.get("required", ())) <= set(value), where
    elif isinstance(value, list):
        for inner in value:
            check(document, schema["items"], inner, f"{where}[]")
    else:
        kind = {bool: "boolean", int: "integer", float: "number", str: "string"}[type(value)]
        assert schema["type"] == kind or (schema["type"], kind) == ("number", "integer"), where


def test_every_route_is_told_and_no_other(served: Served) -> None:
    document = served.http.get("/api-doc/openapi.json").json()
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = [route for route in app.make_app(object()).routes if isinstance(route, Route)]  # type: ignore[arg-type]
    real = {
        (method, re.sub(r":path}", "}", route.path))
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in ("/docs", "/api-doc/openapi.json")
    }
    assert told == real
    for reference in set(re.findall(r'"(#/[^"]+)"', served.http.get("/api-doc/openapi.json").text)):
        parts_of(document, reference)


def test_every_parameter_that_is_read_is_told_and_no_other() -> None:
    schemas, asked = make_schemas(LIMITS), set[str]()
    read_params(Watched(asked), LIMITS, stream=False)
    assert set(schemas["Parameters"]["properties"]) == asked
    asked = set()
    read_openai_params(Watched(asked), LIMITS)
    told = set(schemas["ChatCompletionRequest"]["properties"]) & set(schemas["CompletionRequest"]["properties"])
    assert asked - set(UNSUPPORTED) - {"max_completion_tokens", "top_logprobs"} <= told


@pytest.mark.parametrize(
    ("schema", "path", "body"),
    [
        (
            "GenerateResponse",
            "/generate",
            {
                "inputs": "hello",
                "parameters": {
                    "max_new_tokens": 2,
                    "details": True,
                    "decoder_input_details": True,
                    "return_k_alternatives": 2,
                    "do_sample": True,
                    "best_of": 2,
                },
            },
        ),
        ("TokenizeResponse", "/tokenize", {"inputs": "hello"}),
        ("ScoreResponse", "/score", {"inputs": "hello", "continuations": ["a", "b"]}),
        ("ErrorResponse", "/generate", {"inputs": ""}),
        ("CompletionResponse", "/v1/completions", {"prompt": "hello", "max_tokens": 2}),
        ("Adapter", "/adapters/load", {"adapter_id": "all-4/1"}),
        ("AdapterList", "/adapters", None),
        ("ModelList", "/v1/models", None),
    ],
)
def test_real_answers_are_as_told(served: Served, schema: str, path: str, body: dict[str, Any] | None) -> None:
    document = served.http.get("/api-doc/openapi.json").json()
    headers = {"authorization": "Bearer pb_a"}
    method = "GET" if body is None else "POST"
    answer = served.http.request(method, path, json=body, headers=headers).json()
    check(document, document["components"]["schemas"][schema], answer, schema)


def test_the_page_needs_no_other_host(served: Served) -> None:
    page = served.http.get("/docs").text
    assert "//" not in page.replace("<!doctype html>", "")
    for file in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert served.http.get(f"/{file}").status_code == 200
    assert docs.make_document(LIMITS)["openapi"].startswith("3.")
