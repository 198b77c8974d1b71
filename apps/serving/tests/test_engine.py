"""The engine's promises: batch-mates, cache, chunks and evictions never change an answer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import Bench, adapter_at, model_at

from serving.engine.request import EngineAdapter, Request, Sampling
from serving.engine.scheduler import Limits
from serving.models.causal import Model, TorchModel


@pytest.fixture(scope="module", params=["fp32", "int8", "torch"])
def model(base: Path, request: pytest.FixtureRequest) -> Model:
    return model_at(base, request.param)


@pytest.fixture(scope="module")
def adapters(model: Model, loras: dict[str, Path]) -> dict[str, EngineAdapter]:
    return {name: adapter_at(folder, model) for name, folder in loras.items()}


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).randrange(256) for _ in range(length))


def alone(model: Model, request: Request) -> tuple[list[int], list[float]]:
    bench = Bench(model)
    bench.run(request)
    return bench.tokens(request.id), bench.logprobs(request.id)


def mixed_requests(adapters: dict[str, EngineAdapter]) -> list[Request]:
    kinds = [None, *adapters.values()]
    hot = Sampling(greedy=False, temperature=3.0, seed=5)
    requests = []
    for index in range(14):
        sampling = hot if index % 4 == 3 else Sampling()
        requests.append(Request(index, prompt(index, 5 + 11 * index % 60), 12, sampling, kinds[index % len(kinds)]))
    return requests


def test_mixed_batch_gives_each_request_what_it_gets_alone(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    requests = mixed_requests(adapters)
    bench = Bench(model)
    bench.run(*requests)
    assert bench.engine.stats.max_batch_adapters >= 4
    for request in requests:
        tokens, logprobs = alone(model, request)
        assert bench.tokens(request.id) == tokens
        if isinstance(model, TorchModel):
            assert bench.logprobs(request.id) == pytest.approx(logprobs, abs=1e-3)
        else:
            assert bench.logprobs(request.id) == logprobs  # to the bit: the kernels sum in one order


def test_more_adapters_than_slots_all_finish_and_stay_right(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    requests = mixed_requests(adapters)
    bench = Bench(model, slots=2)
    bench.run(*requests)
    assert bench.engine.bank.evictions > 0
    for request in requests:
        assert bench.tokens(request.id) == alone(model, request)[0]


def test_cached_prefix_gives_the_same_answer_as_a_cold_one(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    shared = prompt(1, 50)
    first = Request(1, shared + prompt(2, 9), 8, adapter=adapters["all-4"])
    second = Request(2, shared + prompt(3, 14), 8, adapter=adapters["all-4"])
    bench = Bench(model)
    bench.run(first)
    bench.run(second)
    assert bench.prompt_done(2).cached_tokens == 48
    assert bench.tokens(2) == alone(model, second)[0]


def test_prefix_is_not_shared_between_adapters(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    shared = prompt(1, 64)
    bench = Bench(model)
    bench.run(Request(1, shared, 4))
    bench.run(Request(2, shared, 4, adapter=adapters["all-4"]))
    bench.run(Request(3, shared, 4, adapter=adapters["all-16"]))
    assert [bench.prompt_done(i).cached_tokens for i in (1, 2, 3)] == [0, 0, 0]


def test_requests_that_arrive_together_compute_their_shared_prefix_once(model: Model) -> None:
    shared = prompt(1, 48)
    bench = Bench(model)
    bench.run(*(Request(i, shared + prompt(i, 6), 3) for i in range(8)))
    assert bench.engine.stats.prompt_tokens == 54 + 7 * 6


def test_chunked_prefill_equals_one_piece(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    request = Request(1, prompt(4, 200), 6, adapter=adapters["odd-5"])
    small = Bench(model, limits=Limits(16, 7, 7, 2.0))
    small.run(request)
    large = Bench(model, limits=Limits(16, 512, 512, 2.0))
    large.run(request)
    assert small.tokens(1) == large.tokens(1)


def test_long_prompt_does_not_stop_those_who_produce(model: Model) -> None:
    bench = Bench(model)
    bench.put(Request(1, prompt(1, 4), 40))
    bench.step()
    bench.put(Request(2, prompt(2, 300), 2))
    for _ in range(6):
        before = len(bench.tokens(1))
        bench.step()
        assert len(bench.tokens(1)) == before + 1
    bench.finish()


def test_waiting_request_starts_when_memory_frees_and_none_dies(model: Model) -> None:
    bench = Bench(model, kv_blocks=8)
    bench.run(*(Request(i, prompt(i, 30), 30) for i in range(6)))
    assert bench.failures() == []
    assert all(len(bench.tokens(i)) == 30 for i in range(6))


def test_request_that_can_never_fit_is_refused_and_the_rest_goes_on(model: Model) -> None:
    bench = Bench(model, kv_blocks=4)
    bench.run(Request(1, prompt(1, 100), 30), Request(2, prompt(2, 10), 3))
    assert [f.request_id for f in bench.failures()] == [1]
    assert len(bench.tokens(2)) == 3


def test_cancel_frees_everything(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    bench = Bench(model)
    bench.put(Request(1, prompt(1, 90), 50, adapter=adapters["all-4"]), Request(2, prompt(2, 20), 50))
    bench.step()
    bench.put(Request(3, prompt(3, 20), 50))
    for request_id in (1, 2, 3):
        assert bench.engine.scheduler.cancel(request_id)
    assert not bench.busy
    assert bench.engine.pool.available == bench.engine.pool.total
    assert bench.engine.scheduler._reserved == 0
    assert bench.engine.scheduler._computing == set()
    assert bench.engine.bank.drop(adapters["all-4"].key)


def test_an_adapter_that_has_left_its_slot_is_held_by_nothing(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    bench = Bench(model, slots=1)
    bench.run(Request(1, prompt(1, 20), 2, adapter=adapters["all-4"]))
    assert bench.engine.bank.table.slots[1] is adapters["all-4"].packed
    assert bench.engine.bank.drop(adapters["all-4"].key)
    assert bench.engine.bank.table.slots[1] is None and not bench.engine.bank.resident()
    bench.run(Request(2, prompt(1, 20), 2, adapter=adapters["qv-8"]))
    assert bench.engine.bank.table.slots[1] is adapters["qv-8"].packed


def test_seed_fixes_a_sampled_answer_and_other_seeds_differ(model: Model) -> None:
    def answer(seed: int) -> list[int]:
        return alone(model, Request(1, prompt(1, 20), 20, Sampling(greedy=False, temperature=2.0, seed=seed)))[0]

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_top_k_one_is_greedy(model: Model) -> None:
    greedy = alone(model, Request(1, prompt(1, 20), 10))[0]
    assert alone(model, Request(1, prompt(1, 20), 10, Sampling(greedy=False, top_k=1)))[0] == greedy


def test_end_token_stops_and_length_is_said_first(model: Model) -> None:
    tokens = alone(model, Request(1, prompt(1, 20), 10))[0]
    at = next(i for i in range(1, 10) if tokens[i] not in tokens[:i])
    bench = Bench(model)
    bench.run(Request(1, prompt(1, 20), 10, eos_ids=frozenset({tokens[at]})))
    assert bench.tokens(1) == tokens[: at + 1]
    assert bench.events[-1].finish == "eos_token"  # type: ignore[union-attr]
    bench = Bench(model)
    bench.run(Request(1, prompt(1, 20), at + 1, eos_ids=frozenset({tokens[at]})))
    assert bench.events[-1].finish == "length"  # type: ignore[union-attr]


def test_scores_equal_the_prompt_logprobs_of_the_joined_text(model: Model, adapters: dict[str, EngineAdapter]) -> None:
    start = prompt(1, 37)
    options = tuple(prompt(100 + i, n) for i, n in enumerate((1, 2, 5, 40)))
    bench = Bench(model)
    bench.run(Request(1, start, 1, adapter=adapters["all-16"], continuations=options))
    for score, option in zip(bench.scores(1), options, strict=True):
        whole = Bench(model)
        whole.run(Request(1, start + option, 1, adapter=adapters["all-16"], prompt_logprobs=True))
        assert score == pytest.approx(sum(whole.prompt_done(1).logprobs[len(start) - 1 :]), abs=1e-3)
    assert bench.engine.pool.available == bench.engine.pool.total
    assert bench.engine.scheduler._reserved == 0


def test_a_score_is_the_same_to_the_bit_however_its_steps_were_cut(model: Model) -> None:
    request = Request(1, prompt(1, 20), 1, continuations=(prompt(2, 45), prompt(3, 39)))
    found = []
    for step_tokens in (64, 7, 3):
        bench = Bench(model, limits=Limits(16, step_tokens, step_tokens, 2.0))
        bench.run(request)
        found.append(bench.scores(1))
    exact = not isinstance(model, TorchModel)  # torch's products depend on how many rows there are
    assert all(other == (found[0] if exact else pytest.approx(found[0], abs=1e-3)) for other in found[1:])


def test_scoring_runs_the_prompt_once(model: Model) -> None:
    bench = Bench(model)
    bench.run(Request(1, prompt(1, 40), 1, continuations=tuple(prompt(i, 4) for i in range(10))))
    assert bench.engine.stats.prompt_tokens == 40 + 10 * 3


def test_least_served_tenant_goes_first(model: Model) -> None:
    bench = Bench(model, limits=Limits(2, 64, 64, 100.0))
    bench.put(*(Request(i, prompt(i, 20), 10, tenant="loud") for i in range(8)))
    bench.step()
    bench.put(Request(100, prompt(100, 20), 10, tenant="quiet"))
    bench.finish()
    first_seen = [e.request_id for e in bench.events if hasattr(e, "cached_tokens")]
    assert first_seen.index(100) <= 3


def test_one_failed_step_fails_its_requests_and_the_engine_goes_on(model: Model) -> None:
    bench = Bench(model)
    bench.put(Request(1, prompt(1, 10), 5))
    bench.engine.runner.model, broken = _Broken(model), bench.engine.runner.model
    bench.step()
    assert [f.request_id for f in bench.failures()] == [1]
    bench.engine.runner.model = broken
    bench.run(Request(2, prompt(2, 10), 5))
    assert len(bench.tokens(2)) == 5
    assert bench.engine.pool.available == bench.engine.pool.total


class _Broken:
    def __init__(self, model: Model) -> None:
        self.config = model.config

    def forward(self, *_: object) -> None:
        raise RuntimeError("out of order")
