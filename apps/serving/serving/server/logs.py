"""Log lines as text or as JSON, and the one line that each request leaves. No prompt, no answer, no token of a user."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

from serving.server.observe import Observation, Outcome

requests = logging.getLogger("serving.request")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def request_fields(seen: Observation, outcome: Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "request_id": seen.id,
        "route": seen.route,
        "status": outcome.status,
        "error": outcome.error,
        "stream": seen.stream,
        "tenant": seen.tenant or None,
        "adapter": seen.adapter or None,
        "adapter_sha256": "+".join(ref.sha256 for ref in seen.refs) or None,
        "prompt_tokens": seen.prompt_tokens,
        "cached_tokens": seen.cached_tokens,
        "generated_tokens": seen.generated_tokens,
        "finish": ",".join(seen.finishes) or None,
        "queue_ms": _ms(seen.queue_s),
        "first_token_ms": _ms(seen.first_token_s),
        "total_ms": _ms(outcome.seconds),
    }
    trace = seen.carrier.get("traceparent", "").split("-")
    if len(trace) == 4 and len(trace[1]) == 32:
        fields["trace_id"] = trace[1]
    return fields


def log_request(seen: Observation, outcome: Outcome) -> None:
    if requests.isEnabledFor(logging.INFO):
        requests.info("request", extra={"fields": request_fields(seen, outcome)})


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        told = [f"{name}={_plain(value)}" for name, value in fields.items() if value is not None]
        return " ".join([super().format(record), *told])


def _plain(value: object) -> str:
    """A value with spaces, quotes or control characters is quoted, so that it can't pass for a line of its own."""
    text = str(value)
    return text if text.isascii() and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logs(level: str, form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
