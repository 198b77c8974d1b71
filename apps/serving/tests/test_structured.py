"""A random model made to write what a schema or a pattern allows: only the grammar can be the cause."""

from __future__ import annotations

import json
import re

import openai
import pytest
from conftest import Served

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}, "age": {"type": "integer", "minimum": 1, "maximum": 30}},
    "required": ["kind", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("sampled", [{}, {"do_sample": True, "temperature": 2.0, "seed": 4}])
def test_answer_follows_the_schema(served: Served, sampled: dict) -> None:
    answer = served.generate(
        response_format={"type": "json_object", "schema": SCHEMA}, max_new_tokens=60, adapter_id="all-4/1", **sampled
    )
    value = json.loads(answer.json()["generated_text"])
    assert value["kind"] in ("cat", "dog") and 1 <= value["age"] <= 30


def test_answer_follows_a_pattern(served: Served) -> None:
    text = served.generate(response_format={"type": "regex", "pattern": "[a-c]{3}-[0-9]{4}"}, max_new_tokens=20)
    assert re.fullmatch("[a-c]{3}-[0-9]{4}", text.json()["generated_text"])


def test_openai_json_schema(served: Served) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="pb_a", max_retries=0)
    answer = client.chat.completions.create(
        model="",
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA}},
    )
    assert json.loads(answer.choices[0].message.content or "")["kind"] in ("cat", "dog")
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "magic"},
        {"type": "json_object", "schema": "{"},
        {"type": "json_object", "schema": {"type": "no-such-type"}},
        {"type": "regex", "pattern": "("},
        {"type": "json_schema"},
    ],
)
def test_formats_that_can_not_be_kept_are_refused(served: Served, wrong: dict) -> None:
    response = served.generate(response_format=wrong)
    assert response.status_code == 422
    assert "response_format" in response.json()["error"]
