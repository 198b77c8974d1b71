"""What the OpenAI routes read from their bodies."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from serving.engine.request import Sampling
from serving.server.errors import validation
from serving.server.fields import Fields
from serving.server.params import Limits, read_sampling

# Refused rather than ignored: an answer without them would not be what was asked for.
UNSUPPORTED = {
    "logit_bias": "use response_format to bind the answer",
    "suffix": "put it into the prompt",
    "audio": "it writes text only",
    "web_search_options": "it reaches no network",
    "priority": "send the header x-grove-priority: high, normal or low",
}


@dataclass(frozen=True, slots=True)
class OpenAiParams:
    model: str
    adapter_source: str | None
    api_token: str | None
    sampling: Sampling
    seed: int | None
    n: int
    best_of: int
    stop: tuple[str, ...]
    max_tokens: int | None  # 0, where the prompt is echoed: nothing but the prompt
    max_tokens_name: str
    echo: bool
    stream: bool
    include_usage: bool
    ignore_eos: bool
    logprobs: bool
    top_logprobs: int
    response_format: dict[str, Any] | None


def _stop(fields: Fields, limits: Limits) -> tuple[str, ...]:
    value = fields.data.get("stop")
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else fields.texts("stop") or []
    if len(stops) > limits.max_stop_sequences:
        raise validation(f"`stop` supports up to {limits.max_stop_sequences} sequences. Given: {len(stops)}", "stop")
    return tuple(stop for stop in stops if stop)


def _counts(fields: Fields, limits: Limits) -> tuple[int, int]:
    n, best_of = fields.whole("n", signed=True), fields.whole("best_of", signed=True)
    n = 1 if n is None else n
    best_of = n if best_of is None else best_of
    if not 1 <= n <= limits.max_best_of:
        raise validation(f"`n` must be >= 1 and <= {limits.max_best_of}. Given: {n}", "n")
    if not n <= best_of <= limits.max_best_of:
        raise validation(f"`best_of` must be >= n and <= {limits.max_best_of}. Given: {best_of}", "best_of")
    return n, best_of


def _logprobs(fields: Fields) -> tuple[bool, int]:
    """Chat: `logprobs: true, top_logprobs: 5`; completions: `logprobs: 5`."""
    asked = fields.data.get("logprobs")
    if isinstance(asked, bool) or asked is None:
        top = fields.whole("top_logprobs", signed=True) or 0
        if top and not asked:
            raise validation("`top_logprobs` needs `logprobs` to be true", "top_logprobs")
        wanted = bool(asked)
    else:
        top, wanted = fields.whole("logprobs", signed=True) or 0, True
    if not 0 <= top <= 20:
        raise validation("`top_logprobs` must be >= 0 and <= 20", "top_logprobs")
    return wanted, top


def read_openai_params(fields: Fields, limits: Limits, echo: bool = False) -> OpenAiParams:
    for name, cure in UNSUPPORTED.items():
        if fields.data.get(name) not in (None, "", [], {}, False):
            raise validation(f"`{name}` is not supported by this server; {cure}", name)
    n, best_of = _counts(fields, limits)
    stream = fields.flag("stream") or False
    if stream and best_of > n:
        raise validation("`best_of` must not be over `n` when streaming", "best_of")
    wanted, top = _logprobs(fields)
    seed = fields.whole("seed", signed=True)
    name = "max_completion_tokens" if fields.data.get("max_completion_tokens") is not None else "max_tokens"
    max_tokens = fields.whole(name, signed=True)
    if max_tokens is not None and max_tokens < (0 if echo else 1):
        raise validation(f"`{name}` must be strictly positive", name)
    options, response_format = fields.object("stream_options"), fields.object("response_format")
    used_seed = secrets.randbits(63) if seed is None else seed & (2**63 - 1)
    return OpenAiParams(
        model=fields.text("model") or "",
        adapter_source=fields.text("adapter_source"),
        api_token=fields.text("api_token"),
        sampling=read_sampling(fields, True, used_seed),
        seed=used_seed,
        n=n,
        best_of=best_of,
        stop=_stop(fields, limits),
        max_tokens=max_tokens,
        max_tokens_name=name,
        echo=echo,
        stream=stream,
        include_usage=bool(options is not None and options.flag("include_usage")),
        ignore_eos=fields.flag("ignore_eos_token") or False,
        logprobs=wanted,
        top_logprobs=top,
        response_format=response_format.data if response_format is not None else None,
    )
