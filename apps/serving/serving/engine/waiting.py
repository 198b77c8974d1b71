"""Requests that have not started, served tenant by tenant: the one that has had the least goes first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from serving.engine.request import Request
from serving.engine.sequence import prefix_names


@dataclass(slots=True, eq=False)
class Waiting:
    request: Request
    names: list[bytes]
    since: float


class WaitingQueue:
    def __init__(self) -> None:
        self._queues: dict[str, deque[Waiting]] = {}
        self._served: dict[str, float] = {}
        self._running: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def add(self, request: Request, now: float) -> None:
        names = [] if request.prompt_logprobs else prefix_names(request)
        tenant = request.tenant
        if tenant not in self._queues and not self._running.get(tenant):
            # A tenant that comes back starts level with the others: idleness earns no credit.
            active = [self._served[t] for t in self._served if t in self._queues or self._running.get(t)]
            self._served[tenant] = max(self._served.get(tenant, 0.0), min(active, default=0.0))
        self._queues.setdefault(tenant, deque()).append(Waiting(request, names, now))

    def candidates(self) -> Iterator[Waiting]:
        """All that wait: the heads of all tenants first, least served tenant leading, then the rest of each queue."""
        tenants = sorted(self._queues, key=lambda t: self._served.get(t, 0.0))
        queues = [list(self._queues[t]) for t in tenants]
        for depth in range(max((len(q) for q in queues), default=0)):
            for queue in queues:
                if depth < len(queue):
                    yield queue[depth]

    def oldest(self) -> Waiting | None:
        return min((queue[0] for queue in self._queues.values()), key=lambda w: w.since, default=None)

    def started(self, waiting: Waiting) -> None:
        self._take_out(waiting)
        tenant = waiting.request.tenant
        self._running[tenant] = self._running.get(tenant, 0) + 1

    def finished(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
            self._forget_idle()

    def charge(self, tenant: str, tokens: int) -> None:
        self._served[tenant] = self._served.get(tenant, 0.0) + tokens

    def remove(self, request_id: int) -> bool:
        for queue in list(self._queues.values()):
            for waiting in queue:
                if waiting.request.id == request_id:
                    self._take_out(waiting)
                    return True
        return False

    def _take_out(self, waiting: Waiting) -> None:
        tenant = waiting.request.tenant
        queue = self._queues[tenant]
        queue.remove(waiting)
        if not queue:
            del self._queues[tenant]

    def _forget_idle(self) -> None:
        """Keeps the table of counters bounded when there were very many tenants."""
        if len(self._served) > 10_000:
            self._served = {t: n for t, n in self._served.items() if t in self._queues or t in self._running}
