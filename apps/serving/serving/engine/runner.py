"""One step: lay the chunks end to end, run the model, choose tokens, say what happened."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from serving.engine.request import Event, Finish, NewToken, PromptDone, Scores
from serving.engine.sampler import draw, penalized, watermarked
from serving.engine.scheduler import Scheduler, Work
from serving.engine.sequence import Sequence
from serving.models.batch import Batch, Chunk, KvCache
from serving.models.causal import Model


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which logit rows belong to one piece of work; `every` row of it, or its last alone."""

    work: Work
    first: int
    every: bool
    last: bool  # whether the work's last row has logits

    @property
    def final(self) -> int:
        return self.first + (self.work.count - 1 if self.every else 0)


def build_batch(work: list[Work]) -> tuple[Batch, list[_Rows]]:
    tokens: list[int] = []
    chunks: list[Chunk] = []
    logit_rows: list[int] = []
    rows: list[_Rows] = []
    for item in work:
        sequence, start = item.sequence, len(tokens)
        end = sequence.done + item.count
        tokens.extend(sequence.tokens[sequence.done : end])
        chunks.append(Chunk(sequence.done, start, item.count, sequence.slot, tuple(sequence.blocks)))
        every = sequence.branch >= 0 or (sequence.request.prompt_logprobs and not sequence.produced)
        last = every or end == len(sequence.tokens)
        rows.append(_Rows(item, len(logit_rows), every, last))
        if last:
            logit_rows.extend(range(start if every else start + item.count - 1, start + item.count))
    return Batch(tuple(tokens), tuple(chunks), tuple(logit_rows)), rows


class Runner:
    def __init__(self, model: Model, cache: KvCache, scheduler: Scheduler) -> None:
        self.model = model
        self.cache = cache
        self.scheduler = scheduler

    def run(self, work: list[Work]) -> list[Event]:
        scheduler = self.scheduler
        for item in work:
            scheduler.make_room(item.sequence, item.sequence.done + item.count)
        batch, rows = build_batch(work)
        logits = self.model.forward(batch, self.cache, scheduler.bank.table)
        events: list[Event] = []
        for row in rows:
            scheduler.advanced(row.work.sequence, row.work.count)
            if row.last:
                self._settle(row, logits.values, logits.norms, logits.best, events)
        return events

    def _settle(self, row: _Rows, logits: Tensor, norms: Tensor, best: list[int], events: list[Event]) -> None:
        sequence = row.work.sequence
        if sequence.branch >= 0:
            self._score_branch(row, logits, norms, events)
            return
        first_token = not sequence.produced
        if row.every:
            self._prompt_logprobs(row, logits, norms)
        if sequence.done < len(sequence.tokens):
            return
        if first_token:
            logprobs = tuple(sequence.prompt_logprobs)
            events.append(PromptDone(sequence.request.id, sequence.cached_tokens, logprobs, sequence.queue_s))
        if sequence.score is not None:
            self._score_prompt(row, logits, norms, events)
            return
        self._next_token(sequence, logits[row.final], norms[row.final], best[row.final], events)

    def _next_token(self, sequence: Sequence, logits: Tensor, norm: Tensor, best: int, events: list[Event]) -> None:
        request = sequence.request
        token = self._choose(sequence, logits, best)
        alternatives: tuple[tuple[int, float], ...] = ()
        if request.alternatives:
            values, indices = logits.topk(min(request.alternatives, logits.numel()))
            alternatives = tuple(zip(indices.tolist(), (values - norm).tolist(), strict=True))
        sequence.produced.append(token)
        sequence.tokens.append(token)
        finish: Finish | None = None
        if len(sequence.produced) >= request.max_new_tokens:
            finish = "length"
        elif token in request.eos_ids:
            finish = "eos_token"
        events.append(NewToken(request.id, token, float(logits[token] - norm), alternatives, finish))
        if finish is not None:
            self.scheduler.finish(sequence)

    def _choose(self, sequence: Sequence, logits: Tensor, best: int) -> int:
        request, sampling = sequence.request, sequence.request.sampling
        changed = penalized(logits, sampling, request.prompt, sequence.produced)
        if sampling.watermark:
            changed = watermarked(changed, sequence.tokens[-1])
        if request.mask is not None:
            allowed = request.mask.allowed()
            assert isinstance(allowed, Tensor)
            changed = changed.masked_fill(~allowed, float("-inf"))
        if sequence.generator is not None:
            token = draw(changed, sampling, sequence.generator)
        else:
            token = best if changed is logits else int(changed.argmax())
        if request.mask is not None:
            request.mask.accept(token)
        return token

    def _prompt_logprobs(self, row: _Rows, logits: Tensor, norms: Tensor) -> None:
        sequence = row.work.sequence
        start = sequence.done - row.work.count
        following = sequence.tokens[start + 1 : sequence.done + 1]
        picked = torch.arange(row.first, row.first + len(following))
        values = logits[picked, torch.tensor(following, dtype=torch.long)] - norms[picked]
        sequence.prompt_logprobs.extend(values.tolist())

    def _score_prompt(self, row: _Rows, logits: Tensor, norms: Tensor, events: list[Event]) -> None:
        """The prompt's last row scores the first token of every continuation; longer ones go on as branches."""
        parent = row.work.sequence
        group, request = parent.score, parent.request
        assert group is not None
        for branch, continuation in enumerate(request.continuations):
            group.sums[branch] = float(logits[row.final, continuation[0]] - norms[row.final])
            if len(continuation) > 1:
                group.waiting += 1
                _, copy = self.scheduler.fork(parent, branch)
                if copy is not None:
                    self.cache.copy_block(*copy)
        self.scheduler.finish(parent)
        if group.waiting == 0:
            events.append(Scores(request.id, tuple(group.sums)))

    def _score_branch(self, row: _Rows, logits: Tensor, norms: Tensor, events: list[Event]) -> None:
        sequence, group = row.work.sequence, row.work.sequence.score
        assert group is not None
        continuation = sequence.request.continuations[sequence.branch]
        start = sequence.done - row.work.count - len(sequence.request.prompt)
        following = torch.tensor(continuation[start + 1 : start + 1 + row.work.count])
        picked = torch.arange(row.first, row.first + row.work.count)
        group.sums[sequence.branch] += float((logits[picked, following] - norms[picked]).sum())
        if sequence.done < len(sequence.tokens):
            return
        group.waiting -= 1
        self.scheduler.finish(sequence)
        if group.waiting == 0:
            events.append(Scores(sequence.request.id, tuple(group.sums)))
