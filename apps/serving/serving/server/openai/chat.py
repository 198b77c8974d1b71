"""POST /v1/chat/completions."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from lora_py.chat_template import takes_tools
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.adapters.registry import Loaded
from serving.server.context import ServerContext, context_of, unless_gone
from serving.server.fields import Fields, read_body
from serving.server.generate import Answer, Prompt, Step
from serving.server.native import identity_headers
from serving.server.openai.messages import Message, read_messages
from serving.server.openai.params import read_openai_params
from serving.server.openai.run import (
    Call,
    adapter_of,
    body_of,
    chat_logprobs,
    chunk_of,
    event_stream,
    finish_reason,
    interleaved,
    make_job,
    new_answers,
    new_call,
    stream_end,
    usage,
)
from serving.server.openai.stops import HoldBack, trimmed
from serving.server.openai.tool_prompt import as_plain, for_template
from serving.server.openai.tool_reader import Delta, ForcedReader, FreeReader, PlainReader, Reader, message_of
from serving.server.openai.tools import Tags, ToolPlan, call_grammar, read_tools, tool_error
from serving.server.sse import EventStream, Head, Source

CHUNK = "chat.completion.chunk"


@dataclass(frozen=True, slots=True)
class _Chat:
    call: Call
    messages: list[Message]
    plan: ToolPlan
    tool_prompt: str | None

    def prompt(self, loaded: list[Loaded]) -> Prompt:
        """An adapter tuned on raw prompts gets a lone user message as it was written."""
        context, messages = self.call.context, self.messages
        raw = bool(loaded) and loaded[0].ref.prompt_format == "raw" and not self.plan.shown
        if raw and len(messages) == 1 and messages[0]["role"] == "user":
            return context.prompt(messages[0]["content"])
        if context.template is not None and takes_tools(context.template):
            specs = [tool.spec for tool in self.plan.shown]
            return context.chat_prompt(for_template(messages), tools=specs or None)
        return context.chat_prompt(as_plain(messages, self.plan.shown, self.tool_prompt))

    def reader(self) -> Reader:
        if self.plan.forced:
            return ForcedReader()
        return FreeReader(self.plan.names, self.plan.parallel) if self.plan.shown else PlainReader()


def _finish(answer: Answer, reader: Reader) -> str:
    reason = finish_reason(answer)
    return "tool_calls" if reader.called and reason == "stop" else reason


def _choice(chat: _Chat, index: int, answer: Answer) -> dict[str, Any]:
    reader, call = chat.reader(), chat.call
    message = message_of([*reader.add(trimmed(answer)), *reader.end()])
    return {
        "index": index,
        "message": message,
        "finish_reason": _finish(answer, reader),
        "logprobs": chat_logprobs(call.context, answer.steps) if call.params.logprobs else None,
    }


async def _complete(chat: _Chat) -> Response:
    call, context = chat.call, chat.call.context
    async with adapter_of(call) as loaded:
        prompt = chat.prompt(loaded)
        answers = await context.generator.best_of(
            make_job(call, prompt, loaded), new_answers(call, call.params.best_of)
        )
    choices = [_choice(chat, index, answer) for index, answer in enumerate(answers[: call.params.n])]
    body = body_of(call, "chat.completion", choices, usage=usage(len(prompt.ids), answers))
    return JSONResponse(body, headers=identity_headers(context, loaded))


def _chunk(call: Call, index: int, delta: Delta, finish: str | None, logprobs: Any = None) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return chunk_of(call, CHUNK, choice)


@dataclass(slots=True)
class _Choice:
    """One choice of a stream."""

    index: int
    answer: Answer
    hold: HoldBack
    reader: Reader

    def chunks(self, call: Call, step: Step) -> list[dict[str, Any]]:
        text = self.hold.finish(step.visible, self.answer) if step.last else self.hold.add(step.visible)
        deltas = self.reader.add(text) if text else []
        if step.last:
            deltas += self.reader.end()
        logprobs = None
        if call.params.logprobs and not step.special:
            logprobs = chat_logprobs(call.context, [step])
            deltas = deltas or [{"content": ""}]
        chunks = [
            _chunk(call, self.index, delta, None, logprobs if not at else None) for at, delta in enumerate(deltas)
        ]
        if step.last:
            chunks.append(_chunk(call, self.index, {}, _finish(self.answer, self.reader)))
        return chunks


async def _stream(chat: _Chat) -> Source:
    call, context, params = chat.call, chat.call.context, chat.call.params
    async with context.generator.admitted(call.seen.tenant), adapter_of(call) as loaded:
        prompt = chat.prompt(loaded)
        job, answers = make_job(call, prompt, loaded), new_answers(call, params.n)
        choices = [_Choice(i, answer, HoldBack(params.stop), chat.reader()) for i, answer in enumerate(answers)]
        async with aclosing(interleaved(call, [(job, answer) for answer in answers])) as steps:
            begun = False
            async for index, step in steps:
                if not begun:  # what fails before the first token has its own status
                    begun = True
                    yield Head(identity_headers(context, loaded))
                    for choice in choices:
                        yield _chunk(call, choice.index, {"role": "assistant", "content": ""}, None)
                for chunk in choices[index].chunks(call, step):
                    yield chunk
        for item in stream_end(call, CHUNK, len(prompt.ids), answers):
            yield item


def _grammar(context: ServerContext, plan: ToolPlan) -> str | None:
    return call_grammar(plan, Tags.of(context.template, context.codec.tokenizer)) if plan.bound else None


async def _read(request: Request, body: Fields) -> _Chat:
    context = context_of(request)
    params, plan = read_openai_params(body, context.limits), read_tools(body)
    messages, bound = read_messages(body), (params.response_format or {}).get("type", "text") != "text"
    if plan.shown and bound:
        raise tool_error("`response_format` can't be used together with `tools`", "response_format")
    call = await new_call(request, params, "chatcmpl", _grammar(context, plan))
    return _Chat(call, messages, plan, body.text("tool_prompt"))


async def chat_completions(request: Request) -> Response | EventStream:
    context = context_of(request)
    chat = await _read(request, await read_body(request))
    if chat.call.params.stream:
        return event_stream(chat.call, _stream(chat))
    async with context.generator.admitted(chat.call.seen.tenant):
        return await unless_gone(request, _complete(chat))
