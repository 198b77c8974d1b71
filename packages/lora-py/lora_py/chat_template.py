"""The base's chat template: one renderer for the trainer and for serving, with the output of transformers'
`apply_chat_template`, in a sandbox and under limits, since a template is a program that came with a model."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEMPLATE_CHARS = 200_000
MAX_OUTPUT_CHARS = 4_000_000
MAX_RANGE = 10_000


class ChatMessage(TypedDict):
    role: str
    content: str


class ChatTemplateError(Exception):
    """The template is missing, broken, too large, or refuses these messages."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    source: str
    special_tokens: dict[str, str]
