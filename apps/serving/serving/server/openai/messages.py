"""`messages`: roles, text parts, tool calls and their results."""

from __future__ import annotations

import json
from typing import Any

from serving.server.errors import ApiError, validation
from serving.server.fields import Fields

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
Message = dict[str, Any]


def read_messages(fields: Fields) -> list[Message]:
    messages = fields.data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise validation("`messages` must be a non-empty array", "messages")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: Any, where: str) -> Message:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        raise validation(f"`{where}.role` must be one of {', '.join(ROLES)}", f"{where}.role")
    read: Message = {"role": ROLES[role], "content": _content(message.get("content"), f"{where}.content")}
    name = message.get("name")
    if isinstance(name, str):
        read["name"] = name
    if role == "assistant" and message.get("tool_calls"):
        calls = message["tool_calls"]
        if not isinstance(calls, list):
            raise validation(f"`{where}.tool_calls` must be an array", f"{where}.tool_calls")
        read["tool_calls"] = [_tool_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
    elif role == "tool":
        if not isinstance(message.get("tool_call_id"), str):
            raise validation(f"`{where}.tool_call_id` must be a string", f"{where}.tool_call_id")
        read["tool_call_id"] = message["tool_call_id"]
    elif message.get("content") is None:
        raise validation(f"`{where}.content` is missing", f"{where}.content")
    return read


def _tool_call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(call.get("id"), str):
        raise _bad_call(where, "must be {id, type: function, function: {name, arguments}}")
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise _bad_call(where, "must have a function with a name and arguments, both strings")
    try:
        readable = isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        readable = False
    if not readable:
        raise _bad_call(f"{where}.function.arguments", "must be the text of a JSON object")
    return {"id": call["id"], "type": "function", "function": {"name": name, "arguments": arguments}}


def _bad_call(where: str, why: str) -> ApiError:
    return validation(f"`{where}` {why}", where)


def _content(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise validation(f"`{where}` must be a string or an array of parts", where)
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise validation(f"`{where}` may hold text parts only; this model reads no images or audio", where)
        texts.append(part["text"])
    return "".join(texts)
