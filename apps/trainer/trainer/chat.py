"""A conversation as tokens: the base's chat template over all of it, with loss on the assistant's turns alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lora_py.chat_template import ChatTemplate, ChatTemplateError, render_chat
from tokenizers import Tokenizer

from trainer.packing import Example
from trainer.rows import Messages

Conversation = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class ChatEncoder:
    template: ChatTemplate
    tokenizer: Tokenizer
    eos: tuple[int, ...]  # any of them ends a turn; the first is added where the template leaves the last turn open

    def encode(self, row: Messages) -> Example | None:
        """None where nothing is learned. Raises ChatTemplateError where the template's text cannot be told apart."""
        text = render_chat(self.template, row.messages, add_generation_prompt=False)
        spans = [self._turn(row.messages, at, text) for at, learned in enumerate(row.learned) if learned]
        spans = [span for span in spans if text[span[0] : span[1]].strip()]
        if not spans or not any(row.messages[i]["content"].strip() for i, own in enumerate(row.learned) if own):
            return None
        coded = self.tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = coded.ids
        marked = _learned_tokens(coded.offsets, spans)
        if not marked:
            return None
        last = marked[-1]
        tokens = ids[: last + 1]
        if row.learned[-1] and ids[last] not in self.eos:
            tokens.append(self.eos[0])
            marked.append(last + 1)
        return _example(tokens, marked)

    def fit(self, row: Messages, limit: int) -> Example | None:
        """The newest part of the conversation that fits: whole turns are left out from its start, the system's message
        never. None where even the last question and answer do not fit."""
        for shorter in self._shorter(row):
            example = self.encode(shorter)
            if example is not None and example.length <= limit:
                return example
        return None

    def _shorter(self, row: Messages) -> list[Messages]:
        head = next(i for i, message in enumerate(row.messages) if message["role"] != "system")
        starts = [i for i in range(head, len(row.messages)) if row.messages[i]["role"] == "user"]
        return [
            Messages((*row.messages[:head], *row.messages[at:]), (*row.learned[:head], *row.learned[at:]))
            for at in starts
        ]

    def _turn(self, messages: Conversation, at: int, text: str) -> tuple[int, int]:
        """Characters of the assistant's turn: what stands behind the generation prompt, up to the turn's last mark."""
        before = render_chat(self.template, messages[:at], add_generation_prompt=True)
        through = render_chat(self.template, messages[: at + 1], add_generation_prompt=False)
        if not text.startswith(through):  # Phi-3 writes the end token behind the last turn, whichever that is
            through = through.removesuffix(self.template.special_tokens.get("eos_token", ""))
        if not text.startswith(through) or not through.startswith(before):
            raise ChatTemplateError(
                "The base's chat template writes an earlier turn differently once the conversation goes on, so the "
                "answers cannot be told from the rest. Split the conversation into rows of one answer each."
            )
        return len(before), len(through.rstrip())


def _learned_tokens(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Tokens of which at least one character lies in a span; never the first, which nothing predicts."""
    found: list[int] = []
    turn = 0
    for token, (begin, end) in enumerate(offsets):
        while turn < len(spans) and begin >= spans[turn][1]:
            turn += 1
        if turn < len(spans) and token > 0 and end > spans[turn][0] and end > begin:
            found.append(token)
    return found


def _example(tokens: Sequence[int], marked: Sequence[int]) -> Example:
    first = marked[0]
    skipped = [(a + 1 - first, b - first) for a, b in pairwise(marked) if b > a + 1]
    return Example(tuple(tokens[:first]), tuple(tokens[first:]), tuple(skipped))
