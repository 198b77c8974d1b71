"""POST /score: how likely each continuation is after the prompt. The prompt is computed once for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lora_py.prompts import encode_completion, needs_space
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.engine.request import PromptDone, Scores
from serving.engine.request import Request as EngineRequest
from serving.server.context import ServerContext, context_of, now, unless_gone
from serving.server.errors import validation
from serving.server.fields import Fields, read_body
from serving.server.native import identity_headers
from serving.server.observe import seen_of

MAX_CONTINUATIONS = 1024


def _continuations(
    context: ServerContext, body: Fields, prompt_tokens: int, spaced: bool
) -> tuple[tuple[int, ...], ...]:
    """Tokenized as the trainer does it: apart from the prompt, with its space in front where the prompt has none."""
    texts, limit = body.texts("continuations") or [], context.limits.max_total_tokens
    if not texts or not all(texts):
        raise validation("`continuations` must be an array of non-empty strings", "continuations")
    if max(map(len, texts)) > context.codec.most_chars(limit):
        raise validation(f"each of `continuations` must have less than {limit} tokens", "continuations")
    if len(texts) > MAX_CONTINUATIONS:
        raise validation(f"`continuations` supports up to {MAX_CONTINUATIONS} strings", "continuations")
    tokenizer = context.codec.tokenizer
    encoded = tuple(tuple(encode_completion(tokenizer, text, eos=0, spaced=spaced)[:-1]) for text in texts)
    if prompt_tokens + max(len(ids) for ids in encoded) > limit:
        raise validation(f"`inputs` tokens + `continuations` tokens must be <= {limit}", "continuations")
    return encoded


async def _score(context: ServerContext, request: Request, body: Fields) -> tuple[dict[str, Any], dict[str, str]]:
    seen, (caller, hints) = seen_of(request), context.counted_caller(request)
    text, parameters = body.required_text("inputs"), body.object("parameters") or Fields({})
    if parameters.flag("apply_chat_template"):
        prompt = context.chat_prompt([{"role": "user", "content": text}])
    else:
        prompt = context.prompt(text)
    spaced = needs_space(text, "chat" if parameters.flag("apply_chat_template") else "raw")
    continuations = _continuations(context, body, len(prompt.ids), spaced)
    adapter_id, source = parameters.text("adapter_id"), parameters.text("adapter_source")
    caller = replace(caller, api_token=parameters.text("api_token"))
    seen.prompt_tokens, seen.validated = len(prompt.ids), now()
    ids = (adapter_id,) if adapter_id else ()
    async with context.adapters(request, caller, ids, source, hints.deadline) as loaded:
        job = EngineRequest(
            id=0,
            prompt=prompt.ids,
            max_new_tokens=1,
            adapter=loaded[0].engine if loaded else None,
            tenant=seen.tenant,
            continuations=continuations,
            priority=hints.priority,
            deadline=hints.deadline,
        )
        answer: dict[str, Any] = {"prompt_tokens": len(prompt.ids), "cached_tokens": 0}
        async with context.generator.bridge.run(job) as events:
            async for event in events:
                if isinstance(event, PromptDone):
                    answer["cached_tokens"] = event.cached_tokens
                elif isinstance(event, Scores):
                    answer["scores"] = [
                        {"logprob": logprob, "tokens": len(ids)}
                        for logprob, ids in zip(event.logprobs, continuations, strict=True)
                    ]
    return answer, identity_headers(context, loaded)


async def score(request: Request) -> Response:
    context, body = context_of(request), await read_body(request)
    async with context.generator.admitted(seen_of(request).tenant):
        answer, headers = await unless_gone(request, _score(context, request, body))
    return JSONResponse(answer, headers=headers)
