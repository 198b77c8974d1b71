"""The step loop in a thread of its own: requests come in by a queue, events leave by one callback a step."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lora_py.grouped import MODULES, SlotTable

from serving.engine.blocks import BlockPool
from serving.engine.pace import keys_before
from serving.engine.request import Event, FailCode, Failed, Request
from serving.engine.runner import Runner
from serving.engine.scheduler import Limits, Scheduler, Work
from serving.engine.sequence import worst_case
from serving.engine.slots import SlotBank
from serving.engine.stats import EngineStats
from serving.models.causal import Model
from serving.models.native import NativeModel

log = logging.getLogger("serving.engine")
Deliver = Callable[[list[Event]], None]
OnStep = Callable[[str, float, int], None]  # "prefill" or "decode", seconds, requests
MESSAGES: dict[FailCode, str] = {
    "deadline": "the request's deadline passed before its first token",
    "overloaded": "too many requests are waiting; send it again later",
    "draining": "this server is shutting down; send the request to another one",
    "too_large": "the request needs more KV memory than the engine has",
}


@dataclass(frozen=True, slots=True)
class _Cancel:
    request_id: int


@dataclass(frozen=True, slots=True)
class _Drop:
    adapter_key: str
    done: Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class _Drain:
    done: Callable[[], None]


Item = Request | _Cancel | _Drop | _Drain


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
        self.scheduler = Scheduler(self.pool, self.bank, limits, clock, isinstance(model, NativeModel), model.row_tile)
        self.runner = Runner(model, model.new_cache(kv_blocks), self.scheduler)
        self._deliver = deliver
        self._drained: list[Callable[[], None]] = []
        self._inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self.draining = False

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

    def drain(self, done: Callable[[], None]) -> None:
        """Refuses what comes from here on and finishes what was accepted; then calls `done` on the engine's thread."""
        self._inbox.put(_Drain(done))

    @property
    def busy(self) -> bool:
        return bool(self.scheduler.running or len(self.scheduler.waiting))

    def _loop(self) -> None:
        while self._receive(block=not self.busy):
            self.step()

    def _receive(self, block: bool) -> bool:
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

    def take_in(self, item: Item) -> None:
        if isinstance(item, _Cancel):
            self.scheduler.cancel(item.request_id)
        elif isinstance(item, _Drop):
            item.done(self.bank.drop(item.adapter_key))
        elif isinstance(item, _Drain):
            self.draining = True
            self._drained.append(item.done)
        else:
            self._accept(item)

    def _accept(self, request: Request) -> None:
        if self.draining:
            self._refuse([request.id], "draining")
        elif worst_case(request) > self.pool.total:
            self._refuse([request.id], "too_large")
        else:
            refused = self.scheduler.waiting.add(request, self.clock())
            if refused is not None:
                self._refuse([refused.id], "overloaded")

    def _refuse(self, request_ids: list[int], code: FailCode) -> None:
        self._say([Failed(request_id, MESSAGES[code], code) for request_id in request_ids])

    def _say(self, events: list[Event], decoding: int = 0) -> None:
        if events:
            self.stats.said(events, decoding)
            self._deliver(events)

    def step(self) -> None:
        self._refuse(self.scheduler.expired(), "deadline")
        work = self.scheduler.plan()
        if work:
            self._run(work)
        if self._drained and not self.busy:
            for done in self._drained:
                done()
            self._drained.clear()

    def _run(self, work: list[Work]) -> None:
        # What the work was before it ran: running it moves its sequences on.
        decoding = [item for item in work if not item.sequence.in_prompt]
        prompts = [(item.sequence.done, item.count) for item in work if item.sequence.in_prompt]
        started, events = self.clock(), list[Event]()
        try:
            self.runner.run(work, events)
        except Exception as error:  # one bad step must not end the server: its requests fail, the loop goes on
            log.exception("step failed")
            self.stats.failed_steps += 1
            events.extend(self._fail_running(f"{type(error).__name__}: {error}"))
        now = self.clock()
        keys = sum(keys_before(position, count) for position, count in prompts)
        rows = sum(count for _, count in prompts)
        self.scheduler.pace.seen(sum(item.rows for item in decoding), rows, keys, now - started)
        self.stats.step(work, len(decoding), now)
        self.stats.accepted_tokens = self.runner.accepted
        if self._on_step is not None:
            self._on_step("prefill" if prompts else "decode", now - started, len(work))
        self._say(events, len(decoding))
        if log.isEnabledFor(logging.DEBUG):
            adapters = self.stats.last_batch_adapters
            log.debug("batch requests=%d tokens=%d adapters=%d", len(work), self.stats.last_batch_tokens, adapters)

    def _fail_running(self, message: str) -> list[Failed]:
        failed = sorted({s.request.id for s in self.scheduler.running})
        for request_id in failed:
            self.scheduler.cancel(request_id)
        return [Failed(request_id, message) for request_id in failed]
