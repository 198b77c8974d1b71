"""Who goes first, who is refused, and what becomes of those who wait too long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from harness import LIMITS, Bench, adapter_at, model_at
from test_engine import prompt

from serving.engine.request import Failed, NewToken, PromptDone, Request
from serving.engine.scheduler import Limits
from serving.models.causal import Model

ONE = replace(LIMITS, max_running=1)


@pytest.fixture(scope="module")
def model(base: Path) -> Model:
    return model_at(base)


def ask(request_id: int, tenant: str = "a", priority: int = 0, deadline: float | None = None, new: int = 4) -> Request:
    return Request(request_id, prompt(request_id, 20), new, tenant=tenant, priority=priority, deadline=deadline)


def order(bench: Bench) -> list[int]:
    return [event.request_id for event in bench.events if isinstance(event, PromptDone)]


def test_higher_priority_goes_first_and_a_tenant_keeps_its_own_order(model: Model) -> None:
    bench = Bench(model, limits=ONE)
    bench.run(ask(1), ask(2), ask(3, priority=1), ask(4, priority=1))
    assert order(bench) == [3, 4, 1, 2]


def test_low_priority_is_served_while_high_priority_never_ends(model: Model) -> None:
    bench = Bench(model, limits=replace(ONE, ageing_s=0.5))
    bench.put(ask(0, "low"))
    for request_id in range(1, 400):
        if len(bench.engine.scheduler.waiting) < 4:
            bench.put(ask(request_id, "high", priority=3))
        bench.step()
        if 0 in order(bench):
            break
    assert 0 in order(bench)
    assert bench.now > 1.0, "ageing must not make the priority worthless"


def test_old_backlog_of_one_tenant_does_not_overtake_a_newcomer(model: Model) -> None:
    bench = Bench(model, limits=replace(ONE, ageing_s=0.05, patience_s=0.05))
    bench.put(*(ask(i, "loud") for i in range(30)))
    for _ in range(60):
        bench.step()
    begun = len(order(bench))
    bench.put(ask(100, "quiet"))
    bench.finish()
    assert order(bench).index(100) <= begun + 1


def test_urgent_work_is_charged_to_its_tenant(model: Model) -> None:
    bench = Bench(model, limits=ONE)
    bench.run(ask(20, "urgent"), *(ask(i, "urgent", 1, new=20) for i in range(3)), ask(10, "calm"), ask(11, "calm"))
    assert order(bench) == [0, 1, 2, 10, 11, 20]


def test_short_prompt_passes_a_long_one_and_the_long_one_goes_on(model: Model) -> None:
    bench = Bench(model)
    bench.put(ask(1, new=60))
    bench.step()
    bench.put(Request(2, prompt(2, 400), 2))
    bench.step()
    bench.put(ask(3))
    bench.finish()
    assert order(bench) == [1, 3, 2]


def test_a_request_that_waits_past_its_deadline_fails_with_that_code(model: Model) -> None:
    bench = Bench(model, limits=ONE)
    bench.run(ask(1, new=50), ask(2, deadline=0.1))
    assert [(f.request_id, f.code) for f in bench.failures()] == [(2, "deadline")]
    assert len(bench.tokens(1)) == 50


def test_a_prompt_past_its_deadline_fails_and_frees_everything(model: Model) -> None:
    bench = Bench(model, limits=replace(LIMITS, step_tokens=16))
    bench.run(Request(1, prompt(1, 400), 5, deadline=0.1))
    assert [f.code for f in bench.failures()] == ["deadline"]
    assert bench.engine.pool.available == bench.engine.pool.total
    assert bench.engine.stats.failures["deadline"] == 1


def test_an_answer_past_its_deadline_is_cut_off_with_what_it_has(model: Model) -> None:
    bench = Bench(model)
    bench.run(ask(1, deadline=0.2, new=100))
    events = [event for event in bench.events if isinstance(event, NewToken)]
    assert 5 < len(events) < 30
    assert [event.finish for event in events] == [None] * (len(events) - 1) + ["deadline"]
    assert not bench.failures()


def test_a_full_queue_refuses_the_tenant_that_fills_it(model: Model) -> None:
    bench = Bench(model, limits=replace(ONE, max_waiting=4))
    bench.put(ask(0, "loud", new=30))
    bench.step()
    bench.put(*(ask(i, "loud") for i in range(1, 7)))
    assert [(f.request_id, f.code) for f in bench.failures()] == [(5, "overloaded"), (6, "overloaded")]
    bench.put(ask(10, "quiet"))
    assert bench.failures()[-1].request_id == 4
    bench.finish()
    assert {0, 1, 2, 3, 10} == set(order(bench))


def test_draining_refuses_newcomers_finishes_the_rest_and_says_so(model: Model) -> None:
    bench, done = Bench(model, limits=ONE), []
    bench.put(ask(1, new=10), ask(2, new=10))
    bench.step()
    bench.engine.drain(lambda: done.append(bench.now))
    assert bench.engine._receive(block=False)
    bench.put(ask(3))
    assert not done
    bench.finish()
    assert [(f.request_id, f.code) for f in bench.failures()] == [(3, "draining")]
    assert len(bench.tokens(1)) == len(bench.tokens(2)) == 10
    assert len(done) == 1


def test_blocked_request_is_not_overtaken_for_longer_than_patience(model: Model) -> None:
    bench = Bench(model, kv_blocks=12, limits=Limits(16, 64, 64, patience_s=0.2))
    bench.put(*(Request(i, prompt(i, 20), 12, tenant="a") for i in range(4)))
    bench.step()
    bench.put(Request(50, prompt(50, 100), 60, tenant="b"))
    for request_id in range(100, 140):
        bench.put(Request(request_id, prompt(request_id, 20), 12, tenant="a"))
    bench.finish()
    assert order(bench).index(50) < 30


def test_L11_an_adapter_without_a_slot_waits_for_patience_and_the_running_ones_alone(
    model: Model, loras: dict[str, Path]
) -> None:
    busy, other = (adapter_at(loras[name], model) for name in ("all-4", "qv-8"))
    bench = Bench(model, slots=1, limits=replace(LIMITS, patience_s=0.2))
    for request_id in range(1, 200):
        bench.put(Request(request_id, prompt(request_id, 20), 12, adapter=busy, tenant="busy"))
        if request_id == 10:
            bench.put(Request(1000, prompt(1000, 20), 2, adapter=other, tenant="other"))
            asked = bench.now
        bench.step()
        if 1000 in order(bench):
            break
    # patience, a step of 0.01 s for each token of those that had begun before it ended, and one for its own prompt
    assert 0.2 <= bench.now - asked <= 0.2 + 12 * 0.01 + 0.02
    bench.finish()
    assert set(order(bench)) == {1000, *range(1, request_id + 1)}


def test_every_request_ends_in_exactly_one_way(model: Model) -> None:
    bench = Bench(model, kv_blocks=20, limits=replace(LIMITS, max_running=3, max_waiting=6))
    for request_id in range(60):
        bench.put(
            ask(request_id, str(request_id % 3), request_id % 2, bench.now + 0.15 if request_id % 4 == 0 else None)
        )
        bench.step()
    bench.finish()
    ends = [e.request_id for e in bench.events if isinstance(e, Failed) or (isinstance(e, NewToken) and e.finish)]
    assert sorted(ends) == list(range(60))
