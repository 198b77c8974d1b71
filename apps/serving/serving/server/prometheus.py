"""Counters, gauges, histograms and summaries, written as Prometheus text or as LoRAX's JSON."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

Labels = tuple[tuple[str, str], ...]
OTHER: Labels = (("overflow", "true"),)


def _text(labels: Labels, extra: str = "") -> str:
    parts = ['{}="{}"'.format(k, v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for k, v in labels]
    if extra:
        parts.append(extra)
    return "{" + ",".join(parts) + "}" if parts else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


@dataclass(slots=True)
class Value:
    """A counter or a gauge; past `max_series` label sets, new ones are added up under one."""

    name: str
    kind: str
    help: str
    max_series: int = 200
    values: dict[Labels, float] = field(default_factory=dict)

    def _key(self, labels: dict[str, str]) -> Labels:
        key = tuple(sorted(labels.items()))
        return key if key in self.values or len(self.values) < self.max_series else OTHER

    def add(self, amount: float = 1.0, /, **labels: str) -> None:
        key = self._key(labels)
        self.values[key] = self.values.get(key, 0.0) + amount

    def set(self, value: float, **labels: str) -> None:
        self.values[self._key(labels)] = value

    def fold(self, old: dict[str, str], new: dict[str, str]) -> None:
        """Adds what was counted under the labels `old` (and any others beside them) to `new`."""
        for key in [key for key in self.values if old.items() <= dict(key).items()]:
            self.add(self.values.pop(key), **{**dict(key), **new})

    def lines(self) -> list[str]:
        return [f"{self.name}{_text(labels)} {_number(value)}" for labels, value in list(self.values.items())]

    def data(self) -> list[dict[str, object]]:
        return [{"key": _text(labels), "value": value} for labels, value in self.values.items()]


@dataclass(slots=True)
class Histogram:
    name: str
    help: str
    buckets: Sequence[float]
    kind: str = "histogram"
    series: dict[Labels, tuple[list[int], list[float]]] = field(default_factory=dict)  # counts, [sum, count]

    def observe(self, value: float, **labels: str) -> None:
        key = tuple(sorted(labels.items()))
        counts, total = self.series.setdefault(key, ([0] * (len(self.buckets) + 1), [0.0, 0.0]))
        counts[bisect_left(self.buckets, value)] += 1
        total[0] += value
        total[1] += 1

    def _series(self) -> dict[Labels, tuple[list[int], list[float]]]:
        return self.series or {(): ([0] * (len(self.buckets) + 1), [0.0, 0.0])}

    def lines(self) -> list[str]:
        out = []
        for labels, (counts, total) in self._series().items():
            running = 0
            for bound, count in zip([*self.buckets, float("inf")], counts, strict=True):
                running += count
                edge = "+Inf" if bound == float("inf") else f"{bound:.6g}"
                le = f'le="{edge}"'
                out.append(f"{self.name}_bucket{_text(labels, le)} {running}")
            out.append(f"{self.name}_sum{_text(labels)} {total[0]!r}")
            out.append(f"{self.name}_count{_text(labels)} {int(total[1])}")
        return out

    def data(self) -> list[dict[str, object]]:
        return [
            {"key": _text(labels), "value": {"sum": total[0], "count": total[1]}}
            for labels, (_, total) in self._series().items()
        ]


@dataclass(slots=True)
class Summary:
    name: str
    help: str
    kind: str = "summary"
    total: float = 0.0
    count: int = 0

    def observe(self, value: float) -> None:
        self.total += value
        self.count += 1

    def lines(self) -> list[str]:
        return [f"{self.name}_sum {self.total!r}", f"{self.name}_count {self.count}"]

    def data(self) -> list[dict[str, object]]:
        return [{"key": "", "value": {"sum": self.total, "count": self.count}}]


Metric = Value | Histogram | Summary


def as_text(metrics: Sequence[Metric]) -> str:
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
    return "\n".join(lines) + "\n"


def as_json(metrics: Sequence[Metric]) -> dict[str, object]:
    return {metric.name: {"type": metric.kind, "data": metric.data()} for metric in metrics}
