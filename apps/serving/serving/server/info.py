"""Routes that tell about the server: health, info, metrics, tokenize."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from serving.engine.request import NewToken
from serving.engine.request import Request as EngineRequest
from serving.server.context import VERSION, ServerContext, context_of
from serving.server.errors import ApiError, validation
from serving.server.fields import read_body
from serving.server.prometheus import as_json, as_text

CANARY_TIMEOUT_S = 20.0
MAX_TOKENIZE_CHARS = 1_000_000
FRESH_S = 5.0  # a step this recent is health enough
CANARY_PRIORITY = 2  # above all requests
HEALTH_TENANT = "\x00health"  # sorts into a queue of its own, so a canary never waits behind requests


async def canary(context: ServerContext) -> None:
    """One real token through the engine."""
    token = next(iter(context.eos_ids), 0)
    request = EngineRequest(id=0, prompt=(token,), max_new_tokens=1, tenant=HEALTH_TENANT, priority=CANARY_PRIORITY)
    async with context.generator.bridge.run(request) as events:
        async for event in events:
            if isinstance(event, NewToken):
                return


async def health(request: Request) -> Response:
    context = context_of(request)
    engine = context.engine
    try:
        if not engine.alive or context.generator.draining:
            raise ApiError(503, "healthcheck", "unhealthy")
        if time.monotonic() - engine.stats.last_step_at > FRESH_S:
            await asyncio.wait_for(canary(context), CANARY_TIMEOUT_S)
    except (ApiError, TimeoutError, asyncio.TimeoutError):
        return JSONResponse({"error": "unhealthy", "error_type": "healthcheck"}, status_code=503)
    return Response(status_code=200)


async def startup(request: Request) -> Response:
    """LoRAX's start probe: always one real token."""
    context = context_of(request)
    try:
        await asyncio.wait_for(canary(context), CANARY_TIMEOUT_S)
    except (ApiError, TimeoutError, asyncio.TimeoutError):
        return JSONResponse({"error": "unhealthy", "error_type": "failed healthcheck"}, status_code=500)
    return Response(status_code=200)


async def info(request: Request) -> Response:
    context = context_of(request)
    settings, limits = context.settings, context.limits
    return JSONResponse(
        {
            "model_id": settings.model_id,
            "model_sha": None,
            "model_dtype": context.weights,
            "model_device_type": context.device,
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": settings.max_concurrent_requests,
            "max_best_of": limits.max_best_of,
            "max_stop_sequences": limits.max_stop_sequences,
            "max_input_length": limits.max_input_length,
            "max_total_tokens": limits.max_total_tokens,
            "waiting_served_ratio": 0.0,
            "max_batch_total_tokens": context.engine.pool.total * 16,
            "max_waiting_tokens": 0,
            "validation_workers": 1,
            "eager_prefill": True,
            "version": VERSION,
            "sha": None,
            "docker_label": None,
            "max_active_adapters": settings.adapter_slots,
        }
    )


async def metrics(request: Request) -> Response:
    context = context_of(request)
    own = context.grove_metrics.collect(context.engine, context.registry, context.generator.bridge, context.observer)
    collected = [*context.metrics.collect(context.engine), *own]
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(as_json(collected))
    return PlainTextResponse(as_text(collected), media_type="text/plain; version=0.0.4")


async def tokenize(request: Request) -> Response:
    context = context_of(request)
    body = await read_body(request)
    text, special = body.required_text("inputs"), body.flag("add_special_tokens")
    if len(text) > MAX_TOKENIZE_CHARS:
        raise validation(f"`inputs` must have at most {MAX_TOKENIZE_CHARS} characters. Given: {len(text)}", "inputs")
    pieces = await asyncio.to_thread(context.codec.pieces, text, True if special is None else special)
    return JSONResponse([{"id": i, "text": text, "start": a, "stop": b} for i, text, a, b in pieces])
