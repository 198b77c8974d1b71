"""What every route needs, built once at start, and the steps that all generating routes begin with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from lora_py.chat_template import ChatTemplate, ChatTemplateError, render_chat
from starlette.requests import Request

from serving.adapters.identity import AdapterFailure, AdapterRef
from serving.adapters.merge import Merge, MergeCache
from serving.adapters.registry import Loaded, Registry
from serving.engine.engine import Engine
from serving.engine.request import EngineAdapter
from serving.server.access import Access, Caller
from serving.server.errors import ApiError, ClientGone, generation, validation
from serving.server.generate import Generator, Prompt
from serving.server.grove_metrics import GroveMetrics
from serving.server.hints import Hints, read_hints
from serving.server.metrics import Metrics
from serving.server.observe import Observer, seen_of
from serving.server.params import Limits
from serving.server.settings import Settings
from serving.server.structured import Structures
from serving.server.text import TextCodec

VERSION = "0.1.0"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerContext:
    settings: Settings
    limits: Limits
    codec: TextCodec
    template: ChatTemplate | None
    engine: Engine
    generator: Generator
    registry: Registry
    access: Access
    metrics: Metrics
    grove_metrics: GroveMetrics
    observer: Observer
    merges: MergeCache
    structures: Structures
    eos_ids: frozenset[int]
    device: str
    weights: str
    started_at: float

    def prompt(self, text: str, special: bool = True, truncate: int | None = None) -> Prompt:
        if not text:
            raise validation("`inputs` cannot be empty", "inputs")
        if len(text) > self.codec.most_chars(truncate or self.limits.max_input_length):
            most = self.limits.max_input_length
            raise validation(f"`inputs` must have less than {most} tokens. Given: {len(text)} characters", "inputs")
        ids = self.codec.encode(text, special)
        if truncate is not None:
            ids = ids[-truncate:]
        if len(ids) > self.limits.max_input_length:
            raise validation(
                f"`inputs` must have less than {self.limits.max_input_length} tokens. Given: {len(ids)}", "inputs"
            )
        if not ids:
            raise validation("`inputs` cannot be empty", "inputs")
        return Prompt(text, tuple(ids))

    def chat_prompt(
        self, messages: list[dict[str, Any]], truncate: int | None = None, tools: list[dict[str, Any]] | None = None
    ) -> Prompt:
        return self.prompt(self.rendered(messages, tools), special=False, truncate=truncate)

    def rendered(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
        if self.template is None:
            raise ApiError(422, "template_error", "Template error: the base model has no chat template")
        try:
            return render_chat(self.template, messages, tools=tools)
        except ChatTemplateError as error:
            raise ApiError(422, "template_error", f"Template error: {error}") from error

    def new_tokens(self, asked: int | None, prompt: Prompt, name: str = "max_new_tokens") -> int:
        room = self.limits.max_total_tokens - len(prompt.ids)
        if asked is None:
            return room
        if asked > room:
            raise validation(
                f"`inputs` tokens + `{name}` must be <= {self.limits.max_total_tokens}. "
                f"Given: {len(prompt.ids)} `inputs` tokens and {asked} `{name}`",
                name,
            )
        return asked

    def caller(self, request: Request) -> Caller:
        return self.access.caller(request.headers)

    def counted_caller(self, request: Request) -> tuple[Caller, Hints]:
        """Who sent a counted request, and how urgent it is."""
        caller = self.caller(request)
        return caller, read_hints(request.headers, caller, seen_of(request).arrived)

    @asynccontextmanager
    async def adapters(
        self, request: Request, caller: Caller, ids: tuple[str, ...], source: str | None, deadline: float | None = None
    ) -> AsyncIterator[list[Loaded]]:
        seen = seen_of(request)
        seen.named = bool(ids)
        refs: list[AdapterRef] = await self.access.resolve(caller, ids, source, request.headers.get("x-grove-adapter"))
        seen.refs, seen.tenant = tuple(refs), refs[0].tenant if refs else seen.tenant
        async with self.access.loaded(refs, deadline) as loaded:
            yield loaded

    async def engine_adapter(self, loaded: list[Loaded], merge: Merge | None) -> EngineAdapter | None:
        if merge is None:
            return loaded[0].engine if loaded else None
        try:
            return await asyncio.to_thread(self.merges.get, [one.engine for one in loaded], merge)
        except AdapterFailure as failure:
            raise generation(str(failure)) from failure


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The work's result; the work is cancelled when the client leaves first."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


def now() -> float:
    return time.monotonic()


def context_of(request: Request) -> ServerContext:
    context: ServerContext = request.app.state.context
    return context
