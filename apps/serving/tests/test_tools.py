"""Tools as OpenAI's client sees them. The model is random, so an enforced call can come from the grammar alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from llguidance import LLMatcher, LLTokenizer
from lora_py.chat_template import ChatTemplate, render_chat, takes_tools
from server import running_server
from tiny import write_model, write_tokenizer
from tokenizers import AddedToken, Tokenizer

from serving.server.fields import Fields
from serving.server.openai.tool_prompt import as_plain, for_template
from serving.server.openai.tool_reader import ForcedReader, FreeReader, message_of
from serving.server.openai.tools import Tags, call_grammar, read_tools

HELLO = [{"role": "user", "content": "How warm is it in Oslo?"}]
UNITS = {"$defs": {"unit": {"enum": ["c", "f"]}}, "properties": {"unit": {"$ref": "#/$defs/unit"}}}
WEATHER = {
    "type": "object",
    **UNITS,
    "required": ["unit"],
    "additionalProperties": False,
}
CLOCK = {
    "type": "object",
    "properties": {"zone": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["zone"],
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather now", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "clock", "parameters": {**CLOCK, "additionalProperties": False}}},
]
NAMED = {"type": "function", "function": {"name": "clock"}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with room for the functions, which are many tokens when each byte is one."""
    root = tmp_path_factory.mktemp("tools")
    write_model(root / "tiny", max_position_embeddings=2048)
    with running_server(root / "tiny", root / "cache", {}) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, **more: Any) -> Any:
    asked = {"model": "tiny", "messages": HELLO, "tools": TOOLS, "max_tokens": 600, "seed": 1, **more}
    return client.chat.completions.create(**asked)


@pytest.mark.parametrize(("choice", "names"), [("required", {"get_weather", "clock"}), (NAMED, {"clock"})])
def test_enforced_calls_keep_to_their_schema(client: openai.OpenAI, choice: Any, names: set[str]) -> None:
    for seed in range(3):
        answer = ask(client, tool_choice=choice, parallel_tool_calls=False, seed=seed, temperature=2).choices[0]
        assert answer.finish_reason == "tool_calls" and answer.message.content is None
        (call,) = answer.message.tool_calls
        arguments = json.loads(call.function.arguments)
        assert call.type == "function" and call.function.name in names
        assert arguments["unit"] in "cf" if call.function.name == "get_weather" else arguments["zone"] in range(10)


def test_several_calls_have_ids_of_their_own(client: openai.OpenAI) -> None:
    answers = [ask(client, tool_choice="required", seed=seed, temperature=2).choices[0] for seed in range(4)]
    most = max(answers, key=lambda answer: len(answer.message.tool_calls))
    ids = [call.id for call in most.message.tool_calls]
    assert len(ids) > 1 and len(set(ids)) == len(ids)
    assert all(json.loads(call.function.arguments) for call in most.message.tool_calls)


