"""Structured output: `response_format` becomes a grammar (llguidance) that says which tokens may come next."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from serving.engine.request import TokenMask
from serving.server.errors import validation

MAX_GRAMMAR_CHARS = 100_000
MakeMask = Callable[[], TokenMask]


class GrammarMask:
    """One request's place in its grammar. Runs on the engine's thread."""

    def __init__(self, matcher: Any, vocab: int) -> None:
        self._matcher = matcher
        self._vocab = vocab

    def allowed(self) -> Tensor:
        packed = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        return bits.flatten()[: self._vocab].bool()

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)
        if self._matcher.is_error():
            raise RuntimeError(f"structured output failed: {self._matcher.get_error()[:200]}")


@dataclass(slots=True)
class Structures:
    folder: Path
    vocab: int
    eos_ids: frozenset[int]
    _tokenizer: Any = field(default=None)

    def masks(self, response_format: dict[str, Any] | None) -> MakeMask | None:
        """A maker of masks, one for each answer; None where the answer is free text. Refuses what can't be kept."""
        grammar = None if response_format is None else _grammar(response_format)
        if grammar is None:
            return None
        if self._tokenizer is None:
            eos = sorted(self.eos_ids)
            self._tokenizer = LLTokenizer(str(self.folder / "tokenizer.json"), n_vocab=self.vocab, eos_token=eos)
        error = LLMatcher.validate_grammar(grammar, self._tokenizer)
        if error:
            raise validation(f"`response_format` can't be used: {error[:300]}", "response_format")
        return lambda: GrammarMask(LLMatcher(self._tokenizer, grammar, log_level=0), self.vocab)


def _grammar(response_format: dict[str, Any]) -> str | None:
    kind = response_format.get("type")
    if kind in (None, "text"):
        return None
    if kind == "regex":
        pattern = response_format.get("pattern")
        if not isinstance(pattern, str) or len(pattern) > MAX_GRAMMAR_CHARS:
            raise validation("`response_format.pattern` must be a string", "response_format")
        return str(LLMatcher.grammar_from_regex(pattern))
    if kind == "json_object":
        schema = response_format.get("schema")
    elif kind == "json_schema":
        holder = response_format.get("json_schema", response_format)
        schema = holder.get("schema") if isinstance(holder, dict) else None
        if schema is None:
            raise validation("`response_format.json_schema.schema` is missing", "response_format")
    else:
        raise validation(
            f"`response_format.type` {str(kind)[:40]!r} is not one of text, json_object, json_schema, regex",
            "response_format",
        )
    schema = _schema(schema)
    # Without white space between tokens a greedy model can't pad its answer to the limit.
    return str(LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides={"whitespace_flexible": False}))


def _schema(value: Any) -> Any:
    """Clients send the schema as an object or as its text; none at all means any object."""
    if value is None:
        return {"type": "object"}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise validation("`response_format.schema` is not JSON", "response_format") from error
    if not isinstance(value, dict) or len(json.dumps(value)) > MAX_GRAMMAR_CHARS:
        raise validation("`response_format.schema` must be a JSON schema object", "response_format")
    return value
