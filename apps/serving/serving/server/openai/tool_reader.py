"""From the model's text to OpenAI's deltas: plain text, calls found in free text, and calls of an enforced grammar."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.server.openai.stops import HoldBack
from serving.server.openai.tools import OPEN

Delta = dict[str, Any]
PREFIXES = ("<|python_tag|>", "[TOOL_CALLS]")  # of Llama and Mistral, where the tokenizer shows them
FORCED_HEAD = re.compile(
    r'\}?\s*(?:</tool_call>)?\s*(?:<tool_call>\s*)?\{"name": "([A-Za-z0-9_-]+)", "arguments": (?=\{)'
)
BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


class Reader(Protocol):
    """Takes one answer's text as it grows. `called` is true once a call has been told."""

    called: bool

    def add(self, text: str) -> list[Delta]: ...

    def end(self) -> list[Delta]: ...


def _begin_call(index: int, name: str) -> Delta:
    # Nine letters or digits: some templates refuse any other id when it comes back.
    function = {"name": name, "arguments": ""}
    return {"tool_calls": [{"index": index, "id": secrets.token_hex(5)[:9], "type": "function", "function": function}]}


def _more_arguments(index: int, text: str) -> Delta:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def _content(text: str) -> list[Delta]:
    return [{"content": text}] if text else []


@dataclass(slots=True)
class PlainReader:
    called: bool = False

    def add(self, text: str) -> list[Delta]:
        return _content(text)

    def end(self) -> list[Delta]:
        return []


@dataclass(slots=True)
class FreeReader:
    """`tool_choice: auto`. Text that may be a call is held until its end; everything else passes at once."""

    names: frozenset[str]
    parallel: bool
    called: bool = False
    _held: str = ""
    _state: str = "undecided"  # then "content" or "held"
    _hold: HoldBack = field(default_factory=lambda: HoldBack((OPEN,)))

    def add(self, text: str) -> list[Delta]:
        if self._state == "content":
            return self._add_content(text)
        self._held += text
        begun = self._held.lstrip()
        if self._state == "held" or not begun:
            return []
        if begun[0] in "{[" or any(begun.startswith(mark) for mark in (OPEN, *PREFIXES)):
            self._state = "held"
            return []
        if any(mark.startswith(begun) for mark in (OPEN, *PREFIXES)):
            return []
        self._state, held, self._held = "content", self._held, ""
        return self._add_content(held)

    def _add_content(self, text: str) -> list[Delta]:
        passed = self._hold.add(text)
        at = (passed + self._hold.held).find(OPEN)
        if at < 0:
            return _content(passed)
        self._state, self._held = "held", (passed + self._hold.held)[at:]
        self._hold.held = ""
        return _content(passed[:at])

    def end(self) -> list[Delta]:
        rest = self._held + self._hold.held
        calls = parse_calls(rest, self.names)
        if not calls:
            return _content(rest)
        self.called = True
        deltas = []
        for index, (name, arguments) in enumerate(calls if self.parallel else calls[:1]):
            deltas += [_begin_call(index, name), _more_arguments(index, arguments)]
        return deltas


def parse_calls(text: str, names: frozenset[str]) -> list[tuple[str, str]]:
    """(name, arguments as JSON) of each call, or nothing unless all of the text is calls of known functions."""
    text = text.strip()
    for prefix in PREFIXES:
        text = text.removeprefix(prefix).strip()
    if OPEN in text and BLOCK.sub("", text).strip():
        return []
    blocks = BLOCK.findall(text) if OPEN in text else [text]
    try:
        calls = [_call(item, names) for block in blocks for item in _values(block)]
    except (ValueError, RecursionError):
        return []
    return [call for call in calls if call is not None] if all(calls) else []


def _values(text: str) -> list[Any]:
    """JSON values one after the other, with white space, commas or semicolons between them; arrays are opened."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found += value if isinstance(value, list) else [value]
        text = text[end:].lstrip(" \t\r\n,;")
    return found


def _call(item: Any, names: frozenset[str]) -> tuple[str, str] | None:
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(name, str) or name not in names:
        return None
    arguments = item.get("arguments", item.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    return (name, json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None


@dataclass(slots=True)
class ForcedReader:
    """Text that a grammar has made a call, or several: arguments pass as they are written."""

    called: bool = False
    _text: str = ""
    _index: int = -1
    _depth: int = 0  # of the arguments' braces; 0 outside of them
    _quoted: bool = False
    _escaped: bool = False

    def add(self, text: str) -> list[Delta]:
        self._text += text
        deltas: list[Delta] = []
        while self._text:
            if not self._depth:
                head = FORCED_HEAD.match(self._text)
                if head is None:
                    break
                self.called = True
                self._index += 1
                deltas.append(_begin_call(self._index, head[1]))
                self._text = self._text[head.end() :]
            length = self._arguments()
            deltas.append(_more_arguments(self._index, self._text[:length]))
            self._text = self._text[length:]
        return deltas

    def _arguments(self) -> int:
        """How much of the text belongs to the arguments."""
        for at, char in enumerate(self._text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped, self._quoted = char == "\\", char != '"'
            elif char == '"':
                self._quoted = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if not self._depth:
                    return at + 1
        return len(self._text)

    def end(self) -> list[Delta]:
        return []


def message_of(deltas: list[Delta]) -> dict[str, Any]:
    """The message that a stream of these deltas adds up to."""
    content, calls = "", []
    for delta in deltas:
        content += delta.get("content", "")
        for part in delta.get("tool_calls", ()):
            if "id" in part:
                calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
            else:
                calls[-1]["function"]["arguments"] += part["function"]["arguments"]
    message: dict[str, Any] = {"role": "assistant", "content": content if content or not calls else None}
    message["refusal"] = None
    return {**message, "tool_calls": calls} if calls else message
