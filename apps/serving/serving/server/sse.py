"""Server-sent events: a `data:` line an event, comments that keep idle connections open."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.server.context import ServerContext
from serving.server.errors import ApiError, BodyError
from serving.server.observe import Observation

log = logging.getLogger("serving.server")
KEEP_ALIVE_S = 15.0
TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """The first item of a source: the response's headers."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Done:
    """The last item of a source: everything was sent."""


Item = Head | Done | dict[str, Any] | str
Source = AsyncGenerator[Item, None]


def data_line(item: dict[str, Any] | str) -> bytes:
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


class EventStream:
    """LoRAX answers every stream with HTTP 200 and tells what goes wrong by an event of the error's shape. With
    `refusal`, as OpenAI does, a request that fails before its first event has its own status instead. A body that can't
    be read has its own in both."""

    def __init__(
        self,
        context: ServerContext,
        seen: Observation,
        source: Source,
        error_body: Callable[[ApiError], dict[str, Any]],
        unreadable: Callable[[BodyError], Response],
        refusal: Callable[[ApiError], Response] | None = None,
    ) -> None:
        self._context = context
        self._seen = seen
        self._source = source
        self._error_body = error_body
        self._unreadable = unreadable
        self._refusal = refusal
        seen.stream = True

    def _end(self, status: int, error: str | None) -> None:
        self._context.observer.end(self._seen, status, error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        writer = _Writer(send, {"x-request-id": self._seen.id})
        patience_s = self._context.settings.client_timeout_s
        pump = asyncio.ensure_future(self._pump(writer, scope, receive, send))
        gone = asyncio.ensure_future(until_gone())
        try:
            while not (await asyncio.wait({pump, gone}, timeout=TICK_S))[0]:
                if writer.stuck_s > patience_s:
                    break  # it reads nothing, and must not hold a place
                if writer.silent_s > KEEP_ALIVE_S:
                    await asyncio.wait_for(writer.write(b":\n\n"), patience_s)
            if pump.done():
                pump.result()
        except (TimeoutError, asyncio.TimeoutError):
            pass
        finally:
            for task in (pump, gone):
                task.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)
            self._end(499, "dropped")  # unless it has ended already

    async def _pump(self, writer: _Writer, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._source) as source:
            try:
                async for item in source:
                    if isinstance(item, Head):
                        await writer.begin(item.headers)
                    elif isinstance(item, Done):
                        self._end(200, None)
                    else:
                        await writer.write(data_line(item))
            except BodyError as error:  # bodies are read before the first event
                self._end(error.status, "bad_request")
                await self._answer(self._unreadable(error), scope, receive, send)
                return
            except Exception as error:
                refused = _as_api_error(error)
                self._end(refused.status, refused.kind)
                if self._refusal is not None and not writer.begun:
                    await self._answer(self._refusal(refused), scope, receive, send)
                    return
                await writer.begin({})
                await writer.write(data_line(self._error_body(refused)))
        await writer.write(b"", more=False)

    async def _answer(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        response.headers["x-request-id"] = self._seen.id
        await response(scope, receive, send)


def _as_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    log.error("stream failed", exc_info=error)
    return ApiError(500, "internal", "internal error; the server's log has the reason")


class _Writer:
    """Writes to one client and knows how long it has been at it."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send = send
        self._headers = headers
        self.begun = False
        self._since: float | None = None  # when the write that is under way began
        self._last = time.monotonic()

    @property
    def stuck_s(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self._last if self.begun and self._since is None else 0.0

    async def _tell(self, message: dict[str, Any]) -> None:
        self._since = time.monotonic()
        await self._send(message)
        self._last, self._since = time.monotonic(), None

    async def begin(self, headers: dict[str, str]) -> None:
        if self.begun:
            return
        self.begun = True
        named = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
        every = {**named, **self._headers, **headers}
        raw = [(k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in every.items()]
        await self._tell({"type": "http.response.start", "status": 200, "headers": raw})

    async def write(self, data: bytes, more: bool = True) -> None:
        await self._tell({"type": "http.response.body", "body": data, "more_body": more})
