"""Adapter slots: which adapters are resident, and which one leaves when a new one needs the place."""

from __future__ import annotations

from collections import OrderedDict

from lora_py.grouped import SlotTable

from serving.engine.request import EngineAdapter


class SlotBank:
    """Slot 0 is the base model. A slot in use by a running request is never evicted; among the rest the least
    recently used goes first."""

    def __init__(self, table: SlotTable, slots: int) -> None:
        self.table = table
        self.evictions = 0
        self._slot_of: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._free = list(range(slots, 0, -1))

    def acquire(self, adapter: EngineAdapter | None) -> int | None:
        """The adapter's slot with one more user, or None while every slot is in use by others."""
        if adapter is None:
            return 0
        key = adapter.key
        if key in self._slot_of:
            self._idle.pop(key, None)
            self._users[key] += 1
            return self._slot_of[key]
        if not self._free and not self._evict():
            return None
        slot = self._free.pop()
        self.table.put(slot, adapter.packed)
        self._slot_of[key] = slot
        self._users[key] = 1
        return slot

    def release(self, adapter: EngineAdapter | None) -> None:
        if adapter is None:
            return
        self._users[adapter.key] -= 1
        if self._users[adapter.key] == 0:
            self._idle[adapter.key] = None

    def drop(self, key: str) -> bool:
        """Empties the slot of an adapter that nobody is using."""
        if key not in self._idle:
            return False
        del self._idle[key]
        self._empty(key)
        return True

    def resident(self) -> frozenset[str]:
        return frozenset(self._slot_of)

    def _evict(self) -> bool:
        if not self._idle:
            return False
        key, _ = self._idle.popitem(last=False)
        self._empty(key)
        self.evictions += 1
        return True

    def _empty(self, key: str) -> None:
        slot = self._slot_of.pop(key)
        del self._users[key]
        self.table.put(slot, None)
        self._free.append(slot)
