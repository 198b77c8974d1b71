"""One generation from tokens to text: the part that all routes share."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from serving.engine.request import Alternatives, EngineAdapter, NewToken, PromptDone, Request, Sampling, TokenMask
from serving.server.bridge import Bridge
from serving.server.errors import deadline_passed, draining, generation
from serving.server.places import Places
from serving.server.structured import GrammarMask
from serving.server.text import StopMatcher, TextCodec, TokenDecoder


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str  # as it was sent, or as the chat template rendered it
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Job:
    prompt: Prompt
    max_new_tokens: int
    sampling: Sampling
    adapter: EngineAdapter | None
    tenant: str
    eos_ids: frozenset[int]
    stop: tuple[str, ...] = ()
    alternatives: int = 0
    prompt_logprobs: bool = False
    make_mask: Callable[[], GrammarMask] | None = None
    priority: int = 0
    deadline: float | None = None  # monotonic seconds

    def seeded(self, seed: int | None) -> Job:
        return self if seed is None else replace(self, sampling=replace(self.sampling, seed=seed))

    def request(self, mask: TokenMask | None) -> Request:
        return Request(
            id=0,
            prompt=self.prompt.ids,
            max_new_tokens=self.max_new_tokens,
            sampling=self.sampling,
            adapter=self.adapter,
            tenant=self.tenant,
            eos_ids=self.eos_ids,
            alternatives=self.alternatives,
            prompt_logprobs=self.prompt_logprobs,
            mask=mask,
            priority=self.priority,
            deadline=self.deadline,
        )


@dataclass(frozen=True, slots=True)
class Step:
    token: int
    text: str
    logprob: float
    special: bool
    alternatives: tuple[tuple[int, float], ...]
    visible: str  # what this token adds to the answer, cut behind a stop sequence
    last: bool
    skipped: bool = False  # gained by speculation, as LoRAX counts it


@dataclass(slots=True)
class Answer:
    seed: int | None = None
    text: str = ""
    finish: str = "length"
    stop_text: str = ""  # the stop sequence that ended it
    steps: list[Step] = field(default_factory=list)
    prompt_logprobs: tuple[float, ...] = ()
    prompt_alternatives: tuple[Alternatives, ...] = ()
    cached_tokens: int = 0
    queue_s: float = 0.0
    started: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0

    @property
    def reason(self) -> str:
        """One of LoRAX's three: `length`, `eos_token`, `stop_sequence`. A deadline cuts as a limit of length does."""
        return "length" if self.finish == "deadline" else self.finish

    def drop(self) -> None:
        """Leaves nothing of it: only its prompt was asked about."""
        self.steps.clear()
        self.text, self.stop_text, self.finish = "", "", "length"

    @property
    def skipped(self) -> int:
        return sum(step.skipped for step in self.steps)

    @property
    def mean_logprob(self) -> float:
        return sum(step.logprob for step in self.steps) / max(1, len(self.steps))


class Generator:
    def __init__(self, bridge: Bridge, codec: TextCodec, places: Places) -> None:
        self.bridge = bridge
        self.codec = codec
        self._places = places
        self.draining = False

    @property
    def in_flight(self) -> int:
        return self._places.taken

    @asynccontextmanager
    async def admitted(self, tenant: str) -> AsyncIterator[None]:
        """A place among the concurrent requests, or at once 429, or 503 while the server shuts down."""
        if self.draining:
            raise draining()
        with self._places.one(tenant):
            yield

    async def stream(self, job: Job, answer: Answer) -> AsyncGenerator[Step, None]:
        """Fills `answer` while it goes; ends after the last token."""
        decoder, matcher = TokenDecoder(self.codec), StopMatcher(job.stop)
        answer.started = time.monotonic()
        if job.deadline is not None and answer.started >= job.deadline:
            raise deadline_passed()
        mask = job.make_mask() if job.make_mask is not None else None
        async with self.bridge.run(job.request(mask)) as events:
            async for event in events:
                if mask is not None and mask.error:
                    raise generation(f"the answer could not be kept to its format: {mask.error}")
                if isinstance(event, PromptDone):
                    answer.prompt_logprobs, answer.prompt_alternatives = event.logprobs, event.alternatives
                    answer.cached_tokens, answer.queue_s = event.cached_tokens, event.queue_s
                elif isinstance(event, NewToken):
                    step, stopped = self._step(event, decoder, matcher)
                    if not answer.steps:
                        answer.first_token = time.monotonic()
                    answer.steps.append(step)
                    if event.finish is not None:
                        answer.finish = event.finish
                    elif stopped:
                        answer.finish = "stop_sequence"
                    answer.text = matcher.text
                    answer.ended = time.monotonic()
                    if stopped:
                        answer.stop_text = max((s for s in job.stop if matcher.text.endswith(s)), key=len)
                    yield step
                    if step.last:
                        return

    def _step(self, event: NewToken, decoder: TokenDecoder, matcher: StopMatcher) -> tuple[Step, bool]:
        special = event.token in self.codec.special_ids
        text = self.codec.token_text(event.token) if special else decoder.add(event.token)
        if event.finish is not None and not special and not text:
            text = decoder.flush()
        visible, stopped = "" if special else text, False
        if visible:
            before = len(matcher.text)
            end = matcher.add(visible)
            if end is not None:
                matcher.text, stopped = matcher.text[:end], True
                visible = matcher.text[before:]
        last = stopped or event.finish is not None
        return Step(
            event.token, text, event.logprob, special, event.alternatives, visible, last, event.drafted
        ), stopped

    async def best_of(self, job: Job, answers: list[Answer]) -> list[Answer]:
        """Fills the answers to one prompt, each from its own seed; the best (mean log-probability) first.
        They share the prompt's blocks."""

        async def fill(answer: Answer) -> None:
            async with aclosing(self.stream(job.seeded(answer.seed), answer)) as steps:
                async for _ in steps:
                    pass

        await together([fill(answer) for answer in answers])
        return sorted(answers, key=lambda answer: -answer.mean_logprob)


def seeded_answers(seed: int | None, count: int) -> list[Answer]:
    """Empty answers; a given seed gives the same answers again, each its own."""
    if count == 1:
        return [Answer(seed=seed)]
    first = secrets.randbits(62) if seed is None else seed
    return [Answer(seed=(first + index) & (2**63 - 1)) for index in range(count)]


async def together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Runs all to their end. When one fails the others are stopped, and have stopped when this returns."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
