"""Prompt lookup: an answer often repeats what the prompt or the answer already says, so the tokens that followed the
last three the time before are tried as the next ones. All of them are checked in one step."""

from __future__ import annotations

from dataclasses import dataclass, field

GRAM = 3
FIRST = 4
MOST = 12
LONGEST_REST = 64


@dataclass(slots=True)
class Drafter:
    """Of one request: where three tokens last occurred, and how its drafts fared. `most`: tokens of the longest."""

    most: int = MOST
    _after: dict[tuple[int, ...], int] = field(default_factory=dict)  # three tokens -> the place behind them
    _seen: int = GRAM  # places before this one are in the table
    _length: int = FIRST
    _rest: int = 0  # drafts to leave out
    _pause: int = 1  # how long the next rest is

    def propose(self, tokens: list[int], room: int) -> list[int]:
        """At most `room` tokens that may come after `tokens`; none while its drafts don't pay."""
        if self._rest:
            self._rest -= 1
            return []
        for end in range(self._seen, len(tokens)):
            self._after[tuple(tokens[end - GRAM : end])] = end
        self._seen = max(self._seen, len(tokens))
        place = self._after.get(tuple(tokens[-GRAM:]))
        if place is None:
            return []
        return tokens[place : place + min(room, self._length, self.most)]

    def judged(self, drafted: int, accepted: int) -> None:
        if accepted == drafted:
            self._length, self._pause = min(self.most, 2 * self._length), 1
        elif accepted:
            self._length, self._pause = max(2, accepted + 1), 1
        else:
            self._length = 2
            self._rest = self._pause
            self._pause = min(LONGEST_REST, 2 * self._pause)
