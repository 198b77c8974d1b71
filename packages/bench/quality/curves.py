"""Loss curves as an SVG: one small chart a task, the run alone as a wide pale line under the one in the group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, COLUMNS = 240, 150, 4
LEFT, TOP, RIGHT, BOTTOM = 34, 26, 8, 20  # around a chart's lines
LEGEND = 24


def draw(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Of each task the losses alone and in the group, a number a step."""
    rows = -(-len(curves) // COLUMNS)
    size = f"{WIDTH * COLUMNS} {HEIGHT * rows + LEGEND}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="10">',
        "<title>Loss of each task, step by step, alone and in a group of eight</title>",
        f'<rect width="{WIDTH * COLUMNS}" height="{HEIGHT * rows + LEGEND}" fill="#fff"/>',
    ]
    for i, (name, (alone, grouped)) in enumerate(curves.items()):
        x, y = i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{_chart(name, alone, grouped)}</g>')
    y = HEIGHT * rows + 12
    parts += [
        f'<line x1="{LEFT}" x2="{LEFT + 24}" y1="{y}" y2="{y}" stroke="#f2b179" stroke-width="5"/>',
        f'<text x="{LEFT + 30}" y="{y + 4}">alone</text>',
        f'<line x1="{LEFT + 80}" x2="{LEFT + 104}" y1="{y}" y2="{y}" stroke="#1d4f91" stroke-width="1.2"/>',
        f'<text x="{LEFT + 110}" y="{y + 4}">in a group of eight</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _chart(name: str, alone: Sequence[float], grouped: Sequence[float]) -> str:
    highest = max(*alone, *grouped)
    floor = HEIGHT - BOTTOM

    def points(losses: Sequence[float]) -> str:
        across = (WIDTH - LEFT - RIGHT) / max(1, len(losses) - 1)
        return " ".join(
            f"{LEFT + i * across:.1f},{floor - loss / highest * (floor - TOP):.2f}" for i, loss in enumerate(losses)
        )

    return (
        f'<text x="{LEFT}" y="16" font-weight="bold">{name}</text>'
        f'<path d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}" fill="none" stroke="#999"/>'
        f'<text x="{LEFT - 4}" y="{TOP + 4}" text-anchor="end">{highest:.1f}</text>'
        f'<text x="{LEFT - 4}" y="{floor}" text-anchor="end">0</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 7}" text-anchor="end">step {len(alone)}</text>'
        f'<polyline points="{points(alone)}" fill="none" stroke="#f2b179" stroke-width="5" stroke-linejoin="round"/>'
        f'<polyline points="{points(grouped)}" fill="none" stroke="#1d4f91" stroke-width="1.2"/>'
    )
