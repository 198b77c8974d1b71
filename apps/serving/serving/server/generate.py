"""One generation from tokens to text: the part that all routes share."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from serving.engine.request import EngineAdapter, NewToken, PromptDone, Request, Sampling, TokenMask
from serving.server.bridge import Bridge
from serving.server.errors import overloaded
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
    make_mask: Callable[[], TokenMask] | None = None

    def request(self) -> Request:
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
            mask=self.make_mask() if self.make_mask is not None else None,
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


@dataclass(slots=True)
class Answer:
    seed: int | None = None
    text: str = ""
    finish: str = "length"
    stop_text: str = ""  # the stop sequence that ended it
    steps: list[Step] = field(default_factory=list)
    prompt_logprobs: tuple[float, ...] = ()
    cached_tokens: int = 0
    queue_s: float = 0.0
    started: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0

    @property
    def mean_logprob(self) -> float:
        return sum(step.logprob for step in self.steps) / max(1, len(self.steps))


class Generator:
    def __init__(self, bridge: Bridge, codec: TextCodec, max_concurrent: int) -> None:
        self.bridge = bridge
        self.codec = codec
        self._limit = max_concurrent
        self.in_flight = 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """A place among the concurrent requests, or 429 at once."""
        if self.in_flight >= self._limit:
            raise overloaded()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def stream(self, job: Job, answer: Answer) -> AsyncGenerator[Step, None]:
        """Fills `answer` while it goes; ends after the last token."""
        decoder, matcher = TokenDecoder(self.codec), StopMatcher(job.stop)
        answer.started = time.monotonic()
        async with self.bridge.run(job.request()) as events:
            async for event in events:
                if isinstance(event, PromptDone):
                    answer.prompt_logprobs = event.logprobs
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
                        answer.stop_text = next((s for s in job.stop if s and matcher.text.endswith(s)), "")
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
        return Step(event.token, text, event.logprob, special, event.alternatives, visible, last), stopped

    async def complete(self, job: Job, seed: int | None) -> Answer:
        answer = Answer(seed=seed)
        async for _ in self.stream(job, answer):
            pass
        return answer

    async def best_of(self, job: Job, count: int, seed: int | None) -> list[Answer]:
        """`count` answers to one prompt, the best (mean log-probability) first. They share the prompt's blocks."""
        if count == 1:
            return [await self.complete(job, seed)]
        jobs = []
        for index in range(count):
            own = secrets.randbits(63) if seed is None or index else seed
            jobs.append((replace(job, sampling=replace(job.sampling, seed=own)), own))
        answers = await asyncio.gather(*(self.complete(one, own) for one, own in jobs))
        return sorted(answers, key=lambda answer: -answer.mean_logprob)
