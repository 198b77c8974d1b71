"""What goes into the engine and what comes out; neither side knows about text or HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from lora_py.grouped import PackedAdapter


@dataclass(frozen=True, slots=True)
class Sampling:
    greedy: bool = True
    temperature: float = 1.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    watermark: bool = False
    seed: int = 0


Finish = Literal["length", "eos_token", "deadline"]
# overloaded: the waiting queue is full; draining: the engine takes in nothing more; both are said at once.
FailCode = Literal["failed", "deadline", "overloaded", "draining", "too_large"]


class TokenMask(Protocol):
    """Structured output: which tokens may come next. One object belongs to one request."""

    def allowed(self) -> object:
        """A bool tensor [vocab] of the tokens that may come next."""
        ...

    def accept(self, token: int) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineAdapter:
    """An adapter ready to run. `key` is its content hash: it keys slots and cached prefixes."""

    key: str
    packed: PackedAdapter


@dataclass(frozen=True, slots=True)
class Request:
    id: int
    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    adapter: EngineAdapter | None = None
    tenant: str = ""
    eos_ids: frozenset[int] = frozenset()
    alternatives: int = 0
    prompt_logprobs: bool = False
    continuations: tuple[tuple[int, ...], ...] = ()  # not empty: score these after the prompt and generate nothing
    mask: TokenMask | None = None
    priority: int = 0  # higher runs first
    deadline: float | None = None  # on the engine's clock; Failed("deadline") before its first token, cut off after it


Alternatives = tuple[tuple[int, float], ...]  # tokens and their log-probabilities


@dataclass(frozen=True, slots=True)
class PromptDone:
    request_id: int
    cached_tokens: int
    logprobs: tuple[float, ...]  # of prompt[1:]; empty unless asked for
    queue_s: float  # how long it waited before its first step
    alternatives: tuple[Alternatives, ...] = ()  # the likeliest in their places, where these were asked for too


@dataclass(frozen=True, slots=True)
class NewToken:
    request_id: int
    token: int
    logprob: float
    alternatives: Alternatives
    finish: Finish | None  # on the last one; "deadline" says that the answer was cut off there
    drafted: bool = field(default=False, compare=False)  # a guess that was right: it came with the token before it


@dataclass(frozen=True, slots=True)
class Scores:
    request_id: int
    logprobs: tuple[float, ...]  # one sum for each continuation


@dataclass(frozen=True, slots=True)
class Failed:
    request_id: int
    message: str
    code: FailCode = "failed"


Event = PromptDone | NewToken | Scores | Failed
