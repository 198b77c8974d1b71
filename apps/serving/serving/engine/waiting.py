"""Requests that have not started, and who of them goes first.

Higher priorities lead; within one priority the tenant that has been served least leads; within one tenant the order
is that of arrival. A priority from which nothing has started for `ageing_s` counts as one higher, and so on, so
that none starves. Ageing belongs to the priority and not to the request: a long backlog ages nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from serving.engine.request import Request
from serving.engine.sequence import prefix_names


@dataclass(slots=True, eq=False)
class Waiting:
    request: Request
    names: list[bytes]  # of the prompt's full blocks
    since: float
    blocked_since: float | None = None  # when it first found no room at its turn


class WaitingQueue:
    def __init__(self, limit: int, ageing_s: float) -> None:
        self.limit = limit
        self.ageing_s = ageing_s
        self._all: dict[int, Waiting] = {}
        self._lanes: dict[int, dict[str, deque[Waiting]]] = {}  # priority -> tenant -> in order of arrival
        self._last_start: dict[int, float] = {}  # priority -> when it was last served, or began to wait
        self._served: dict[str, float] = {}  # tenant -> tokens run for it
        self._running: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, request: Request, now: float) -> Request | None:
        """The request that has to be refused because the queue is full: this one, or the newest and least urgent of
        the tenant that holds most of the queue, so that nobody can lock the others out."""
        names = [] if request.prompt_logprobs else prefix_names(request)
        refused: Request | None = None
        if len(self._all) >= self.limit:
            refused = self._crowding_out(request)
            if refused is request:
                return request
            self.remove(refused.id)
        tenant = request.tenant
        if not self._active(tenant):
            # A tenant that comes back starts level with the others: idleness earns no credit.
            active = [served for t, served in self._served.items() if self._active(t)]
            self._served[tenant] = max(self._served.get(tenant, 0.0), min(active, default=0.0))
        waiting = Waiting(request, names, now)
        self._all[request.id] = waiting
        lanes = self._lanes.get(request.priority)
        if lanes is None:
            lanes = self._lanes[request.priority] = {}
            self._last_start[request.priority] = now
        lanes.setdefault(tenant, deque()).append(waiting)
        return refused

    def candidates(self, now: float) -> Iterator[Waiting]:
        """All that wait, the next one first; in each level one of every tenant before the second of any."""
        levels: dict[int, list[int]] = {}
        for priority in sorted(self._lanes, reverse=True):
            levels.setdefault(self.level(priority, self._last_start[priority], now), []).append(priority)
        for level in sorted(levels, reverse=True):
            queues: dict[str, list[Waiting]] = {}
            for priority in levels[level]:
                for tenant, lane in self._lanes[priority].items():
                    queues.setdefault(tenant, []).extend(lane)
            order = [queues[tenant] for tenant in sorted(queues, key=lambda t: self._served.get(t, 0.0))]
            for depth in range(max(len(queue) for queue in order)):
                for queue in order:
                    if depth < len(queue):
                        yield queue[depth]

    def level(self, priority: int, since: float, now: float) -> int:
        return priority + int((now - since) / self.ageing_s)

    def expired(self, now: float) -> list[Request]:
        """Takes out and returns those whose deadline has passed."""
        requests = [waiting.request for waiting in self._all.values()]
        late = [r for r in requests if r.deadline is not None and r.deadline <= now]
        for request in late:
            self.remove(request.id)
        return late

    def started(self, waiting: Waiting, now: float) -> None:
        request = waiting.request
        self._last_start[request.priority] = now
        self.remove(request.id)
        self._running[request.tenant] = self._running.get(request.tenant, 0) + 1

    def finished(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
            self._forget_idle()

    def charge(self, tenant: str, tokens: int) -> None:
        self._served[tenant] = self._served.get(tenant, 0.0) + tokens

    def remove(self, request_id: int) -> bool:
        waiting = self._all.pop(request_id, None)
        if waiting is None:
            return False
        request = waiting.request
        lanes = self._lanes[request.priority]
        lanes[request.tenant].remove(waiting)
        if not lanes[request.tenant]:
            del lanes[request.tenant]
        if not lanes:
            del self._lanes[request.priority], self._last_start[request.priority]
        return True

    def _active(self, tenant: str) -> bool:
        return tenant in self._running or any(tenant in lanes for lanes in self._lanes.values())

    def _crowding_out(self, newcomer: Request) -> Request:
        held: dict[str, int] = {newcomer.tenant: 1}
        for waiting in self._all.values():
            tenant = waiting.request.tenant
            held[tenant] = held.get(tenant, 0) + 1
        largest = max(held, key=lambda tenant: held[tenant])
        if held[newcomer.tenant] >= held[largest]:
            return newcomer
        lowest = min(priority for priority, lanes in self._lanes.items() if largest in lanes)
        return self._lanes[lowest][largest][-1].request

    def _forget_idle(self) -> None:
        """Keeps the table of counters bounded when there were very many tenants."""
        if len(self._served) > 10_000:
            self._served = {t: n for t, n in self._served.items() if self._active(t)}
