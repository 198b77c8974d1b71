"""Who runs in the next step. A request is admitted only when its worst case fits, so none dies half way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.engine.blocks import BlockPool, root_hash
from serving.engine.draft import MOST, Drafter
from serving.engine.pace import Pace
from serving.engine.sampler import make_generator
from serving.engine.sequence import ScoreGroup, Sequence, blocks_for, worst_case
from serving.engine.slots import SlotBank
from serving.engine.waiting import Waiting, WaitingQueue
from serving.models.batch import BLOCK

TRIES = 64  # requests that may be found to have no room before a step goes on without them
TOKENS_PER_SECOND = 500  # short prompts go first, but each second of waiting is worth this many tokens
DRAFT_ROWS = 16  # up to so many rows a step costs little more than with one; beyond, every row has its price


@dataclass(frozen=True, slots=True)
class Limits:
    max_running: int
    step_tokens: int  # the most rows of a step
    mixed_step_tokens: int  # rows of a step that decodes too, until it is known what rows cost
    patience_s: float  # how long others may overtake a request that waits for an adapter slot or memory
    max_waiting: int = 1024
    ageing_s: float = 5.0  # a priority that isn't served for so long counts as one higher
    draft_tokens: int = MOST  # of one request in one step by prompt lookup, where rows don't depend on their batch


@dataclass(frozen=True, slots=True)
class Work:
    sequence: Sequence
    count: int  # tokens to run now
    drafts: tuple[int, ...] = ()  # guesses behind them, to be checked in the same step

    @property
    def rows(self) -> int:
        return self.count + len(self.drafts)


class Scheduler:
    def __init__(
        self,
        pool: BlockPool,
        bank: SlotBank,
        limits: Limits,
        clock: Callable[[], float],
        exact_rows: bool,
        row_tile: int,
    ) -> None:
        self.pool = pool
        self.bank = bank
        self.limits = limits
        self.clock = clock
        self._drafts = limits.draft_tokens > 0 and exact_rows
        self.pace = Pace(row_tile)
        self.waiting = WaitingQueue(limits.max_waiting, limits.ageing_s)
        self.running: list[Sequence] = []
        self._reserved = 0
        self._computing: set[bytes] = set()  # prefix blocks being computed: worth waiting a step for

    def plan(self) -> list[Work]:
        now, limits = self.clock(), self.limits
        work = self._decoding()
        decode_rows = sum(item.rows for item in work)
        budget = self.pace.budget(decode_rows, limits.mixed_step_tokens, limits.step_tokens)
        prompts = [s for s in self.running if s.in_prompt]
        self._admit(prompts, budget.rows, now)
        for sequence in sorted(prompts, key=lambda s: self._urgency(s.request.priority, s.since, s.left, now)):
            count = budget.take(sequence.done, sequence.left)
            if count > 0:
                work.append(Work(sequence, count))
        return work

    def _decoding(self) -> list[Work]:
        decoding = [s for s in self.running if not s.in_prompt]
        room = DRAFT_ROWS - len(decoding) if self._drafts else 0
        work = []
        for sequence in decoding:
            drafts = self._draft(sequence, room) if room > 0 else ()
            room -= len(drafts)
            work.append(Work(sequence, 1, drafts))
        return work

    def _draft(self, sequence: Sequence, room: int) -> tuple[int, ...]:
        """Sampled answers are left alone: a guess rarely meets their dice."""
        request = sequence.request
        room = min(room, request.max_new_tokens - len(sequence.produced) - 1)
        if room < 1 or not request.sampling.greedy:
            return ()
        if sequence.drafter is None:
            sequence.drafter = Drafter(self.limits.draft_tokens)
        return tuple(sequence.drafter.propose(sequence.tokens, room))

    def _urgency(self, priority: int, since: float, left: int, now: float) -> tuple[int, float]:
        """Sorts prompts: a step's rows go to the lowest first."""
        return -self.waiting.level(priority, since, now), left - TOKENS_PER_SECOND * (now - since)

    def _admit(self, prompts: list[Sequence], rows: int, now: float) -> None:
        """Starts those whose turn it is and who would get rows in this step; adds them to `prompts`."""
        ahead = [(self._urgency(s.request.priority, s.since, s.left, now), s.left) for s in prompts]
        tries = TRIES
        for waiting in self.waiting.candidates(now):
            if tries == 0 or len(self.running) >= self.limits.max_running:
                return
            request = waiting.request
            urgency = self._urgency(request.priority, waiting.since, len(request.prompt), now)
            if sum(left for other, left in ahead if other <= urgency) >= rows:
                tries -= 1
                continue
            sequence = self._start(waiting, now)
            if sequence is not None:
                prompts.append(sequence)
                ahead.append((urgency, sequence.left))
                continue
            tries -= 1
            if waiting.blocked_since is not None and now - waiting.blocked_since > self.limits.patience_s:
                return

    def _start(self, waiting: Waiting, now: float) -> Sequence | None:
        """None while its prefix is being computed by another, or while it has no room (and then it is blocked)."""
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
        if not (missing and missing[0] in self._computing):
            if self.pool.available - self._reserved >= need:
                slot = self.bank.acquire(request.adapter)
            if slot is None and waiting.blocked_since is None:
                waiting.blocked_since = now
        if slot is None:
            for block in found:
                self.pool.release(block)
            return None
        self.waiting.started(waiting, now)
        self._computing.update(missing)
        self._reserved += need
        sequence = Sequence(
            request=request,
            slot=slot,
            tokens=list(request.prompt),
            since=waiting.since,
            blocks=found,
            done=len(found) * BLOCK,
            named=len(found),
            name=names[len(found) - 1] if found else root_hash(request.adapter.key if request.adapter else "base"),
            reserved=need,
            cached_tokens=len(found) * BLOCK,
            queue_s=now - waiting.since,
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
            since=parent.since,
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
        sequence.ended = True
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

    def expired(self) -> list[int]:
        """Ends requests whose deadline has passed before their first token; the others are cut off at their next."""
        now = self.clock()
        late = [request.id for request in self.waiting.expired(now)]
        for sequence in self.running:
            if sequence.past_deadline(now) and not sequence.produced and sequence.request.id not in late:
                late.append(sequence.request.id)
        for request_id in late:
            self.cancel(request_id)
        return late
