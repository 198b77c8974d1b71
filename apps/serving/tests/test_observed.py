"""What a server tells about its requests: metrics that add up, one log line and one span each, never their words."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from gateway import SECRET, start_gateway
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from server import serving_process

from serving.server.cardinality import TopLabels

PROMPT, TRACE = "xylophone", "4bf92f3577b34da6a3ce929d0e0e4736"
GATEWAY = {"authorization": f"Bearer {SECRET}", "x-grove-tenant": "a", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


@dataclass
class Collector:
    """An OTLP/HTTP receiver."""

    spans: list[Span] = field(default_factory=list)
    raw: bytes = b""

    def start(self) -> ThreadingHTTPServer:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                collector.raw += body
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@dataclass
class Seen:
    """Some traffic over one server, and all that the server told about it."""

    answers: list[httpx.Response]
    metrics: str
    log: list[dict]
    spans: list[Span]
    told: str  # every byte of log, metrics and spans


def traffic(url: str) -> list[httpx.Response]:
    def post(path: str, body: dict, headers: dict[str, str] = GATEWAY) -> httpx.Response:
        return httpx.post(f"{url}{path}", json=body, headers=headers, timeout=60)

    parameters = {"max_new_tokens": 5, "adapter_id": "all-4/1", "seed": 7, "temperature": 0.5}
    chat = {"model": "all-4/1", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 5}
    return [
        post("/generate", {"inputs": PROMPT, "parameters": parameters}, {**GATEWAY, "x-request-id": "mine-1"}),
        post("/generate", {"inputs": PROMPT, "parameters": {"max_new_tokens": 5}}),
        post("/generate_stream", {"inputs": PROMPT, "parameters": parameters}),
        post("/v1/chat/completions", {**chat, "n": 2}),
        post("/v1/chat/completions", {**chat, "n": 2, "stream": True}),
        post("/v1/completions", {"model": "", "prompt": [PROMPT, PROMPT], "max_tokens": 3}),
        post("/score", {"inputs": PROMPT, "continuations": ["a", "bc"]}),
        post("/generate", {"inputs": PROMPT, "parameters": {"temperature": -1}}),
        post(
            "/generate", {"inputs": PROMPT, "parameters": {"adapter_id": "no-such/1"}}, {"authorization": "Bearer pb_a"}
        ),
        post("/generate_stream", {"inputs": PROMPT, "parameters": {"max_new_tokens": 0}}),
        post("/v1/embeddings", {"model": "", "input": PROMPT}),
        post("/generate", {}),
        post("/v1/completions", {"model": "", "prompt": PROMPT, "temperature": 9e99, "n": 50}, {}),
    ]


@pytest.fixture(scope="module")
def seen(base: Path, loras: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    state, gateway = start_gateway()
    state.tokens = {"pb_a": "a"}
    state.adapters = {("a", "all-4/1"): loras["all-4"]}
    collector = Collector()
    receiver = collector.start()
    env = {
        "GROVE_GATEWAY_URL": state.url,
        "GROVE_INTERNAL_SECRET": SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.server_address[1]}",
    }
    root = tmp_path_factory.mktemp("observed")
    with serving_process(base, root / "cache", env, "--log-format", "json") as (url, _):
        answers = traffic(url)
        text = httpx.get(f"{url}/metrics").text
    lines = next(root.glob("serving-*.log")).read_text()
    log = [json.loads(line) for line in lines.splitlines()]
    gateway.shutdown()
    receiver.shutdown()
    told = text + lines + collector.raw.decode("latin-1")
    yield Seen(answers, text, [line for line in log if line["logger"] == "serving.request"], collector.spans, told)


def sums(seen: Seen, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(seen.metrics):
        for sample in family.samples:
            if sample.name in (name, f"{name}_total"):
                found[tuple(sample.labels.get(label, "") for label in labels)] += sample.value
    return found


def test_every_request_is_counted_once(seen: Seen) -> None:
    total, ok = sums(seen, "lorax_request_count")[()], sums(seen, "lorax_request_success")[()]
    failed = sums(seen, "lorax_request_failure")[()]
    assert (total, ok, failed) == (len(seen.answers), 7, 6) and sums(seen, "grove_requests_in_flight")[()] == 0
    for family in ("grove_adapter", "grove_tenant"):
        assert sums(seen, f"{family}_requests")[()] == ok and sums(seen, f"{family}_failures")[()] == failed
    assert sums(seen, "lorax_request_duration_count")[()] == ok


def test_tokens_by_adapter_and_tenant_add_up(seen: Seen) -> None:
    for kind in ("prompt_tokens", "generated_tokens"):
        by_adapter, by_tenant = sums(seen, f"grove_adapter_{kind}"), sums(seen, f"grove_tenant_{kind}")
        assert by_adapter[()] == by_tenant[()] == sum(line[kind] for line in seen.log)
    generated = sums(seen, "grove_adapter_generated_tokens", "adapter")
    assert 0 < generated["all-4/1",] <= 5 + 5 + 10 + 10 and 0 < generated["(base)",] <= 5 + 6
    # The canary's tokens, at start and for /health, belong to nobody.
    assert sums(seen, "grove_generated_tokens")[()] >= sums(seen, "lorax_request_generated_tokens_sum")[()]


def test_states_and_memory_are_told(seen: Seen) -> None:
    states = sums(seen, "grove_adapters", "state")
    assert states["resident",] == sums(seen, "grove_adapters_resident")[()] == 1
    memory = sums(seen, "grove_adapter_memory", "event")
    assert memory["loads",] == memory["misses",] - memory["failures",] == 1 and memory["hits",] > 0
    assert sums(seen, "grove_kv_usage_ratio")[()] == 0
    assert sums(seen, "grove_time_to_first_token_seconds_count")[()] == 6


def test_each_request_leaves_one_line(seen: Seen) -> None:
    assert len(seen.log) == len(seen.answers)
    first = seen.log[0]
    assert first["request_id"] == seen.answers[0].headers["x-request-id"] == "mine-1"
    assert (first["tenant"], first["adapter"], first["status"], first["trace_id"]) == ("a", "all-4/1", 200, TRACE)
    assert first["prompt_tokens"] == 9 and first["finish"] in ("length", "eos_token")
    assert 0 < first["first_token_ms"] <= first["total_ms"]
    errors = [line["error"] for line in seen.log]
    assert errors == [None] * 7 + ["validation", "generation", "validation", "generation", "bad_request", "validation"]
    assert seen.log[3]["finish"].count(",") == 1 and seen.log[4]["stream"] is True
    assert seen.log[12]["tenant"] is None
    assert sums(seen, "grove_adapter_failures", "adapter", "err")["(unknown)", "generation"] == 1


def test_each_request_is_one_span_under_the_callers_trace(seen: Seen) -> None:
    assert len(seen.spans) == len(seen.answers)
    mine = seen.spans[:-1]
    in_trace = [
        span for span in mine if span.trace_id.hex() == TRACE and span.parent_span_id.hex() == "00f067aa0ba902b7"
    ]
    assert len(in_trace) == len(mine) - 1  # one came with a user's token and no trace
    span = seen.spans[0]
    found = {item.key: item.value for item in span.attributes}
    assert span.name == "text_completion all-4/1" and span.end_time_unix_nano > span.start_time_unix_nano
    assert found["gen_ai.provider.name"].string_value == "grove"
    assert found["gen_ai.request.temperature"].double_value == 0.5 and found["gen_ai.request.seed"].int_value == 7
    assert found["gen_ai.usage.input_tokens"].int_value == 9
    assert found["gen_ai.usage.output_tokens"].int_value == seen.log[0]["generated_tokens"]
    assert found["gen_ai.response.finish_reasons"].array_value.values[0].string_value == seen.log[0]["finish"]
    assert found["gen_ai.response.time_to_first_chunk"].double_value > 0
    assert found["grove.adapter.sha256"].string_value == seen.log[0]["adapter_sha256"]
    assert found["grove.tenant"].string_value == "a"
    failed = {item.key: item.value for item in seen.spans[8].attributes}
    assert failed["error.type"].string_value == "generation"


def test_nothing_told_holds_a_prompt_or_a_token(seen: Seen) -> None:
    assert PROMPT not in seen.told and SECRET not in seen.told and "pb_a" not in seen.told
    texts = [answer.json()["generated_text"] for answer in seen.answers[:2]]
    assert all(json.dumps(text)[1:-1] not in seen.told for text in texts)


def test_labels_are_bounded_and_no_count_is_lost() -> None:
    labels = TopLabels(("tenant", "adapter"), 3)
    counted, failed = labels.counter("requests", ""), labels.counter("failures", "")
    last: dict[object, float] = {}
    for turn in range(6000):
        name = f"busy-{turn % 3}" if turn % 2 and turn > 3000 else f"one-off-{turn}"
        counted.add(1, **labels.note((name, "a/1")))
        failed.add(1, **labels.labels((name, "a/1")), err="validation")
        kept = {key: value for key, value in counted.values.items() if key in last}
        assert all(value >= last[key] for key, value in kept.items()), "a series fell"
        last = dict(counted.values)
        assert len(counted.values) <= 4
    assert sum(counted.values.values()) == sum(failed.values.values()) == 6000
    assert {dict(key)["tenant"] for key in counted.values} == {"busy-0", "busy-1", "busy-2", "other"}


def test_nothing_reaches_out_unless_it_is_asked_to(base: Path, tmp_path: Path) -> None:
    from serving.server.tracing import make_tracing

    started = time.monotonic()
    assert (
        make_tracing({"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, "m")
        is None
    )
    assert time.monotonic() - started < 1
