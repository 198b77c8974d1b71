"""Prompt lookup: answers to the bit as without it, in fewer steps where text repeats itself."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from harness import LIMITS, Bench, adapter_at, model_at
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.engine.draft import Drafter
from serving.engine.request import EngineAdapter, NewToken, Request, Sampling
from serving.models.causal import Model

PLAIN = replace(LIMITS, draft_tokens=0)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(base: Path, request: pytest.FixtureRequest) -> Model:
    return model_at(base, request.param)


@pytest.fixture(scope="module")
def adapters(model: Model, loras: dict[str, Path]) -> list[EngineAdapter | None]:
    return [None, *(adapter_at(folder, model) for folder in loras.values())]


def said(bench: Bench) -> list[NewToken]:
    return sorted((e for e in bench.events if isinstance(e, NewToken)), key=lambda e: e.request_id)


class _Oracle(Drafter):
    """Guesses that are often right, wrong at any place, and sometimes too many for the model's taste."""

    answer: tuple[int, ...] = ()
    dice = random.Random(0)

    def propose(self, tokens: list[int], room: int) -> list[int]:
        made = self.dice.randrange(room + 1)
        start = len(tokens) - self.prompt  # type: ignore[attr-defined]
        guess = list(self.answer[start : start + made])
        if guess and self.dice.random() < 0.5:
            guess[self.dice.randrange(len(guess))] = self.dice.randrange(256)
        return guess


def requests(seed: int, adapters: list[EngineAdapter | None]) -> list[Request]:
    dice = random.Random(seed)
    made = []
    for index in range(dice.randrange(1, 5)):
        phrase = [dice.randrange(256) for _ in range(dice.randrange(3, 9))]
        tokens = tuple(dice.choices(phrase, k=4) + phrase * dice.randrange(1, 6))
        sampling = Sampling(repetition_penalty=dice.choice((1.0, 1.0, 1.3)), frequency_penalty=dice.choice((0.0, 0.4)))
        if dice.random() < 0.25:
            sampling = Sampling(greedy=False, temperature=1.5, seed=index)
        new, eos = dice.randrange(1, 40), frozenset(dice.sample(range(256), dice.choice((0, 20))))
        adapter = dice.choice(adapters)
        made.append(Request(index, tokens, new, sampling, adapter, eos_ids=eos, alternatives=dice.choice((0, 2))))
    return made


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_answers_are_to_the_bit_those_without_drafts(
    model: Model, adapters: list[EngineAdapter | None], seed: int
) -> None:
    plain, drafting, guessing = Bench(model, limits=PLAIN), Bench(model), Bench(model)
    plain.run(*requests(seed, adapters))
    drafting.run(*requests(seed, adapters))
    guessing.put(*requests(seed, adapters))
    while guessing.busy:
        for sequence in guessing.engine.scheduler.running:
            oracle = _Oracle()
            oracle.prompt = len(sequence.request.prompt)  # type: ignore[attr-defined]
            oracle.answer = tuple(plain.tokens(sequence.request.id))
            sequence.drafter = oracle
        guessing.step()
    assert said(drafting) == said(guessing) == said(plain)
    for bench in (drafting, guessing):
        assert bench.engine.pool.available == bench.engine.pool.total
        assert bench.engine.scheduler._reserved == 0


def test_right_guesses_save_steps_and_wrong_ones_leave_the_cache_sound(model: Model) -> None:
    start = tuple(range(40))
    plain = Bench(model, limits=PLAIN)
    plain.run(Request(1, start, 60))
    # The answer stands in the second prompt, so prompt lookup finds it there.
    again = (*start, *plain.tokens(1), *start)
    whole = Bench(model, limits=PLAIN)
    whole.run(Request(2, again, 60))
    bench = Bench(model)
    bench.run(Request(2, again, 60))
    assert said(bench) == said(whole)
    follow_up = Request(3, (*again, *bench.tokens(2), 7, 8), 10)
    bench.run(follow_up)
    assert bench.prompt_done(3).cached_tokens > len(again)
    cold = Bench(model, limits=PLAIN)
    cold.run(follow_up)
    assert bench.tokens(3) == cold.tokens(3)


def test_drafts_that_fail_are_given_up_for_longer_each_time() -> None:
    drafter, tokens, tried = Drafter(), [1, 2, 3] * 40, 0
    for _ in range(200):
        if drafter.propose(tokens, 8):
            tried += 1
            drafter.judged(2, 0)
    assert tried <= 9


def test_drafts_that_hold_grow() -> None:
    drafter, tokens = Drafter(), list(range(20)) * 3
    lengths = []
    for _ in range(3):
        lengths.append(len(drafter.propose(tokens, 16)))
        drafter.judged(lengths[-1], lengths[-1])
    assert lengths == [4, 8, 12]


def test_drafts_never_pass_the_room_that_was_promised() -> None:
    assert len(Drafter().propose([1, 2, 3, 4, 5, 6] * 3, 2)) == 2


def test_drafts_never_pass_the_servers_setting() -> None:
    drafter, tokens = Drafter(3), list(range(20)) * 3
    for _ in range(3):
        assert len(drafter.propose(tokens, 16)) == 3
        drafter.judged(3, 3)
