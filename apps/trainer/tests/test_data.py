from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from lora_py.chat_template import ChatTemplate
from lora_py.prompts import encode_prompt, load_tokenizer
from lora_py.tiny_base import CONFIG
from trainer_support import write_rows

from trainer.data import percentile, read_rows
from trainer.encode import Encoder, encoder, fit
from trainer.errors import TrainerError
from trainer.packing import Example
from trainer.rows import Completion

EOS = 1


@pytest.fixture(scope="module")
def raw(tiny_base: Path) -> Encoder:
    return encoder(tiny_base, CONFIG, "raw")


def learned(encode: Encoder, prompt: str, completion: str) -> Example:
    example = encode.encode(Completion(prompt, completion))
    assert example is not None
    return example


def read(path: Path, encode: Encoder, max_length: int | None = None, longest: int = 256):  # type: ignore[no-untyped-def]
    return read_rows(path, encode, max_length, longest)


def problem(path: Path, encode: Encoder, max_length: int | None = None) -> str:
    with pytest.raises(TrainerError) as caught:
        read(path, encode, max_length)
    assert caught.value.code == "trainer_bad_data"
    return caught.value.message


@pytest.mark.parametrize("prompt_format", ["raw", "chat"])
def test_the_prompt_has_the_tokens_that_serving_gives_it(tiny_base: Path, prompt_format: str) -> None:
    encode = partial(learned, encoder(tiny_base, CONFIG, prompt_format))  # type: ignore[arg-type]
    tokenizer, template = load_tokenizer(tiny_base), ChatTemplate.load(tiny_base)
    served = encode_prompt(tokenizer, template, "Say:\nyes", prompt_format)  # type: ignore[arg-type]
    assert encode("Say:\nyes", "no").prompt == tuple(served)


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [("Kind:", "act", " act"), ("Kind: ", "act", "act"), ("Kind:", "\nact", "\nact"), ("Kind:\n", "act", "act")],
)
def test_a_space_parts_prompt_and_completion_where_nothing_else_does(
    tiny_base: Path, raw: Encoder, prompt: str, completion: str, text: str
) -> None:
    example = learned(raw, prompt, completion)
    assert load_tokenizer(tiny_base).decode(list(example.completion[:-1])) == text
    assert example.completion[-1] == EOS


def test_a_chat_answer_is_learned_as_written(tiny_base: Path) -> None:
    example = learned(encoder(tiny_base, CONFIG, "chat"), "Hi", "Hello")
    tokenizer = load_tokenizer(tiny_base)
    assert tokenizer.decode(list(example.completion[:-1])) == "Hello"
    assert tokenizer.decode(list(example.prompt), skip_special_tokens=False).endswith("<|start|>assistant ")


def test_an_empty_prompt_still_has_a_token_to_begin_from(raw: Encoder) -> None:
    assert len(learned(raw, "", "text").prompt) == 1


def test_the_length_is_the_95th_percentile(tmp_path: Path, raw: Encoder) -> None:
    rows = read(write_rows(tmp_path / "t.jsonl", [("a" * i, "b") for i in range(1, 101)]), raw)
    assert rows.max_length == 95 + 3  # " b" and EOS
    assert (rows.cut, rows.dropped, len(rows.examples)) == (5, 0, 100)
    assert max(example.length for example in rows.examples) == rows.max_length


def test_a_long_prompt_loses_its_middle_and_never_its_answer() -> None:
    example = fit(Example(tuple(range(10)), (90, 91, EOS)), 9)
    assert example == Example((0, 1, 2, 7, 8, 9), (90, 91, EOS))


def test_a_row_whose_answer_does_not_fit_is_dropped_and_counted(tmp_path: Path, raw: Encoder) -> None:
    rows = read(write_rows(tmp_path / "t.jsonl", [("a", "b" * 50), ("a", "b"), ("a", " ")]), raw, max_length=20)
    assert (len(rows.examples), rows.dropped, rows.cut) == (1, 2, 0)


def test_the_limit_of_the_base_holds(tmp_path: Path, raw: Encoder) -> None:
    assert read(write_rows(tmp_path / "t.jsonl", [("a" * 500, "b")]), raw).max_length == 256


def test_one_row_is_enough_to_read(tmp_path: Path, raw: Encoder) -> None:
    assert len(read(write_rows(tmp_path / "t.jsonl", [("a", "b")]), raw).examples) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ('{"prompt": "a"}', "line 2 must have exactly"),
        ('{"prompt": "a", "completion": "b", "c": 1}', "line 2 must have exactly"),
        ('{"prompt": "a", "completion": 5}', "line 2: prompt and completion must be text"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, raw: Encoder, line: str, words: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n" + line + "\n")
    assert words in problem(path, raw)


def test_files_without_anything_to_learn_say_so(tmp_path: Path, raw: Encoder) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    assert "there are no rows" in problem(empty, raw)
    assert "empty answer" in problem(write_rows(tmp_path / "e.jsonl", [("a", "")]), raw)
    assert "raise max_length" in problem(write_rows(tmp_path / "s.jsonl", [("a", "b" * 9)]), raw, max_length=5)
    assert "no file" in problem(tmp_path / "absent.jsonl", raw)


def test_text_in_another_encoding_is_refused(tmp_path: Path, raw: Encoder) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'{"prompt": "\xff", "completion": "b"}\n')
    assert "UTF-8" in problem(tmp_path / "t.jsonl", raw)


def test_the_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 0.95) == 7
