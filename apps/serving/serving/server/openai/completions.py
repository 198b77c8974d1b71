"""POST /v1/completions."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.server.context import context_of, now, unless_gone
from serving.server.errors import openai_body, validation
from serving.server.fields import Fields, read_body
from serving.server.generate import Answer, Prompt
from serving.server.native import identity_headers
from serving.server.openai.params import read_openai_params
from serving.server.openai.run import (
    Call,
    adapter_of,
    completion_logprobs,
    counted,
    finish_reason,
    make_job,
    new_call,
    usage,
)
from serving.server.openai.stops import HoldBack, trimmed
from serving.server.sse import Done, EventStream, Head, Source

MAX_PROMPTS = 64


def _prompts(call: Call, fields: Fields) -> list[Prompt]:
    """A text, texts, one list of token ids, or several."""
    value = fields.data.get("prompt")
    items = value if isinstance(value, list) else [value]
    if items and all(isinstance(item, int) for item in items):
        items = [items]
    if not items or len(items) > MAX_PROMPTS:
        raise validation(f"`prompt` must hold 1 to {MAX_PROMPTS} prompts", "prompt")
    return [_prompt(call, item) for item in items]


def _prompt(call: Call, item: Any) -> Prompt:
    context = call.context
    if isinstance(item, str):
        return context.prompt(item)
    vocab = context.codec.tokenizer.get_vocab_size()
    if not isinstance(item, list) or not item or not all(type(i) is int and 0 <= i < vocab for i in item):
        raise validation("`prompt` must be a string, strings, or arrays of token ids", "prompt")
    if len(item) > context.limits.max_input_length:
        raise validation(f"`prompt` must have less than {context.limits.max_input_length} tokens", "prompt")
    return Prompt(context.codec.decode(item, skip_special=False), tuple(item))


def _choice(call: Call, index: int, prompt: Prompt, answer: Answer, echo: bool) -> dict[str, Any]:
    head = prompt.text if echo else ""
    wanted = call.params.logprobs
    return {
        "index": index,
        "text": head + trimmed(answer),
        "finish_reason": finish_reason(answer),
        "logprobs": completion_logprobs(call.context, answer.steps, len(head)) if wanted else None,
    }


async def _complete(call: Call, prompts: list[Prompt], echo: bool) -> Response:
    params, context = call.params, call.context
    async with adapter_of(call) as loaded:
        batches = await asyncio.gather(
            *(context.generator.best_of(make_job(call, p, loaded), params.best_of, params.seed) for p in prompts)
        )
    pairs = [(p, answer) for p, answers in zip(prompts, batches, strict=True) for answer in answers[: params.n]]
    for answers in batches:
        counted(call, answers[0], loaded, now())
    body = {
        "id": call.id,
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
        "choices": [_choice(call, index, p, answer, echo) for index, (p, answer) in enumerate(pairs)],
        "usage": usage(sum(len(p.ids) for p in prompts), [a for answers in batches for a in answers]),
    }
    return JSONResponse(body, headers=identity_headers(context, loaded))


def _chunk(call: Call, text: str, finish: str | None, logprobs: Any = None) -> dict[str, Any]:
    chunk: dict[str, Any] = {
        "id": call.id,
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
        "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": logprobs}],
    }
    if call.params.include_usage:
        chunk["usage"] = None
    return chunk


async def _stream(call: Call, prompt: Prompt, echo: bool) -> Source:
    params, context = call.params, call.context
    answer, hold = Answer(seed=params.seed), HoldBack(params.stop)
    async with context.generator.admitted(), adapter_of(call) as loaded:
        offset = len(prompt.text) if echo else 0
        async with aclosing(context.generator.stream(make_job(call, prompt, loaded), answer)) as steps:
            yield Head(identity_headers(context, loaded))
            if echo:
                yield _chunk(call, prompt.text, None)
            async for step in steps:
                text = hold.finish(step.visible, answer) if step.last else hold.add(step.visible)
                logprobs = completion_logprobs(context, [step], offset) if params.logprobs else None
                offset += len(step.visible)
                if text or logprobs:
                    yield _chunk(call, text, None, logprobs)
        yield _chunk(call, "", finish_reason(answer))
        if params.include_usage:
            yield {**_chunk(call, "", None), "choices": [], "usage": usage(len(prompt.ids), [answer])}
        yield "[DONE]"
        yield Done(lambda: counted(call, answer, loaded, now()))


async def completions(request: Request) -> Response | EventStream:
    context, arrived = context_of(request), now()
    context.metrics.requests.add()
    body = await read_body(request)
    params, echo = read_openai_params(body, context.limits), body.flag("echo") or False
    call = new_call(context, request, params, arrived, "cmpl")
    prompts = _prompts(call, body)
    if params.stream:
        if len(prompts) > 1:
            raise validation("only one prompt can be streamed", "prompt")
        return EventStream(_stream(call, prompts[0], echo), openai_body, context.failed)
    async with context.generator.admitted():
        return await unless_gone(request, _complete(call, prompts, echo))
