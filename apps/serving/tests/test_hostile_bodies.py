"""Bodies made to break the server. Each is refused by name with a 4xx, and the next honest request is answered."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from conftest import Served

DEEP = "[" * 5000 + "]" * 5000
HELLO = [{"role": "user", "content": "x"}]
JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def still_serving(served: Served) -> Any:
    yield
    answer = served.generate(max_new_tokens=2)
    assert answer.status_code == 200 and answer.elapsed.total_seconds() < 5


def told(answer: httpx.Response) -> str:
    """What the refusal says, in the shape of its family."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    if str(answer.request.url.path).startswith("/v1"):
        error = answer.json()["error"]
        assert error["code"] and error["type"] == "invalid_request_error"
        return f"{error['param']} {error['message']}"
    if answer.headers["content-type"].startswith("text/plain"):
        return answer.text
    assert answer.json()["error_type"]
    return str(answer.json()["error"])


PATHS = ("/generate", "/v1/chat/completions", "/v1/completions", "/score", "/tokenize", "/adapters/load")
BODIES = {
    "not json": (b"{", "JSON"),
    "empty": (b"", "JSON"),
    "array": (b"[1]", "object"),
    "bad utf-8": (b'{"inputs": "\xff\xfe"}', "utf-8"),
    "utf-16": ('{"inputs": "x"}'.encode("utf-16"), "utf-8"),
    "half a surrogate": (b'{"inputs": "\\ud800", "model": "", "prompt": "\\ud800"}', "surrogate"),
    "deep": (f'{{"inputs": "x", "extra": {DEEP}}}'.encode(), ""),
    "nested just under the parser's limit": (b'{"extra": ' + b"[" * 150 + b"]" * 150 + b"}", "nested"),
    "NaN": (b'{"inputs": "x", "temperature": NaN}', "NaN"),
    "a number of 10,000 digits": (b'{"inputs": "x", "n": ' + b"9" * 10_000 + b"}", ""),
    "the same field twice": (b'{"inputs": "x", "inputs": "y", "model": "", "prompt": "x"}', "inputs"),
    "17 MB": (b'{"inputs": "' + b"x" * (17 << 20) + b'"}', "bytes"),
}


ONE_READER = ("17 MB",)  # takes long, and all routes read alike


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in PATHS for name in BODIES if name not in ONE_READER or path == PATHS[0]]
)
def test_broken_bodies(served: Served, path: str, name: str) -> None:
    body, why = BODIES[name]
    assert why in told(served.http.post(path, content=body, headers=JSON))


NATIVE = {
    "string": ("adapter_id", "adapter_source", "api_token"),
    "object": ("merged_adapters", "response_format"),
    "boolean": ("do_sample", "ignore_eos_token", "return_full_text", "watermark", "details", "apply_chat_template"),
    "number": ("temperature", "top_p", "typical_p", "repetition_penalty", "frequency_penalty", "presence_penalty"),
    "whole": ("best_of", "top_k", "max_new_tokens", "truncate", "return_k_alternatives", "seed"),
    "array": ("stop",),
}
OPENAI = {
    "string": ("model", "adapter_source"),
    "object": ("response_format", "stream_options"),
    "boolean": ("stream", "ignore_eos_token"),
    "number": ("temperature", "top_p", "frequency_penalty", "presence_penalty"),
    "whole": ("n", "seed", "max_tokens", "max_completion_tokens", "top_k"),
    "array": ("stop", "tools"),
}
WRONG: dict[str, list[Any]] = {
    "string": [5, True, ["x"], {"a": 1}],
    "object": [5, "x", [1]],
    "boolean": [1, "true", []],
    "number": ["1", True, [1], 10**400, -(10**400), 1e999],
    "whole": ["1", 1.5, True, [], 2**70, -(2**70)],
    "array": [5, [5], {"a": "b"}, [None]],
}


def cases(fields: dict[str, tuple[str, ...]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}={str(value)[:20]}")
        for kind, names in fields.items()
        for name in names
        for value in WRONG[kind]
    ]


def raw(body: dict[str, Any]) -> bytes:
    return json.dumps(body).replace("Infinity", "1e999").encode()


@pytest.mark.parametrize(("name", "value"), cases(NATIVE))
def test_wrong_types_of_native_fields(served: Served, name: str, value: Any) -> None:
    body = raw({"inputs": "x", "parameters": {name: value}})
    assert name in told(served.http.post("/generate", content=body, headers=JSON))


