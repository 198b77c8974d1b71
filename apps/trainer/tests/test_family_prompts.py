"""Gemma's and Phi-3's chat templates and Gemma's first token, as transformers renders and numbers them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from trainer.encode import Encoder, encoder
from trainer.rows import Completion, Messages, Text

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""
PHI = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + "
    "'<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
TURNS = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "2 + 3?"},
    {"role": "assistant", "content": "5"},
    {"role": "user", "content": "And 4 + 4?"},
    {"role": "assistant", "content": "8"},
]
BOS, EOS = 0, 260


def base_with(tiny_base: Path, folder: Path, template: str, special: list[str]) -> Path:
    """The byte tokenizer with a family's template and tokens, of which the first ends a text, and a first token in
    front of every text."""
    shutil.copytree(tiny_base, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", BOS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"chat_template": template, "eos_token": special[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert tokenizer.token_to_id(special[0]) == EOS
    return folder


@pytest.fixture
def gemma(tiny_base: Path, tmp_path: Path) -> Path:
    return base_with(tiny_base, tmp_path / "gemma", GEMMA, ["<eos>", "<start_of_turn>", "<end_of_turn>"])


@pytest.fixture
def phi(tiny_base: Path, tmp_path: Path) -> Path:
    return base_with(tiny_base, tmp_path / "phi", PHI, ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>"])


def of(base: Path, form: str) -> Encoder:
    return encoder(base, {"eos_token_id": [EOS]}, "chat" if form == "chat" else "raw")


def test_the_first_token_stands_once_before_a_prompt_and_a_text_and_never_before_an_answer(gemma: Path) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(gemma)
    example = of(gemma, "raw").encode(Completion("Say:", " yes"))
    assert example is not None
    assert list(example.prompt) == theirs("Say:").input_ids and example.prompt[0] == BOS
    assert BOS not in (*example.prompt[1:], *example.completion) and example.completion[-1] == EOS
    text = of(gemma, "raw").encode(Text("A text."))
    assert text is not None and [*text.prompt, *text.completion] == [*theirs("A text.").input_ids, EOS]


@pytest.mark.parametrize("family", ["gemma", "phi"])
def test_a_prompt_in_chat_form_is_transformers_turn(request: pytest.FixtureRequest, family: str) -> None:
    base: Path = request.getfixturevalue(family)
    turn = [{"role": "user", "content": "2 + 3?"}]
    theirs = transformers.AutoTokenizer.from_pretrained(base)
    expected = theirs.apply_chat_template(turn, add_generation_prompt=True)["input_ids"]
    example = of(base, "chat").encode(Completion("2 + 3?", "5"))
    assert example is not None and list(example.prompt) == expected


@pytest.mark.parametrize("family", ["gemma", "phi"])
def test_each_answer_of_a_conversation_is_learned_with_the_mark_that_ends_it(
    request: pytest.FixtureRequest, family: str
) -> None:
    base: Path = request.getfixturevalue(family)
    theirs = transformers.AutoTokenizer.from_pretrained(base)
    learned = tuple(turn["role"] == "assistant" for turn in TURNS)
    example = of(base, "chat").encode(Messages(tuple(TURNS), learned))
    assert example is not None
    tokens = [*example.prompt, *example.completion]
    whole = theirs.apply_chat_template(TURNS)["input_ids"]
    assert tokens[:-1] == whole[: len(tokens) - 1] and tokens[-1] == EOS and EOS not in tokens[:-1]
    others = [set(range(*span)) for span in example.skipped]
    kept = [t for at, t in enumerate(example.completion) if not any(at in span for span in others)]
    mark = "<end_of_turn>" if family == "gemma" else "<|end|>"
    assert theirs.decode(kept) in (f"5{mark}8{mark}{theirs.eos_token}", f"5{mark}8{mark}\n{theirs.eos_token}")
