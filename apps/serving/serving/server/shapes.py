"""The shape that each family of routes gives to a refusal, and the guard around every endpoint."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from serving.server.context import context_of
from serving.server.errors import ApiError, BodyError, ClientGone, lorax_body, openai_body, openai_status
from serving.server.sse import EventStream

log = logging.getLogger("serving.server")
Endpoint = Callable[[Request], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class Shape:
    status: Callable[[ApiError], int]
    body: Callable[[ApiError], dict[str, Any]]
    unreadable: Callable[[BodyError], Response]

    def refusal(self, error: ApiError) -> Response:
        return JSONResponse(self.body(error), status_code=self.status(error), headers=error.headers)


def _openai_unreadable(error: BodyError) -> Response:
    as_api = ApiError(error.status, "bad_request", error.message, error.field)
    return JSONResponse(openai_body(as_api), status_code=openai_status(as_api))


LORAX = Shape(
    lambda error: error.status,
    lorax_body,
    lambda error: PlainTextResponse(error.message, status_code=error.status),
)
OPENAI = Shape(openai_status, openai_body, _openai_unreadable)


async def no_route(request: Request, error: Exception) -> Response:
    """A path or a method that there is not: OpenAI's clients read its error's shape, LoRAX answers in plain text."""
    assert isinstance(error, HTTPException)
    if not request.url.path.startswith("/v1/"):
        return PlainTextResponse(error.detail, status_code=error.status_code, headers=error.headers)
    message = f"{error.detail}: {request.method} {request.url.path[:200]}"
    refused = OPENAI.refusal(ApiError(error.status_code, "unknown_url", message))
    refused.headers.update(error.headers or {})
    return refused


async def _answer(shape: Shape, endpoint: Endpoint, request: Request) -> tuple[ASGIApp, str | None]:
    """The response, and the kind of what went wrong."""
    try:
        return await endpoint(request), None
    except ApiError as error:
        return shape.refusal(error), error.kind
    except BodyError as error:
        return shape.unreadable(error), "bad_request"
    except (ClientGone, ClientDisconnect):
        return Response(status_code=499), "dropped"
    except Exception:
        log.exception("request failed")
        return shape.refusal(ApiError(500, "internal", "internal error; the server's log has the reason")), "internal"


def _closing(response: ASGIApp) -> None:
    """The rest of a body that was too long or too slow is not waited for."""
    if isinstance(response, Response) and response.status_code in (408, 413):
        response.headers["connection"] = "close"


def guarded(shape: Shape, endpoint: Endpoint, counted: bool = True) -> Callable[[Request], Awaitable[ASGIApp]]:
    """`counted`: the request counts in metrics, has a log line and a span, and its id is in the answer."""

    async def answer(request: Request) -> ASGIApp:
        if not counted:
            response, _ = await _answer(shape, endpoint, request)
            _closing(response)
            return response
        context = context_of(request)
        observer = context.observer
        seen = observer.begin(request, context.caller(request).tenant)
        response, error = await _answer(shape, endpoint, request)
        _closing(response)
        if isinstance(response, Response):
            response.headers["x-request-id"] = seen.id
            observer.end(seen, response.status_code, error)
        elif not isinstance(response, EventStream):
            raise TypeError(f"{type(response).__name__} never ends its observation")
        return response

    return answer
