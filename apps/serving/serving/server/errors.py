"""Refusals. Inside there is one exception; each route family writes it in its own shape."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """`kind` is LoRAX's error_type."""

    def __init__(self, status: int, kind: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.field = field


class BodyError(Exception):
    """The body could not be read at all; LoRAX answers these in plain text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def validation(message: str, field: str | None = None) -> ApiError:
    return ApiError(422, "validation", f"Input validation error: {message}", field)


def generation(message: str) -> ApiError:
    return ApiError(424, "generation", f"Request failed during generation: {message}")


def overloaded() -> ApiError:
    return ApiError(429, "overloaded", "Model is overloaded")


def lorax_body(error: ApiError) -> dict[str, Any]:
    return {"error": error.message, "error_type": error.kind}


_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
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
