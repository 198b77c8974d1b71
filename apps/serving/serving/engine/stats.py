"""What the engine counts about its steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from serving.engine.request import Event, Failed, NewToken, PromptDone
from serving.engine.scheduler import Work


@dataclass(slots=True)
class EngineStats:
    """Written by the engine's thread alone; readers may see one step's figures half updated, never torn numbers."""

    steps: int = 0
    prefill_steps: int = 0
    decode_steps: int = 0
    joined: int = 0  # prompts begun while others were producing tokens
    failed_steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    decode_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # drafts that turned out right
    failures: Counter[str] = field(default_factory=Counter)  # requests, by the code of their failure
    last_batch_size: int = 0
    last_batch_tokens: int = 0
    last_batch_adapters: int = 0
    max_batch_adapters: int = 0
    batches_by_adapters: Counter[int] = field(default_factory=Counter)
    last_step_at: float = 0.0

    def step(self, work: list[Work], decoding: int, now: float) -> None:
        """decoding: how many of the work's sequences were producing tokens."""
        adapters = len({item.sequence.slot for item in work} - {0})
        self.steps += 1
        if decoding == len(work):
            self.decode_steps += 1
        else:
            self.prefill_steps += 1
        self.last_step_at = now
        self.last_batch_size = len(work)
        self.last_batch_tokens = sum(item.rows for item in work)
        self.last_batch_adapters = adapters
        self.max_batch_adapters = max(self.max_batch_adapters, adapters)
        self.batches_by_adapters[adapters] += 1
        drafted = sum(len(item.drafts) for item in work)
        self.drafted_tokens += drafted
        self.prompt_tokens += self.last_batch_tokens - decoding - drafted

    def said(self, events: list[Event], decoding: int) -> None:
        tokens = 0
        for event in events:
            if isinstance(event, NewToken):
                tokens += 1
            elif isinstance(event, PromptDone):
                self.cached_tokens += event.cached_tokens
                self.joined += decoding > 0
            elif isinstance(event, Failed):
                self.failures[event.code] += 1
        self.decode_tokens += tokens
