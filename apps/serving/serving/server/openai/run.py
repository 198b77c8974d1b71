"""What chat and completions share: from parameters to answers, with usage and logprobs in OpenAI's shapes."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request

from serving.adapters.registry import Loaded
from serving.server.access import Caller
from serving.server.context import ServerContext, context_of, now
from serving.server.errors import ApiError, openai_body
from serving.server.generate import Answer, Job, Prompt, Step, seeded_answers, together
from serving.server.hints import Hints
from serving.server.observe import Observation, asked_of, seen_of
from serving.server.openai.params import OpenAiParams
from serving.server.shapes import OPENAI
from serving.server.sse import Done, EventStream, Item, Source
from serving.server.structured import MakeMask
from serving.server.text import TokenDecoder


@dataclass(frozen=True, slots=True)
class Call:
    context: ServerContext
    request: Request
    seen: Observation
    caller: Caller
    hints: Hints
    params: OpenAiParams
    make_mask: MakeMask | None
    id: str
    created: int

    @property
    def model(self) -> str:
        return self.params.model or self.context.settings.model_id


async def new_call(request: Request, params: OpenAiParams, prefix: str, grammar: str | None = None) -> Call:
    """`grammar` binds the answer in place of `response_format`."""
    context, seen = context_of(request), seen_of(request)
    caller, hints = context.counted_caller(request)
    caller = replace(caller, api_token=params.api_token)
    if grammar is not None:
        make_mask: MakeMask | None = await context.structures.grammar_masks(grammar, "tools")
    else:
        make_mask = await context.structures.masks(params.response_format)
    call_id = f"{prefix}-{uuid.uuid4().hex}"
    return Call(context, request, seen, caller, hints, params, make_mask, call_id, int(time.time()))


@asynccontextmanager
async def adapter_of(call: Call) -> AsyncIterator[list[Loaded]]:
    """`model` is the base model's name, nothing, or an adapter id."""
    model = call.params.model
    ids = () if model in ("", call.context.settings.model_id) else (model,)
    entered = False
    try:
        async with call.context.adapters(
            call.request, call.caller, ids, call.params.adapter_source, call.hints.deadline
        ) as loaded:
            entered = True
            yield loaded
    except ApiError as error:
        if not entered and error.kind == "generation":
            raise ApiError(error.status, error.kind, error.message, "model") from error
        raise


def make_job(call: Call, prompt: Prompt, loaded: list[Loaded]) -> Job:
    params, context, seen = call.params, call.context, call.seen
    asked = 1 if params.max_tokens == 0 else params.max_tokens  # the engine always produces one
    max_new = context.new_tokens(asked, prompt, params.max_tokens_name)
    seen.prompt_tokens += len(prompt.ids)
    seen.validated = now()
    sampling = params.sampling
    seen.asked = asked_of(
        max_tokens=max_new,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or None,
        seed=params.seed,
    )
    return Job(
        prompt=prompt,
        max_new_tokens=max_new,
        sampling=sampling,
        adapter=loaded[0].engine if loaded else None,
        tenant=seen.tenant,
        eos_ids=frozenset() if params.ignore_eos else context.eos_ids,
        stop=params.stop,
        alternatives=params.top_logprobs,
        prompt_logprobs=params.echo and params.logprobs,
        make_mask=call.make_mask,
        priority=call.hints.priority,
        deadline=call.hints.deadline,
    )


def new_answers(call: Call, count: int) -> list[Answer]:
    answers = seeded_answers(call.params.seed, count)
    call.seen.answers += answers
    return answers


async def interleaved(call: Call, jobs: list[tuple[Job, Answer]]) -> AsyncGenerator[tuple[int, Step], None]:
    """The steps of several answers as they come, each with its answer's index."""
    steps: asyncio.Queue[tuple[int, Step] | None] = asyncio.Queue()

    async def pump(index: int, job: Job, answer: Answer) -> None:
        async with aclosing(call.context.generator.stream(job.seeded(answer.seed), answer)) as source:
            async for step in source:
                steps.put_nowait((index, step))

    async def run() -> None:
        try:
            await together([pump(index, job, answer) for index, (job, answer) in enumerate(jobs)])
        finally:
            steps.put_nowait(None)

    task = asyncio.ensure_future(run())
    try:
        while (item := await steps.get()) is not None:
            yield item
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def event_stream(call: Call, source: Source) -> EventStream:
    return EventStream(call.context, call.seen, source, openai_body, OPENAI.unreadable, OPENAI.refusal)


def body_of(call: Call, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """`kind`: OpenAI's name of the object."""
    return {"id": call.id, "object": kind, "created": call.created, "model": call.model, "choices": choices, **more}


def chunk_of(call: Call, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return body_of(call, kind, [choice], **({"usage": None} if call.params.include_usage else {}))


def stream_end(call: Call, kind: str, prompt_tokens: int, answers: list[Answer]) -> list[Item]:
    told = body_of(call, kind, [], usage=usage(prompt_tokens, answers))
    return [*([told] if call.params.include_usage else []), "[DONE]", Done()]


def usage(prompt_tokens: int, answers: list[Answer]) -> dict[str, Any]:
    completion = sum(len(answer.steps) for answer in answers)
    cached = max((answer.cached_tokens for answer in answers), default=0)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": prompt_tokens + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def finish_reason(answer: Answer) -> str:
    return "length" if answer.reason == "length" else "stop"


def chat_logprobs(context: ServerContext, steps: list[Step]) -> dict[str, Any]:
    def item(token: int, logprob: float) -> dict[str, Any]:
        text = context.codec.token_text(token)
        return {"token": text, "logprob": logprob, "bytes": list(context.codec.token_bytes(token))}

    content = [
        {**item(step.token, step.logprob), "top_logprobs": [item(t, p) for t, p in step.alternatives]}
        for step in steps
        if not step.special
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(context: ServerContext, steps: list[Step], offset: int) -> dict[str, Any]:
    offsets = []
    for step in steps:
        offsets.append(offset)
        offset += len(step.visible)
    return {
        "tokens": [step.text for step in steps],
        "token_logprobs": [step.logprob for step in steps],
        "top_logprobs": [{context.codec.token_text(t): p for t, p in step.alternatives} for step in steps],
        "text_offset": offsets,
    }


def prompt_logprobs(context: ServerContext, prompt: Prompt, answer: Answer) -> dict[str, Any]:
    """Of an echoed prompt. Nothing comes before its first token, so nothing can be said of that one."""
    decoder, offsets, at = TokenDecoder(context.codec), [], 0
    for token in prompt.ids:
        offsets.append(at)
        at += len(decoder.add(token))
    likeliest = answer.prompt_alternatives or ((),) * len(answer.prompt_logprobs)
    return {
        "tokens": [context.codec.token_text(token) for token in prompt.ids],
        "token_logprobs": [None, *answer.prompt_logprobs],
        "top_logprobs": [None, *({context.codec.token_text(t): p for t, p in one} for one in likeliest)],
        "text_offset": offsets,
    }
