"""The step loop in a thread of its own: requests come in by a queue, events leave by one callback a step."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lora_py.grouped import MODULES, SlotTable

from serving.engine.blocks import BlockPool
from serving.engine.request import Event, Failed, NewToken, PromptDone, Request
from serving.engine.runner import Runner
from serving.engine.scheduler import Limits, Scheduler, Work
from serving.engine.slots import SlotBank
from serving.models.causal import Model

log = logging.getLogger("serving.engine")
Deliver = Callable[[list[Event]], None]
OnStep = Callable[[str, float, int], None]  # "prefill" or "decode", seconds, requests


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
    step_seconds: float = 0.0
    last_batch_size: int = 0
    last_batch_tokens: int = 0
    last_batch_adapters: int = 0
    max_batch_adapters: int = 0
    batches_by_adapters: Counter[int] = field(default_factory=Counter)
    last_step_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: int


@dataclass(frozen=True, slots=True)
class _Drop:
    adapter_key: str
    done: Callable[[bool], None]


class Engine:
    def __init__(
        self,
        model: Model,
        *,
        kv_blocks: int,
        adapter_slots: int,
        limits: Limits,
        deliver: Deliver,
        clock: Callable[[], float] = time.monotonic,
        on_step: OnStep | None = None,
    ) -> None:
        self.model = model
        self._on_step = on_step
        self.clock = clock
        self.stats = EngineStats()
        self.pool = BlockPool(kv_blocks)
        shapes = {module: model.config.linear_shape(f"layers.0.{module}") for module in MODULES}
        widths = {module: shape[0] for module, shape in shapes.items() if shape is not None}
        self.bank = SlotBank(SlotTable(widths), adapter_slots)
        self.scheduler = Scheduler(self.pool, self.bank, limits, clock)
        self.runner = Runner(model, model.new_cache(kv_blocks), self.scheduler)
        self._deliver = deliver
        self._inbox: queue.SimpleQueue[Request | _Cancel | _Drop | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._inbox.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, request: Request) -> None:
        self._inbox.put(request)

    def cancel(self, request_id: int) -> None:
        self._inbox.put(_Cancel(request_id))

    def drop_adapter(self, key: str, done: Callable[[bool], None]) -> None:
        """Empties an adapter's slot unless it is in use; `done` is called on the engine's thread."""
        self._inbox.put(_Drop(key, done))

    def _loop(self) -> None:
        while True:
            idle = not self.scheduler.running and not len(self.scheduler.waiting)
            if not self._drain(block=idle):
                return
            self.step()

    def _drain(self, block: bool) -> bool:
        """Takes in what has arrived; False when the engine must stop."""
        while True:
            try:
                item = self._inbox.get(block=block)
            except queue.Empty:
                return True
            block = False
            if item is None:
                return False
            self.take_in(item)

    def take_in(self, item: Request | _Cancel | _Drop) -> None:
        if isinstance(item, _Cancel):
            self.scheduler.cancel(item.request_id)
        elif isinstance(item, _Drop):
            item.done(self.bank.drop(item.adapter_key))
        else:
            self.scheduler.waiting.add(item, self.clock())

    def step(self) -> None:
        work = self.scheduler.plan()
        if not work:
            # Everything waits for room that only running requests can free, or there is nothing to do.
            if not self.scheduler.running and len(self.scheduler.waiting):
                self._refuse_stuck()
            return
        started = self.clock()
        decoding = sum(1 for item in work if not item.sequence.in_prompt)
        try:
            events = self.runner.run(work)
        except Exception as error:  # one bad step must not end the server: its requests fail, the loop goes on
            log.exception("step failed")
            self.stats.failed_steps += 1
            events = self._fail_running(f"{type(error).__name__}: {error}")
        self._count(work, decoding, started, events)
        self._deliver(events)

    def _fail_running(self, message: str) -> list[Event]:
        failed = {s.request.id for s in self.scheduler.running}
        for sequence in list(self.scheduler.running):
            self.scheduler.finish(sequence)
        return [Failed(request_id, message) for request_id in sorted(failed)]

    def _refuse_stuck(self) -> None:
        waiting = self.scheduler.waiting.oldest()
        if waiting is not None:
            self.scheduler.cancel(waiting.request.id)
            self._deliver([Failed(waiting.request.id, "the request needs more KV memory than the engine has")])

    def _count(self, work: list[Work], decoding: int, started: float, events: list[Event]) -> None:
        stats = self.stats
        now = self.clock()
        adapters = len({item.sequence.slot for item in work} - {0})
        method = "decode" if decoding == len(work) else "prefill"
        stats.steps += 1
        stats.prefill_steps += method == "prefill"
        stats.decode_steps += method == "decode"
        stats.step_seconds += now - started
        stats.last_step_at = now
        stats.last_batch_size = len(work)
        stats.last_batch_tokens = sum(item.count for item in work)
        stats.last_batch_adapters = adapters
        stats.max_batch_adapters = max(stats.max_batch_adapters, adapters)
        stats.batches_by_adapters[adapters] += 1
        stats.prompt_tokens += stats.last_batch_tokens - decoding
        for event in events:
            if isinstance(event, NewToken):
                stats.decode_tokens += 1
            elif isinstance(event, PromptDone):
                stats.cached_tokens += event.cached_tokens
                stats.joined += decoding > 0
        if self._on_step is not None:
            self._on_step(method, now - started, len(work))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("batch requests=%d tokens=%d adapters=%d", len(work), stats.last_batch_tokens, adapters)
