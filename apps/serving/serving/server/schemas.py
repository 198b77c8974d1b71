"""The bodies of every route as OpenAPI schemas, for people and for client generators. Reading them is `params.py`'s."""

from __future__ import annotations

from typing import Any

from serving.server.params import SIGN_METHODS, STRATEGIES, Limits

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {"type": "object", **({"required": list(required)} if required else {}), "properties": properties}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _maybe(schema: Schema, text: str = "") -> Schema:
    return {**schema, "nullable": True, **({"description": text} if text else {})}


def _number(low: float | None = None, high: float | None = None, open_low: bool = False) -> Schema:
    schema: Schema = {"type": "number", "format": "float"}
    if low is not None:
        schema |= {"minimum": low, **({"exclusiveMinimum": True} if open_low else {})}
    return schema | ({} if high is None else {"maximum": high})


def _whole(low: int | None = None, high: int | None = None) -> Schema:
    schema: Schema = {"type": "integer", "format": "int64"}
    return schema | ({} if low is None else {"minimum": low}) | ({} if high is None else {"maximum": high})


STRING: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean", "default": False}
FINISH: Schema = {"type": "string", "enum": ["length", "eos_token", "stop_sequence"]}
FORMAT = record(
    ("type",),
    type={"type": "string", "enum": ["text", "json_object", "json_schema", "regex"]},
    schema={"type": "object"},
    json_schema={"type": "object"},
    pattern=STRING,
)


def _sampling() -> dict[str, Schema]:
    return {
        "temperature": _maybe(_number(0), "0 is greedy"),
        "top_p": _maybe(_number(0, 1, open_low=True)),
        "top_k": _maybe(_whole(1)),
        "typical_p": _maybe(_number(0, 1, open_low=True)),
        "repetition_penalty": _maybe(_number(0, open_low=True)),
        "frequency_penalty": _maybe(_number(-2, 2)),
        "presence_penalty": _maybe(_number(-2, 2)),
        "watermark": FLAG,
        "ignore_eos_token": FLAG,
        "adapter_source": _maybe(STRING, "grove, pbase, local, s3 or hub"),
        "api_token": _maybe(STRING, "whose adapter it is, where there is no Authorization header"),
        "response_format": _maybe(FORMAT, "JSON that follows `schema`, or text that matches a regular expression"),
    }


def _generate(limits: Limits) -> dict[str, Schema]:
    parameters = record(
        **_sampling(),
        adapter_id=_maybe(STRING, "repository/version; without it the base model answers"),
        merged_adapters=_maybe(ref("MergedAdapters")),
        best_of=_maybe(_whole(1, limits.max_best_of)),
        do_sample=FLAG,
        seed=_maybe(_whole(0)),
        max_new_tokens=_maybe(_whole(1), "without it as many as there is room for"),
        return_full_text=_maybe(FLAG),
        stop=_list(STRING, maxItems=limits.max_stop_sequences),
        truncate=_maybe(_whole(1, limits.max_input_length), "keep only the prompt's last tokens"),
        details=FLAG,
        decoder_input_details=FLAG,
        return_k_alternatives=_maybe(_whole(1)),
        apply_chat_template=FLAG,
    )
    request = record(("inputs",), inputs={"type": "string", "minLength": 1}, parameters=_maybe(ref("Parameters")))
    merged = record(
        ("ids", "weights"),
        ids=_list(STRING, minItems=1),
        weights=_list(_number(), minItems=1),
        merge_strategy={"type": "string", "enum": list(STRATEGIES), "default": "linear"},
        density=_number(0, 1),
        majority_sign_method={"type": "string", "enum": list(SIGN_METHODS), "default": "total"},
    )
    alternative = record(("id", "text", "logprob"), id=_whole(0), text=STRING, logprob=_number())
    token = record(
        ("id", "text", "logprob", "special", "skipped"),
        id=_whole(0),
        text=STRING,
        logprob=_maybe(_number()),
        special=FLAG,
        skipped=FLAG,
        alternative_tokens=_list(alternative),
    )
    sequence: dict[str, Schema] = {
        "finish_reason": FINISH,
        "generated_tokens": _whole(0),
        "seed": _maybe(_whole(0)),
        "prefill": _list(record(id=_whole(0), text=STRING, logprob=_maybe(_number()))),
        "tokens": _list(ref("Token")),
    }
    details = record(
        prompt_tokens=_whole(0),
        skipped_tokens=_whole(0),
        best_of_sequences=_list(record(generated_text=STRING, **sequence)),
        **sequence,
    )
    event = record(("token",), token=ref("Token"), generated_text=_maybe(STRING), details=_maybe(ref("StreamDetails")))
    return {
        "GenerateRequest": request,
        "CompatGenerateRequest": {"allOf": [ref("GenerateRequest"), record(stream=FLAG)]},
        "Parameters": parameters,
        "MergedAdapters": merged,
        "Token": token,
        "GenerateResponse": record(("generated_text",), generated_text=STRING, details=_maybe(ref("Details"))),
        "Details": details,
        "StreamResponse": event,
        "StreamDetails": record(
            finish_reason=FINISH, prompt_tokens=_whole(0), generated_tokens=_whole(0), seed=_maybe(_whole(0))
        ),
        "ErrorResponse": record(("error", "error_type"), error=STRING, error_type=STRING),
    }


