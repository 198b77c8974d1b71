"""POST /v1/completions."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.server.context import context_of, unless_gone
from serving.server.errors import validation
from serving.server.fields import Fields, read_body
from serving.server.generate import Answer, Prompt, together
from serving.server.native import identity_headers
from serving.server.openai.params import read_openai_params
from serving.server.openai.run import (
    Call,
    adapter_of,
    body_of,
    chunk_of,
    completion_logprobs,
    event_stream,
    finish_reason,
    interleaved,
    make_job,
    new_answers,
    new_call,
    prompt_logprobs,
    stream_end,
    usage,
)
from serving.server.openai.stops import HoldBack, trimmed
from serving.server.sse import EventStream, Head, Source

KIND = "text_completion"
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


def _choice(call: Call, index: int, prompt: Prompt, answer: Answer) -> dict[str, Any]:
    params = call.params
    head = prompt.text if params.echo else ""
    logprobs = completion_logprobs(call.context, answer.steps, len(head))
    if params.logprobs and params.echo:
        before = prompt_logprobs(call.context, prompt, answer)
        logprobs = {name: before[name] + values for name, values in logprobs.items()}
    return {
        "index": index,
        "text": head + trimmed(answer),
        "finish_reason": finish_reason(answer),
        "logprobs": logprobs if params.logprobs else None,
    }


async def _complete(call: Call, prompts: list[Prompt]) -> Response:
    params, context = call.params, call.context
    async with adapter_of(call) as loaded:
        batches: list[list[Answer]] = [[] for _ in prompts]

        async def fill(index: int) -> None:
            job = make_job(call, prompts[index], loaded)
            batches[index] = await context.generator.best_of(job, new_answers(call, params.best_of))
            for answer in batches[index] if params.max_tokens == 0 else ():
                answer.drop()

        await together([fill(index) for index in range(len(prompts))])
    pairs = [(p, answer) for p, answers in zip(prompts, batches, strict=True) for answer in answers[: params.n]]
    told = usage(sum(len(p.ids) for p in prompts), [a for answers in batches for a in answers])
    choices = [_choice(call, index, p, answer) for index, (p, answer) in enumerate(pairs)]
    return JSONResponse(body_of(call, KIND, choices, usage=told), headers=identity_headers(context, loaded))


def _chunk(call: Call, index: int, text: str, finish: str | None, logprobs: Any = None) -> dict[str, Any]:
    return chunk_of(call, KIND, {"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs})


async def _stream(call: Call, prompts: list[Prompt]) -> Source:
    params, context = call.params, call.context
    async with context.generator.admitted(call.seen.tenant), adapter_of(call) as loaded:
        jobs = [make_job(call, prompt, loaded) for prompt in prompts]
        paired = [(job, answer) for job in jobs for answer in new_answers(call, params.n)]
        holds = [HoldBack(params.stop) for _ in paired]
        offsets = [len(job.prompt.text) if params.echo else 0 for job, _ in paired]
        begun: set[int] = set()
        async with aclosing(interleaved(call, paired)) as steps:
            async for index, step in steps:
                if not begun:  # what fails before the first token has its own status
                    yield Head(identity_headers(context, loaded))
                hold, (job, answer) = holds[index], paired[index]
                if params.echo and index not in begun:
                    told = prompt_logprobs(context, job.prompt, answer) if params.logprobs else None
                    yield _chunk(call, index, job.prompt.text, None, told)
                begun.add(index)
                if params.max_tokens == 0:
                    answer.drop()
                    yield _chunk(call, index, "", finish_reason(answer))
                    continue
                text = hold.finish(step.visible, answer) if step.last else hold.add(step.visible)
                logprobs = completion_logprobs(context, [step], offsets[index]) if params.logprobs else None
                offsets[index] += len(step.visible)
                if text or logprobs:
                    yield _chunk(call, index, text, None, logprobs)
                if step.last:
                    yield _chunk(call, index, "", finish_reason(answer))
        for item in stream_end(call, KIND, call.seen.prompt_tokens, [answer for _, answer in paired]):
            yield item


async def completions(request: Request) -> Response | EventStream:
    context, body = context_of(request), await read_body(request)
    params = read_openai_params(body, context.limits, body.flag("echo") or False)
    call = await new_call(request, params, "cmpl")
    prompts = _prompts(call, body)
    if params.stream:
        return event_stream(call, _stream(call, prompts))
    async with context.generator.admitted(call.seen.tenant):
        return await unless_gone(request, _complete(call, prompts))
