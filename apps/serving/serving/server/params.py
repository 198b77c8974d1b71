"""`parameters` of LoRAX's generate calls: every field, its bounds, and what is refused."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from serving.adapters.merge import Merge
from serving.engine.request import Sampling
from serving.server.errors import validation
from serving.server.fields import Fields

STRATEGIES = ("linear", "ties", "dare_linear", "dare_ties")
SIGN_METHODS = ("total", "frequency")


@dataclass(frozen=True, slots=True)
class Limits:
    max_input_length: int
    max_total_tokens: int
    max_best_of: int
    max_stop_sequences: int


@dataclass(frozen=True, slots=True)
class GenerateParams:
    adapter_ids: tuple[str, ...] = ()
    adapter_source: str | None = None
    api_token: str | None = None
    merge: Merge | None = None
    best_of: int = 1
    max_new_tokens: int | None = None
    ignore_eos: bool = False
    return_full_text: bool = False
    stop: tuple[str, ...] = ()
    truncate: int | None = None
    details: bool = False
    decoder_input_details: bool = False
    alternatives: int = 0
    apply_chat_template: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    seed: int | None = None  # as reported: null for greedy requests that gave none
    response_format: dict[str, Any] | None = None


def read_sampling(fields: Fields, sample: bool, seed: int | None) -> Sampling:
    def positive(name: str) -> float | None:
        value = fields.number(name)
        if value is not None and value <= 0:
            raise validation(f"`{name}` must be strictly positive", name)
        return value

    temperature, top_p, typical = fields.number("temperature"), fields.number("top_p"), fields.number("typical_p")
    top_k = fields.whole("top_k", signed=True)
    if temperature is not None and temperature < 0:
        raise validation("`temperature` must be non-negative", "temperature")
    if top_p is not None and not 0 < top_p <= 1:
        raise validation("`top_p` must be > 0.0 and < 1.0", "top_p")
    if typical is not None and not 0 < typical < 1:
        raise validation("`typical_p` must be > 0.0 and < 1.0", "typical_p")
    if top_k is not None and top_k <= 0:
        raise validation("`top_k` must be strictly positive", "top_k")
    penalties = {}
    for name in ("frequency_penalty", "presence_penalty"):
        value = fields.number(name)
        if value is not None and not -2 <= value <= 2:
            raise validation(f"`{name}` must be >= -2.0 and <= 2.0", name)
        penalties[name] = value or 0.0
    return Sampling(
        greedy=not sample or temperature == 0.0,
        temperature=1.0 if temperature is None else temperature,
        top_k=top_k or 0,
        top_p=1.0 if top_p is None else top_p,
        typical_p=1.0 if typical is None else typical,
        repetition_penalty=positive("repetition_penalty") or 1.0,
        frequency_penalty=penalties["frequency_penalty"],
        presence_penalty=penalties["presence_penalty"],
        watermark=fields.flag("watermark") or False,
        seed=seed or 0,
    )


def _merge(fields: Fields) -> tuple[tuple[str, ...], Merge]:
    ids = fields.texts("ids") or []
    weights = fields.numbers("weights") or []
    strategy = (fields.text("merge_strategy") or "linear").lower()
    sign_method = (fields.text("majority_sign_method") or "total").lower()
    density = fields.number("density")
    if not ids:
        raise validation("`merged_adapters.ids` must not be empty", "merged_adapters")
    if len(weights) != len(ids):
        raise validation("`merged_adapters.weights` must have one number for each id", "merged_adapters")
    if strategy not in STRATEGIES:
        raise validation(f"`merge_strategy` must be one of {', '.join(STRATEGIES)}", "merge_strategy")
    if sign_method not in SIGN_METHODS:
        raise validation(f"`majority_sign_method` must be one of {', '.join(SIGN_METHODS)}", "majority_sign_method")
    if strategy != "linear" and not 0 < (density or 0.0) <= 1:
        raise validation(f"`density` must be > 0.0 and <= 1.0 for {strategy}", "density")
    return tuple(ids), Merge(tuple(weights), strategy, density or 0.0, sign_method)


def _best_of(fields: Fields, limits: Limits, sample: bool, seed: int | None, stream: bool) -> int:
    best_of = fields.whole("best_of", signed=True)
    if best_of is None:
        return 1
    if best_of < 1:
        raise validation("`best_of` must be strictly positive", "best_of")
    if best_of > limits.max_best_of:
        raise validation(f"`best_of` must be <= {limits.max_best_of}. Given: {best_of}", "best_of")
    if best_of > 1 and not sample:
        raise validation("you must use sampling when `best_of` is > 1", "best_of")
    if best_of > 1 and seed is not None:
        raise validation("`seed` must not be set when `best_of` > 1", "best_of")
    if best_of > 1 and stream:
        raise validation("`best_of` must be 1 when streaming", "best_of")
    return best_of


def _stops(fields: Fields, limits: Limits) -> tuple[str, ...]:
    stops = fields.texts("stop") or []
    if len(stops) > limits.max_stop_sequences:
        raise validation(
            f"`stop` supports up to {limits.max_stop_sequences} stop sequences. Given: {len(stops)}", "stop"
        )
    return tuple(stops)


def read_params(fields: Fields | None, limits: Limits, stream: bool) -> GenerateParams:
    fields = fields or Fields({})
    adapter_id, merged = fields.text("adapter_id"), fields.object("merged_adapters")
    if adapter_id and merged is not None:
        raise validation("at most one of `adapter_id` or `merged_adapters` may be given", "adapter_id")
    ids, merge = _merge(merged) if merged is not None else ((adapter_id,) if adapter_id else (), None)
    warped = any(fields.data.get(name) is not None for name in ("temperature", "top_k", "top_p", "typical_p"))
    sample, seed = bool(fields.flag("do_sample")) or warped, fields.whole("seed")
    best_of = _best_of(fields, limits, sample, seed, stream)
    max_new, truncate = fields.whole("max_new_tokens", signed=True), fields.whole("truncate", signed=True)
    alternatives = fields.whole("return_k_alternatives", signed=True)
    if max_new is not None and max_new <= 0:
        raise validation("`max_new_tokens` must be strictly positive", "max_new_tokens")
    if truncate is not None and not 0 < truncate <= limits.max_input_length:
        limit = limits.max_input_length
        raise validation(f"`truncate` must be strictly positive and less than {limit}. Given: {truncate}", "truncate")
    if alternatives is not None and alternatives <= 0:
        raise validation("`return_k_alternatives` must be strictly positive", "return_k_alternatives")
    if stream and fields.flag("decoder_input_details"):
        raise validation("`decoder_input_details` == true is not supported when streaming", "decoder_input_details")
    seed = secrets.randbits(63) if sample and seed is None else seed
    response_format = fields.object("response_format")
    return GenerateParams(
        adapter_ids=ids,
        adapter_source=fields.text("adapter_source"),
        api_token=fields.text("api_token"),
        merge=merge,
        best_of=best_of,
        max_new_tokens=max_new,
        ignore_eos=fields.flag("ignore_eos_token") or False,
        return_full_text=fields.flag("return_full_text") or False,
        stop=_stops(fields, limits),
        truncate=truncate,
        details=fields.flag("details") or False,
        decoder_input_details=fields.flag("decoder_input_details") or False,
        alternatives=min(alternatives or 0, 100),
        apply_chat_template=fields.flag("apply_chat_template") or False,
        sampling=read_sampling(fields, sample, seed),
        seed=seed,
        response_format=response_format.data if response_format is not None else None,
    )
