"""How many prompt rows fit into a step, from what steps have cost so far.

A step that also produces tokens may take STRETCH times as long as one that only does that, so a long prompt slows its
neighbours evenly and never stalls them. A prompt row costs more the further back it looks, so its cost has two parts:
a fixed one, and one for each earlier token that its attention reads. Where the model multiplies rows in tiles, a step
ends with a full one: a row more would cost as much as a whole tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

STRETCH = 2.2
LONGEST_S = 0.5  # a step of prompts alone, so that newcomers and cancellations are soon heard
LEAST_ROWS = 4  # a prompt at the front always advances by this much
FEW_ROWS = 32
LEARN = 0.3
LEAST_S = 1e-7  # of one prompt row


@dataclass(slots=True)
class Pace:
    """Measured seconds. Unknown costs are None or absent until the first step that shows them."""

    tile: int = 1  # rows that the model multiplies together
    decode_s: dict[int, float] = field(default_factory=dict)  # rows of a step without prompts -> seconds
    row_s: float | None = None  # one prompt row
    key_s: float = 0.0  # one prompt row's look at one earlier token

    def seen(self, decode_rows: int, prompt_rows: int, keys: int, seconds: float) -> None:
        """keys: over all prompt rows, the sum of the tokens before them."""
        if seconds <= 0:
            return
        if not prompt_rows:
            old = self.decode_s.get(decode_rows, seconds)
            # One stalled step (another process took the core) must not double what the next one is allowed.
            self.decode_s[decode_rows] = old + LEARN * (min(seconds, 2 * old) - old)
            return
        if not decode_rows and prompt_rows < FEW_ROWS:
            return  # mostly the cost that every step has
        extra = max(0.0, seconds - (self._decode(decode_rows) or 0.0))
        if self.row_s is None:
            self.row_s = max(LEAST_S, extra / prompt_rows)  # never 0: it divides
            return
        # Least mean squares, normalized: one step towards the line through this measurement.
        scaled = keys / 1000
        error = extra - self.row_s * prompt_rows - self.key_s * keys
        pull = LEARN * error / (prompt_rows**2 + scaled**2)
        self.row_s = max(LEAST_S, self.row_s + pull * prompt_rows)
        self.key_s = max(0.0, self.key_s + pull * scaled / 1000)

    def budget(self, decode_rows: int, unmeasured: int, most: int) -> Budget:
        """For the prompts of one step: `most` rows at most, and `unmeasured` rows where costs aren't known yet."""
        alone = self._decode(decode_rows)
        if not decode_rows:
            return Budget(self, most, LONGEST_S if self.row_s else math.inf, 0)
        if alone is None or self.row_s is None:
            return Budget(self, max(1, unmeasured - decode_rows), math.inf, decode_rows)
        return Budget(self, max(1, most - decode_rows), (STRETCH - 1) * alone, decode_rows)

    def _decode(self, rows: int) -> float | None:
        """Seconds of a step of `rows` rows without prompts, from the nearest number of rows that was measured."""
        if not rows or not self.decode_s:
            return None
        return self.decode_s[min(self.decode_s, key=lambda known: abs(known - rows))]


@dataclass(slots=True)
class Budget:
    """What is left of a step for prompts."""

    pace: Pace
    rows: int
    seconds: float
    filled: int  # rows that the step has already
    untouched: bool = True

    def take(self, position: int, wanted: int) -> int:
        """Rows for a prompt that has come to `position`; 0 when the step is full."""
        most, least = min(wanted, self.rows), LEAST_ROWS if self.untouched else 0
        count = min(most, self._within(position))
        if count < most:
            count = min(most, max(self._to_tile(count), least))
        if count > 0:
            self.untouched = False
            self.rows -= count
            self.filled += count
            self.seconds -= self._cost(position, count)
        return count

    def _to_tile(self, count: int) -> int:
        """So many rows, or the few more or less with which a tile is full."""
        over, tile = (self.filled + count) % self.pace.tile, self.pace.tile
        return count - over if 2 * over < tile else count + tile - over

    def _cost(self, position: int, count: int) -> float:
        return (self.pace.row_s or 0.0) * count + self.pace.key_s * keys_before(position, count)

    def _within(self, position: int) -> int:
        """The most rows from `position` on that cost no more than the seconds left."""
        if self.seconds == math.inf:
            return self.rows
        if self.seconds <= 0:
            return 0
        half, linear = self.pace.key_s / 2, (self.pace.row_s or 0.0) + self.pace.key_s * position
        root = math.sqrt(linear * linear + 4 * half * self.seconds)
        return int(2 * self.seconds / (linear + root))


def keys_before(position: int, count: int) -> int:
    """The earlier tokens that rows position ... position + count - 1 look at, summed."""
    return position * count + count * (count - 1) // 2
