"""The memory tier: adapters ready to run, least recently used out first, counted in bytes."""

from __future__ import annotations

from collections import OrderedDict

from serving.adapters.identity import AdapterRef
from serving.engine.request import EngineAdapter

Name = tuple[str, str, str]  # tenant, source, id


def name_of(ref: AdapterRef) -> Name:
    return (ref.tenant, ref.source, ref.id)


class Memory:
    """Not thread-safe: the registry calls it under its lock. What a request holds, or a pin, stays whatever the limit
    says; `full` tells the registry to begin nothing more then."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._ready: OrderedDict[str, EngineAdapter] = OrderedDict()
        self._users: dict[str, int] = {}
        self._pins: dict[Name, str] = {}  # the pin is on the name, so a new version takes it over
        self.nbytes = 0

    def get(self, sha256: str) -> EngineAdapter | None:
        adapter = self._ready.get(sha256)
        if adapter is not None:
            self._ready.move_to_end(sha256)
        return adapter

    def put(self, adapter: EngineAdapter) -> None:
        if adapter.key not in self._ready:
            self.nbytes += adapter.packed.nbytes
            self._ready[adapter.key] = adapter

    def take_out(self, sha256: str) -> None:
        self.nbytes -= self._ready.pop(sha256).packed.nbytes

    def hold(self, sha256: str) -> None:
        self._users[sha256] = self._users.get(sha256, 0) + 1

    def release(self, sha256: str) -> None:
        self._users[sha256] -= 1
        if not self._users[sha256]:
            del self._users[sha256]

    def pin(self, ref: AdapterRef) -> None:
        self._pins[name_of(ref)] = ref.sha256

    def unpin(self, ref: AdapterRef) -> None:
        self._pins.pop(name_of(ref), None)

    def pinned(self, ref: AdapterRef) -> bool:
        return self._pins.get(name_of(ref)) == ref.sha256

    def has_pin(self, ref: AdapterRef) -> bool:
        """Whether this name is pinned, at whatever version."""
        return name_of(ref) in self._pins

    def in_use(self, sha256: str) -> bool:
        return sha256 in self._users or sha256 in self._pins.values()

    @property
    def full(self) -> bool:
        """Whether what may not leave takes all the room."""
        held = {*self._users, *self._pins.values()}
        return sum(self._ready[key].packed.nbytes for key in held if key in self._ready) >= self._max_bytes

    @property
    def pinned_bytes(self) -> int:
        return sum(self._ready[key].packed.nbytes for key in {*self._pins.values()} if key in self._ready)

    def surplus(self) -> list[str]:
        """What to take out so that the rest fits."""
        left, out = self.nbytes, []
        for key, adapter in self._ready.items():
            if left <= self._max_bytes:
                break
            if not self.in_use(key):
                left -= adapter.packed.nbytes
                out.append(key)
        return out
