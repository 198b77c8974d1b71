"""Adapters in memory: each loaded once however many ask, off the request path, and dropped least recently used."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from lora_py.arena import pack_arena
from lora_py.peft_files import Adapter, check_against_base
from lora_py.peft_weights import AdapterError

from serving.adapters.identity import AdapterFailure, AdapterRef
from serving.adapters.store import DiskStore, LocalFolders
from serving.engine.request import EngineAdapter

LOADERS = 4
BREAKER_S = (1.0, 5.0, 30.0)  # how long a failed adapter is not tried again, by failures in a row


@dataclass(frozen=True, slots=True)
class Loaded:
    ref: AdapterRef
    engine: EngineAdapter


@dataclass(slots=True)
class Record:
    """What GET /adapters tells about one adapter."""

    ref: AdapterRef
    state: str = "fetching"  # fetching, ready, failed, evicted; "resident" is the engine's to say
    rank: int = 0
    nbytes: int = 0
    loads: int = 0
    hits: int = 0
    last_use: float = 0.0
    load_seconds: float = 0.0
    error: str = ""
    failures: int = 0
    failed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class PackOptions:
    dtype: torch.dtype
    device: torch.device
    max_rank: int
    layers: int


class Registry:
    def __init__(
        self,
        store: DiskStore,
        local: LocalFolders,
        base_config: Mapping[str, Any],
        options: PackOptions,
        max_bytes: int,
        on_evict: Callable[[str], None],
    ) -> None:
        self._store = store
        self._local = local
        self._base_config = base_config
        self._options = options
        self._max_bytes = max_bytes
        self._on_evict = on_evict
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(LOADERS, thread_name_prefix="adapter-loader")
        self._ready: OrderedDict[str, EngineAdapter] = OrderedDict()  # by hash, least recently used first
        self._loading: dict[str, Future[EngineAdapter]] = {}
        self._pins: dict[str, int] = {}
        self._records: OrderedDict[tuple[str, str, str], Record] = OrderedDict()
        self._local_hashes: dict[str, tuple[object, str, str]] = {}

    def record(self, ref: AdapterRef) -> Record:
        key = (ref.tenant, ref.id, ref.sha256)
        if key not in self._records:
            self._records[key] = Record(ref)
            while len(self._records) > 10_000:
                self._records.popitem(last=False)
        self._records.move_to_end(key)
        return self._records[key]

    def records(self) -> list[Record]:
        with self._lock:
            return list(self._records.values())

    def pin(self, ref: AdapterRef) -> Future[EngineAdapter]:
        """The adapter, now or when it has been loaded; it stays in memory until `unpin`."""
        with self._lock:
            record = self.record(ref)
            record.hits += 1
            record.last_use = time.time()
            key = ref.sha256
            self._pins[key] = self._pins.get(key, 0) + 1
            if key in self._ready:
                self._ready.move_to_end(key)
                adapter = self._ready[key]
                record.state, record.rank, record.nbytes = "ready", adapter.packed.rank, adapter.packed.nbytes
                done: Future[EngineAdapter] = Future()
                done.set_result(adapter)
                return done
            if key not in self._loading:
                if self._breaker_open(record):
                    refused: Future[EngineAdapter] = Future()
                    refused.set_exception(AdapterFailure(record.error))
                    return refused
                record.state = "fetching"
                self._loading[key] = self._pool.submit(self._load, ref, record)
            return self._loading[key]

    def unpin(self, ref: AdapterRef) -> None:
        with self._lock:
            left = self._pins.get(ref.sha256, 1) - 1
            if left:
                self._pins[ref.sha256] = left
            else:
                self._pins.pop(ref.sha256, None)
            self._trim()

    def resolve_local(self, adapter_id: str, tenant: str) -> AdapterRef:
        """Blocking. Reads the folder when its files have changed since the last time."""
        stamp = self._local.stamp(adapter_id)
        known = self._local_hashes.get(adapter_id)
        if known is not None and known[0] == stamp and stamp:
            return AdapterRef(tenant, adapter_id, known[1], known[2], "local")
        adapter = self._local.read(adapter_id)
        ref = AdapterRef(tenant, adapter_id, adapter.sha256, adapter.config.prompt_format, "local")
        self._local_hashes[adapter_id] = (stamp, ref.sha256, ref.prompt_format)
        with self._lock:
            if ref.sha256 not in self._ready:
                self._keep(ref, self.record(ref), self._pack(ref, adapter))
        return ref

    def unload(self, ref: AdapterRef) -> bool:
        with self._lock:
            if ref.sha256 not in self._ready or self._pins.get(ref.sha256):
                return False
            self._evict(ref.sha256)
            return True

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _breaker_open(self, record: Record) -> bool:
        if record.state != "failed":
            return False
        pause = BREAKER_S[min(record.failures, len(BREAKER_S)) - 1]
        return time.time() - record.failed_at < pause

    def _load(self, ref: AdapterRef, record: Record) -> EngineAdapter:
        started = time.monotonic()
        try:
            source = self._local.read(ref.id) if ref.source == "local" else self._store.read(ref)
            if source.sha256 != ref.sha256:
                raise AdapterFailure(f"adapter {ref.id} changed while it was being loaded; send the request again")
            packed = self._pack(ref, source)
        except Exception as error:
            message = str(error) if isinstance(error, AdapterFailure) else f"adapter {ref.id} failed to load: {error}"
            with self._lock:
                record.state, record.error = "failed", message
                record.failures += 1
                record.failed_at = time.time()
                del self._loading[ref.sha256]
            raise AdapterFailure(message) from error
        with self._lock:
            record.load_seconds = time.monotonic() - started
            self._keep(ref, record, packed)
            del self._loading[ref.sha256]
        return packed

    def _pack(self, ref: AdapterRef, adapter: Adapter) -> EngineAdapter:
        try:
            check_against_base(adapter, self._base_config)
        except AdapterError as error:
            raise AdapterFailure(f"adapter {ref.id} was refused: {error}") from error
        options = self._options
        rank = max(a.shape[0] for a, _ in adapter.weights.values())
        if rank > options.max_rank:
            raise AdapterFailure(f"adapter {ref.id} has rank {rank}; the limit is {options.max_rank}")
        scaling = adapter.config.module_scaling
        packed, _, _ = pack_arena(adapter.weights, scaling, options.dtype, options.device, options.layers)
        return EngineAdapter(adapter.sha256, packed)

    def _keep(self, ref: AdapterRef, record: Record, adapter: EngineAdapter) -> None:
        record.state, record.rank, record.nbytes = "ready", adapter.packed.rank, adapter.packed.nbytes
        record.loads += 1
        record.failures, record.error = 0, ""
        self._ready[ref.sha256] = adapter
        self._trim()

    def _trim(self) -> None:
        total = sum(adapter.packed.nbytes for adapter in self._ready.values())
        for key in list(self._ready):
            if total <= self._max_bytes:
                return
            if not self._pins.get(key):
                total -= self._ready[key].packed.nbytes
                self._evict(key)

    def _evict(self, key: str) -> None:
        del self._ready[key]
        self._on_evict(key)
        for record in self._records.values():
            if record.ref.sha256 == key:
                record.state = "evicted"
