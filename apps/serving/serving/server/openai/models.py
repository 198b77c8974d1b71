"""GET /v1/models: the base, and the adapters of the caller's tenant that are in memory."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.server.context import context_of
from serving.server.errors import ApiError


def _listed(request: Request) -> list[dict[str, Any]]:
    context = context_of(request)
    caller = context.caller(request)
    tenants = context.access.tenants(caller)
    ids = {context.settings.model_id: None}
    ids.update(
        {
            record.ref.id: None
            for record in context.registry.records()
            if record.state == "ready" and record.ref.tenant in tenants
        }
    )
    created = int(context.started_at)
    return [{"id": model, "object": "model", "created": created, "owned_by": "grove"} for model in ids]


async def list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": _listed(request), "has_more": False})


async def get_model(request: Request) -> Response:
    name = request.path_params["model"]
    for model in _listed(request):
        if model["id"] == name:
            return JSONResponse(model)
    raise ApiError(404, "model_not_found", f"The model {name[:80]!r} does not exist", "model")
