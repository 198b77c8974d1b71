"""LoRAX's protocol as its published client and curl users see it (checklist L1 to L14 of the specification)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import Served


def events(response: httpx.Response) -> list[dict]:
    lines = [line for line in response.text.split("\n\n") if line.startswith("data:")]
    return [json.loads(line.removeprefix("data:")) for line in lines]


def test_L1_root_answers_an_array_with_every_field(served: Served) -> None:
    raw = served.http.post("/", json={"inputs": "hello", "parameters": {"max_new_tokens": 2, "details": True}}).json()
    assert isinstance(raw, list) and len(raw) == 1
    assert raw[0]["details"]["skipped_tokens"] == 0
    assert all(token["skipped"] is False for token in raw[0]["details"]["tokens"])


def test_L2_only_the_last_event_has_the_text(served: Served) -> None:
    body = {"inputs": "hello", "parameters": {"max_new_tokens": 5, "details": True}}
    response = served.http.post("/generate_stream", json=body)
    assert response.headers["content-type"] == "text/event-stream"
    assert "[DONE]" not in response.text
    got = events(response)
    assert [e["generated_text"] is None for e in got] == [True] * 4 + [False]
    assert got[-1]["details"]["generated_tokens"] == 5


def test_L3_stream_errors_are_events_under_200(served: Served) -> None:
    unknown = {"inputs": "hello", "parameters": {"adapter_id": "nothing-here/1"}}
    response = served.http.post("/generate_stream", json=unknown, headers={"authorization": "Bearer pb_a"})
    assert response.status_code == 200
    assert [e["error_type"] for e in events(response)] == ["generation"]
    response = served.http.post("/generate_stream", json={"inputs": ""})
    assert response.status_code == 200
    assert events(response)[0]["error_type"] == "validation"


BOUNDS = [
    ({"temperature": -0.1}, "temperature"),
    ({"top_k": 0}, "top_k"),
    ({"top_p": 0.0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"typical_p": 1.0}, "typical_p"),
    ({"repetition_penalty": 0.0}, "repetition_penalty"),
    ({"frequency_penalty": 2.5}, "frequency_penalty"),
    ({"presence_penalty": -2.5}, "presence_penalty"),
    ({"max_new_tokens": 0}, "max_new_tokens"),
    ({"max_new_tokens": 10_000}, "max_new_tokens"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"truncate": 0}, "truncate"),
    ({"truncate": 100_000}, "truncate"),
    ({"return_k_alternatives": 0}, "return_k_alternatives"),
    ({"best_of": 2}, "best_of"),
    ({"best_of": 99, "do_sample": True}, "best_of"),
    ({"best_of": 2, "do_sample": True, "seed": 1}, "seed"),
    ({"adapter_id": "a/1", "merged_adapters": {"ids": ["a/1"], "weights": [1.0]}}, "adapter_id"),
    ({"merged_adapters": {"ids": [], "weights": []}}, "ids"),
    ({"merged_adapters": {"ids": ["a/1"], "weights": []}}, "weights"),
    ({"merged_adapters": {"ids": ["a/1"], "weights": [1.0], "merge_strategy": "magic"}}, "merge_strategy"),
    ({"merged_adapters": {"ids": ["a/1"], "weights": [1.0], "majority_sign_method": "x"}}, "majority_sign_method"),
    ({"merged_adapters": {"ids": ["a/1"], "weights": [1.0], "merge_strategy": "ties", "density": 0.0}}, "density"),
]


@pytest.mark.parametrize(("parameters", "names"), BOUNDS, ids=lambda v: v if isinstance(v, str) else json.dumps(v)[:40])
def test_L4_bounds_name_the_parameter(served: Served, parameters: dict, names: str) -> None:
    response = served.generate(**parameters)
    assert response.status_code == 422
    assert response.json()["error_type"] == "validation"
    assert names in response.json()["error"]


@pytest.mark.parametrize("parameters", [{"best_of": 2, "do_sample": True}, {"decoder_input_details": True}])
def test_L4_what_a_stream_can_not_have(served: Served, parameters: dict) -> None:
    response = served.http.post("/generate_stream", json={"inputs": "x", "parameters": parameters})
    assert response.status_code == 200
    assert events(response)[0]["error_type"] == "validation"


def test_L4_prompt_over_the_context(served: Served) -> None:
    response = served.generate("x" * 300)
    assert response.status_code == 422
    assert "255" in response.json()["error"] and "300" in response.json()["error"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        ("{", "application/json", 400),
        ("{}", "application/json", 422),
        ('{"inputs": 5}', "application/json", 422),
        ('{"inputs": "x"}', "text/plain", 415),
    ],
)
def test_unreadable_bodies_get_plain_text(served: Served, content: str, kind: str, status: int) -> None:
    for path in ("/generate", "/generate_stream"):
        response = served.http.post(path, content=content, headers={"content-type": kind})
        assert response.status_code == status, path
        assert response.headers["content-type"].startswith("text/plain")


HOSTILE = ["../../etc/passwd", "/etc/passwd", "a/../b/1", "all-4", "all-4/0", "ALL-4/1", "a\x00/1", "https://x/y/1"]


# "all-4" is a folder of that name where the source is local
@pytest.mark.parametrize(
    ("source", "adapter_id"),
    [("pbase", name) for name in HOSTILE] + [("local", name) for name in HOSTILE if name != "all-4"],
)
def test_L5_hostile_ids_touch_nothing(served: Served, source: str, adapter_id: str) -> None:
    fetches, resolves = len(served.gateway.fetches), served.gateway.resolves
    response = served.generate(adapter_id=adapter_id, adapter_source=source)
    assert response.status_code == 424
    assert response.json()["error_type"] == "generation"
    assert (len(served.gateway.fetches), served.gateway.resolves) == (fetches, resolves)


@pytest.mark.parametrize("source", ["hub", "s3", "moon"])
def test_L5_other_sources_are_refused(served: Served, source: str) -> None:
    response = served.generate(adapter_id="all-4/1", adapter_source=source)
    assert response.status_code == 424
    assert source in response.json()["error"]


def test_L5_unknown_adapter_is_424(served: Served) -> None:
    response = served.generate(adapter_id="nothing-here/7")
    assert response.status_code == 424
    assert "nothing-here/7" in response.json()["error"]


def test_L6_overload_is_429_at_once(served: Served) -> None:
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda i: served.generate(f"n{i}", max_new_tokens=60), range(60)))
    statuses = {a.status_code for a in answers}
    assert statuses == {200, 429}
    refused = next(a for a in answers if a.status_code == 429)
    assert refused.json()["error_type"] == "overloaded"
    assert refused.headers["retry-after"] == "1"


def test_L7_headers(served: Served) -> None:
    headers = served.generate(adapter_id="all-4/1", adapter_source="pbase", max_new_tokens=3).headers
    numbers = ["x-compute-time", "x-compute-characters", "x-total-time", "x-prompt-tokens", "x-generated-tokens"]
    numbers += ["x-skipped-tokens", "x-total-tokens", "x-validation-time", "x-queue-time", "x-inference-time"]
    numbers += ["x-time-per-token", "x-time-to-first-token", "x-time-per-output-token"]
    assert all(headers[name].isdecimal() for name in numbers)
    assert int(headers["x-total-tokens"]) == int(headers["x-prompt-tokens"]) + int(headers["x-generated-tokens"]) == 8
    assert headers["x-adapter-id"] == "all-4/1"
    assert headers["x-model-id"] == "tiny"
    assert headers["x-grove-adapter"] == f"all-4/1@{served.gateway.sha('a', 'all-4/1')}"


def test_L9_many_adapters_at_once_answer_as_each_alone(served: Served, loras: dict) -> None:
    names = [None, *(f"{name}/1" for name in loras)]
    cases = [(f"prompt number {i}", names[i % len(names)]) for i in range(20)]

    def ask(case: tuple[str, str | None]) -> str:
        response = served.generate(case[0], adapter_id=case[1], max_new_tokens=10)
        assert response.status_code == 200, response.text
        return str(response.json()["generated_text"])

    def noise(i: int) -> None:
        served.generate(f"noise {i}", temperature=0.0 if i % 2 else 2.5, max_new_tokens=10)

    alone = [ask(case) for case in cases]
    with ThreadPoolExecutor(24) as pool:
        noisy = [pool.submit(noise, i) for i in range(4)]
        together = list(pool.map(ask, cases))
        for one in noisy:
            one.result()
    assert together == alone
    assert len(set(alone)) > 10


def test_L10_metrics_are_all_there_and_move(served: Served) -> None:
    names = """
    request_count request_success request_failure request_duration request_validation_duration
    request_queue_duration request_inference_duration request_mean_time_per_token_duration
    request_generated_tokens request_input_length request_max_new_tokens request_skipped_tokens
    request_input_count request_classify_output_count batch_inference_count batch_inference_success
    batch_inference_failure batch_inference_duration batch_next_size batch_current_size
    batch_current_max_tokens batch_concat batch_concat_duration queue_length
    """.split()  # noqa: SIM905 (a list would be as long as this file)

    def value(text: str, name: str) -> float:
        return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])

    before = served.http.get("/metrics").text
    assert all(f"# TYPE lorax_{name} " in before for name in names)
    served.generate(max_new_tokens=2)
    after = served.http.get("/metrics").text
    assert value(after, "lorax_request_count") == value(before, "lorax_request_count") + 1
    assert value(after, "lorax_request_success") == value(before, "lorax_request_success") + 1
    as_json = served.http.get("/metrics", headers={"accept": "application/json"}).json()
    assert as_json["lorax_request_count"]["type"] == "counter"


def test_L12_private_adapter_is_refused_to_another_tenant(served: Served) -> None:
    assert served.generate(adapter_id="all-4/1", token="pb_a").status_code == 200
    assert served.generate(adapter_id="all-4/1", token="pb_b").status_code == 424
    assert served.generate(adapter_id="all-4/1", token="pb_unknown").status_code == 424
    assert served.generate(adapter_id="all-4/1", token=None).status_code == 424


def test_L12_the_token_may_come_in_the_body_as_loraxs_clients_send_it(served: Served) -> None:
    def ask(header: str | None, body: str) -> int:
        return served.generate(adapter_id="all-4/1", adapter_source="pbase", token=header, api_token=body).status_code

    assert ask(None, "pb_a") == 200
    assert ask(None, "pb_b") == ask(None, "pb_unknown") == 424
    assert (ask("pb_a", "pb_b"), ask("pb_b", "pb_a")) == (200, 424), "the header's goes first"
    body = {"model": "all-4/1", "prompt": "hello", "max_tokens": 2, "api_token": "pb_a"}
    assert served.http.post("/v1/completions", json=body).status_code == 200
    score = {"inputs": "x", "continuations": ["y"], "parameters": {"adapter_id": "all-4/1", "api_token": "pb_a"}}
    assert served.http.post("/score", json=score).status_code == 200


def test_L13_replaced_version_serves_its_new_weights(served: Served, loras: dict) -> None:
    served.gateway.adapters["a", "moving/1"] = loras["all-4"]
    old = served.generate(adapter_id="moving/1").json()
    served.gateway.adapters["a", "moving/1"] = loras["all-16"]
    new = served.generate(adapter_id="moving/1")
    assert old == served.generate(adapter_id="all-4/1").json()
    assert new.json() == served.generate(adapter_id="all-16/1").json() != old
    assert new.headers["x-grove-adapter"].endswith(served.gateway.sha("a", "all-16/1"))


def test_stop_sequence_stays_at_the_end_and_ends_it(served: Served) -> None:
    full = served.generate(max_new_tokens=30).json()["generated_text"]
    stop = full[5:7]
    cut = served.generate(max_new_tokens=30, stop=[stop], details=True).json()
    assert cut["generated_text"] == full[: full.index(stop) + 2]
    assert cut["details"]["finish_reason"] == "stop_sequence"


def test_details_parts(served: Served) -> None:
    answer = served.generate("abc", details=True, decoder_input_details=True, return_k_alternatives=3).json()
    details = answer["details"]
    assert [p["text"] for p in details["prefill"]] == ["a", "b", "c"]
    assert details["prefill"][0]["logprob"] is None and details["prefill"][1]["logprob"] < 0
    assert all(len(t["alternative_tokens"]) == 3 for t in details["tokens"])
    assert details["tokens"][0]["alternative_tokens"][0]["id"] == details["tokens"][0]["id"]
    assert details["seed"] is None


def test_tokens_gained_by_speculation_are_skipped_tokens(served: Served) -> None:
    answers = [
        served.generate(f"{word * 12}", max_new_tokens=120, details=True, ignore_eos_token=True)
        for word in ("ab ", "xyz")
    ]
    counts = []
    for answer in answers:
        details = answer.json()["details"]
        counts.append(sum(token["skipped"] for token in details["tokens"]))
        assert counts[-1] == details["skipped_tokens"] == int(answer.headers["x-skipped-tokens"])
        assert details["generated_tokens"] == 120 and not details["tokens"][0]["skipped"]
    assert sum(counts) > 0


def test_best_of_returns_the_likeliest_and_lists_the_others(served: Served) -> None:
    details = served.generate(do_sample=True, best_of=3, details=True).json()["details"]
    others = details["best_of_sequences"]

    def mean(sequence: dict) -> float:
        return sum(t["logprob"] for t in sequence["tokens"]) / len(sequence["tokens"])

    assert len(others) == 2
    assert all(mean(details) >= mean(other) for other in others)
    assert len({s["seed"] for s in [details, *others]}) == 3


def test_seed_is_told_and_repeats_the_answer(served: Served) -> None:
    first = served.generate(do_sample=True, temperature=2.0, details=True, max_new_tokens=20).json()
    again = served.generate(
        do_sample=True, temperature=2.0, details=True, max_new_tokens=20, seed=first["details"]["seed"]
    ).json()
    assert again["generated_text"] == first["generated_text"]


def test_truncate_keeps_the_end_of_the_prompt(served: Served) -> None:
    assert (
        served.generate("a long beginning, the end", truncate=7).json()["generated_text"]
        == served.generate("the end").json()["generated_text"]
    )


def test_return_full_text_and_chat_template(served: Served) -> None:
    chat = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    plain = served.generate(chat).json()["generated_text"]
    assert served.generate("hello", apply_chat_template=True).json()["generated_text"] == plain
    assert served.generate("hello", return_full_text=True).json()["generated_text"].startswith("hello")


def test_tokenize_and_info(served: Served) -> None:
    pieces = served.http.post("/tokenize", json={"inputs": "hé"}).json()
    assert pieces[0]["text"] == "h" and pieces[0]["start"] == 0 and pieces[0]["stop"] == 1
    info = served.http.get("/info").json()
    assert info["model_id"] == "tiny" and info["max_total_tokens"] == 256 and info["max_input_length"] == 255


def test_scores_rank_as_the_model_does(served: Served) -> None:
    body = {"inputs": "hello ", "continuations": ["a", "bc", "def"], "parameters": {"adapter_id": "all-4/1"}}
    response = served.http.post("/score", json=body, headers={"authorization": "Bearer pb_a"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["prompt_tokens"] == 6
    assert [s["tokens"] for s in answer["scores"]] == [1, 2, 3]
    details = served.generate("hello bc", adapter_id="all-4/1", decoder_input_details=True).json()["details"]
    expected = sum(p["logprob"] for p in details["prefill"][-2:])
    assert answer["scores"][1]["logprob"] == pytest.approx(expected, abs=1e-3)
    assert response.headers["x-adapter-id"] == "all-4/1"
