"""Random traffic on an engine, every answer held against the oracle as soon as it ends.

A step may bring a request (greedy or sampled, with a shared or an own beginning, scored, penalized, asked before so
that drafts are made and often right, urgent, with a deadline), a client that leaves, new weights under an old name, or
an adapter thrown out of its slot.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from harness import Bench, adapter_at, model_at
from lora_py.peft_files import read_adapter
from oracle import Oracle
from tiny import write_lora

from serving.engine.draft import Drafter
from serving.engine.request import EngineAdapter, Event, Failed, NewToken, Request, Sampling, Scores
from serving.engine.scheduler import Limits

NAMES = 7
TOLERANCE = 1e-3  # of a logit below the oracle's best
# Of a log-probability. Rounding came to 0.011 once, at rank 64 (0.004 in the plain twin); other weights: whole units.
LOGPROB_TOLERANCE = 3e-2
KINDS = (
    {"rank": 1},
    {"rank": 5},
    {"rank": 16},
    {"rank": 64},
    {"rank": 4, "rslora": True},
    {"rank": 8, "modules": ("q_proj", "v_proj", "down_proj")},
    {"rank": 4, "modules": ("gate_proj", "up_proj")},
)
LIMITS = Limits(8, 48, 24, patience_s=0.5, max_waiting=12, ageing_s=0.3)


class Wrong(AssertionError):
    """An answer that the right weights don't give."""


class Remembering(Drafter):
    """Guesses what this very request was answered before, sometimes wrongly."""

    def __init__(self, prompt: int, answer: list[int], dice: random.Random) -> None:
        super().__init__()
        self.prompt, self.answer, self.dice = prompt, answer, dice

    def propose(self, tokens: list[int], room: int) -> list[int]:
        start = len(tokens) - self.prompt
        guess = self.answer[start : start + self.dice.randrange(room + 1)]
        if guess and self.dice.random() < 0.4:
            guess[self.dice.randrange(len(guess))] = self.dice.randrange(256)
        return guess


@dataclass
class Tally:
    requests: int = 0
    answers: int = 0  # ended by themselves
    left: int = 0  # cut short by their client
    refused: int = 0  # deadline passed, queue full
    replaced: int = 0
    tokens: int = 0  # greedy ones, each held against the oracle's best
    near_ties: int = 0  # not the oracle's best, but within the tolerance of it
    worst: float = 0.0
    logprobs: int = 0  # of sampled and greedy tokens, each held against the oracle's
    worst_logprob: float = 0.0
    scores: int = 0
    alone: int = 0  # answers that were asked for again, alone, and were the same to the bit


@dataclass
class Asked:
    request: Request
    leave_after: int  # tokens after which the client goes away
    tokens: list[NewToken] = field(default_factory=list)
    scores: tuple[float, ...] | None = None