def _openai(limits: Limits) -> dict[str, Schema]:
    shared: dict[str, Schema] = {
        **_sampling(),
        "model": _maybe(STRING, "an adapter's id, or the base model's name or nothing for the base"),
        "seed": _maybe(_whole()),
        "n": _maybe(_whole(1, limits.max_best_of)),
        "best_of": _maybe(_whole(1, limits.max_best_of)),
        "stop": _maybe({"oneOf": [STRING, _list(STRING, maxItems=limits.max_stop_sequences)]}),
        "max_tokens": _maybe(_whole(0), "0 only where the prompt is echoed"),
        "stream": FLAG,
        "stream_options": _maybe(record(include_usage=FLAG)),
    }
    message = record(
        ("role",), role=STRING, content=_maybe(STRING), tool_calls=_list(record()), tool_call_id=_maybe(STRING)
    )
    chat = record(
        ("messages",),
        messages=_list(message, minItems=1),
        max_completion_tokens=_maybe(_whole(1)),
        logprobs=_maybe(FLAG),
        top_logprobs=_maybe(_whole(0, 20)),
        tools=_maybe(_list(record(("type", "function"), type=STRING, function=record()))),
        tool_choice={"oneOf": [STRING, record()]},
        parallel_tool_calls={"type": "boolean", "default": True},
        **shared,
    )
    prompt = {"oneOf": [STRING, _list(STRING), _list(_whole(0)), _list(_list(_whole(0)))]}
    completion = record(("prompt",), prompt=prompt, echo=FLAG, logprobs=_maybe(_whole(0, 20)), **shared)
    usage = record(
        prompt_tokens=_whole(0),
        completion_tokens=_whole(0),
        total_tokens=_whole(0),
        prompt_tokens_details=record(cached_tokens=_whole(0)),
    )
    answer: dict[str, Schema] = {"id": STRING, "object": STRING, "created": _whole(0), "model": STRING, "usage": usage}
    choice: dict[str, Schema] = {"index": _whole(0), "finish_reason": STRING, "logprobs": _maybe(record())}
    error = record(
        ("message",), message=STRING, type=STRING, code=_maybe(STRING), param=_maybe(STRING, "the field at fault")
    )
    return {
        "ChatCompletionRequest": chat,
        "ChatCompletionResponse": record(choices=_list(record(message=message, **choice)), **answer),
        "CompletionRequest": completion,
        "CompletionResponse": record(choices=_list(record(text=STRING, **choice)), **answer),
        "Model": record(id=STRING, object=STRING, created=_whole(0), owned_by=STRING),
        "ModelList": record(object=STRING, data=_list(ref("Model")), has_more=FLAG),
        "OpenAiError": record(("error",), error=error),
    }


def _own() -> dict[str, Schema]:
    named: dict[str, Schema] = {"adapter_id": STRING, "adapter_source": _maybe(STRING)}
    adapter = record(
        id=STRING,
        tenant=STRING,
        sha256=STRING,
        source=STRING,
        prompt_format={"type": "string", "enum": ["raw", "chat"]},
        state={"type": "string", "enum": ["fetching", "ready", "resident", "evicted", "failed"]},
        rank=_whole(0),
        target_modules=_list(STRING),
        bytes=_whole(0),
        pinned=FLAG,
        hits=_whole(0),
        loads=_whole(0),
        load_seconds=_number(0),
        failures=_whole(0),
        last_use=_number(0),
        error=_maybe(STRING),
    )
    score = record(
        ("inputs", "continuations"),
        inputs=STRING,
        continuations=_list(STRING, minItems=1),
        parameters=_maybe(ref("Parameters")),
    )
    piece = record(id=_whole(0), text=STRING, start=_whole(0), stop=_whole(0))
    return {
        "TokenizeRequest": record(
            ("inputs",), inputs=STRING, add_special_tokens=_maybe({"type": "boolean", "default": True})
        ),
        "TokenizeResponse": _list(piece),
        "ScoreRequest": score,
        "ScoreResponse": record(
            prompt_tokens=_whole(0),
            cached_tokens=_whole(0),
            scores=_list(record(logprob=_number(), tokens=_whole(0)), minItems=1),
        ),
        "Adapter": adapter,
        "AdapterList": record(adapters=_list(ref("Adapter"))),
        "LoadRequest": record(("adapter_id",), pin=FLAG, **named),
        "UnloadRequest": record(("adapter_id",), **named),
        "UnloadResponse": record(unloaded=FLAG),
        "Inputs": record(("inputs",), inputs=STRING),
        "InputsBatch": record(("inputs",), inputs=_list(STRING)),
        "EmbedRequest": record(("input",), input={"oneOf": [STRING, _list(STRING)]}),
    }


def make_schemas(limits: Limits) -> dict[str, Schema]:
    return {**_generate(limits), **_openai(limits), **_own()}
