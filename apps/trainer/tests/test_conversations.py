"""Conversations: which tokens are learned, against the base's own chat template rendered by transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from trainer.encode import encoder
from trainer.errors import TrainerError
from trainer.rows import Messages, Text, parse_lines

TURNS = [
    {"role": "user", "content": "2 + 3?"},
    {"role": "assistant", "content": "5"},
    {"role": "user", "content": "And 4 + 4?"},
    {"role": "assistant", "content": "8, of course"},
]


TEMPLATE = (
    "{% for turn in messages %}<|start|>{{ turn.role }} {{ turn.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant {% endif %}"
)


@pytest.fixture
def chat_base(tiny_base: Path, tmp_path: Path) -> Path:
    """With a template that writes a turn alike wherever it stands, as ChatML does."""
    base = shutil.copytree(tiny_base, tmp_path / "chat")
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": TEMPLATE}))
    return base


def config_of(base: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((base / "config.json").read_text())
    return found


def row_of(turns: list[dict[str, str]], *weights: int) -> Messages:
    learned = iter(weights)
    return Messages(tuple(turns), tuple(turn["role"] == "assistant" and bool(next(learned)) for turn in turns))


@pytest.mark.parametrize(("weights", "answers"), [((1, 1), ["5", "8, of course"]), ((0, 1), ["8, of course"])])
def test_the_assistants_turns_are_learned_and_nothing_else(
    chat_base: Path, weights: tuple[int, ...], answers: list[str]
) -> None:
    encode = encoder(chat_base, config_of(chat_base), "chat")
    example = encode.encode(row_of(TURNS, *weights))
    assert example is not None
    tokenizer = transformers.AutoTokenizer.from_pretrained(chat_base)
    whole = tokenizer.apply_chat_template(TURNS, tokenize=False)
    tokens = [*example.prompt, *example.completion]
    assert tokenizer.decode(tokens).strip() == whole.strip()
    skipped = {at for begin, end in example.skipped for at in range(begin, end)}
    learned = tokenizer.decode([token for at, token in enumerate(example.completion) if at not in skipped])
    for answer in answers:
        assert answer in learned
    for other in ["2 + 3?", "And 4 + 4?", *({"5", "8, of course"} - set(answers))]:
        assert other not in learned


def test_plain_text_is_learned_from_its_second_token_on(tiny_base: Path) -> None:
    encode = encoder(tiny_base, config_of(tiny_base), "raw")
    example = encode.encode(Text("a line of text"))
    assert example is not None
    assert len(example.prompt) == 1
    assert encode.tokenizer.decode([*example.prompt, *example.completion[:-1]]) == "a line of text"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "user", "content": "a"}]}, "must be the assistant's"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "before the assistant's first"),
        ({"messages": [{"role": "critic", "content": "a"}]}, "role must be one of"),
        ({"messages": [{"role": "user", "content": 3}]}, "content must be text"),
        ({"prompt": "a", "chosen": "b"}, "exactly the fields"),
        ({"prompt": "a", "chosen": "b", "rejected": 1}, "must be text"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: dict[str, Any], words: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"\n{json.dumps(line)}\n")

    class Nothing:
        def update(self, data: bytes, /) -> None: ...

    with pytest.raises(TrainerError, match=words) as refusal:
        list(parse_lines(file, Nothing(), None))
    assert "line 2" in str(refusal.value)
