"""LoRAX's own routes: `/`, `/generate`, `/generate_stream`, `/invocations`."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.adapters.registry import Loaded
from serving.server.access import Caller
from serving.server.context import ServerContext, context_of, now, unless_gone
from serving.server.errors import lorax_body
from serving.server.fields import Fields, read_body
from serving.server.generate import Answer, Job, Prompt, Step
from serving.server.params import GenerateParams, read_params
from serving.server.sse import Done, EventStream, Head, Source
from serving.server.structured import MakeMask


@dataclass(frozen=True, slots=True)
class _Call:
    """One request of this family after its body was read."""

    request: Request
    caller: Caller
    params: GenerateParams
    prompt: Prompt
    max_new_tokens: int
    arrived: float
    validated: float
    make_mask: MakeMask | None


def _validate(context: ServerContext, request: Request, body: Fields, stream: bool, arrived: float) -> _Call:
    text = body.required_text("inputs")
    params = read_params(body.object("parameters"), context.limits, stream)
    if params.apply_chat_template:
        prompt = context.chat_prompt([{"role": "user", "content": text}], params.truncate)
    else:
        prompt = context.prompt(text, truncate=params.truncate)
    max_new = context.new_tokens(params.max_new_tokens, prompt)
    context.metrics.input_length.observe(len(prompt.ids))
    context.metrics.max_new.observe(max_new)
    make_mask = context.structures.masks(params.response_format)
    return _Call(request, context.caller(request), params, prompt, max_new, arrived, now(), make_mask)


async def _job(context: ServerContext, call: _Call, loaded: list[Loaded]) -> Job:
    params = call.params
    adapter = await context.engine_adapter(loaded, params.merge)
    return Job(
        prompt=call.prompt,
        max_new_tokens=call.max_new_tokens,
        sampling=params.sampling,
        adapter=adapter,
        tenant=call.caller.tenant,
        eos_ids=frozenset() if params.ignore_eos else context.eos_ids,
        stop=params.stop,
        alternatives=params.alternatives,
        prompt_logprobs=params.decoder_input_details,
        make_mask=call.make_mask,
    )


def token_json(context: ServerContext, step: Step) -> dict[str, Any]:
    token: dict[str, Any] = {
        "id": step.token,
        "text": step.text,
        "logprob": step.logprob,
        "special": step.special,
        "skipped": False,
    }
    if step.alternatives:
        token["alternative_tokens"] = [
            {"id": i, "text": context.codec.token_text(i), "logprob": p} for i, p in step.alternatives
        ]
    return token


def _prefill(context: ServerContext, call: _Call, answer: Answer) -> list[dict[str, Any]]:
    if not call.params.decoder_input_details:
        return []
    logprobs: list[float | None] = [None, *answer.prompt_logprobs]
    return [
        {"id": token, "text": context.codec.token_text(token), "logprob": logprob}
        for token, logprob in zip(call.prompt.ids, logprobs, strict=True)
    ]


def _full_text(call: _Call, answer: Answer) -> str:
    return call.prompt.text + answer.text if call.params.return_full_text else answer.text


def _sequence(context: ServerContext, call: _Call, answer: Answer) -> dict[str, Any]:
    return {
        "finish_reason": answer.finish,
        "generated_tokens": len(answer.steps),
        "seed": answer.seed,
        "prefill": _prefill(context, call, answer),
        "tokens": [token_json(context, step) for step in answer.steps],
    }


def _body(context: ServerContext, call: _Call, answers: list[Answer]) -> dict[str, Any]:
    best = answers[0]
    body: dict[str, Any] = {"generated_text": _full_text(call, best)}
    if call.params.details or call.params.decoder_input_details:
        details = {**_sequence(context, call, best), "prompt_tokens": len(call.prompt.ids), "skipped_tokens": 0}
        if len(answers) > 1:
            details["best_of_sequences"] = [
                {"generated_text": _full_text(call, answer), **_sequence(context, call, answer)}
                for answer in answers[1:]
            ]
        body["details"] = details
    return body


def identity_headers(context: ServerContext, loaded: list[Loaded]) -> dict[str, str]:
    headers = {"x-model-id": context.settings.model_id}
    if loaded:
        headers["x-adapter-id"] = ",".join(one.ref.id for one in loaded)
        headers["x-adapter-source"] = loaded[0].ref.source
        headers["x-grove-adapter"] = ",".join(one.ref.label for one in loaded)
    return headers


def _headers(context: ServerContext, call: _Call, loaded: list[Loaded], answers: list[Answer]) -> dict[str, str]:
    best, end = answers[0], now()
    generated = sum(len(answer.steps) for answer in answers)
    inference = best.ended - best.started - best.queue_s
    after_first = (best.ended - best.first_token) / max(1, len(best.steps) - 1)
    times = {
        "x-compute-time": end - call.arrived,
        "x-total-time": end - call.arrived,
        "x-validation-time": call.validated - call.arrived,
        "x-queue-time": best.queue_s,
        "x-inference-time": inference,
        "x-time-per-token": inference / max(1, len(best.steps)),
        "x-time-to-first-token": best.first_token - call.arrived,
        "x-time-per-output-token": after_first,
    }
    return {
        "x-compute-type": f"{context.device}+optimized",
        "x-compute-characters": str(len(call.prompt.text)),
        "x-prompt-tokens": str(len(call.prompt.ids)),
        "x-generated-tokens": str(generated),
        "x-skipped-tokens": "0",
        "x-total-tokens": str(len(call.prompt.ids) + generated),
        **{name: str(max(0, round(seconds * 1000))) for name, seconds in times.items()},
        **identity_headers(context, loaded),
    }


_Answered = tuple[dict[str, Any], dict[str, str]]


async def _complete(context: ServerContext, call: _Call) -> _Answered:
    params = call.params
    async with context.adapters(call.request, call.caller, params.adapter_ids, params.adapter_source) as loaded:
        job = await _job(context, call, loaded)
        answers = await context.generator.best_of(job, params.best_of, params.seed)
    label = loaded[0].ref.id if loaded else ""
    context.metrics.answered(answers[0], call.validated - call.arrived, now() - call.arrived, call.caller.tenant, label)
    return _body(context, call, answers), _headers(context, call, loaded, answers)


async def _events(context: ServerContext, call: _Call) -> Source:
    params, answer = call.params, Answer(seed=call.params.seed)
    async with (
        context.adapters(call.request, call.caller, params.adapter_ids, params.adapter_source) as loaded,
        aclosing(context.generator.stream(await _job(context, call, loaded), answer)) as steps,
    ):
        compute = {
            "x-compute-type": f"{context.device}+optimized",
            "x-compute-characters": str(len(call.prompt.text)),
        }
        yield Head({**compute, **identity_headers(context, loaded)})
        async for step in steps:
            event: dict[str, Any] = {"token": token_json(context, step), "generated_text": None, "details": None}
            if step.last:
                event["generated_text"] = _full_text(call, answer)
                event["details"] = _stream_details(call, answer) if params.details else None
            yield event
        label = loaded[0].ref.id if loaded else ""
        validated_s, total_s = call.validated - call.arrived, now() - call.arrived
        yield Done(lambda: context.metrics.answered(answer, validated_s, total_s, call.caller.tenant, label))


def _stream_details(call: _Call, answer: Answer) -> dict[str, Any]:
    return {
        "finish_reason": answer.finish,
        "prompt_tokens": len(call.prompt.ids),
        "generated_tokens": len(answer.steps),
        "seed": answer.seed,
    }


async def _streamed(context: ServerContext, request: Request, body: Fields, arrived: float) -> Source:
    async with (
        context.generator.admitted(),
        aclosing(_events(context, _validate(context, request, body, True, arrived))) as events,
    ):
        async for event in events:
            yield event


def _stream_response(context: ServerContext, request: Request, body: Fields, arrived: float) -> EventStream:
    return EventStream(_streamed(context, request, body, arrived), lorax_body, context.failed)


async def _answer(context: ServerContext, request: Request, body: Fields, arrived: float) -> _Answered:
    async with context.generator.admitted():
        call = _validate(context, request, body, False, arrived)
        return await unless_gone(request, _complete(context, call))


async def generate(request: Request) -> Response:
    context, arrived = context_of(request), now()
    context.metrics.requests.add()
    body, headers = await _answer(context, request, await read_body(request), arrived)
    return JSONResponse(body, headers=headers)


async def generate_stream(request: Request) -> EventStream:
    context, arrived = context_of(request), now()
    context.metrics.requests.add()
    return _stream_response(context, request, await read_body(request), arrived)


async def compat_generate(request: Request) -> Response | EventStream:
    context, arrived = context_of(request), now()
    context.metrics.requests.add()
    fields = await read_body(request)
    if fields.flag("stream"):
        return _stream_response(context, request, fields, arrived)
    body, headers = await _answer(context, request, fields, arrived)
    return JSONResponse([body], headers=headers)
