"""Adapters by name and by content: each loaded once however many ask, off the request path, fetches apart from loads.

A load begins when its first request arrives, so whatever waits later (in the server or in the engine) waits with its
adapter already on the way. Fetches run on threads of their own, shared fairly by tenant; one that hangs delays nobody
else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from serving.adapters.fetch import Sink, Writable, with_retries
from serving.adapters.identity import AdapterFailure, AdapterRef
from serving.adapters.loader import Loader, Made
from serving.adapters.loads import Load, as_failure, done, refused, save_later
from serving.adapters.locate import Locator
from serving.adapters.memory import Memory
from serving.adapters.pools import FairPool
from serving.adapters.records import Counters, Record, Records
from serving.adapters.sources import Origins
from serving.adapters.store import DiskStore
from serving.engine.request import EngineAdapter

LOADERS = 4
FETCHERS = 32
FETCHERS_PER_TENANT = 8
SAVE_AFTER_S = 0.5  # the packed block is written when the first token is likely to be out
ROOM_S = 30.0  # how long an adapter waits for memory that others hold


@dataclass(frozen=True, slots=True)
class Loaded:
    ref: AdapterRef
    engine: EngineAdapter


class Registry:
    def __init__(
        self, store: DiskStore, loader: Loader, origins: Origins, max_bytes: int, on_evict: Callable[[str], None]
    ) -> None:
        self._store = store
        self._loader = loader
        self._origins = origins
        self._on_evict = on_evict
        self._lock = threading.Lock()
        self._loaders = ThreadPoolExecutor(LOADERS, thread_name_prefix="adapter-loader")
        self._savers = ThreadPoolExecutor(1, thread_name_prefix="adapter-saver")
        self._fetchers = FairPool(FETCHERS, FETCHERS_PER_TENANT, "adapter-fetcher")
        self._memory = Memory(max_bytes)
        self._max_bytes = max_bytes
        self._records = Records()
        self._loading: dict[str, Load] = {}  # by hash
        self._parked: deque[Load] = deque()
        self.counters = Counters()
        self.locator = Locator(store, loader, origins, self._in_memory, self._located)

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes

    def records(self) -> list[Record]:
        with self._lock:
            return self._records.all() + self.locator.records()

    def pin(self, ref: AdapterRef) -> Future[EngineAdapter]:
        """The adapter, now or when it has been loaded; it stays in memory until `unpin`."""
        with self._lock:
            record = self._records.of(ref)
            record.hits += 1
            record.last_use = time.time()
            self._memory.hold(ref.sha256)
            adapter = self._memory.get(ref.sha256)
            if adapter is not None:
                self.counters.hits += 1
                record.ready(adapter)
                return done(adapter)
            self.counters.misses += 1
            load = self._loading.get(ref.sha256)
            if load is None:
                if record.broken:
                    return refused(record.error)
                load = self._loading[ref.sha256] = Load(ref, time.monotonic(), Future())
                load.future.set_running_or_notify_cancel()  # no waiter that leaves can cancel it for the others
                self._begin(load)
            record.state = "fetching"
            return load.future

    def unpin(self, ref: AdapterRef) -> None:
        with self._lock:
            self._memory.release(ref.sha256)
            self._trim()
            while self._parked and not self._memory.full:
                self._start(self._parked.popleft())

    def keep(self, ref: AdapterRef) -> None:
        """Pins the name: its adapter stays in memory until `unload`, and so does the version that follows it."""
        with self._lock:
            nbytes = self._records.of(ref).nbytes
            if not self._memory.pinned(ref) and self._memory.pinned_bytes + nbytes > self._max_bytes // 2:
                raise AdapterFailure(f"adapter {ref.id} can't be pinned: pins may take half of the adapter memory")
            self._pin_name(ref)

    def unload(self, ref: AdapterRef) -> bool:
        """Takes the pin away, and the adapter out of memory unless a request is using it."""
        with self._lock:
            self._memory.unpin(ref)
            for record in self._records.all():
                record.pinned = self._memory.pinned(record.ref)
            if self._memory.get(ref.sha256) is None or self._memory.in_use(ref.sha256):
                return False
            self._evict(ref.sha256)
            return True

    def close(self) -> None:
        self._fetchers.close()
        self.locator.close()
        for pool in (self._loaders, self._savers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, load: Load) -> None:
        if self._memory.full:
            self._parked.append(load)
            timer = threading.Timer(ROOM_S, self._no_room, (load,))
            timer.daemon = True
            timer.start()
        else:
            self._start(load)

    def _start(self, load: Load) -> None:
        self._loaders.submit(self._from_disk, load)

    def _no_room(self, load: Load) -> None:
        with self._lock:
            if load not in self._parked:
                return
            self._parked.remove(load)
        message = f"adapter {load.ref.id} found no room: adapters in use fill the {self._max_bytes} bytes for adapters"
        self._failed(load, AdapterFailure(message))

    def _from_disk(self, load: Load) -> None:
        """On a loader thread."""
        ref = load.ref
        try:
            made = self._loader.from_disk(ref.id, ref.sha256)
            if made is None and ref.source == "local":
                made = self._from_folder(ref)
            if made is None and load.fetched:
                raise AdapterFailure(f"adapter {ref.id} could not be read back from the disk cache")
            if made is None:
                self._fetchers.submit(ref.tenant, lambda: self._fetch(load))
                return
        except Exception as error:
            self._failed(load, error)
            return
        self._arrived(load, made)

    def _from_folder(self, ref: AdapterRef) -> Made:
        sha256, config, weights, _ = self.locator.read_local(ref.id)
        if sha256 != ref.sha256:
            raise AdapterFailure(f"adapter {ref.id} changed while it was being loaded; send the request again")
        return self._loader.from_bytes(ref.id, sha256, config, weights)

    def _fetch(self, load: Load) -> None:
        """On a fetcher thread."""
        ref, limits = load.ref, self._origins.limits
        deadline = time.monotonic() + limits.total_s

        def download(name: str, file: Writable) -> None:
            sink = Sink(file, ref.id, name, limits, deadline)
            if ref.source in self._origins.remote:
                self.locator.download(ref, name, sink)
            elif self._origins.gateway is None:
                raise AdapterFailure(f"adapter {ref.id} can't be fetched: no gateway (GROVE_GATEWAY_URL) is set here")
            else:
                self._origins.gateway.download(ref, name, sink)

        try:
            with_retries(lambda: self._store.fetch(ref.id, ref.sha256, download), deadline)
            load.fetched = True
            self.counters.fetches += 1
            self._start(load)
        except Exception as error:
            self._failed(load, error)

    def _in_memory(self, sha256: str) -> bool:
        with self._lock:
            return self._memory.get(sha256) is not None

    def _located(self, ref: AdapterRef, made: Made, began: float) -> None:
        """The locator has read a local adapter to learn its hash, and made it ready on the way."""
        self._arrived(Load(ref, began, Future()), made)

    def _arrived(self, load: Load, made: Made) -> None:
        sha256, adapter = load.ref.sha256, made.adapter
        with self._lock:
            seconds = time.monotonic() - load.began
            self.counters.loads += 1
            self.counters.load_seconds += seconds
            self._memory.put(adapter)
            own = self._records.of(load.ref)
            own.loads += 1
            own.load_seconds = seconds
            for record in self._records.with_hash(sha256):
                record.ready(adapter)
                if self._memory.has_pin(record.ref):
                    self._pin_name(record.ref)
            if self._loading.get(sha256) is load:
                del self._loading[sha256]
            self._trim()
        load.future.set_result(adapter)
        self._savers.submit(save_later, made, time.monotonic() + SAVE_AFTER_S)

    def _failed(self, load: Load, error: Exception) -> None:
        ref, failure = load.ref, as_failure(error, load.ref.id)
        with self._lock:
            self.counters.failures += 1
            for record in self._records.with_hash(ref.sha256):
                if record.state == "fetching":
                    record.failed(str(failure))
            del self._loading[ref.sha256]
        load.future.set_exception(failure)

    def _pin_name(self, ref: AdapterRef) -> None:
        self._memory.pin(ref)
        for record in self._records.all():
            record.pinned = self._memory.pinned(record.ref)

    def _trim(self) -> None:
        for sha256 in self._memory.surplus():
            self._evict(sha256)

    def _evict(self, sha256: str) -> None:
        self._memory.take_out(sha256)
        self.counters.evictions += 1
        self._on_evict(sha256)
        for record in self._records.with_hash(sha256):
            record.state = "evicted"
