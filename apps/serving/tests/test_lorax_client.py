"""The published `lorax-client` 0.6.3, unchanged (L1 to L3 as its users see them)."""

from __future__ import annotations

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
