"""Server-sent events: a `data:` line an event, comments that keep idle connections open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from serving.server.context import ClientGone
from serving.server.errors import ApiError

KEEP_ALIVE_S = 15.0


@dataclass(frozen=True, slots=True)
class Head:
    """The first item of a source: the response's headers."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Done:
    """The last item of a source: everything was sent, and this counts it."""

    count: Callable[[], None]


Item = Head | Done | dict[str, Any] | str
Source = AsyncGenerator[Item, None]


def data_line(item: dict[str, Any] | str) -> bytes:
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


class EventStream:
    """Always HTTP 200, as LoRAX does: what goes wrong is told by an event of the error's shape."""

    def __init__(
        self,
        source: Source,
        error_body: Callable[[ApiError], dict[str, Any]],
        failed: Callable[[ApiError | ClientGone], None],
    ) -> None:
        self._source = source
        self._error_body = error_body
        self._failed = failed
        self._counted = False  # a request is counted once, however its end and its client's leaving fall together

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        pump, gone = asyncio.ensure_future(self._pump(send)), asyncio.ensure_future(until_gone())
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
            elif not self._counted:
                self._failed(ClientGone())
        finally:
            for task in (pump, gone):
                task.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)

    async def _pump(self, send: Send) -> None:
        begun = False

        async def begin(headers: dict[str, str]) -> None:
            nonlocal begun
            begun = True
            named = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
            raw = [(k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in {**named, **headers}.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})

        async def write(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async with aclosing(self._source) as source:
            try:
                while True:
                    step = asyncio.ensure_future(anext(source))
                    try:
                        while not (await asyncio.wait({step}, timeout=KEEP_ALIVE_S))[0]:
                            if begun:
                                await write(b":\n\n")
                    except asyncio.CancelledError:
                        step.cancel()
                        await asyncio.gather(step, return_exceptions=True)
                        raise
                    item = step.result()
                    if isinstance(item, Head):
                        await begin(item.headers)
                    elif isinstance(item, Done):
                        item.count()
                        self._counted = True
                    else:
                        await write(data_line(item))
            except StopAsyncIteration:
                pass
            except ApiError as error:
                self._failed(error)
                self._counted = True
                if not begun:
                    await begin({})
                await write(data_line(self._error_body(error)))
        await write(b"", more=False)
