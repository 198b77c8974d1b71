"""Listening and leaving: clients that never finish their request are cut off, SIGTERM lets running requests finish."""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.server.context import ServerContext

log = logging.getLogger("serving")
KEEP_ALIVE_S = 75
POLL_S = 0.05


def timed_protocol(patience_s: float) -> type[H11Protocol]:
    class TimedProtocol(H11Protocol):
        """Closes a connection on which the head of a request has been arriving for too long."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _watch(self) -> None:
            # Between requests uvicorn's own keep-alive timer runs; half a head begins ours.
            arriving = self.conn.their_state is h11.IDLE and (self.cycle is None or self.conn.trailing_data[0])
            if not arriving:
                self._unwatch()
            elif self._timer is None:
                self._timer = self.loop.call_later(patience_s, self._close)

        def _unwatch(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _close(self) -> None:
            if not self.transport.is_closing():
                self.transport.close()

    return TimedProtocol


class Server(uvicorn.Server):
    """On the first SIGTERM it refuses new requests with 503 and stops when the running ones are done."""

    def __init__(self, app: Starlette, context: ServerContext) -> None:
        settings = context.settings
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=timed_protocol(settings.client_timeout_s),
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(settings.drain_s)),
                lifespan="off",
            )
        )
        self._generator = context.generator
        self._drain_s = settings.drain_s
        self._loop = asyncio.get_running_loop()
        self._engine = context.engine
        self._drained: asyncio.Task[None] | None = None
        self.failed = False

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second. A server whose engine has died tells those who wait, and ends."""
        if not self._engine.alive and not self.failed:
            log.critical("the engine has stopped; the server ends")
            self.failed = True
            self._generator.draining = True
            self._generator.bridge.fail_all("the engine has stopped")
            self._begin_to_drain()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self._generator.draining:
            self._generator.draining = True
            self._loop.call_soon_threadsafe(self._begin_to_drain)
        else:
            super().handle_exit(sig, frame)

    def _begin_to_drain(self) -> None:
        log.info("draining: %d requests are running", self._generator.in_flight)
        self._drained = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        until = self._loop.time() + self._drain_s
        while self._generator.in_flight and self._loop.time() < until:
            await asyncio.sleep(POLL_S)
        self.should_exit = True
