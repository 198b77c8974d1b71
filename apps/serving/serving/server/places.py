"""Who may be answered at the same time: a number of places, and none for those who would take the last ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from serving.server.errors import overloaded

GREED = 4  # one tenant may hold so many times what it leaves free


class Places:
    """With `shared`, a tenant alone gets four of five places, two that come together four of nine each, and so on:
    who comes next finds some free, and the tenants that fill the server are the ones that are refused."""

    def __init__(self, most: int, shared: bool) -> None:
        self._most = most
        self._shared = shared
        self._held: Counter[str] = Counter()
        self.taken = 0

    @contextmanager
    def one(self, tenant: str) -> Iterator[None]:
        free = self._most - self.taken
        if free <= 0 or (self._shared and self._held[tenant] >= GREED * free):
            raise overloaded()
        self.taken += 1
        self._held[tenant] += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._held[tenant] -= 1
            if not self._held[tenant]:
                del self._held[tenant]
