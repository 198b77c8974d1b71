"""Puts the parts together and listens. Health answers only after a first token has come out of the engine."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time

from lora_py.chat_template import ChatTemplate
from starlette.applications import Starlette
from starlette.datastructures import Headers

from serving.adapters.build import open_registry
from serving.adapters.loader import PackOptions
from serving.adapters.merge import MergeCache
from serving.engine.engine import Engine
from serving.engine.scheduler import Limits as EngineLimits
from serving.models.batch import BLOCK
from serving.models.config import ModelConfig, ModelError, read_config
from serving.models.load import load_model, pick_device
from serving.server.access import Access
from serving.server.app import make_app
from serving.server.bridge import Bridge
from serving.server.context import ServerContext
from serving.server.generate import Generator
from serving.server.grove_metrics import GroveMetrics
from serving.server.info import canary
from serving.server.listen import Server
from serving.server.logs import log_request
from serving.server.metrics import Metrics
from serving.server.observe import Observer
from serving.server.params import Limits
from serving.server.places import Places
from serving.server.settings import Settings
from serving.server.structured import Structures
from serving.server.text import TextCodec
from serving.server.tracing import Tracing, make_tracing

log = logging.getLogger("serving")
DEFAULT_CONTEXT = 4096
PATIENCE_S = 2.0


def _limits(settings: Settings, config: ModelConfig) -> Limits:
    total = settings.max_total_tokens or min(config.max_positions, DEFAULT_CONTEXT)
    if total > config.max_positions:
        raise ModelError(f"--max-total-tokens {total} is over the model's {config.max_positions} positions")
    longest = settings.max_input_length or total - 1
    if longest >= total:
        raise ModelError(f"--max-input-length {longest} must be below --max-total-tokens {total}")
    return Limits(longest, total, settings.max_best_of, settings.max_stop_sequences)


def build(settings: Settings, tracing: Tracing | None = None) -> tuple[Starlette, ServerContext]:
    config = read_config(settings.model)
    limits = _limits(settings, config)
    device = pick_device(settings.device)
    model = load_model(settings.model, config, device, limits.max_total_tokens, settings.weights, settings.threads)
    bridge, metrics = Bridge(), Metrics(limits.max_input_length, limits.max_total_tokens)
    engine = Engine(
        model,
        kv_blocks=max(1, (settings.kv_tokens or 8 * limits.max_total_tokens) // BLOCK),
        adapter_slots=settings.adapter_slots,
        limits=EngineLimits(
            settings.max_running,
            settings.step_tokens,
            settings.mixed_step_tokens,
            PATIENCE_S,
            draft_tokens=settings.speculative_tokens,
        ),
        deliver=bridge.deliver,
        on_step=metrics.stepped,
    )
    secret = settings.internal_secret
    registry, gateway = open_registry(
        settings.adapters,
        json.loads((settings.model / "config.json").read_text(encoding="utf-8")),
        PackOptions(model.adapter_dtype, device, settings.max_rank, config.layers),
        lambda key: engine.drop_adapter(key, lambda dropped: None),
    )
    codec, own = TextCodec(settings.model), GroveMetrics()
    sinks = (metrics.ended, own.ended, log_request) + ((tracing.ended,) if tracing is not None else ())
    context = ServerContext(
        settings=settings,
        limits=limits,
        codec=codec,
        template=ChatTemplate.load(settings.model),
        engine=engine,
        generator=Generator(bridge, codec, Places(settings.max_concurrent_requests, settings.default_tenant is None)),
        registry=registry,
        access=Access(registry, gateway, secret, settings.default_tenant),
        metrics=metrics,
        grove_metrics=own,
        observer=Observer(metrics.begun, sinks),
        merges=MergeCache(config.layers),
        structures=Structures(settings.model, config.vocab, config.eos_ids),
        eos_ids=config.eos_ids,
        device=device.type,
        weights=model.weight_name,
        started_at=time.time(),
    )
    return make_app(context), context


async def _preload(context: ServerContext) -> None:
    """A preloaded adapter that can't be had is logged; it is asked for again when a request names it."""
    for adapter_id in context.settings.preload:
        where = context.settings.adapters
        source = "local" if where.local and not where.gateway_url else None
        caller = context.access.caller(Headers())
        try:
            refs = await context.access.resolve(caller, (adapter_id,), source, None)
            async with context.access.loaded(refs):
                log.info("preloaded %s", adapter_id)
        except Exception as error:
            log.warning("could not preload %s: %s", adapter_id, error)


async def serve(settings: Settings) -> int:
    """Until it is told to leave, or its engine has died; the process's exit status."""
    started = time.monotonic()
    tracing = make_tracing(os.environ, settings.model_id)
    app, context = build(settings, tracing)
    bridge = context.generator.bridge
    bridge.attach(asyncio.get_running_loop(), context.engine)
    context.engine.start()
    await canary(context)
    await context.structures.warm()
    await _preload(context)
    took = time.monotonic() - started
    log.info("ready in %.1f s: %s on %s, %s", took, settings.model_id, context.device, context.weights)
    server = Server(app, context)
    try:
        await server.serve()
    finally:
        context.registry.close()
        await asyncio.to_thread(context.engine.stop)
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
    return 1 if server.failed else 0
