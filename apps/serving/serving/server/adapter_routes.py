"""Adapters by hand: which ones there are, load one before its first request, take one out of memory."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.adapters.identity import AdapterFailure, AdapterRef
from serving.adapters.records import Record
from serving.server.context import ServerContext, context_of
from serving.server.errors import generation, validation
from serving.server.fields import Fields, read_body


def _record_json(record: Record, resident: frozenset[str]) -> dict[str, Any]:
    ref = record.ref
    state = "resident" if record.state == "ready" and ref.sha256 in resident else record.state
    return {
        "id": ref.id,
        "tenant": ref.tenant,
        "sha256": ref.sha256,  # empty until the name has been looked up
        "source": ref.source,
        "prompt_format": ref.prompt_format,
        "state": state,
        "rank": record.rank,
        "target_modules": list(record.modules),
        "bytes": record.nbytes,
        "pinned": record.pinned,
        "hits": record.hits,
        "loads": record.loads,
        "load_seconds": round(record.load_seconds, 4),
        "failures": record.failures,
        "last_use": record.last_use,
        "error": record.error or None,
    }


async def adapters(request: Request) -> Response:
    """The gateway sees all; others see their own tenant's."""
    context = context_of(request)
    caller = context.caller(request)
    resident = context.engine.bank.resident()
    tenants = context.access.tenants(caller)
    seen = [r for r in context.registry.records() if caller.trusted or r.ref.tenant in tenants]
    return JSONResponse({"adapters": [_record_json(record, resident) for record in seen]})


async def _named(context: ServerContext, request: Request, body: Fields) -> AdapterRef:
    adapter_id = body.required_text("adapter_id")
    if not adapter_id:
        raise validation("`adapter_id` cannot be empty", "adapter_id")
    caller, header = context.caller(request), request.headers.get("x-grove-adapter")
    return (await context.access.resolve(caller, (adapter_id,), body.text("adapter_source"), header))[0]


def _told(context: ServerContext, ref: AdapterRef) -> dict[str, Any]:
    resident = context.engine.bank.resident()
    return next(_record_json(r, resident) for r in context.registry.records() if r.ref == ref)


async def load(request: Request) -> Response:
    """Answers when the adapter is in memory, or 424 with the reason why it can't be.

    `pin: true` keeps it there, and the versions that follow under the same name, until it is unloaded. Memory is the
    server's, not the tenant's, so only the gateway and the callers of a single-tenant server may pin.
    """
    context = context_of(request)
    body = await read_body(request)
    pin = bool(body.flag("pin"))
    if pin and not context.caller(request).vouched:
        raise validation("`pin` is for the gateway alone", "pin")
    ref = await _named(context, request, body)
    async with context.access.loaded([ref]):
        try:
            if pin:
                context.registry.keep(ref)
        except AdapterFailure as failure:
            raise generation(str(failure)) from failure
        return JSONResponse(_told(context, ref))


async def unload(request: Request) -> Response:
    """Ends a pin, too. `unloaded` is false where it was not in memory or a request is using it. It loads again when
    asked for."""
    context = context_of(request)
    ref = await _named(context, request, await read_body(request))
    return JSONResponse({"unloaded": context.registry.unload(ref)})
