from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from lora_py.chat_template import ChatTemplate, ChatTemplateError, one_turn, render_chat

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are helpful<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = """{{ bos_token }}{% set ns = namespace(system='') %}
{%- if messages[0].role == 'system' %}
{%- set ns.system = messages[0].content | trim %}{% set messages = messages[1:] %}{% endif %}
{% for m in messages %}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
    {%- if m.role == 'user' %}{{ '[INST] ' ~ (ns.system if loop.first else '') ~ m.content.strip() + ' [/INST]' }}
    {%- else %}{% generation %}{{ ' ' + m.content | tojson + eos_token }}{% endgeneration %}
    {%- endif %}{% if loop.last %}{% break %}{% endif %}
{%- endfor %}"""
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
text = st.text(max_size=40)


def theirs(source: str, messages: list[dict[str, str]]) -> str:
    rendered, _ = render_jinja_template([messages], chat_template=source, add_generation_prompt=True, **TOKENS)
    return str(rendered[0])


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(text, min_size=1, max_size=5), system=st.one_of(st.none(), text))
@pytest.mark.parametrize("source", [CHATML, LLAMA2])
def test_output_equals_that_of_transformers(source: str, turns: list[str], system: str | None) -> None:
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(turns)]
    assert render_chat(ChatTemplate(source, TOKENS), messages) == theirs(source, messages)


def test_a_prompt_becomes_one_user_turn() -> None:
    rendered = one_turn(ChatTemplate(CHATML, {}), "Hi {{ 7 * 7 }}")
    assert rendered.endswith("<|im_start|>user\nHi {{ 7 * 7 }}<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_can_refuse_a_conversation() -> None:
    with pytest.raises(ChatTemplateError, match="roles must alternate"):
        render_chat(ChatTemplate(LLAMA2, TOKENS), [{"role": "assistant", "content": "x"}])


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ namespace.__init__.__globals__ }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_the_sandbox_gives_nothing_away(source: str) -> None:
    with contextlib.suppress(ChatTemplateError):
        assert render_chat(ChatTemplate(source, {}), [{"role": "user", "content": "x"}]).strip() == ""


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in 'abc' %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{{ 'a' * 9999999999 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ 'a'.ljust(9999999999) }}",
        "{{ '%9999999999d' % 1 }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}",
    ],
)
def test_a_runaway_template_ends_soon_with_an_error(source: str) -> None:
    start = time.monotonic()
    with pytest.raises(ChatTemplateError):
        render_chat(ChatTemplate(source, {}), [{"role": "user", "content": "x"}])
    assert time.monotonic() - start < 10


def test_template_and_tokens_come_from_the_base_folder(tmp_path: Path) -> None:
    config = {"chat_template": "{{ bos_token }}{{ eos_token }}", "bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    template = ChatTemplate.load(tmp_path)
    assert template is not None and render_chat(template, []) == "<s></s>"


def test_a_jinja_file_beside_the_configuration_wins(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "old"}))
    (tmp_path / "chat_template.jinja").write_text("new")
    template = ChatTemplate.load(tmp_path)
    assert template is not None and template.source == "new"


def test_a_base_without_a_template_has_none(tmp_path: Path) -> None:
    assert ChatTemplate.load(tmp_path) is None
