"""OpenAI leaves the stop sequence out of the answer, so a stream holds back what could be its beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.server.generate import Answer


def trimmed(answer: Answer) -> str:
    return answer.text.removesuffix(answer.stop_text) if answer.stop_text else answer.text


def _could_begin(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of the text may be the beginning of a stop sequence."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0


@dataclass(slots=True)
class HoldBack:
    stops: Sequence[str]
    held: str = ""

    def add(self, piece: str) -> str:
        text = self.held + piece
        keep = _could_begin(text, self.stops) if self.stops else 0
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self, piece: str, answer: Answer) -> str:
        text = self.held + piece
        return text.removesuffix(answer.stop_text) if answer.stop_text else text
