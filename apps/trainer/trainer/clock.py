"""Seconds of a job's own time: those before a resume count, those of a pause do not."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    def __init__(self, now: Callable[[], float], before: float = 0.0) -> None:
        self._now, self._before = now, before
        self._since: float | None = now()

    def seconds(self) -> float:
        return self._before if self._since is None else self._before + self._now() - self._since

    @property
    def stands(self) -> bool:
        return self._since is None

    def stop(self) -> None:
        self._before, self._since = self.seconds(), None

    def go(self) -> None:
        self._since = self._now()
