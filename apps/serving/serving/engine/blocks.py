"""The KV block pool and its prefix cache.

A full block is named by a hash chained over everything before it, starting from the adapter's content hash, so a
cached prefix can only be found by the same adapter with the same tokens.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence


def chain_hash(parent: bytes, tokens: Sequence[int]) -> bytes:
    return hashlib.blake2b(parent + array("I", tokens).tobytes(), digest_size=16).digest()


def root_hash(adapter_key: str) -> bytes:
    return hashlib.blake2b(adapter_key.encode(), digest_size=16).digest()


class BlockPool:
    def __init__(self, blocks: int) -> None:
        self.total = blocks
        self._free = list(range(blocks - 1, -1, -1))
        self._users = [0] * blocks
        self._name: list[bytes | None] = [None] * blocks
        self._cached: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # cached and unused, the oldest first

    @property
    def available(self) -> int:
        return len(self._free) + len(self._idle)

    def find(self, name: bytes) -> int | None:
        """The block of this name, with one more user; None when it isn't cached."""
        block = self._cached.get(name)
        if block is None:
            return None
        self._idle.pop(block, None)
        self._users[block] += 1
        return block

    def take(self) -> int:
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            name = self._name[block]
            assert name is not None
            del self._cached[name]
            self._name[block] = None
        self._users[block] = 1
        return block

    def publish(self, block: int, name: bytes) -> None:
        """Lets others find a full block; a second block of the same name stays private."""
        if name not in self._cached and self._name[block] is None:
            self._cached[name] = block
            self._name[block] = name

    def share(self, block: int) -> None:
        self._users[block] += 1

    def release(self, block: int) -> None:
        self._users[block] -= 1
        if self._users[block] > 0:
            return
        if self._name[block] is None:
            self._free.append(block)
        else:
            self._idle[block] = None

    @property
    def cached(self) -> int:
        return len(self._cached)
