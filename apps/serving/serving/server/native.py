"""LoRAX's own routes: `/`, `/generate`, `/generate_stream`, `/invocations`."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.adapters.registry import Loaded
from serving.server.access import Caller
from serving.server.context import ServerContext, context_of, now, unless_gone
from serving.server.errors import lorax_body
from serving.server.fields import Fields, read_body
from serving.server.generate import Answer, Job, Prompt, Step, seeded_answers
from serving.server.hints import Hints
from serving.server.observe import Observation, asked_of, seen_of
from serving.server.params import GenerateParams, read_params
from serving.server.shapes import LORAX
from serving.server.sse import Done, EventStream, Head, Source
from serving.server.structured import MakeMask


@dataclass(frozen=True, slots=True)
class _Call:
    """One request of this family after its body was read."""

    request: Request
    seen: Observation
    caller: Caller
    hints: Hints
    params: GenerateParams
    prompt: Prompt
    max_new_tokens: int
    make_mask: MakeMask | None


async def _validate(context: ServerContext, request: Request, body: Fields, stream: bool) -> _Call:
    seen, (caller, hints) = seen_of(request), context.counted_caller(request)
    text = body.required_text("inputs")
    params = read_params(body.object("parameters"), context.limits, stream)
    caller = replace(caller, api_token=params.api_token)
    if params.apply_chat_template:
        prompt = context.chat_prompt([{"role": "user", "content": text}], params.truncate)
    else:
        prompt = context.prompt(text, truncate=params.truncate)
    max_new = context.new_tokens(params.max_new_tokens, prompt)
    make_mask = await context.structures.masks(params.response_format)
    sampling = params.sampling
    seen.prompt_tokens, seen.validated = len(prompt.ids), now()
    seen.asked = asked_of(max_tokens=max_new, seed=params.seed)
    if not sampling.greedy:
        seen.asked |= asked_of(temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k or None)
    seen.answers = seeded_answers(params.seed, params.best_of)
    return _Call(request, seen, caller, hints, params, prompt, max_new, make_mask)


async def _job(context: ServerContext, call: _Call, loaded: list[Loaded]) -> Job:
    params = call.params
    adapter = await context.engine_adapter(loaded, params.merge)
    return Job(
        prompt=call.prompt,
        max_new_tokens=call.max_new_tokens,
        sampling=params.sampling,
        adapter=adapter,
        tenant=call.seen.tenant,
        eos_ids=frozenset() if params.ignore_eos else context.eos_ids,
        stop=params.stop,
        alternatives=params.alternatives,
        prompt_logprobs=params.decoder_input_details,
        make_mask=call.make_mask,
        priority=call.hints.priority,
        deadline=call.hints.deadline,
    )


def token_json(context: ServerContext, step: Step) -> dict[str, Any]:
    token: dict[str, Any] = {
        "id": step.token,
        "text": step.text,
        "logprob": step.logprob,
        "special": step.special,
        "skipped": step.skipped,
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
        "finish_reason": answer.reason,
        "generated_tokens": len(answer.steps),
        "seed": answer.seed,
        "prefill": _prefill(context, call, answer),
        "tokens": [token_json(context, step) for step in answer.steps],
    }


def _body(context: ServerContext, call: _Call, answers: list[Answer]) -> dict[str, Any]:
    best = answers[0]
    body: dict[str, Any] = {"generated_text": _full_text(call, best)}
    if call.params.details or call.params.decoder_input_details:
        details = {
            **_sequence(context, call, best),
            "prompt_tokens": len(call.prompt.ids),
            "skipped_tokens": best.skipped,
        }
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
    best, end, arrived = answers[0], now(), call.seen.arrived
    generated = sum(len(answer.steps) for answer in answers)
    inference = best.ended - best.started - best.queue_s
    after_first = (best.ended - best.first_token) / max(1, len(best.steps) - 1)
    times = {
        "x-compute-time": end - arrived,
        "x-total-time": end - arrived,
        "x-validation-time": (call.seen.validated or arrived) - arrived,
        "x-queue-time": best.queue_s,
        "x-inference-time": inference,
        "x-time-per-token": inference / max(1, len(best.steps)),
        "x-time-to-first-token": best.first_token - arrived,
        "x-time-per-output-token": after_first,
    }
    return {
        "x-compute-type": f"{context.device}+optimized",
        "x-compute-characters": str(len(call.prompt.text)),
        "x-prompt-tokens": str(len(call.prompt.ids)),
        "x-generated-tokens": str(generated),
        "x-skipped-tokens": str(sum(answer.skipped for answer in answers)),
        "x-total-tokens": str(len(call.prompt.ids) + generated),
        **{name: str(max(0, round(seconds * 1000))) for name, seconds in times.items()},
        **identity_headers(context, loaded),
    }


_Answered = tuple[dict[str, Any], dict[str, str]]


async def _complete(context: ServerContext, call: _Call) -> _Answered:
    params, deadline = call.params, call.hints.deadline
    async with context.adapters(
        call.request, call.caller, params.adapter_ids, params.adapter_source, deadline
    ) as loaded:
        answers = await context.generator.best_of(await _job(context, call, loaded), call.seen.answers)
    return _body(context, call, answers), _headers(context, call, loaded, answers)


async def _events(context: ServerContext, call: _Call) -> Source:
    params, answer, deadline = call.params, call.seen.answers[0], call.hints.deadline
    async with (
        context.adapters(call.request, call.caller, params.adapter_ids, params.adapter_source, deadline) as loaded,
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
    yield Done()


def _stream_details(call: _Call, answer: Answer) -> dict[str, Any]:
    return {
        "finish_reason": answer.reason,
        "prompt_tokens": len(call.prompt.ids),
        "generated_tokens": len(answer.steps),
        "seed": answer.seed,
    }


async def _streamed(context: ServerContext, request: Request, body: Fields) -> Source:
    async with (
        context.generator.admitted(seen_of(request).tenant),
        aclosing(_events(context, await _validate(context, request, body, True))) as events,
    ):
        async for event in events:
            yield event


def _stream_response(context: ServerContext, request: Request, body: Fields) -> EventStream:
    return EventStream(context, seen_of(request), _streamed(context, request, body), lorax_body, LORAX.unreadable)


async def _answer(context: ServerContext, request: Request, body: Fields) -> _Answered:
    async with context.generator.admitted(seen_of(request).tenant):
        call = await _validate(context, request, body, False)
        return await unless_gone(request, _complete(context, call))


async def generate(request: Request) -> Response:
    body, headers = await _answer(context_of(request), request, await read_body(request))
    return JSONResponse(body, headers=headers)


async def generate_stream(request: Request) -> EventStream:
    return _stream_response(context_of(request), request, await read_body(request))


async def compat_generate(request: Request) -> Response | EventStream:
    context, fields = context_of(request), await read_body(request)
    if fields.flag("stream"):
        return _stream_response(context, request, fields)
    body, headers = await _answer(context, request, fields)
    return JSONResponse([body], headers=headers)
