"""POST /v1/chat/completions."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.adapters.registry import Loaded
from serving.server.context import context_of, now, unless_gone
from serving.server.errors import openai_body
from serving.server.fields import read_body
from serving.server.generate import Answer, Prompt
from serving.server.native import identity_headers
from serving.server.openai.params import read_messages, read_openai_params
from serving.server.openai.run import (
    Call,
    adapter_of,
    chat_logprobs,
    counted,
    finish_reason,
    make_job,
    new_call,
    usage,
)
from serving.server.openai.stops import HoldBack, trimmed
from serving.server.sse import Done, EventStream, Head, Source

Messages = list[dict[str, Any]]


def _prompt(call: Call, messages: Messages, loaded: list[Loaded]) -> Prompt:
    """An adapter tuned on raw prompts gets a lone user message as it was written."""
    raw = bool(loaded) and loaded[0].ref.prompt_format == "raw"
    if raw and len(messages) == 1 and messages[0]["role"] == "user":
        return call.context.prompt(messages[0]["content"])
    return call.context.chat_prompt(messages)


async def _complete(call: Call, messages: Messages) -> Response:
    params, context = call.params, call.context
    async with adapter_of(call) as loaded:
        prompt = _prompt(call, messages, loaded)
        answers = await context.generator.best_of(make_job(call, prompt, loaded), params.best_of, params.seed)
    counted(call, answers[0], loaded, now())
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": trimmed(answer), "refusal": None},
            "finish_reason": finish_reason(answer),
            "logprobs": chat_logprobs(context, answer.steps) if params.logprobs else None,
        }
        for index, answer in enumerate(answers[: params.n])
    ]
    body = {
        "id": call.id,
        "object": "chat.completion",
        "created": call.created,
        "model": call.model,
        "choices": choices,
        "usage": usage(len(prompt.ids), answers),
    }
    return JSONResponse(body, headers=identity_headers(context, loaded))


def _chunk(call: Call, delta: dict[str, Any], finish: str | None, logprobs: Any = None) -> dict[str, Any]:
    chunk: dict[str, Any] = {
        "id": call.id,
        "object": "chat.completion.chunk",
        "created": call.created,
        "model": call.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}],
    }
    if call.params.include_usage:
        chunk["usage"] = None
    return chunk


async def _stream(call: Call, messages: Messages) -> Source:
    params, context = call.params, call.context
    answer, hold = Answer(seed=params.seed), HoldBack(params.stop)
    async with context.generator.admitted(), adapter_of(call) as loaded:
        prompt = _prompt(call, messages, loaded)
        async with aclosing(context.generator.stream(make_job(call, prompt, loaded), answer)) as steps:
            yield Head(identity_headers(context, loaded))
            yield _chunk(call, {"role": "assistant", "content": ""}, None)
            async for step in steps:
                text = hold.finish(step.visible, answer) if step.last else hold.add(step.visible)
                if text or (params.logprobs and not step.special):
                    logprobs = chat_logprobs(context, [step]) if params.logprobs else None
                    yield _chunk(call, {"content": text}, None, logprobs)
        yield _chunk(call, {}, finish_reason(answer))
        if params.include_usage:
            yield {**_chunk(call, {}, None), "choices": [], "usage": usage(len(prompt.ids), [answer])}
        yield "[DONE]"
        yield Done(lambda: counted(call, answer, loaded, now()))


async def chat_completions(request: Request) -> Response | EventStream:
    context, arrived = context_of(request), now()
    context.metrics.requests.add()
    body = await read_body(request)
    params, messages = read_openai_params(body, context.limits), read_messages(body)
    call = new_call(context, request, params, arrived, "chatcmpl")
    if params.stream:
        return EventStream(_stream(call, messages), openai_body, context.failed)
    async with context.generator.admitted():
        return await unless_gone(request, _complete(call, messages))
