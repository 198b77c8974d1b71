"""Bounded labels: the most active values have a series of their own, all others share one."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.server.prometheus import Value

Key = tuple[str, ...]
CANDIDATES = 8  # how many values are watched for each one that has a series
HALVE_EVERY = 1000  # notes after which older activity counts half
UNBOUNDED = 1 << 30  # the keys are bounded here already
LEAD = 8.0  # how far ahead a newcomer must be, so that equals don't take turns


@dataclass(slots=True)
class TopLabels:
    """`size` keys have their own series. A newcomer that has been more active of late takes the place of the least
    active one, whose counts are added to the shared series: no series ever falls, and sums stay right."""

    names: tuple[str, ...]
    size: int
    other: str = "other"
    _activity: dict[Key, float] = field(default_factory=dict)
    _named: set[Key] = field(default_factory=set)
    _values: list[Value] = field(default_factory=list)
    _notes: int = 0

    def counter(self, name: str, text: str) -> Value:
        value = Value(name, "counter", text, max_series=UNBOUNDED)
        self._values.append(value)
        return value

    def note(self, key: Key) -> dict[str, str]:
        """The labels under which this activity of `key` is counted."""
        self._notes += 1
        if self._notes % HALVE_EVERY == 0:
            self._forget()
        self._activity[key] = self._activity.get(key, 0.0) + 1.0
        if key not in self._named:
            self._consider(key)
        return self.labels(key)

    def labels(self, key: Key) -> dict[str, str]:
        return dict(zip(self.names, key if key in self._named else (self.other,) * len(self.names), strict=True))

    def _consider(self, key: Key) -> None:
        if len(self._named) >= self.size:
            least = min(self._named, key=lambda named: self._activity.get(named, 0.0))
            if self._activity[key] < self._activity.get(least, 0.0) + LEAD:
                return
            self._demote(least)
        self._named.add(key)

    def _demote(self, key: Key) -> None:
        old = self.labels(key)
        self._named.remove(key)
        for value in self._values:
            value.fold(old, self.labels(key))

    def _forget(self) -> None:
        halved = {key: activity / 2 for key, activity in self._activity.items() if activity >= 1.0}
        kept = sorted(halved, key=lambda key: -halved[key])[: self.size * CANDIDATES]
        self._activity = {key: halved[key] for key in kept}
