"""A row as tokens, by its kind, and made to fit a length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_py.chat_template import ChatTemplate, ChatTemplateError
from lora_py.peft_files import PromptFormat
from lora_py.prompts import encode_completion, encode_prompt, load_tokenizer, needs_space
from tokenizers import Tokenizer

from trainer.chat import ChatEncoder
from trainer.errors import TrainerError
from trainer.packing import Example
from trainer.rows import Completion, DataKind, Messages, Row, Text


@dataclass(frozen=True, slots=True)
class Encoder:
    tokenizer: Tokenizer
    template: ChatTemplate | None
    prompt_format: PromptFormat
    ends: tuple[int, ...]  # the base's end tokens, the one that answers are given first
    numbers: tuple[int, ...]  # one object a token number instead of one a token: a fifth of a large file's memory

    def refusal(self, kind: DataKind) -> str | None:
        """Why the spec's prompt format does not go with the file's kind of rows."""
        if kind == "messages" and self.prompt_format != "chat":
            return "Rows of messages are rendered by the base's chat template: set prompt_format to chat."
        if kind == "text" and self.prompt_format != "raw":
            return "Rows of text are learned as written: set prompt_format to raw."
        return None

    def encode(self, row: Row) -> Example | None:
        """None where there is nothing to learn. Raises ChatTemplateError."""
        if isinstance(row, Completion):
            return self._answer(row.prompt, row.completion)
        if isinstance(row, Messages):
            found = self._chat().encode(row)
            return None if found is None else self._shared(found)
        if isinstance(row, Text):
            ids = [*self.tokenizer.encode(row.text).ids, self.ends[0]]
            return Example(self._tuple(ids[:1]), self._tuple(ids[1:])) if row.text.strip() and len(ids) > 1 else None
        chosen, rejected = (self._answer(row.prompt, answer) for answer in (row.chosen, row.rejected))
        if chosen is None or rejected is None or chosen == rejected:
            return None
        return Example(chosen.prompt, chosen.completion, rejected=rejected.completion)

    def fit(self, row: Row, example: Example, limit: int) -> list[Example]:
        """What of the row is trained within `limit` tokens a sequence; nothing where its answer leaves no room."""
        if example.longest <= limit:
            return [example]
        if isinstance(row, Text):
            return windows(example, limit)
        if isinstance(row, Messages):
            shorter = self._chat().fit(row, limit)
            return [] if shorter is None else [self._shared(shorter)]
        cut = fit(example, limit)
        return [] if cut is None else [cut]

    def _answer(self, prompt: str, completion: str) -> Example | None:
        if not completion.strip():
            return None
        ids = encode_prompt(self.tokenizer, self.template, prompt, self.prompt_format)
        spaced = needs_space(prompt, self.prompt_format)
        answer = encode_completion(self.tokenizer, completion, self.ends[0], spaced)
        # a model needs one token to begin from, so an empty prompt begins after the end of another text
        return Example(self._tuple(ids) or self.ends[:1], self._tuple(answer))

    def _chat(self) -> ChatEncoder:
        if self.template is None:
            raise ChatTemplateError("The base model has no chat template.")
        return ChatEncoder(self.template, self.tokenizer, self.ends)

    def _shared(self, example: Example) -> Example:
        return Example(self._tuple(example.prompt), self._tuple(example.completion), example.skipped)

    def _tuple(self, ids: Iterable[int]) -> tuple[int, ...]:
        return tuple(self.numbers[i] for i in ids)


def encoder(base: Path, config: dict[str, Any] | Any, prompt_format: PromptFormat) -> Encoder:
    tokenizer = load_tokenizer(base)
    template = ChatTemplate.load(base)
    if prompt_format == "chat" and template is None:
        raise TrainerError("trainer_bad_spec", "The base model has no chat template: choose prompt_format raw.")
    ends = end_tokens(config)
    size = max(tokenizer.get_vocab_size(), *(end + 1 for end in ends))
    return Encoder(tokenizer, template, prompt_format, ends, tuple(range(size)))


def end_tokens(config: dict[str, Any]) -> tuple[int, ...]:
    eos = config.get("eos_token_id")
    ends = eos if isinstance(eos, list) else [eos]
    if not ends or not all(isinstance(end, int) for end in ends):
        raise TrainerError("trainer_bad_spec", "The base model's config.json names no eos_token_id.")
    return tuple(ends)


def fit(example: Example, limit: int) -> Example | None:
    """Cuts the middle out of a prompt that is too long: instructions stand at the start, the question at its end. The
    answer is never cut; a row whose answer leaves no room for a prompt is dropped."""
    if example.longest <= limit:
        return example
    room = limit - (example.longest - len(example.prompt))
    if room < 1:
        return None
    head, tail = room // 2, room - room // 2
    return Example(example.prompt[:head] + example.prompt[-tail:], example.completion, (), example.rejected)


def windows(example: Example, limit: int) -> list[Example]:
    """A long text in pieces. Each begins with the last token of the one before, so every token is learned once."""
    tokens: Sequence[int] = example.prompt + example.completion
    starts = range(0, len(tokens) - 1, limit - 1)
    return [Example(tuple(tokens[at : at + 1]), tuple(tokens[at + 1 : at + limit])) for at in starts]
