"""Structured output: `response_format` becomes a grammar (llguidance) that says which tokens may come next."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from torch import Tensor

from serving.server.errors import ApiError, validation

MAX_GRAMMAR_CHARS = 100_000
COMPILE_S = 2.0
COMPILERS = 2
KEPT = 32  # compiled grammars
MAX_LEXER_STATES = 50_000  # at one or two kB each
MAX_STEP_FUEL = 100_000  # about 7 ms of one step


class GrammarMask:
    """One answer's place in its grammar. Runs on the engine's thread, where it never raises: an answer that can't go
    on has `error` set and may only end."""

    def __init__(self, matcher: Any, vocab: int, eos_ids: frozenset[int]) -> None:
        self._matcher = matcher
        self._vocab = vocab
        self._eos_ids = eos_ids
        self.error = ""

    def allowed(self) -> Tensor:
        packed = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        allowed = bits.flatten()[: self._vocab].bool()
        if self._matcher.is_error() or not allowed.any():
            self.error = self.error or self._matcher.get_error()[:200] or "no token is allowed"
            allowed = torch.zeros(self._vocab, dtype=torch.bool)
            allowed[sorted(self._eos_ids) or [0]] = True
        return allowed

    def accept(self, token: int) -> None:
        if not self.error and not self._matcher.consume_token(token):
            self.error = self._matcher.get_error()[:200] or "the grammar does not go on"


MakeMask = Callable[[], GrammarMask]


class Structures:
    """Compiles grammars off the event loop, within a time limit, and keeps the last ones."""

    def __init__(self, folder: Path, vocab: int, eos_ids: frozenset[int]) -> None:
        self._folder = folder
        self._vocab = vocab
        self._eos_ids = eos_ids
        self._tokenizer: Any = None
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(COMPILERS, thread_name_prefix="grammar")
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    async def warm(self) -> None:
        """Reads the tokenizer, so that the first structured answer needn't wait for it."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._compile, "")

    async def masks(self, response_format: dict[str, Any] | None) -> MakeMask | None:
        """A maker of masks, one for each answer; None where the answer is free text. Refuses what can't be kept."""
        grammar = None if response_format is None else _grammar(response_format)
        return None if grammar is None else await self.grammar_masks(grammar, "response_format")

    async def grammar_masks(self, grammar: str, field: str) -> MakeMask:
        matcher = self._compiled.pop(grammar, None) or await self._compiled_in_time(grammar, field)
        self._compiled[grammar] = matcher  # the last one used comes last
        while len(self._compiled) > KEPT:
            self._compiled.popitem(last=False)
        return lambda: GrammarMask(matcher.deep_copy(), self._vocab, self._eos_ids)

    async def _compiled_in_time(self, grammar: str, field: str) -> Any:
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._compile, grammar)
        try:
            matcher = await asyncio.wait_for(work, COMPILE_S)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise _refused(field, f"it took longer than {COMPILE_S:g} s to compile; make it simpler") from error
        if matcher.is_error():
            raise _refused(field, matcher.get_error()[:300])
        return matcher

    def _compile(self, grammar: str) -> Any:
        with self._lock:
            if self._tokenizer is None:
                path, eos = str(self._folder / "tokenizer.json"), sorted(self._eos_ids)
                self._tokenizer = LLTokenizer(path, n_vocab=self._vocab, eos_token=eos)
        limits = LLParserLimits(max_lexer_states=MAX_LEXER_STATES, step_lexer_fuel=MAX_STEP_FUEL, verbose_errors=False)
        return LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)


def _refused(field: str, why: str) -> ApiError:
    return validation(f"`{field}` can't be used: {why}", field)


def _grammar(response_format: dict[str, Any]) -> str | None:
    kind = response_format.get("type")
    if kind in (None, "text"):
        return None
    if kind == "regex":
        pattern = response_format.get("pattern")
        if not isinstance(pattern, str) or len(pattern) > MAX_GRAMMAR_CHARS:
            raise validation(
                f"`response_format.pattern` must be a string of at most {MAX_GRAMMAR_CHARS} characters",
                "response_format",
            )
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
        except (ValueError, RecursionError) as error:
            raise validation("`response_format.schema` is not JSON", "response_format") from error
    if not isinstance(value, dict) or len(json.dumps(value)) > MAX_GRAMMAR_CHARS:
        raise validation(
            f"`response_format.schema` must be a JSON schema object of at most {MAX_GRAMMAR_CHARS} characters",
            "response_format",
        )
    return value
