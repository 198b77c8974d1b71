"""The files of rendered rows, as token rows of bounded length."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_py.chat_template import ChatTemplate, ChatTemplateError
from lora_py.peft_files import PromptFormat
from lora_py.prompts import encode_completion, encode_prompt, load_tokenizer, needs_space

from trainer.errors import TrainerError
from trainer.packing import Example

LONGEST_LINE = 10_000_000  # characters

Encode = Callable[[str, str], Example]


@dataclass(frozen=True, slots=True)
class Rows:
    examples: tuple[Example, ...]
    max_length: int
    cut: int  # prompts that lost their middle to fit
    dropped: int  # rows with no completion, or with one that does not fit
    sha256: str  # of the file

    @property
    def tokens(self) -> int:
        return sum(example.length for example in self.examples)


def encoder(base: Path, config: dict[str, Any] | Any, prompt_format: PromptFormat) -> Encode:
    tokenizer = load_tokenizer(base)
    template = ChatTemplate.load(base)
    if prompt_format == "chat" and template is None:
        raise TrainerError("trainer_bad_spec", "The base model has no chat template: choose prompt_format raw.")
    eos = end_token(config)
    # one object a token number instead of one a token: a fifth of the memory of a large file
    number = tuple(range(max(tokenizer.get_vocab_size(), eos + 1)))

    def encode(prompt: str, completion: str) -> Example:
        try:
            ids = encode_prompt(tokenizer, template, prompt, prompt_format)
        except ChatTemplateError as error:
            raise TrainerError("trainer_bad_data", str(error)) from error
        answer = encode_completion(tokenizer, completion, eos, needs_space(prompt, prompt_format))
        # a model needs one token to begin from, so an empty prompt begins after the end of another text
        return Example(tuple(number[i] for i in ids) or (eos,), tuple(number[i] for i in answer))

    return encode


def end_token(config: dict[str, Any]) -> int:
    eos = config.get("eos_token_id")
    first = eos[0] if isinstance(eos, list) and eos else eos
    if not isinstance(first, int):
        raise TrainerError("trainer_bad_spec", "The base model's config.json names no eos_token_id.")
    return first


def read_rows(
    path: Path, encode: Encode, max_length: int | None, longest: int, check: Callable[[], None] = lambda: None
) -> Rows:
    """`max_length` None: the 95th percentile of the rows' lengths. `longest` is the base's own limit."""
    digest = hashlib.sha256()
    examples = []
    empty = 0
    for number, line in _lines(path, digest):
        check()
        prompt, completion = _row(line, number, path)
        if completion.strip():
            examples.append(encode(prompt, completion))
        else:
            empty += 1
    if not examples:
        reason = f"all {empty} rows have an empty completion" if empty else "there are no rows"
        raise TrainerError("trainer_bad_data", f"{path.name} has nothing to train on: {reason}.")
    limit = min(max_length or percentile([e.length for e in examples], 0.95), longest)
    fitted = [fit(example, limit) for example in examples]
    kept = tuple(example for example in fitted if example is not None)
    if not kept:
        raise TrainerError("trainer_bad_data", f"No row of {path.name} fits into {limit} tokens: raise max_length.")
    cut = sum(new is not None and new.length < old.length for old, new in zip(examples, fitted, strict=True))
    return Rows(kept, limit, cut, empty + len(fitted) - len(kept), digest.hexdigest())


def fit(example: Example, limit: int) -> Example | None:
    """Cuts the middle out of a prompt that is too long: instructions stand at the start, the question at the end. The
    answer is never cut; a row whose answer leaves no room for a prompt is dropped."""
    if example.length <= limit:
        return example
    room = limit - len(example.completion)
    if room < 1:
        return None
    head, tail = room // 2, room - room // 2
    return Example(example.prompt[:head] + example.prompt[-tail:], example.completion)


def percentile(values: list[int], share: float) -> int:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _lines(path: Path, digest: Any) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                digest.update(raw)
                if len(raw) > LONGEST_LINE:
                    raise TrainerError("trainer_bad_data", f"{path.name}, line {number} is longer than 10 MB.")
                line = raw.decode("utf-8")
                if line.strip():
                    yield number, line
    except FileNotFoundError as error:
        raise TrainerError("trainer_bad_data", f"There is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise TrainerError("trainer_bad_data", f"{path.name} is not UTF-8 text.") from error


def _row(line: str, number: int, path: Path) -> tuple[str, str]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TrainerError("trainer_bad_data", f"{path.name}, line {number} is not JSON: {error}") from error
    if not isinstance(value, dict) or set(value) != {"prompt", "completion"}:
        raise TrainerError("trainer_bad_data", f"{path.name}, line {number} must have exactly prompt and completion.")
    prompt, completion = value["prompt"], value["completion"]
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise TrainerError("trainer_bad_data", f"{path.name}, line {number}: prompt and completion must be text.")
    return prompt, completion
