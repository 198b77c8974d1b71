"""Refusals. Inside there is one exception; each route family writes it in its own shape."""

from __future__ import annotations

from typing import Any

from serving.engine.request import FailCode


class ApiError(Exception):
    """`kind` is LoRAX's error_type; `retry_after` are seconds after which the same request may succeed."""

    def __init__(
        self, status: int, kind: str, message: str, field: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.field = field
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """`x-should-retry` is what OpenAI's clients obey: without it they send a 5xx again at once."""
        if self.retry_after is not None:
            return {"retry-after": str(self.retry_after)}
        return {"x-should-retry": "false"} if self.status >= 500 else {}


class BodyError(Exception):
    """The body could not be read at all; LoRAX answers these in plain text. `field` is the path of the wrong value."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


def validation(message: str, field: str | None = None) -> ApiError:
    return ApiError(422, "validation", f"Input validation error: {message}", field)


def generation(message: str) -> ApiError:
    return ApiError(424, "generation", f"Request failed during generation: {message}")


def overloaded() -> ApiError:
    return ApiError(429, "overloaded", "Model is overloaded", retry_after=1)


def draining() -> ApiError:
    return ApiError(503, "draining", "This server is shutting down; send the request again", retry_after=1)


def deadline_passed() -> ApiError:
    return ApiError(504, "deadline", "The deadline of the request passed before its first token; allow it more time")


def engine_failure(code: FailCode, message: str) -> ApiError:
    """What the engine says about a request that it could not answer, as the routes say it."""
    if code == "deadline":
        return deadline_passed()
    if code == "overloaded":
        return overloaded()
    if code == "draining":
        return draining()
    return validation(message) if code == "too_large" else generation(message)


def lorax_body(error: ApiError) -> dict[str, Any]:
    return {"error": error.message, "error_type": error.kind}


_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    422: "invalid_request_error",
    424: "invalid_request_error",
    429: "rate_limit_error",
}


def openai_status(error: ApiError) -> int:
    """OpenAI has no 422 or 424: a bad parameter is 400 and a model that can't be used is 404."""
    return {422: 400, 424: 404 if error.field == "model" else 424}.get(error.status, error.status)


def openai_body(error: ApiError) -> dict[str, Any]:
    status = openai_status(error)
    return {
        "error": {
            "message": error.message,
            "type": _OPENAI_TYPES.get(status, "server_error"),
            "param": error.field,
            "code": error.kind,
        }
    }
