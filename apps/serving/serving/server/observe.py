"""One counted request from arrival to end: what metrics, the log line and the span are made of. Never its text."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from serving.adapters.identity import AdapterRef
from serving.server.generate import Answer

MAX_ID_CHARS = 128


@dataclass(slots=True)
class Observation:
    id: str
    route: str
    arrived: float  # monotonic seconds
    wall: float  # the same moment as seconds since 1970
    carrier: dict[str, str]  # traceparent and tracestate, where the caller sent them
    tenant: str
    named: bool = False  # it asked for an adapter, allowed or not
    refs: tuple[AdapterRef, ...] = ()  # the adapters that it was allowed to use
    stream: bool = False
    asked: dict[str, int | float] = field(default_factory=dict)  # max_tokens, temperature, top_p, top_k, seed
    prompt_tokens: int = 0
    validated: float | None = None  # monotonic seconds
    answers: list[Answer] = field(default_factory=list)
    ended: bool = False

    @property
    def adapter(self) -> str:
        return "+".join(ref.id for ref in self.refs)

    @property
    def generated_tokens(self) -> int:
        return sum(len(answer.steps) for answer in self.answers)

    @property
    def cached_tokens(self) -> int:
        return max((answer.cached_tokens for answer in self.answers), default=0)

    @property
    def queue_s(self) -> float:
        return max((answer.queue_s for answer in self.answers), default=0.0)

    @property
    def first_token_s(self) -> float | None:
        """Seconds from arrival to the first token of any of its answers."""
        firsts = [answer.first_token for answer in self.answers if answer.steps]
        return min(firsts) - self.arrived if firsts else None

    @property
    def finishes(self) -> list[str]:
        return [answer.finish for answer in self.answers if answer.steps]


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    error: str | None  # the error's kind; None where it was answered
    seconds: float  # from arrival


Sink = Callable[[Observation, Outcome], None]


def _request_id(request: Request) -> str:
    """The caller's own id where it is a plain word, so that one id names the request in every log."""
    given = request.headers.get("x-request-id", "")
    plain = given.isascii() and given.replace("-", "").replace("_", "").isalnum()
    return given if plain and len(given) <= MAX_ID_CHARS else uuid.uuid4().hex


class Observer:
    """Tells each sink about each request exactly once, at its end."""

    def __init__(self, begun: Callable[[], None], sinks: tuple[Sink, ...]) -> None:
        self._begun = begun
        self._sinks = sinks
        self.in_flight = 0

    def begin(self, request: Request, tenant: str) -> Observation:
        carrier = {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}
        seen = Observation(_request_id(request), request.url.path, time.monotonic(), time.time(), carrier, tenant)
        request.state.seen = seen
        self._begun()
        self.in_flight += 1
        return seen

    def end(self, seen: Observation, status: int, error: str | None = None) -> None:
        if seen.ended:
            return
        seen.ended = True
        self.in_flight -= 1
        outcome = Outcome(status, error, time.monotonic() - seen.arrived)
        for sink in self._sinks:
            sink(seen, outcome)


def seen_of(request: Request) -> Observation:
    seen: Observation = request.state.seen
    return seen


def asked_of(**values: Any) -> dict[str, int | float]:
    return {name: value for name, value in values.items() if value is not None}
