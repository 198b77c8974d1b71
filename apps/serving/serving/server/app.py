"""Routes of the three families: LoRAX's at the root, OpenAI's under /v1, Grove's own."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route

from serving.server import adapter_routes, docs, info, native, score, unsupported
from serving.server.context import ServerContext
from serving.server.openai import chat, completions, models
from serving.server.shapes import LORAX, OPENAI, Endpoint, Shape, guarded, no_route


def _post(shape: Shape, path: str, endpoint: Endpoint, counted: bool = True) -> Route:
    return Route(path, guarded(shape, endpoint, counted), methods=["POST"])


def make_app(context: ServerContext) -> Starlette:
    routes = [
        _post(LORAX, "/", native.compat_generate),
        _post(LORAX, "/invocations", native.compat_generate),
        _post(LORAX, "/generate", native.generate),
        _post(LORAX, "/generate_stream", native.generate_stream),
        _post(LORAX, "/embed", unsupported.embed),
        _post(LORAX, "/classify", unsupported.classify),
        _post(LORAX, "/classify_batch", unsupported.classify_batch),
        _post(LORAX, "/score", score.score),
        _post(LORAX, "/tokenize", info.tokenize, counted=False),
        Route("/", info.health, methods=["GET"]),
        Route("/health", info.health, methods=["GET"]),
        Route("/ping", info.health, methods=["GET"]),
        Route("/startup", info.startup, methods=["GET"]),
        Route("/info", info.info, methods=["GET"]),
        Route("/metrics", info.metrics, methods=["GET"]),
        Route("/api-doc/openapi.json", docs.openapi, methods=["GET"]),
        Route("/docs", docs.page, methods=["GET"]),
        Mount("/docs/files", docs.swagger_files()),
        Route("/adapters", adapter_routes.adapters, methods=["GET"]),
        _post(LORAX, "/adapters/load", adapter_routes.load, counted=False),
        _post(LORAX, "/adapters/unload", adapter_routes.unload, counted=False),
        _post(OPENAI, "/v1/chat/completions", chat.chat_completions),
        _post(OPENAI, "/v1/completions", completions.completions),
        _post(OPENAI, "/v1/embeddings", unsupported.openai_embeddings),
        Route("/v1/models", guarded(OPENAI, models.list_models, counted=False), methods=["GET"]),
        Route("/v1/models/{model:path}", guarded(OPENAI, models.get_model, counted=False), methods=["GET"]),
    ]
    cors = Middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["content-type"]
    )
    app = Starlette(routes=routes, middleware=[cors], exception_handlers={HTTPException: no_route})
    app.state.context = context
    return app
