"""LoRAX's metrics under LoRAX's names, fed by the end of each request and by the engine's own counts."""

from __future__ import annotations

from collections.abc import Sequence

from serving.engine.engine import Engine
from serving.server.observe import Observation, Outcome
from serving.server.prometheus import Histogram, Metric, Summary, Value

DURATIONS = tuple(0.00015 * 1.5**n for n in range(35))
BATCHES = tuple(float(2**n) for n in range(11))
ERRORS = (
    "overloaded",
    "validation",
    "bad_request",
    "template",
    "generation",
    "incomplete",
    "dropped",
    "download_adapter",
    "load_adapter",
    "offload_adapter",
    "embedding_failure",
    "classification_failure",
)
SHORT = {"template_error": "template", "incomplete_generation": "incomplete", "missing_template_variable": "template"}


def _linear(top: int) -> Sequence[float]:
    return tuple(top * (n + 1) / 100 for n in range(100))


class Metrics:
    def __init__(self, max_input: int, max_total: int) -> None:
        self._all: list[Metric] = []
        self.requests = self._value("lorax_request_count", "counter", "Requests received", 0.0)
        self.success = self._value("lorax_request_success", "counter", "Requests answered", 0.0)
        self.failure = self._value("lorax_request_failure", "counter", "Requests that failed, by cause")
        for err in ERRORS:
            self.failure.add(0.0, err=err)
        self.duration = self._histogram("lorax_request_duration", DURATIONS, "Seconds from arrival to last token")
        self.validation = self._histogram("lorax_request_validation_duration", DURATIONS, "Seconds of validation")
        self.queue = self._histogram("lorax_request_queue_duration", DURATIONS, "Seconds in the queue")
        self.inference = self._histogram("lorax_request_inference_duration", DURATIONS, "Seconds of inference")
        self.per_token = self._histogram(
            "lorax_request_mean_time_per_token_duration", DURATIONS, "Mean seconds for a token"
        )
        self.generated = self._histogram("lorax_request_generated_tokens", _linear(max_total), "Tokens generated")
        self.input_length = self._histogram("lorax_request_input_length", _linear(max_input), "Tokens of the prompt")
        self.max_new = self._histogram("lorax_request_max_new_tokens", _linear(max_total), "max_new_tokens asked for")
        self.skipped = Summary("lorax_request_skipped_tokens", "Tokens gained by speculation")
        self._all.append(self.skipped)
        for name in ("input_count", "classify_output_count"):
            self._all.append(Summary(f"lorax_request_{name}", "Not used by this server"))
        self.batches = self._value("lorax_batch_inference_count", "counter", "Steps run")
        self.batch_success = self._value("lorax_batch_inference_success", "counter", "Steps that succeeded")
        self.batch_failure = self._value("lorax_batch_inference_failure", "counter", "Steps that failed")
        self.batch_duration = self._histogram("lorax_batch_inference_duration", DURATIONS, "Seconds of a step")
        self.batch_next = self._histogram("lorax_batch_next_size", BATCHES, "Requests in a step")
        self.batch_size = self._value("lorax_batch_current_size", "gauge", "Requests in the last step", 0.0)
        self.batch_tokens = self._value("lorax_batch_current_max_tokens", "gauge", "Tokens in the last step", 0.0)
        self.concat = self._value("lorax_batch_concat", "counter", "Requests that joined a running batch")
        for reason in ("backpressure", "wait_exceeded", "chunking"):
            self.concat.add(0.0, reason=reason)
        self._histogram("lorax_batch_concat_duration", DURATIONS, "Joining a batch takes no time of its own here")
        self.queue_length = self._value("lorax_queue_length", "gauge", "Requests waiting", 0.0)

    def _value(self, name: str, kind: str, text: str, start: float | None = None) -> Value:
        value = Value(name, kind, text)
        if start is not None:
            value.set(start)
        self._all.append(value)
        return value

    def _histogram(self, name: str, buckets: Sequence[float], text: str) -> Histogram:
        histogram = Histogram(name, text, buckets)
        self._all.append(histogram)
        return histogram

    def begun(self) -> None:
        self.requests.add()

    def ended(self, seen: Observation, outcome: Outcome) -> None:
        if seen.prompt_tokens:
            self.input_length.observe(seen.prompt_tokens)
        if "max_tokens" in seen.asked:
            self.max_new.observe(seen.asked["max_tokens"])
        if outcome.error is not None:
            self.failure.add(err=SHORT.get(outcome.error, outcome.error))
            return
        validation_s = (seen.validated or seen.arrived) - seen.arrived
        inference = sum(max(0.0, a.ended - a.started - a.queue_s) for a in seen.answers) / max(1, len(seen.answers))
        self.success.add()
        self.duration.observe(outcome.seconds)
        self.validation.observe(validation_s)
        self.queue.observe(seen.queue_s)
        self.inference.observe(inference)
        self.per_token.observe(inference / max(1, seen.generated_tokens))
        self.generated.observe(seen.generated_tokens)
        self.skipped.observe(sum(answer.skipped for answer in seen.answers))

    def stepped(self, method: str, seconds: float, requests: int) -> None:
        """Called on the engine's thread after each step."""
        self.batch_duration.observe(seconds, method=method)
        self.batch_next.observe(requests)

    def collect(self, engine: Engine) -> list[Metric]:
        stats = engine.stats
        for method, count in (("prefill", stats.prefill_steps), ("decode", stats.decode_steps)):
            self.batches.set(count, method=method)
            self.batch_success.set(count - (stats.failed_steps if method == "decode" else 0), method=method)
        self.batch_failure.set(stats.failed_steps, method="decode")
        self.batch_size.set(stats.last_batch_size)
        self.batch_tokens.set(stats.last_batch_tokens)
        self.concat.set(stats.joined, reason="chunking")
        self.queue_length.set(len(engine.scheduler.waiting))
        return self._all