class Traffic:
    def __init__(self, base: Path, root: Path, weights: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.root = root
        self.model = model_at(base, weights)
        self.exact = weights != "torch"
        self.oracle = Oracle(base) if weights != "int8" else None
        self.bench = Bench(self.model, kv_blocks=40, slots=3, limits=LIMITS)
        self.current: dict[int, EngineAdapter] = {}
        self.versions = 0
        self.asked: dict[int, Asked] = {}
        self.gone: set[int] = set()  # nothing more may be said to these
        self.answered: list[Asked] = []  # lately, by greedy choice
        self.known: dict[int, list[int]] = {}  # what a request that is asked again was answered
        self.next_id = 0
        self.tally = Tally()
        self.starts = [tuple(self.random.randrange(256) for _ in range(40)) for _ in range(3)]
        for name in range(NAMES):
            self.replace(name)

    def replace(self, name: int) -> None:
        """New weights under an old name, as a reload does; what is running keeps its own."""
        self.versions += 1
        self.tally.replaced += 1
        folder = self.root / str(self.versions)
        write_lora(folder, self.versions, **self.random.choice(KINDS))  # type: ignore[arg-type]
        found = read_adapter(folder)
        if self.oracle is not None:
            self.oracle.add(found.sha256, found.weights, found.config.scaling)
            in_use = {
                a.request.adapter.key for a in (*self.asked.values(), *self.answered) if a.request.adapter is not None
            }
            old = self.current.get(name)
            if old is not None and old.key not in in_use:
                self.oracle.forget(old.key)
        self.current[name] = adapter_at(folder, self.model)
        shutil.rmtree(folder)

    def ask(self) -> None:
        dice = self.random
        pick, start = dice.randrange(NAMES + 2), dice.choice(self.starts)
        own = tuple(dice.randrange(256) for _ in range(dice.randrange(1, 30)))
        repeats = dice.random() < 0.3
        sampled = dice.random() < 0.25
        penalty = dice.choice((1.0, 1.0, 1.0, 1.2))
        top_p, top_k = dice.choice((1.0, 0.9)), dice.choice((0, 0, 20))
        request = Request(
            self.next_id,
            own[:6] * 5 if repeats else start[: dice.choice((0, 16, 33, 40))] + own,
            dice.randrange(1, 40 if repeats else 12),
            Sampling(not sampled, 2.0, top_k, top_p, repetition_penalty=penalty, seed=self.next_id),
            self.current.get(pick),
            tenant=str(dice.randrange(3)),
            continuations=((1, 2, 3), (4,)) if dice.random() < 0.1 else (),
            priority=dice.choice((0, 0, 0, 1, 5)),
            deadline=self.bench.now + dice.uniform(0.0, 0.1) if dice.random() < 0.15 else None,
        )
        if self.answered and dice.random() < 0.25:
            before = dice.choice(self.answered)
            request = replace(before.request, id=self.next_id, deadline=None)
            self.known[request.id] = [event.token for event in before.tokens]
        self.next_id += 1
        self.tally.requests += 1
        leave = dice.randrange(1, 12) if dice.random() < 0.1 else 1 << 30
        self.asked[request.id] = Asked(request, leave)
        self.bench.put(request)

    def step(self) -> None:
        roll = self.random.random()
        if roll < 0.5 and len(self.bench.engine.scheduler.waiting) < self.random.choice((6, 6, 6, 14)):
            self.ask()
        if roll > 0.97:
            self.replace(self.random.randrange(NAMES))
        if 0.90 < roll < 0.92 and self.asked:
            self.leave(self.random.choice(list(self.asked)))
        if 0.92 < roll < 0.95:
            self.bench.engine.bank.drop(self.random.choice(list(self.current.values())).key)
        for sequence in self.bench.engine.scheduler.running:
            answer = self.known.pop(sequence.request.id, None)
            if answer is not None:
                sequence.drafter = Remembering(len(sequence.request.prompt), answer, self.random)
        self.bench.step()
        self.hear()

    def leave(self, request_id: int) -> None:
        self.bench.engine.scheduler.cancel(request_id)
        asked = self.asked.pop(request_id)
        self.check(asked)
        self.tally.left += 1
        self.gone.add(request_id)

    def hear(self) -> None:
        events, self.bench.events[:] = list(self.bench.events), []
        left: set[int] = set()  # during this very step: what else it said to them is lost with them
        for event in events:
            if event.request_id not in left:
                self._hear(event, left)

    def _hear(self, event: Event, left: set[int]) -> None:
        if event.request_id in self.gone:
            raise Wrong(f"request {event.request_id} has ended, and was told {event}")
        asked, ended = self.asked[event.request_id], False
        if isinstance(event, Failed):
            if event.code not in ("deadline", "overloaded"):
                raise Wrong(f"request {event.request_id} failed: {event.message}")
            self.tally.refused += 1
            self.gone.add(event.request_id)
            del self.asked[event.request_id]
            return
        if isinstance(event, NewToken):
            asked.tokens.append(event)
            ended = event.finish is not None
            if not ended and len(asked.tokens) >= asked.leave_after:
                left.add(event.request_id)
                self.leave(event.request_id)
                return
        elif isinstance(event, Scores):
            asked.scores, ended = event.logprobs, True
        if ended:
            del self.asked[event.request_id]
            self.gone.add(event.request_id)
            self.tally.answers += 1
            if asked.tokens and asked.request.sampling.greedy:
                self.answered = [*self.answered[-7:], asked]
            self.check(asked)

    def check(self, asked: Asked) -> None:
        if self.oracle is not None:
            self._check_tokens(asked, self.oracle)
            self._check_scores(asked, self.oracle)
        if self.exact and (self.oracle is None or self.random.random() < 0.03):
            self._check_alone(asked)

    def _check_tokens(self, asked: Asked, oracle: Oracle) -> None:
        request, answer = asked.request, [event.token for event in asked.tokens]
        if not answer:
            return
        tally, key = self.tally, request.adapter.key if request.adapter else ""
        logits = oracle.logits(key, (*request.prompt, *answer[:-1]), len(request.prompt) - 1)
        chosen = logits[torch.arange(len(answer)), torch.tensor(answer)]
        told = torch.tensor([event.logprob for event in asked.tokens])
        difference = float((chosen - logits.logsumexp(-1) - told).abs().max())
        tally.logprobs += len(answer)
        tally.worst_logprob = max(tally.worst_logprob, difference)
        if difference > LOGPROB_TOLERANCE:
            raise Wrong(f"request {request.id}: a log-probability {difference:.3f} away from the oracle's")
        if not request.sampling.greedy or request.sampling.repetition_penalty != 1.0:
            return
        for gap in (logits.max(-1).values - chosen).tolist():
            tally.tokens += 1
            tally.near_ties += 0 < gap <= TOLERANCE
            tally.worst = max(tally.worst, gap)
            if gap > TOLERANCE:
                raise Wrong(f"request {request.id}: a token {gap:.3f} below the oracle's best")

    def _check_scores(self, asked: Asked, oracle: Oracle) -> None:
        request = asked.request
        key = request.adapter.key if request.adapter else ""
        for told, option in zip(asked.scores or (), request.continuations, strict=False):
            logits = oracle.logits(key, (*request.prompt, *option[:-1]), len(request.prompt) - 1)
            right = float(logits.log_softmax(-1)[torch.arange(len(option)), torch.tensor(option)].sum())
            self.tally.scores += 1
            if abs(told - right) > len(option) * LOGPROB_TOLERANCE:
                raise Wrong(f"request {request.id}: a score {abs(told - right):.3f} away from the oracle's")

    def _check_alone(self, asked: Asked) -> None:
        alone = Bench(self.model, kv_blocks=40, slots=3)
        alone.run(replace(asked.request, deadline=None))
        logprobs = alone.logprobs(asked.request.id)[: len(asked.tokens)]
        if logprobs != [event.logprob for event in asked.tokens]:
            raise Wrong(f"request {asked.request.id}: not to the bit what it is alone")
        if asked.scores is not None and alone.scores(asked.request.id) != asked.scores:
            raise Wrong(f"request {asked.request.id}: scores are not to the bit what they are alone")
        self.tally.alone += 1

    def finish(self) -> None:
        self.bench.finish()
        self.hear()
        if self.asked:
            raise Wrong(f"never answered: {sorted(self.asked)}")
        engine = self.bench.engine
        if engine.pool.available != engine.pool.total or engine.scheduler._reserved:
            raise Wrong("blocks were lost")

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        self.finish()
