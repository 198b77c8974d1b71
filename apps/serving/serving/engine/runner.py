"""One step: lay the chunks end to end, run the model, choose tokens, say what happened."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from serving.engine.request import Alternatives, Event, Failed, Finish, NewToken, PromptDone, Scores
from serving.engine.sampler import Penalties, draw, watermarked
from serving.engine.scheduler import Scheduler, Work
from serving.engine.sequence import Sequence
from serving.models.batch import Batch, Chunk, KvCache, Logits
from serving.models.causal import Model

log = logging.getLogger("serving.engine")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Which logit rows belong to one piece of work; `every` row of it, or its last alone."""

    work: Work
    first: int
    every: bool
    last: bool  # whether the work's last row has logits

    @property
    def final(self) -> int:
        """The row of the last token that is known, drafts not counted."""
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
        tokens.extend(item.drafts)
        chunks.append(Chunk(sequence.done, start, item.rows, sequence.slot, tuple(sequence.blocks)))
        scored = sequence.branch >= 0 or (sequence.request.prompt_logprobs and not sequence.produced)
        every = scored or bool(item.drafts)
        last = every or end == len(sequence.tokens)
        rows.append(_Rows(item, len(logit_rows), every, last))
        if last:
            logit_rows.extend(range(start if every else start + item.rows - 1, start + item.rows))
    return Batch(tuple(tokens), tuple(chunks), tuple(logit_rows)), rows


class Runner:
    def __init__(self, model: Model, cache: KvCache, scheduler: Scheduler) -> None:
        self.model = model
        self.cache = cache
        self.scheduler = scheduler
        self.accepted = 0  # drafts that turned out right

    def run(self, work: list[Work], events: list[Event]) -> None:
        """Adds to `events` what happened; when it raises, they hold what had happened before."""
        scheduler = self.scheduler
        for item in work:
            scheduler.make_room(item.sequence, item.sequence.done + item.rows)
        batch, rows = build_batch(work)
        logits = self.model.forward(batch, self.cache, scheduler.bank.table)
        chosen = _Chosen(logits, scheduler.clock())
        for row in rows:
            if row.work.sequence.ended:  # with a branch of the same request in this step
                continue
            scheduler.advanced(row.work.sequence, row.work.count)
            if row.last:
                try:
                    self._settle(row, chosen, events)
                except Exception as error:  # such as a grammar's: its batch-mates have no part in it
                    log.exception("choosing a token failed")
                    scheduler.cancel(row.work.sequence.request.id)
                    events.append(Failed(row.work.sequence.request.id, f"{type(error).__name__}: {error}"))

    def _settle(self, row: _Rows, chosen: _Chosen, events: list[Event]) -> None:
        sequence, logits, norms = row.work.sequence, chosen.values, chosen.norms
        if sequence.branch >= 0:
            self._score_branch(row, logits, norms, events)
            return
        first_token = not sequence.produced
        if first_token and row.every:
            self._prompt_logprobs(row, logits, norms)
        if sequence.left > 0:
            return
        if first_token:
            logprobs = tuple(sequence.prompt_logprobs)
            others = tuple(sequence.prompt_alternatives)
            events.append(PromptDone(sequence.request.id, sequence.cached_tokens, logprobs, sequence.queue_s, others))
        if sequence.score is not None:
            self._score_prompt(row, logits, norms, events)
            return
        if row.work.drafts:
            self._check_drafts(row, chosen, events)
        else:
            events.append(self._next_token(sequence, chosen, row.final))

    def _check_drafts(self, row: _Rows, chosen: _Chosen, events: list[Event]) -> None:
        """Each draft that is what the row before it says was run in its right place, so its own row counts too."""
        sequence, drafts = row.work.sequence, row.work.drafts
        event = self._next_token(sequence, chosen, row.final)
        events.append(event)
        accepted = 0
        while accepted < len(drafts) and event.finish is None and event.token == drafts[accepted]:
            accepted += 1
            self.scheduler.advanced(sequence, 1)
            event = replace(self._next_token(sequence, chosen, row.final + accepted), drafted=True)
            events.append(event)
        self.accepted += accepted
        if sequence.drafter is not None:
            sequence.drafter.judged(len(drafts), accepted)

    def _next_token(self, sequence: Sequence, chosen: _Chosen, row: int) -> NewToken:
        request = sequence.request
        token = self._choose(sequence, chosen.values[row], chosen.best[row])
        alternatives: Alternatives = ()
        if request.alternatives:
            only = slice(row, row + 1)
            alternatives = _likeliest(chosen.values[only], chosen.norms[only], request.alternatives)[0]
        sequence.produced.append(token)
        sequence.tokens.append(token)
        finish: Finish | None = None
        if len(sequence.produced) >= request.max_new_tokens:
            finish = "length"
        elif token in request.eos_ids:
            finish = "eos_token"
        elif sequence.past_deadline(chosen.at):
            finish = "deadline"
        if finish is not None:
            self.scheduler.finish(sequence)
        return NewToken(request.id, token, chosen.logprob(row, token), alternatives, finish)

    def _choose(self, sequence: Sequence, logits: Tensor, best: int) -> int:
        request, sampling = sequence.request, sequence.request.sampling
        changed = logits
        if Penalties.wanted(sampling):
            if sequence.penalties is None:
                sequence.penalties = Penalties(sampling, request.prompt, request.max_new_tokens)
            changed = sequence.penalties.apply(logits)
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
        if sequence.penalties is not None:
            sequence.penalties.add(token)
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
        if sequence.request.alternatives and following:
            rows = slice(row.first, row.first + len(following))
            sequence.prompt_alternatives += _likeliest(logits[rows], norms[rows], sequence.request.alternatives)

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
        for logprob in (logits[picked, following] - norms[picked]).tolist():  # one by one: cuts of a step change no sum
            group.sums[sequence.branch] += logprob
        if sequence.done < len(sequence.tokens):
            return
        group.waiting -= 1
        self.scheduler.finish(sequence)
        if group.waiting == 0:
            events.append(Scores(sequence.request.id, tuple(group.sums)))


def _likeliest(logits: Tensor, norms: Tensor, count: int) -> list[Alternatives]:
    """Of each row the `count` likeliest tokens with their log-probabilities."""
    values, tokens = logits.topk(min(count, logits.shape[1]))
    logprobs = (values - norms[:, None]).tolist()
    return [tuple(zip(t, p, strict=True)) for t, p in zip(tokens.tolist(), logprobs, strict=True)]


class _Chosen:
    """A step's logits, and the log-probability of each row's largest, taken for all rows at once."""

    def __init__(self, logits: Logits, at: float) -> None:
        self.values = logits.values
        self.norms = logits.norms
        self.best = logits.best
        self.at = at  # the time of the engine's clock
        places = torch.tensor(self.best, dtype=torch.long)[:, None]
        self._logprobs: list[float] = (self.values.gather(1, places)[:, 0] - self.norms).tolist()

    def logprob(self, row: int, token: int) -> float:
        if token == self.best[row]:
            return self._logprobs[row]
        return float(self.values[row, token] - self.norms[row])
