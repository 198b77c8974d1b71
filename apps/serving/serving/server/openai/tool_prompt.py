"""How tools and their results reach the model: by its chat template where that takes tools, else as plain text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from serving.server.openai.tools import Tool, call_head

Message = dict[str, Any]

PLAIN = (
    "You have access to these functions, each given as a JSON object with its name, description and parameters:\n"
    "{functions}\n"
    'To call a function, answer with nothing but a JSON object of the form {{"name": <function name>, "arguments": '
    "<object>}}, one a line for several calls. To answer without a function, write plain text."
)


def for_template(messages: Sequence[Message]) -> list[Message]:
    """Templates that take tools want the arguments of earlier calls as objects."""
    return [
        {**message, "tool_calls": [_with_object(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}


def as_plain(messages: Sequence[Message], tools: Sequence[Tool], tool_prompt: str | None) -> list[Message]:
    """For templates that know no tools: the functions go into the system message, calls into the assistant's text,
    results into a user's turn."""
    plain: list[Message] = []
    names: dict[str, str] = {}
    for message in messages:
        calls = message.get("tool_calls") or []
        names |= {call["id"]: call["function"]["name"] for call in calls}
        if message["role"] == "tool":
            _add_result(plain, names.get(message["tool_call_id"], "the function"), message["content"])
        else:
            written = [call_head(c["function"]["name"]) + (c["function"]["arguments"] or "{}") + "}" for c in calls]
            content = "\n".join(filter(None, [message["content"], *written]))
            plain.append({"role": message["role"], "content": content})
    if not tools:
        return plain
    functions = "\n".join(json.dumps(tool.spec["function"], ensure_ascii=False) for tool in tools)
    text = f"{tool_prompt}\n{functions}" if tool_prompt else PLAIN.format(functions=functions)
    if plain[0]["role"] == "system":
        return [{"role": "system", "content": f"{plain[0]['content']}\n\n{text}"}, *plain[1:]]
    return [{"role": "system", "content": text}, *plain]


def _add_result(plain: list[Message], name: str, content: str) -> None:
    """Results of one round share a turn, since many templates want the roles to alternate."""
    text = f"Result of {name}:\n{content}"
    if plain and plain[-1].get("results"):
        plain[-1]["content"] += f"\n{text}"
    else:
        plain.append({"role": "user", "content": text, "results": True})
