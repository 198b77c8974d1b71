"""The official `openai` client, unchanged."""

from __future__ import annotations

import time

import openai
import pytest
from conftest import Served


@pytest.fixture(scope="module")
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="pb_a", max_retries=0)


HELLO = [{"role": "user", "content": "hello"}]


def test_raw_adapter_reads_a_lone_user_message_as_written(served: Served, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="all-4/1", messages=HELLO, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content == served.generate(adapter_id="all-4/1").json()["generated_text"]
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-") and answer.created > 0
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.total_tokens == 5 + 8


def test_base_and_conversations_go_through_the_template(served: Served, client: openai.OpenAI) -> None:
    plain = served.generate("hello", apply_chat_template=True).json()["generated_text"]
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content == plain
    talk = [{"role": "system", "content": "be kind"}, *HELLO]
    rendered = "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    answer = client.chat.completions.create(model="all-4/1", messages=talk, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content == served.generate(rendered, adapter_id="all-4/1").json()["generated_text"]


def test_stream_adds_up_and_tells_usage_when_asked(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="all-4/1", messages=HELLO, max_tokens=12, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model="all-4/1",
            messages=HELLO,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 12
    assert chunks[0].choices[0].delta.role == "assistant"


@pytest.mark.parametrize("stream", [False, True])
def test_stop_sequence_is_left_out(client: openai.OpenAI, stream: bool) -> None:
    full = client.completions.create(model="all-4/1", prompt="hello", max_tokens=30, temperature=0).choices[0].text
    stop = full[6:9]
    answer = client.completions.create(
        model="all-4/1", prompt="hello", max_tokens=30, temperature=0, stop=stop, stream=stream
    )
    if stream:
        chunks = list(answer)
        text, reason = "".join(c.choices[0].text for c in chunks), chunks[-1].choices[0].finish_reason
    else:
        text, reason = answer.choices[0].text, answer.choices[0].finish_reason
    assert text == full[: full.index(stop)]
    assert reason == "stop"


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_choices_of_a_stream_are_interleaved_and_add_up(client: openai.OpenAI, kind: str) -> None:
    wanted = True if kind == "chat" else 0
    asked = {"model": "tiny", "max_tokens": 100, "temperature": 1.5, "seed": 5, "n": 3, "logprobs": wanted}
    if kind == "chat":
        whole = [c.message.content for c in client.chat.completions.create(messages=HELLO, **asked).choices]
        chunks = list(client.chat.completions.create(messages=HELLO, stream=True, **asked))
        told = [(c.choices[0].index, c.choices[0].delta.content or "") for c in chunks]
    else:
        whole = [c.text for c in client.completions.create(prompt="hello", **asked).choices]
        chunks = list(client.completions.create(prompt="hello", stream=True, **asked))
        told = [(c.choices[0].index, c.choices[0].text) for c in chunks]
    texts = ["".join(text for index, text in told if index == which) for which in range(3)]
    assert sorted(texts) == sorted(whole) and len(set(texts)) == 3
    order = [c.choices[0].index for c in chunks if c.choices[0].logprobs is not None]
    assert order != sorted(order)
    ended = [c.choices[0].index for c in chunks if c.choices[0].finish_reason is not None]
    assert sorted(ended) == [0, 1, 2]


@pytest.mark.parametrize(
    ("field", "value"),
    [("logit_bias", {"5": 1}), ("priority", 3), ("suffix", "x"), ("functions", [{"name": "f"}]), ("n", 99)],
)
def test_what_is_not_supported_is_refused_by_name(client: openai.OpenAI, field: str, value: object) -> None:
    with pytest.raises(openai.BadRequestError, match=field) as refused:
        client.chat.completions.create(model="", messages=HELLO, extra_body={field: value})
    assert refused.value.param == field


def test_max_completion_tokens_bounds_the_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="", messages=HELLO, max_completion_tokens=3, temperature=0)
    assert answer.usage is not None and answer.usage.completion_tokens <= 3
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="", messages=HELLO, max_completion_tokens=100_000)
    assert refused.value.param == "max_completion_tokens"


