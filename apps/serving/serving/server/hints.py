"""How urgent a request is: the headers `x-grove-priority` and `x-grove-deadline-ms`."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers

from serving.server.access import Caller
from serving.server.errors import validation

PRIORITIES = {"high": 1, "normal": 0, "low": -1}
MAX_DEADLINE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Hints:
    priority: int = 0
    deadline: float | None = None  # monotonic seconds


def read_hints(headers: Headers, caller: Caller, arrived: float) -> Hints:
    """`high` is for those who vouch for their users: the gateway, and a server with one tenant."""
    named = headers.get("x-grove-priority", "normal").strip().lower()
    if named not in PRIORITIES:
        raise validation("`x-grove-priority` must be high, normal or low", "x-grove-priority")
    if named == "high" and not caller.vouched:
        raise validation("`x-grove-priority: high` is taken from the gateway only; send normal", "x-grove-priority")
    given = headers.get("x-grove-deadline-ms")
    if given is None:
        return Hints(PRIORITIES[named])
    if not (given.isascii() and given.isdecimal() and len(given) <= 7 and 0 < int(given) <= MAX_DEADLINE_MS):
        message = f"`x-grove-deadline-ms` must be a whole number of milliseconds from 1 to {MAX_DEADLINE_MS}"
        raise validation(message, "x-grove-deadline-ms")
    return Hints(PRIORITIES[named], arrived + int(given) / 1000)
