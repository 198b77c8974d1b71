"""What chat and completions share: from parameters to answers, with usage and logprobs in OpenAI's shapes."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from serving.adapters.registry import Loaded
from serving.server.access import Caller
from serving.server.context import ServerContext
from serving.server.errors import ApiError
from serving.server.generate import Answer, Job, Prompt, Step
from serving.server.openai.params import OpenAiParams


@dataclass(frozen=True, slots=True)
class Call:
    context: ServerContext
    request: Request
    caller: Caller
    params: OpenAiParams
    arrived: float
    id: str
    created: int

    @property
    def model(self) -> str:
        return self.params.model or self.context.settings.model_id


def new_call(context: ServerContext, request: Request, params: OpenAiParams, arrived: float, prefix: str) -> Call:
    call_id = f"{prefix}-{uuid.uuid4().hex}"
    return Call(context, request, context.caller(request), params, arrived, call_id, int(time.time()))


@asynccontextmanager
async def adapter_of(call: Call) -> AsyncIterator[list[Loaded]]:
    """`model` is the base model's name, nothing, or an adapter id."""
    model = call.params.model
    ids = () if model in ("", call.context.settings.model_id) else (model,)
    entered = False
    try:
        async with call.context.adapters(call.request, call.caller, ids, call.params.adapter_source) as loaded:
            entered = True
            yield loaded
    except ApiError as error:
        if not entered and error.kind == "generation":
            raise ApiError(error.status, error.kind, error.message, "model") from error
        raise


def make_job(call: Call, prompt: Prompt, loaded: list[Loaded]) -> Job:
    params, context = call.params, call.context
    max_new = context.new_tokens(params.max_tokens, prompt, params.max_tokens_name)
    context.metrics.input_length.observe(len(prompt.ids))
    context.metrics.max_new.observe(max_new)
    return Job(
        prompt=prompt,
        max_new_tokens=max_new,
        sampling=params.sampling,
        adapter=loaded[0].engine if loaded else None,
        tenant=call.caller.tenant,
        eos_ids=frozenset() if params.ignore_eos else context.eos_ids,
        stop=params.stop,
        alternatives=params.top_logprobs,
        make_mask=context.structures.masks(params.response_format),
    )


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
    return "length" if answer.finish == "length" else "stop"


def chat_logprobs(context: ServerContext, steps: list[Step]) -> dict[str, Any]:
    def item(token: int, logprob: float) -> dict[str, Any]:
        text = context.codec.token_text(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

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


def counted(call: Call, answer: Answer, loaded: list[Loaded], now: float) -> None:
    label = loaded[0].ref.id if loaded else ""
    call.context.metrics.answered(answer, 0.0, now - call.arrived, call.caller.tenant, label)