@pytest.mark.parametrize("parallel", [True, False])
def test_streamed_calls_add_up_to_the_whole_answer(client: openai.OpenAI, parallel: bool) -> None:
    asked = {"tool_choice": "required", "parallel_tool_calls": parallel, "n": 2}
    whole = [
        [(call.function.name, call.function.arguments) for call in choice.message.tool_calls]
        for choice in ask(client, **asked).choices
    ]
    with client.chat.completions.stream(
        model="tiny", messages=HELLO, tools=TOOLS, max_tokens=600, seed=1, **asked
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    streamed = [
        [(call.function.name, call.function.arguments) for call in choice.message.tool_calls]
        for choice in final.choices
    ]
    assert sorted(streamed) == sorted(whole)
    assert {choice.finish_reason for choice in final.choices} == {"tool_calls"}
    assert sum(event.type == "tool_calls.function.arguments.delta" for event in events) > len(final.choices)


def test_answer_cut_off_within_a_call_says_length(client: openai.OpenAI) -> None:
    answer = ask(client, tool_choice=NAMED, max_tokens=len('{"name": "clock", "arguments": {')).choices[0]
    assert answer.finish_reason == "length" and answer.message.tool_calls[0].function.arguments == "{"


def test_free_answers_stay_text(client: openai.OpenAI) -> None:
    for choice in ("auto", "none"):
        answer = ask(client, tool_choice=choice, max_tokens=10, temperature=0).choices[0]
        assert answer.message.tool_calls is None and answer.message.content
        chunks = list(ask(client, tool_choice=choice, max_tokens=10, temperature=0, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer.message.content


def test_results_go_back_to_the_model(url: str, client: openai.OpenAI) -> None:
    called = ask(client, tool_choice=NAMED).choices[0].message
    talk = [*HELLO, called, {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "21 degrees"}]
    with_result = ask(client, messages=talk, tool_choice="none", max_tokens=4)
    call = called.tool_calls[0].function
    rendered = (
        f"<|im_start|>user\n{HELLO[0]['content']}<|im_end|>\n"
        f'<|im_start|>assistant\n{{"name": "clock", "arguments": {call.arguments}}}<|im_end|>\n'
        "<|im_start|>user\nResult of clock:\n21 degrees<|im_end|>\n<|im_start|>assistant\n"
    )
    tokens = httpx.post(f"{url}/tokenize", json={"inputs": rendered, "add_special_tokens": False}).json()
    assert with_result.usage.prompt_tokens == len(tokens)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a", "strict": 1}}]}, "tools[0].function.strict"),
        ({"tools": [*TOOLS, TOOLS[0]]}, "tools"),
        ({"tools": TOOLS * 99}, "tools"),
        ({"tool_choice": "elsewhere"}, "tool_choice"),
        ({"tools": None, "tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [*HELLO, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0]"),
    ],
    ids=str,
)
def test_wrong_tools_are_refused_by_name(url: str, wrong: dict, field: str) -> None:
    body = {"model": "", "messages": HELLO, "tools": TOOLS, "max_tokens": 2, **wrong}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == field


def test_function_whose_schema_can_not_be_kept_is_refused(url: str) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "no-such-type"}}}]
    body = {"model": "", "messages": HELLO, "tools": tools, "tool_choice": "required"}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "tools"