def test_n_logprobs_and_seed(client: openai.OpenAI) -> None:
    def ask(**more: object) -> openai.types.chat.ChatCompletion:
        return client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=5, temperature=2.0, **more)

    assert ask(seed=3).choices[0].message.content == ask(seed=3).choices[0].message.content
    answer = ask(n=2, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert all(len(item.top_logprobs) == 2 and item.logprob <= 0 for item in logprobs.content)


def test_logprobs_tell_the_bytes_of_tokens_that_are_parts_of_characters(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=60, temperature=1.5, seed=1, logprobs=True, top_logprobs=1
    ).choices[0]
    assert answer.logprobs is not None and answer.logprobs.content is not None and answer.message.content is not None
    assert "\N{REPLACEMENT CHARACTER}" in answer.message.content
    told = [bytes(item.bytes or ()) for item in answer.logprobs.content]
    assert any(byte >= 0x80 for piece in told for byte in piece)
    assert b"".join(told).decode(errors="replace") == answer.message.content
    assert all(len(top.bytes or ()) == 1 for item in answer.logprobs.content for top in item.top_logprobs)


def test_completions_take_lists_and_tokens(served: Served, client: openai.OpenAI) -> None:
    ids = [p["id"] for p in served.http.post("/tokenize", json={"inputs": "hello"}).json()]
    both = client.completions.create(model="", prompt=["hello", "world"], max_tokens=4, temperature=0, echo=True)
    tokens = client.completions.create(model="", prompt=ids, max_tokens=4, temperature=0, echo=True)
    assert both.choices[0].text == tokens.choices[0].text
    assert both.choices[1].text.startswith("world") and both.choices[1].index == 1


@pytest.mark.parametrize("asked", [0, 3])
def test_an_echoed_prompt_has_its_logprobs(served: Served, client: openai.OpenAI, asked: int) -> None:
    ask = {"model": "all-4/1", "prompt": ["héllo", "ab"], "max_tokens": asked, "temperature": 0, "echo": True}
    answer = client.completions.create(logprobs=2, **ask)
    plain = served.generate("héllo", adapter_id="all-4/1", decoder_input_details=True, max_new_tokens=3).json()[
        "details"
    ]
    expected = [one["logprob"] for one in (*plain["prefill"], *plain["tokens"][:asked])]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.token_logprobs == pytest.approx(expected)
    assert logprobs.text_offset[:6] == [0, 1, 1, 2, 3, 4] and len(logprobs.tokens) == 6 + asked
    assert logprobs.top_logprobs[0] is None and max(map(len, logprobs.top_logprobs[1:])) == 2
    for token, likeliest, logprob in zip(logprobs.tokens, logprobs.top_logprobs, logprobs.token_logprobs, strict=True):
        assert likeliest is None or logprob <= max(likeliest.values())
        assert likeliest is None or likeliest.get(token, logprob) == logprob
    texts = [choice.text for choice in answer.choices]
    assert [text[: len(prompt)] for text, prompt in zip(texts, ask["prompt"], strict=True)] == ask["prompt"]
    assert (texts == ask["prompt"]) == (asked == 0)
    assert answer.usage is not None and answer.usage.completion_tokens == 2 * asked
    chunks = [c.choices[0] for c in client.completions.create(logprobs=2, stream=True, **ask)]
    assert ["".join(c.text for c in chunks if c.index == i) for i in (0, 1)] == texts
    told = [p for c in chunks if c.index == 0 and c.logprobs for p in c.logprobs.token_logprobs]
    assert told == pytest.approx(expected)
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.completions.create(**{**ask, "max_tokens": 0, "echo": False})


def test_errors_have_their_classes_and_texts(served: Served, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nothing-here/1") as missing:
        client.chat.completions.create(model="nothing-here/1", messages=HELLO)
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="", messages=HELLO, temperature=-1)
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="", messages=[])
    with pytest.raises(openai.NotFoundError, match="nothing-here"):
        list(client.chat.completions.create(model="nothing-here/1", messages=HELLO, stream=True))


def test_unknown_paths_and_methods_are_told_as_openai_does(served: Served, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="POST /v1/nowhere") as missing:
        client.post("/nowhere", body={}, cast_to=object)
    assert missing.value.code == "unknown_url"
    wrong = served.http.get("/v1/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["type"] == "invalid_request_error"
    assert served.http.get("/nowhere").text == "Not Found"


def test_embeddings_are_refused_as_a_causal_base_of_lorax_does(served: Served, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="does not support embeddings") as refused:
        client.embeddings.create(model="", input="hello")
    assert refused.value.status_code == 424
    for path, what in (("embed", "embeddings"), ("classify", "classification")):
        answer = served.http.post(f"/{path}", json={"inputs": "hello", "parameters": None})
        assert answer.status_code == 424 and answer.json()["error_type"] == "generation"
        assert answer.json()["error"].endswith(f"Model does not support {what}")
    assert served.http.post("/classify_batch", json={"inputs": ["a", "b"]}).status_code == 424
    assert served.http.post("/v1/embeddings", json={"model": "", "input": 5}).json()["error"]["code"] == "invalid_input"


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert next(iter(client.models.list())).id == "tiny"
    assert client.models.retrieve("tiny").owned_by == "grove"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("org/other")


def test_leaving_client_cancels_its_request(served: Served, client: openai.OpenAI) -> None:
    def dropped() -> float:
        text = served.http.get("/metrics").text
        return float(next(x for x in text.splitlines() if 'failure{err="dropped"}' in x).split()[-1])

    before = dropped()
    # More answers than the model can finish before the close is noticed, however fast the machine.
    long = {"prompt": ["hello"] * 64, "n": 4, "max_tokens": 240, "extra_body": {"ignore_eos_token": True}}
    stream = client.completions.create(model="", stream=True, **long)
    next(iter(stream))
    stream.close()
    until = time.monotonic() + 20
    while dropped() == before and time.monotonic() < until:
        time.sleep(0.05)
    assert dropped() == before + 1
