"""Routes, and the shape that each family gives to a refusal."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from serving.server import adapter_routes, info, native, score
from serving.server.context import ClientGone, ServerContext, context_of
from serving.server.errors import ApiError, BodyError, lorax_body, openai_body, openai_status
from serving.server.openai import chat, completions, models

log = logging.getLogger("serving.server")
Endpoint = Callable[[Request], Awaitable[ASGIApp]]


def _retry(error: ApiError) -> dict[str, str]:
    return {"retry-after": "1"} if error.status == 429 else {}


def lorax_route(endpoint: Endpoint) -> Callable[[Request], Awaitable[ASGIApp]]:
    async def guarded(request: Request) -> ASGIApp:
        context = context_of(request)
        try:
            return await endpoint(request)
        except ApiError as error:
            context.failed(error)
            return JSONResponse(lorax_body(error), status_code=error.status, headers=_retry(error))
        except BodyError as error:
            context.failed(error)
            return PlainTextResponse(error.message, status_code=error.status)
        except (ClientGone, ClientDisconnect):
            context.failed(ClientGone())
            return Response(status_code=499)
        except Exception:
            log.exception("request failed")
            context.metrics.failure.add(err="generation")
            return JSONResponse({"error": "internal error", "error_type": "generation"}, status_code=500)

    return guarded


def openai_route(endpoint: Endpoint) -> Callable[[Request], Awaitable[ASGIApp]]:
    async def guarded(request: Request) -> ASGIApp:
        context = context_of(request)
        try:
            return await endpoint(request)
        except ApiError as error:
            context.failed(error)
            return JSONResponse(openai_body(error), status_code=openai_status(error), headers=_retry(error))
        except BodyError as error:
            context.failed(error)
            as_api = ApiError(422 if error.status == 422 else error.status, "bad_request", error.message)
            return JSONResponse(openai_body(as_api), status_code=openai_status(as_api))
        except (ClientGone, ClientDisconnect):
            context.failed(ClientGone())
            return Response(status_code=499)
        except Exception:
            log.exception("request failed")
            context.metrics.failure.add(err="generation")
            body = {"error": {"message": "internal error", "type": "server_error", "param": None, "code": "internal"}}
            return JSONResponse(body, status_code=500)

    return guarded


def make_app(context: ServerContext) -> Starlette:
    def post(path: str, endpoint: Endpoint) -> Route:
        return Route(path, lorax_route(endpoint), methods=["POST"])

    routes = [
        post("/", native.compat_generate),
        post("/invocations", native.compat_generate),
        post("/generate", native.generate),
        post("/generate_stream", native.generate_stream),
        post("/score", score.score),
        post("/tokenize", info.tokenize),
        Route("/", info.health, methods=["GET"]),
        Route("/health", info.health, methods=["GET"]),
        Route("/ping", info.health, methods=["GET"]),
        Route("/startup", info.health, methods=["GET"]),
        Route("/info", info.info, methods=["GET"]),
        Route("/metrics", info.metrics, methods=["GET"]),
        Route("/adapters", adapter_routes.adapters, methods=["GET"]),
        post("/adapters/load", adapter_routes.load),
        post("/adapters/unload", adapter_routes.unload),
        Route("/v1/chat/completions", openai_route(chat.chat_completions), methods=["POST"]),
        Route("/v1/completions", openai_route(completions.completions), methods=["POST"]),
        Route("/v1/models", openai_route(models.list_models), methods=["GET"]),
        Route("/v1/models/{model:path}", openai_route(models.get_model), methods=["GET"]),
    ]
    cors = Middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["content-type"]
    )
    app = Starlette(routes=routes, middleware=[cors])
    app.state.context = context
    return app
