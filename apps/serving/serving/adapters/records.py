"""What GET /adapters tells: one record for each name and content that was asked for."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from serving.adapters.identity import AdapterRef
from serving.engine.request import EngineAdapter

KEPT = 10_000
BREAKER_S = (1.0, 5.0, 30.0)  # how long a failed adapter is not tried again, by failures in a row


@dataclass(slots=True)
class Record:
    ref: AdapterRef
    state: str = "fetching"  # fetching, ready, failed, evicted; "resident" is the engine's to say
    rank: int = 0
    modules: tuple[str, ...] = ()
    nbytes: int = 0  # in memory
    loads: int = 0
    hits: int = 0
    last_use: float = 0.0  # Unix time
    load_seconds: float = 0.0  # from being asked for to being ready, the last time
    error: str = ""
    pinned: bool = False
    failures: int = 0  # in a row
    failed_at: float = 0.0  # monotonic

    def ready(self, adapter: EngineAdapter) -> None:
        self.state = "ready"
        self.rank, self.nbytes = adapter.packed.rank, adapter.packed.nbytes
        if not self.modules:
            self.modules = tuple(sorted({name.rsplit(".", 1)[1] for _, name in adapter.packed.pairs}))
        self.failures, self.error = 0, ""

    def failed(self, message: str) -> None:
        self.state, self.error = "failed", message
        self.failures += 1
        self.failed_at = time.monotonic()

    @property
    def broken(self) -> bool:
        """Failed so lately that it is not worth another try."""
        if self.state != "failed" or not self.failures:
            return False
        return time.monotonic() - self.failed_at < BREAKER_S[min(self.failures, len(BREAKER_S)) - 1]


@dataclass(slots=True)
class Counters:
    """Since start. `hits` found the adapter in memory; the others waited for a load, begun by them or another."""

    hits: int = 0
    misses: int = 0
    fetches: int = 0
    loads: int = 0
    failures: int = 0
    evictions: int = 0
    load_seconds: float = 0.0


class Records:
    """Not thread-safe: the registry calls it under its lock."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, str, str, str], Record] = OrderedDict()
        self._by_hash: dict[str, list[Record]] = {}

    def of(self, ref: AdapterRef) -> Record:
        key = (ref.tenant, ref.source, ref.id, ref.sha256)
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = Record(ref)
            self._by_hash.setdefault(ref.sha256, []).append(record)
            if len(self._records) > KEPT:
                self._forget_oldest()
        self._records.move_to_end(key)
        return record

    def with_hash(self, sha256: str) -> list[Record]:
        return self._by_hash.get(sha256, [])

    def drop(self, record: Record) -> None:
        ref = record.ref
        if self._records.pop((ref.tenant, ref.source, ref.id, ref.sha256), None) is not None:
            self._by_hash[ref.sha256].remove(record)
            if not self._by_hash[ref.sha256]:
                del self._by_hash[ref.sha256]

    def all(self) -> list[Record]:
        return list(self._records.values())

    def _forget_oldest(self) -> None:
        gone = (record for record in self._records.values() if record.state in ("failed", "evicted"))
        oldest = next(gone, None)
        if oldest is not None:
            self.drop(oldest)
