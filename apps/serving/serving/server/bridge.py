"""Between the event loop and the engine's thread: one call each way, however many requests there are."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from serving.engine.engine import Engine
from serving.engine.request import Event, Failed, NewToken, Request, Scores
from serving.server.errors import engine_failure


class Bridge:
    def __init__(self) -> None:
        self._queues: dict[int, asyncio.Queue[Event]] = {}
        self._ids = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.engine: Engine | None = None
        self.waiting: Counter[str] = Counter()  # by tenant: requests whose prompt is not done

    def attach(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self._loop = loop
        self.engine = engine

    def deliver(self, events: list[Event]) -> None:
        """On the engine's thread, once a step."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._dispatch, events)

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            waiting = self._queues.get(event.request_id)
            if waiting is not None:
                waiting.put_nowait(event)

    def fail_all(self, message: str) -> None:
        """Ends every request that waits for the engine; on the event loop."""
        self._dispatch([Failed(request_id, message) for request_id in self._queues])

    @asynccontextmanager
    async def run(self, request: Request) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of one request. Leaving the block early cancels it in the engine."""
        engine = self.engine
        assert engine is not None
        request = replace(request, id=next(self._ids))
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._queues[request.id] = events
        finished = begun = False

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                self.waiting.subtract({request.tenant: 1})
                if not self.waiting[request.tenant]:
                    del self.waiting[request.tenant]

        async def stream() -> AsyncGenerator[Event, None]:
            nonlocal finished
            while not finished:
                event = await events.get()
                begin()
                if isinstance(event, Failed):
                    finished = True
                    raise engine_failure(event.code, event.message)
                finished = isinstance(event, Scores) or (isinstance(event, NewToken) and event.finish is not None)
                yield event

        self.waiting[request.tenant] += 1
        engine.submit(request)
        try:
            async with aclosing(stream()) as source:
                yield source
        finally:
            begin()
            del self._queues[request.id]
            if not finished:
                engine.cancel(request.id)