CALL = '{"name": "clock", "arguments": {"zone": 1}}'
FREE = [
    (CALL, None, 1),
    (f"  {CALL}\n{CALL}", None, 2),
    (f"[{CALL}, {CALL}]", None, 2),
    ('<|python_tag|>{"name": "clock", "parameters": {"zone": 1}}', None, 1),
    (f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{CALL}\n</tool_call>", None, 2),
    (f"Let me look. <tool_call>{CALL}</tool_call>", "Let me look. ", 1),
    ('{"name": "unknown", "arguments": {}}', '{"name": "unknown", "arguments": {}}', 0),
    ('{"zone": 1}', '{"zone": 1}', 0),
    ("{not json", "{not json", 0),
    ("<tool_call>{", "<tool_call>{", 0),
    ("1 < 2 and <tool", "1 < 2 and <tool", 0),
    (f"The call is {CALL}", f"The call is {CALL}", 0),
    ("[" * 5000, "[" * 5000, 0),
]


@pytest.mark.parametrize(("text", "content", "calls"), FREE, ids=lambda v: str(v)[:30])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_calls_are_found_in_free_text(text: str, content: str | None, calls: int, size: int) -> None:
    reader = FreeReader(frozenset({"clock"}), parallel=True)
    deltas = [d for at in range(0, len(text), size) for d in reader.add(text[at : at + size])]
    message = message_of(deltas + reader.end())
    assert message["content"] == content
    assert len(message.get("tool_calls", [])) == calls and reader.called == bool(calls)
    assert all(json.loads(call["function"]["arguments"]) == {"zone": 1} for call in message.get("tool_calls", []))


def test_plain_text_passes_as_it_comes() -> None:
    reader = FreeReader(frozenset({"clock"}), parallel=True)
    assert reader.add("Hello") == [{"content": "Hello"}]
    assert reader.add(" <to") == [{"content": " "}]
    assert reader.add("day>") == [{"content": "<today>"}]


class Grammar:
    """Of TOOLS with one tool choice; `tags`: how, if at all, the model marks its calls."""

    def __init__(self, folder: Path, tags: str, tools: list[Any], choice: str) -> None:
        write_tokenizer(folder)
        path = folder / "tokenizer.json"
        self.tokenizer = Tokenizer.from_file(str(path))
        if tags == "tokens":
            self.tokenizer.add_tokens([AddedToken(tag, special=False) for tag in ("<tool_call>", "</tool_call>")])
            self.tokenizer.save(str(path))
        template = ChatTemplate("{{ messages }}" if tags == "none" else "{{ tools }}<tool_call>", {})
        self.begin, self.end = ("", "") if tags == "none" else ("<tool_call>\n", "\n</tool_call>")
        plan = read_tools(Fields({"tools": tools, "tool_choice": choice}))
        assert plan.bound
        self._text = call_grammar(plan, Tags.of(template, self.tokenizer))
        self._guide = LLTokenizer(str(path), eos_token=258)

    def call(self, name: str, arguments: str) -> str:
        return f'{self.begin}{{"name": "{name}", "arguments": {arguments}}}{self.end}'

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def takes(self, text: str) -> bool:
        matcher = LLMatcher(self._guide, self._text)
        assert not matcher.is_error(), matcher.get_error()
        return matcher.consume_tokens(self.ids(text)) and matcher.is_accepting()


@pytest.mark.parametrize("tags", ["none", "text", "tokens"])
def test_grammar_takes_what_the_reader_reads(tmp_path: Path, tags: str) -> None:
    grammar = Grammar(tmp_path, tags, TOOLS, "required")
    text = grammar.call("get_weather", '{"unit": "f"}') + "\n" + grammar.call("clock", '{"zone": 3}')
    assert grammar.takes(text)
    reader = ForcedReader()
    said = grammar.tokenizer.decode(grammar.ids(text))
    calls = message_of([delta for char in said for delta in reader.add(char)])["tool_calls"]
    read = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    assert read == [("get_weather", {"unit": "f"}), ("clock", {"zone": 3})]


@pytest.mark.parametrize("tags", ["none", "text", "tokens"])
def test_strict_function_that_may_be_called_is_called_by_its_schema(tmp_path: Path, tags: str) -> None:
    strict = {"type": "function", "function": {**TOOLS[0]["function"], "strict": True}}
    grammar = Grammar(tmp_path, tags, [strict, TOOLS[1]], "auto")
    right, wrong = grammar.call("get_weather", '{"unit": "f"}'), grammar.call("get_weather", '{"unit": "k"}')
    loose = grammar.call("clock", '{"zone": "here"}')  # is not strict
    for text in ("", "It is warm, I think {so}.\nReally.", right, loose, f"{right}\n{loose}"):
        assert grammar.takes(text), text
    for text in (wrong, f"{loose}\n{wrong}", grammar.call("unknown", "{}")):
        assert not grammar.takes(text), text
    if tags != "none":
        assert grammar.takes(f"Let me look. {right}") and not grammar.takes(f"Let me look. {wrong}")


def test_strict_functions_leave_plain_answers_as_they_were(client: openai.OpenAI) -> None:
    strict = [{"type": "function", "function": {**tool["function"], "strict": True}} for tool in TOOLS]
    message = ask(client, tools=strict, max_tokens=20).choices[0].message
    assert message.tool_calls is not None or message.content


HERMES = ChatTemplate(
    "{%- if tools %}tools:{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for call in m.tool_calls %}<tool_call>{{ call.function.arguments.zone }}{% endfor %}{% endfor %}",
    {},
)
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "function": {"name": "clock", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "a", "content": "12:00"},
    {"role": "tool", "tool_call_id": "b", "content": "13:00"},
]


def test_templates_that_take_tools_get_them() -> None:
    assert takes_tools(HERMES) and not takes_tools(ChatTemplate("{{ messages }} tools", {}))
    called = [{**TALK[1], "tool_calls": [{"id": "a", "function": {"name": "clock", "arguments": '{"zone": 4}'}}]}]
    plan = read_tools(Fields({"tools": TOOLS[1:]}))
    text = render_chat(HERMES, for_template(called), tools=[tool.spec for tool in plan.shown])
    assert text.startswith('tools:{"type": "function", "function": {"name": "clock"') and text.endswith("<tool_call>4")


def test_other_templates_get_plain_text() -> None:
    plan = read_tools(Fields({"tools": TOOLS}))
    system, assistant, results = as_plain(TALK, plan.shown, None)
    assert system["content"].startswith("Be kind.\n\nYou have access") and '"get_weather"' in system["content"]
    assert assistant["content"] == '{"name": "clock", "arguments": {}}'
    assert results["role"] == "user" and results["content"].count("Result of") == 2
