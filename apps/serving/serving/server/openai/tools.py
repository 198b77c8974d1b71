"""`tools`, `tool_choice` and `parallel_tool_calls`: what was asked for, and the grammar of the calls."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher
from lora_py.chat_template import ChatTemplate
from tokenizers import Tokenizer

from serving.server.errors import ApiError
from serving.server.fields import Fields

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MAX_TOOLS = 128
MAX_CALLS = 8
MAX_SCHEMA_CHARS = 100_000
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    parameters: dict[str, Any]
    spec: dict[str, Any]  # in OpenAI's form, as chat templates take it
    strict: bool  # its arguments follow its schema, even where the model is free to call it or not


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """`shown` are told to the model; `forced`, where not empty, are those of which it must call one."""

    shown: tuple[Tool, ...] = ()
    forced: tuple[Tool, ...] = ()
    parallel: bool = True

    @property
    def names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.shown)

    @property
    def bound(self) -> bool:
        return bool(self.forced) or any(tool.strict for tool in self.shown)


def tool_error(message: str, field: str) -> ApiError:
    return ApiError(422, "tool_error", f"Tool error: {message}", field)


def read_tools(fields: Fields) -> ToolPlan:
    for old in ("functions", "function_call"):
        if fields.data.get(old):
            raise tool_error(f"`{old}` is not supported; send `tools` and `tool_choice`", old)
    given, parallel = fields.data.get("tools"), fields.flag("parallel_tool_calls")
    if given is not None and (not isinstance(given, list) or len(given) > MAX_TOOLS):
        raise tool_error(f"`tools` must be an array of at most {MAX_TOOLS} functions", "tools")
    tools = tuple(_tool(item, f"tools[{index}]") for index, item in enumerate(given or ()))
    names = [tool.name for tool in tools]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise tool_error(f"`tools` has the function {twice!r} twice", "tools")
    return _chosen(tools, fields.data.get("tool_choice"), True if parallel is None else parallel)


def _tool(item: Any, where: str) -> Tool:
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(function, dict) or item.get("type", "function") != "function":
        raise tool_error(f"`{where}` must be {{type: function, function: {{name, parameters}}}}", where)
    name, description, parameters = (function.get(key) for key in ("name", "description", "parameters"))
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise tool_error(f"`{where}.function.name` must be 1 to 64 letters, digits, _ or -", f"{where}.function.name")
    if description is not None and not isinstance(description, str):
        raise tool_error(f"`{where}.function.description` must be a string", f"{where}.function.description")
    parameters = {"type": "object", "properties": {}} if parameters is None else parameters
    if not isinstance(parameters, dict) or len(json.dumps(parameters)) > MAX_SCHEMA_CHARS:
        raise tool_error(f"`{where}.function.parameters` must be a JSON schema", f"{where}.function.parameters")
    shown = {"name": name, "description": description or "", "parameters": parameters}
    strict = function.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise tool_error(f"`{where}.function.strict` must be a boolean", f"{where}.function.strict")
    return Tool(name, parameters, {"type": "function", "function": shown}, bool(strict))


def _chosen(tools: tuple[Tool, ...], choice: Any, parallel: bool) -> ToolPlan:
    if choice is None or choice == "auto":
        return ToolPlan(tools, (), parallel)
    if choice == "none":
        return ToolPlan()
    if choice == "required":
        if not tools:
            raise tool_error("`tool_choice: required` needs `tools`", "tool_choice")
        return ToolPlan(tools, tools, parallel)
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    # LoRAX takes a function's bare name.
    name = function.get("name") if isinstance(function, dict) else choice if isinstance(choice, str) else None
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        told = "none, auto, required, or {type: function, function: {name}} with the name of one of `tools`"
        raise tool_error(f"`tool_choice` must be {told}", "tool_choice")
    return ToolPlan(tools, named, False)


@dataclass(frozen=True, slots=True)
class Tags:
    """`<tool_call>` and `</tool_call>` in a grammar: their tokens where the tokenizer has them, else their text."""

    open: str
    close: str

    @staticmethod
    def of(template: ChatTemplate | None, tokenizer: Tokenizer) -> Tags | None:
        if template is None or OPEN not in template.source:
            return None
        ids = [tokenizer.token_to_id(tag) for tag in (OPEN, CLOSE)]
        return Tags(
            *(_text(tag) if found is None else f"<[{found}]>" for tag, found in zip((OPEN, CLOSE), ids, strict=True))
        )


def call_grammar(plan: ToolPlan, tags: Tags | None) -> str:
    """Calls as JSON objects, one a line; with `tags` as Hermes and Qwen write them. Where none is forced, any text may
    stand before a tag or, without tags, instead of the calls."""
    tools = plan.forced or plan.shown
    before, after = ("", "") if tags is None else (f"{tags.open} {_text(chr(10))}", f"{_text(chr(10))} {tags.close}")
    repeat = f" ({_text(chr(10))} call){{0,{MAX_CALLS - 1}}}" if plan.parallel else ""
    lines = ["call: " + " | ".join(f"tool_{i}" for i in range(len(tools)))]
    if plan.forced:
        lines.append(f"start: call{repeat}")
    elif tags is None:
        lines += [f"start: call{repeat} | OTHER", r"OTHER: /([^{\[\s](.|\n)*)?/"]
    elif tags.open.startswith("<["):  # a token of its own, which no text holds
        lines += [f"start: TEXT (call{repeat})?", r"TEXT: /(.|\n)*/"]
    else:
        before = f"opened {_text(chr(10))}"
        lines += ["start: call* TEXT", f"opened[lazy]: TEXT {tags.open}", r"TEXT: /(.|\n)*/"]
    for index, tool in enumerate(tools):
        lines.append(f"tool_{index}: {before} {_text(call_head(tool.name))} args_{index} {_text('}')} {after}")
        # A rule of its own keeps `#/$defs` references of the function's schema pointing at its own root.
        schema = {"type": "object", **(tool.parameters if plan.forced or tool.strict else {}), "x-guidance": JSON_STYLE}
        lines.append(f"args_{index}: %json {json.dumps(schema)}")
    return str(LLMatcher.grammar_from_lark("\n".join(lines)))


def _text(text: str) -> str:
    """A literal of the grammar's language."""
    return json.dumps(text)


def call_head(name: str) -> str:
    return f'{{"name": "{name}", "arguments": '