@pytest.mark.parametrize(("name", "value"), cases(OPENAI))
def test_wrong_types_of_openai_fields(served: Served, name: str, value: Any) -> None:
    body = raw({"model": "", "messages": HELLO, name: value})
    assert name in told(served.http.post("/v1/chat/completions", content=body, headers=JSON))


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/generate", {"inputs": ["x"]}, "inputs"),
        ("/generate", {"inputs": "x", "parameters": [1]}, "parameters"),
        ("/generate", {"inputs": "x" * 1_000_000}, "inputs"),
        (
            "/generate",
            {"inputs": "x", "parameters": {"merged_adapters": {"ids": ["a/1"], "weights": [1e999]}}},
            "weights",
        ),
        ("/", {"inputs": "x", "stream": "yes"}, "stream"),
        ("/tokenize", {"inputs": "x" * 1_100_000}, "inputs"),
        ("/score", {"inputs": "x", "continuations": "abc"}, "continuations"),
        ("/score", {"inputs": "x", "continuations": ["y" * 1_000_000]}, "continuations"),
        ("/score", {"inputs": "x", "continuations": ["y"] * 2000}, "continuations"),
        ("/v1/completions", {"model": "", "prompt": {"a": 1}}, "prompt"),
        ("/v1/completions", {"model": "", "prompt": [-1]}, "prompt"),
        ("/v1/completions", {"model": "", "prompt": [True]}, "prompt"),
        ("/v1/completions", {"model": "", "prompt": ["x"] * 65}, "prompt"),
        ("/v1/chat/completions", {"model": "", "messages": "hi"}, "messages"),
        ("/v1/chat/completions", {"model": "", "messages": [None]}, "messages[0]"),
        ("/v1/chat/completions", {"model": "", "messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ("/v1/chat/completions", {"model": "", "messages": [{"role": "user"}]}, "messages[0].content"),
        ("/v1/chat/completions", {"model": "", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ("/v1/chat/completions", {"model": "", "messages": HELLO * 5000}, "inputs"),
        ("/v1/chat/completions", {"model": "", "messages": HELLO, "stop": ["x"] * 100}, "stop"),
        ("/v1/chat/completions", {"model": "", "messages": HELLO, "top_logprobs": 5}, "top_logprobs"),
        (
            "/v1/chat/completions",
            {"model": "", "messages": HELLO, "logprobs": True, "top_logprobs": 50},
            "top_logprobs",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_wrong_values(served: Served, path: str, body: dict, names: str) -> None:
    assert names in told(served.http.post(path, content=raw(body), headers=JSON))


def wide(count: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"k{n}": {"enum": ["x" * 20, n]} for n in range(count)}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"anyOf": [schema, {"type": "object", "properties": {"a": schema}}]}
    return schema


BOMBS: dict[str, dict[str, Any]] = {
    "regex that doubles": {"type": "regex", "pattern": "(((a{1,99}){1,99}){1,99}){1,99}"},
    "regex with a long memory": {"type": "regex", "pattern": "(a|b)*a" + "(a|b)" * 30},
    "regex of 100,001 characters": {"type": "regex", "pattern": "a" * 100_001},
    "regex that looks around": {"type": "regex", "pattern": "(?=a)b"},
    "schema of 200,000 characters": {"type": "json_object", "schema": wide(5000)},
    "schema that is its own child": {"type": "json_object", "schema": {"$ref": "#"}},
    "schema from elsewhere": {"type": "json_object", "schema": {"$ref": "http://127.0.0.1:9/x"}},
    "schema nobody can meet": {"type": "json_object", "schema": {"type": "string", "minLength": 5, "maxLength": 2}},
    "deep schema as text": {"type": "json_object", "schema": DEEP},
    "exponential schema": {"type": "json_object", "schema": nested(12)},
}


@pytest.mark.parametrize("name", BOMBS)
def test_formats_made_to_explode(served: Served, name: str) -> None:
    """Refused, or kept within the time of an ordinary answer: what may not happen is that anybody waits."""
    answer = served.http.post(
        "/generate", json={"inputs": "x", "parameters": {"max_new_tokens": 20, "response_format": BOMBS[name]}}
    )
    assert answer.elapsed.total_seconds() < 5
    if answer.status_code != 200:
        assert "format" in told(answer)


def test_answer_whose_grammar_gives_up_fails_alone(served: Served) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        honest = [pool.submit(served.generate, f"honest {n}", max_new_tokens=30) for n in range(4)]
        bombs = [
            pool.submit(served.generate, "x", response_format=BOMBS["regex with a long memory"], max_new_tokens=60)
            for _ in range(4)
        ]
    assert all(answer.result().status_code == 200 for answer in honest)
    assert all(answer.result().status_code in (200, 422, 424) for answer in bombs)
