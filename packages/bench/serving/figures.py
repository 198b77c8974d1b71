"""A row of the table: one figure with its spread, what is wanted of it, and what it was made from."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    row: str
    title: str
    wanted: str
    value: float | None = None  # None: not measured, and `detail` says why
    low: float | None = None
    high: float | None = None
    unit: str = "x"
    detail: dict[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        if self.value is None:
            return f"{self.row:14} {self.title:66} not measured: {self.detail.get('why', '')}"
        spread = "" if self.low is None or self.high is None else f"({self.low:.2f} to {self.high:.2f})"
        return f"{self.row:14} {self.title:66} {self.value:7.2f} {self.unit:3} {spread:18} wanted {self.wanted}"


def of_rounds(row: str, title: str, wanted: str, values: Sequence[float], **detail: Any) -> Figure:
    low, high, middle = min(values), max(values), statistics.median(values)
    return Figure(row, title, wanted, _short(middle), _short(low), _short(high), detail=detail)


def missing(row: str, title: str, wanted: str, why: str) -> Figure:
    return Figure(row, title, wanted, detail={"why": why})


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def speeds(turns: Sequence[dict[str, Any]], clock: str) -> list[float]:
    return [turn["tokens"] / turn[clock] for turn in turns]


def summary(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for clock in ("wall", "cpu"):
        found = speeds(turns, clock)
        told[f"tokens_per_{clock}_second"] = _short(statistics.median(found))
        told[f"{clock}_spread"] = [_short(min(found)), _short(max(found))]
    return told


def _short(value: float) -> float:
    return float(f"{value:.4g}")
