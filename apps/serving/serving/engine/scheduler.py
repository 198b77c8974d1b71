"""Who runs in the next step. A request is admitted only when its worst case fits, so none dies half way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.engine.blocks import BlockPool, root_hash
from serving.engine.sampler import make_generator
from serving.engine.sequence import ScoreGroup, Sequence, blocks_for, worst_case
from serving.engine.slots import SlotBank
from serving.engine.waiting import Waiting, WaitingQueue
from serving.models.batch import BLOCK


@dataclass(frozen=True, slots=True)
class Limits:
    max_running: int
    step_tokens: int  # rows of a step that has no one decoding
    mixed_step_tokens: int  # rows of a step that decodes too, so that a long prompt delays nobody for long
    patience_s: float  # how long others may overtake a request that waits for an adapter slot


@dataclass(frozen=True, slots=True)
class Work:
    sequence: Sequence
    count: int  # tokens to run now


class Scheduler:
    def __init__(self, pool: BlockPool, bank: SlotBank, limits: Limits, clock: Callable[[], float]) -> None:
        self.pool = pool
        self.bank = bank
        self.limits = limits
        self.clock = clock
        self.waiting = WaitingQueue()
        self.running: list[Sequence] = []
        self._reserved = 0
        self._computing: set[bytes] = set()  # prefix blocks being computed: worth waiting a step for

    def plan(self) -> list[Work]:
        decoding = [Work(s, 1) for s in self.running if not s.in_prompt]
        budget = (self.limits.mixed_step_tokens if decoding else self.limits.step_tokens) - len(decoding)
        work = decoding
        for sequence in self.running:
            if sequence.in_prompt and budget > 0:
                budget -= self._add(work, sequence, budget)
        if budget > 0 and len(self.waiting):
            self._admit(work, budget)
        return work

    def _add(self, work: list[Work], sequence: Sequence, budget: int) -> int:
        count = min(len(sequence.tokens) - sequence.done, budget)
        work.append(Work(sequence, count))
        return count

    def _admit(self, work: list[Work], budget: int) -> None:
        oldest = self.waiting.oldest()
        strict = oldest is not None and self.clock() - oldest.since > self.limits.patience_s
        for waiting in [oldest] if strict and oldest is not None else list(self.waiting.candidates()):
            if budget <= 0 or len(self.running) >= self.limits.max_running:
                return
            sequence = self._start(waiting)
            if sequence is not None:
                budget -= self._add(work, sequence, budget)
                if strict:
                    self._admit(work, budget)
                    return

    def _start(self, waiting: Waiting) -> Sequence | None:
        request, names = waiting.request, waiting.names
        found: list[int] = []
        for name in names:
            block = self.pool.find(name)
            if block is None:
                break
            found.append(block)
        missing = names[len(found) :]
        need = worst_case(request) - len(found)
        slot = None
        if self.pool.available - self._reserved >= need and not (missing and missing[0] in self._computing):
            slot = self.bank.acquire(request.adapter)
        if slot is None:
            for block in found:
                self.pool.release(block)
            return None
        self.waiting.started(waiting)
        self._computing.update(missing)
        self._reserved += need
        sequence = Sequence(
            request=request,
            slot=slot,
            tokens=list(request.prompt),
            blocks=found,
            done=len(found) * BLOCK,
            named=len(found),
            name=names[len(found) - 1] if found else root_hash(request.adapter.key if request.adapter else "base"),
            reserved=need,
            cached_tokens=len(found) * BLOCK,
            queue_s=self.clock() - waiting.since,
            generator=None if request.sampling.greedy else make_generator(request.sampling.seed),
            missing=missing,
        )
        if request.continuations:
            sequence.score = ScoreGroup([0.0] * len(request.continuations), 0)
        self.running.append(sequence)
        return sequence

    def make_room(self, sequence: Sequence, tokens: int) -> None:
        """Takes the blocks for the sequence's first `tokens` tokens out of what was promised to it."""
        while len(sequence.blocks) < blocks_for(tokens):
            sequence.blocks.append(self.pool.take())
            sequence.reserved -= 1
            self._reserved -= 1

    def advanced(self, sequence: Sequence, count: int) -> None:
        sequence.done += count
        if sequence.branch < 0:
            sequence.publish(self.pool)
        self.waiting.charge(sequence.request.tenant, count)
        if sequence.missing and sequence.done >= len(sequence.request.prompt):
            self._computing.difference_update(sequence.missing)
            sequence.missing = []

    def fork(self, parent: Sequence, branch: int) -> tuple[Sequence, tuple[int, int] | None]:
        """A continuation that shares the prompt's blocks, and (from, to) of the half-full block to copy, if any."""
        request = parent.request
        prompt, continuation = len(request.prompt), request.continuations[branch]
        shared = prompt // BLOCK
        for block in parent.blocks[:shared]:
            self.pool.share(block)
        own = blocks_for(prompt + len(continuation) - 1) - shared
        parent.reserved -= own
        child = Sequence(
            request=request,
            slot=parent.slot,
            tokens=[*request.prompt, *continuation[:-1]],
            blocks=parent.blocks[:shared],
            done=prompt,
            named=shared,
            name=b"",
            reserved=own,
            score=parent.score,
            branch=branch,
        )
        self.running.append(child)
        if prompt % BLOCK == 0:
            return child, None
        self.make_room(child, shared * BLOCK + 1)
        return child, (parent.blocks[shared], child.blocks[shared])

    def finish(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        for block in sequence.blocks:
            self.pool.release(block)
        self._reserved -= sequence.reserved
        self._computing.difference_update(sequence.missing)
        group = sequence.score
        if group is None or not any(other.score is group for other in self.running):
            self.bank.release(sequence.request.adapter)
            self.waiting.finished(sequence.request.tenant)

    def cancel(self, request_id: int) -> bool:
        if self.waiting.remove(request_id):
            return True
        found = [s for s in self.running if s.request.id == request_id]
        for sequence in found:
            self.finish(sequence)
        return bool(found)
