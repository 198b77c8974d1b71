"""Runs engine requests to their end without threads."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from lora_py.arena import pack_arena
from lora_py.peft_files import read_adapter

from serving.engine.engine import Engine
from serving.engine.request import EngineAdapter, Event, Failed, NewToken, PromptDone, Request, Scores
from serving.engine.scheduler import Limits
from serving.models.causal import Model
from serving.models.config import read_config
from serving.models.load import load_model

LIMITS = Limits(max_running=16, step_tokens=64, mixed_step_tokens=32, patience_s=2.0)


def model_at(folder: Path, weights: str = "fp32") -> Model:
    return load_model(folder, read_config(folder), torch.device("cpu"), 512, weights, 1)


def adapter_at(folder: Path, model: Model) -> EngineAdapter:
    found = read_adapter(folder)
    scaling = found.config.module_scaling
    packed, _, _ = pack_arena(found.weights, scaling, model.adapter_dtype, torch.device("cpu"), model.config.layers)
    return EngineAdapter(found.sha256, packed)


class Bench:
    """An engine stepped by hand, with what it said sorted by request."""

    def __init__(self, model: Model, kv_blocks: int = 256, slots: int = 8, limits: Limits = LIMITS) -> None:
        self.events: list[Event] = []
        self.now = 0.0
        self.engine = Engine(
            model,
            kv_blocks=kv_blocks,
            adapter_slots=slots,
            limits=limits,
            deliver=self.events.extend,
            clock=lambda: self.now,
        )

    def put(self, *requests: Request) -> None:
        for request in requests:
            self.engine.take_in(request)

    def step(self) -> None:
        self.now += 0.01
        self.engine.step()

    @property
    def busy(self) -> bool:
        return bool(self.engine.scheduler.running or len(self.engine.scheduler.waiting))

    def finish(self, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while self.busy:
            assert time.monotonic() < until, "the engine did not finish"
            self.step()

    def run(self, *requests: Request) -> None:
        self.put(*requests)
        self.finish()

    def tokens(self, request_id: int) -> list[int]:
        return [e.token for e in self.events if isinstance(e, NewToken) and e.request_id == request_id]

    def logprobs(self, request_id: int) -> list[float]:
        return [e.logprob for e in self.events if isinstance(e, NewToken) and e.request_id == request_id]

    def prompt_done(self, request_id: int) -> PromptDone:
        return next(e for e in self.events if isinstance(e, PromptDone) and e.request_id == request_id)

    def scores(self, request_id: int) -> tuple[float, ...]:
        return next(e for e in self.events if isinstance(e, Scores) and e.request_id == request_id).logprobs

    def failures(self) -> list[Failed]:
        return [e for e in self.events if isinstance(e, Failed)]
