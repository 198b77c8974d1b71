"""One adapter on its way into memory, and what becomes of it."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from dataclasses import dataclass

from serving.adapters.identity import AdapterFailure, AdapterRef
from serving.adapters.loader import Made
from serving.engine.request import EngineAdapter

log = logging.getLogger("serving.adapters")


@dataclass(slots=True, eq=False)
class Load:
    """Whoever asks for the same bytes meanwhile waits for the same future."""

    ref: AdapterRef
    began: float
    future: Future[EngineAdapter]
    fetched: bool = False


def as_failure(error: Exception, adapter_id: str) -> AdapterFailure:
    """What callers are told; what nobody foresaw is logged whole."""
    if isinstance(error, AdapterFailure):
        return error
    log.error("adapter %s failed to load", adapter_id, exc_info=error)
    return AdapterFailure(f"adapter {adapter_id} failed to load: {type(error).__name__}: {error}")


def save_later(made: Made, when: float) -> None:
    time.sleep(max(0.0, when - time.monotonic()))
    made.save()


def done(adapter: EngineAdapter) -> Future[EngineAdapter]:
    future: Future[EngineAdapter] = Future()
    future.set_result(adapter)
    return future


def refused(message: str) -> Future[EngineAdapter]:
    future: Future[EngineAdapter] = Future()
    future.set_exception(AdapterFailure(message))
    return future
