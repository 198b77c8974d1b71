"""One adapter on its way into memory, and what becomes of it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass

from serving.adapters.identity import AdapterFailure, AdapterRef
from serving.adapters.loader import Made
from serving.engine.request import EngineAdapter


@dataclass(slots=True, eq=False)
class Load:
    """Whoever asks for the same bytes meanwhile waits for the same future."""

    ref: AdapterRef
    began: float
    future: Future[EngineAdapter]
    fetched: bool = False


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
