"""The result as the README shows it: one table, and a line about the machine, between two markers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from figures import Figure

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def write_readme(readme: Path, result: dict[str, Any], figures: list[Figure]) -> None:
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{markdown(result, figures)}\n{END}{after}", encoding="utf-8")


def markdown(result: dict[str, Any], figures: list[Figure]) -> str:
    machine = result["machine"]
    load = f"{result['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after"
    told = (
        f"{machine['processor']} ({', '.join(machine['flags'])}), {machine['threads']} threads on {machine['cores']} "
        f"cores, torch {machine['torch']}, commit {machine['commit']}, {result['taken_at']}, "
        f"{result['rounds']} rounds, load average {load}."
    )
    lines = [
        told,
        "",
        "| row | figure | median (lowest to highest) | by processor time | wanted |",
        "|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_line(figure) for figure in figures])


def _line(figure: Figure) -> str:
    if figure.value is None:
        return f"| `{figure.row}` | {figure.title} | not measured: {figure.detail.get('why', '')} | | {figure.wanted} |"
    spread = f" ({figure.low:g} to {figure.high:g})" if figure.low is not None and figure.high is not None else ""
    cpu = figure.detail.get("by_cpu", "")
    return f"| `{figure.row}` | {figure.title} | {figure.value:g} {figure.unit}{spread} | {cpu} | {figure.wanted} |"
