"""Threads for slow work, shared fairly: a tenant whose downloads all hang leaves room for the others."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Work = Callable[[], None]


class FairPool:
    """At most `workers` threads, at most `per_tenant` of them for one tenant; waiting tenants take turns."""

    def __init__(self, workers: int, per_tenant: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._free = workers
        self._per_tenant = per_tenant
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[Work]] = OrderedDict()
        self._running: dict[str, int] = {}

    def submit(self, tenant: str, work: Work) -> None:
        """`work` must deal with its own errors."""
        with self._lock:
            self._waiting.setdefault(tenant, deque()).append(work)
            self._start()

    def close(self) -> None:
        with self._lock:
            self._waiting.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._free:
            ready = (t for t in self._waiting if self._running.get(t, 0) < self._per_tenant)
            tenant = next(ready, None)
            if tenant is None:
                return
            queue = self._waiting.pop(tenant)
            work = queue.popleft()
            if queue:
                self._waiting[tenant] = queue  # behind the other tenants
            self._free -= 1
            self._running[tenant] = self._running.get(tenant, 0) + 1
            self._executor.submit(self._run, tenant, work)

    def _run(self, tenant: str, work: Work) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._free += 1
                self._running[tenant] -= 1
                if not self._running[tenant]:
                    del self._running[tenant]
                self._start()
