"""The base's chat template: one renderer for the trainer and for serving, with the output of transformers'
`apply_chat_template`, in a sandbox and under limits, since a template is a program that came with a model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_TEMPLATE_CHARS = 200_000
MAX_OUTPUT_CHARS = 4_000_000
MAX_SECONDS = 2.0
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class ChatTemplateError(Exception):
    """The template is missing, broken, over its limits, or refuses these messages."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    source: str
    special_tokens: dict[str, str]

    @staticmethod
    def load(base: Path) -> ChatTemplate | None:
        """From a base model's folder; None where the base has no chat template."""
        config = _object(base / "tokenizer_config.json")
        source = config.get("chat_template")
        if (base / "chat_template.jinja").is_file():
            source = (base / "chat_template.jinja").read_text(encoding="utf-8")
        if isinstance(source, list):  # several named templates: transformers takes "default"
            source = next((t["template"] for t in source if t.get("name") == "default"), None)
        if not isinstance(source, str) or not source:
            return None
        texts = {key: _token_text(config.get(key)) for key in SPECIAL_TOKENS}
        return ChatTemplate(source, {key: text for key, text in texts.items() if text is not None})


def render_chat(
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    now: datetime | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    if len(template.source) > MAX_TEMPLATE_CHARS:
        raise ChatTemplateError(f"The chat template is longer than {MAX_TEMPLATE_CHARS} characters.")
    limits = _Limits(time.monotonic() + MAX_SECONDS)
    try:
        compiled = _environment(limits, now).from_string(template.source)
        parts = compiled.generate(
            **template.special_tokens,
            messages=json.loads(json.dumps(list(messages))),  # plain JSON types, with no methods of their own
            tools=None if tools is None else json.loads(json.dumps(list(tools))),
            documents=None,
            add_generation_prompt=add_generation_prompt,
        )
        return "".join(limits.measured(parts))
    except ChatTemplateError:
        raise
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ChatTemplateError(f"The chat template refused these messages: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise ChatTemplateError("The chat template ran out of its limits.") from error


def takes_tools(template: ChatTemplate) -> bool:
    """Whether the template reads `tools`, and so tells the model about functions in the form it was trained on."""
    return re.search(r"{[{%][^{}%]*\btools\b", template.source) is not None


def one_turn(template: ChatTemplate, prompt: str) -> str:
    """What `prompt_format: chat` means: the prompt as a single user turn, ready for the answer."""
    return render_chat(template, [{"role": "user", "content": prompt}])


class _Limits:
    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def tick(self) -> None:
        if time.monotonic() > self._deadline:
            raise ChatTemplateError(f"The chat template took longer than {MAX_SECONDS:g} s.")

    def ticking(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.tick()
            yield item

    def size(self, value: Any) -> Any:
        if isinstance(value, (str, list, tuple)) and len(value) > MAX_OUTPUT_CHARS:
            raise ChatTemplateError(f"The chat template made more than {MAX_OUTPUT_CHARS} characters.")
        return value

    def measured(self, parts: Iterable[str]) -> Iterator[str]:
        total = 0
        for part in parts:
            self.tick()
            total += len(part)
            if total > MAX_OUTPUT_CHARS:
                raise ChatTemplateError(f"The chat template made more than {MAX_OUTPUT_CHARS} characters.")
            yield part


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox hides Python's internals; this one also bounds loops, calls and growing strings."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})
    limits: _Limits

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered(loop.iter, "limits_ticking")
        for joined in list(tree.find_all(nodes.Assign)):
            joined.node = _filtered(joined.node, "limits_size")
        return tree

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.limits.tick()
        if any(isinstance(arg, int) and abs(arg) > MAX_OUTPUT_CHARS for arg in args):
            raise SecurityError("a number is too large")
        return self.limits.size(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.limits.tick()
        if operator == "%" and isinstance(left, str):
            raise SecurityError("% formatting of text is not allowed")
        if operator == "**" and max(abs(left), abs(right)) > 1000:
            raise SecurityError("a power is too large")
        if operator == "*":
            text, times = (left, right) if isinstance(right, int) else (right, left)
            if isinstance(text, (str, list, tuple)) and len(text) * times > MAX_OUTPUT_CHARS:
                raise SecurityError("a repeated text is too long")
        return self.limits.size(super().call_binop(context, operator, left, right))


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words in some templates; it prints its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _SafeNamespace(Namespace):
    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError("a namespace cannot hold names that begin with _")
        super().__setitem__(name, value)


def _environment(limits: _Limits, now: datetime | None) -> _Environment:
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.limits = limits
    filters: dict[str, Callable[..., Any]] = {
        "tojson": _tojson,
        "limits_ticking": limits.ticking,
        "limits_size": limits.size,
    }
    environment.filters.update(filters)
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = (now or datetime.now()).strftime
    environment.globals["namespace"] = _SafeNamespace
    return environment


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    assert isinstance(node, nodes.Expr)  # what a loop or a {% set %} draws on is always an expression
    wrapped = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
    wrapped.environment = node.environment
    return wrapped


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _token_text(value: Any) -> str | None:
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = json.loads(path.read_text(encoding="utf-8"))
    return value if isinstance(value, dict) else {}
