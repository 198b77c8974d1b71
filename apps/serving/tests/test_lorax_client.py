"""The published `lorax-client` 0.6.3, unchanged (L1 to L3 as its users see them)."""

from __future__ import annotations

import asyncio
import json

import lorax
import pytest
from conftest import Served


def client(served: Served) -> lorax.Client:
    return lorax.Client(served.url, headers={"authorization": "Bearer pb_a"}, timeout=60)


def test_generates_with_an_adapter(served: Served) -> None:
    answer = client(served).generate("hello", adapter_id="all-4/1", adapter_source="pbase", max_new_tokens=6)
    assert answer.details.generated_tokens == len(answer.details.tokens) == 6
    assert (
        answer.generated_text
        == served.generate("hello", adapter_id="all-4/1", max_new_tokens=6).json()["generated_text"]
    )


def test_streams_to_the_same_text(served: Served) -> None:
    streamed = list(client(served).generate_stream("hello", max_new_tokens=5))
    assert [one.generated_text is None for one in streamed] == [True] * 4 + [False]
    assert streamed[-1].generated_text == "".join(one.token.text for one in streamed if not one.token.special)


def test_errors_come_as_its_own_classes(served: Served) -> None:
    from lorax.errors import GenerationError, ValidationError

    with pytest.raises(GenerationError):
        list(client(served).generate_stream("hello", adapter_id="nothing-here/1", adapter_source="pbase"))
    with pytest.raises(ValidationError):
        list(client(served).generate_stream("hello", max_new_tokens=100_000))
    with pytest.raises(ValidationError):
        client(served).generate("hello", max_new_tokens=100_000)


def test_every_parameter_of_the_client_is_taken(served: Served) -> None:
    answer = client(served).generate(
        "hello there",
        adapter_id="all-4/1",
        adapter_source="pbase",
        do_sample=True,
        best_of=2,
        max_new_tokens=6,
        ignore_eos_token=True,
        repetition_penalty=1.1,
        return_full_text=True,
        stop_sequences=["never"],
        temperature=0.9,
        top_k=20,
        top_p=0.9,
        truncate=5,
        typical_p=0.9,
        watermark=True,
        decoder_input_details=True,
        return_k_alternatives=2,
        details=True,
    )
    details = answer.details
    assert answer.generated_text.startswith("hello there")
    assert len(details.prefill) == details.prompt_tokens == 5 and len(details.best_of_sequences) == 1
    assert all(len(token.alternative_tokens) == 2 for token in details.tokens)


def test_merges_and_formats_of_the_client(served: Served) -> None:
    from lorax.types import MergedAdapters, ResponseFormat

    # Merged adapters must share their rank, and only one of the test's has rank 4.
    merged = MergedAdapters(
        ids=["all-4/1", "all-4/1"],
        weights=[1.0, 0.0],
        merge_strategy="linear",
        density=0.5,
        majority_sign_method="total",
    )
    alone = client(served).generate("hello", adapter_id="all-4/1", adapter_source="pbase", max_new_tokens=6)
    blend = client(served).generate("hello", merged_adapters=merged, adapter_source="pbase", max_new_tokens=6)
    assert blend.generated_text == alone.generated_text
    schema = {"type": "object", "properties": {"pet": {"enum": ["cat", "dog"]}}, "required": ["pet"]}
    form = ResponseFormat(type="json_object", schema={**schema, "additionalProperties": False})
    assert json.loads(client(served).generate("hello", response_format=form, max_new_tokens=40).generated_text)["pet"]


def test_routes_of_other_models_fail_as_generations(served: Served) -> None:
    from lorax.errors import GenerationError

    for ask in (client(served).embed, client(served).classify):
        with pytest.raises(GenerationError, match="does not support"):
            ask("hello")


def test_the_asynchronous_client(served: Served) -> None:
    asynchronous = lorax.AsyncClient(served.url, headers={"authorization": "Bearer pb_a"}, timeout=60)

    async def ask() -> tuple[str, str]:
        whole = await asynchronous.generate("hello", max_new_tokens=5)
        streamed = [one async for one in asynchronous.generate_stream("hello", max_new_tokens=5)]
        return whole.generated_text, streamed[-1].generated_text

    whole, streamed = asyncio.run(ask())
    assert whole == streamed
