"""One OpenTelemetry span a request, with the GenAI attributes. Only where OTEL_EXPORTER_OTLP_ENDPOINT is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serving.models.config import ModelError
from serving.server.observe import Observation, Outcome

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROVIDER = "grove"
Attributes = dict[str, str | int | float | bool | list[str]]


@dataclass(frozen=True, slots=True)
class Tracing:
    ended: Callable[[Observation, Outcome], None]
    close: Callable[[], None]  # sends what is left; may take some seconds


def attributes_of(seen: Observation, outcome: Outcome, base_model: str) -> Attributes:
    """The names of OpenTelemetry's GenAI conventions; what they lack is under `grove.`. Never a prompt or an answer."""
    model = seen.adapter or base_model
    found: Attributes = {
        "gen_ai.operation.name": "chat" if seen.route.endswith("/chat/completions") else "text_completion",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.system": PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": seen.id,
        "gen_ai.request.stream": seen.stream,
        "gen_ai.usage.input_tokens": seen.prompt_tokens,
        "gen_ai.usage.output_tokens": seen.generated_tokens,
        "gen_ai.usage.cache_read.input_tokens": seen.cached_tokens,
        "http.request.method": "POST",
        "http.route": seen.route,
        "http.response.status_code": outcome.status,
        "grove.base_model": base_model,
        "grove.tenant": seen.tenant,
        "grove.queue_seconds": seen.queue_s,
    }
    found |= {f"gen_ai.request.{name}": value for name, value in seen.asked.items()}
    if seen.refs:
        found["grove.adapter.id"] = seen.adapter
        found["grove.adapter.sha256"] = "+".join(ref.sha256 for ref in seen.refs)
    if seen.finishes:
        found["gen_ai.response.finish_reasons"] = seen.finishes
    if seen.first_token_s is not None:
        found["gen_ai.response.time_to_first_chunk"] = seen.first_token_s
    if outcome.error is not None:
        found["error.type"] = outcome.error
    return found


def make_tracing(env: Mapping[str, str], base_model: str) -> Tracing | None:
    if not env.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError as error:
        wanted = "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
        raise ModelError(f"{ENDPOINT} is set but {error.name} is not installed; install {wanted}") from error

    resource = Resource.create({SERVICE_NAME: env.get("OTEL_SERVICE_NAME") or "grove-serving"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer, propagator = provider.get_tracer("grove.serving"), TraceContextTextMapPropagator()

    def ended(seen: Observation, outcome: Outcome) -> None:
        found = attributes_of(seen, outcome, base_model)
        start = int(seen.wall * 1e9)
        span = tracer.start_span(
            f"{found['gen_ai.operation.name']} {found['gen_ai.request.model']}",
            context=propagator.extract(seen.carrier),
            kind=SpanKind.SERVER,
            attributes=found,
            start_time=start,
        )
        if outcome.error is not None and outcome.status >= 500:
            span.set_status(Status(StatusCode.ERROR, outcome.error))
        span.end(start + int(outcome.seconds * 1e9))

    return Tracing(ended, provider.shutdown)
