"""Whether the answers are right: those of the served weights against fp32, and the same whatever shares the batch."""

from __future__ import annotations

import shutil
import statistics
from typing import Any

from figures import Figure, of_rounds, summary
from lora_py.peft_files import adapter_sha256
from race import Contender, Turn
from stage import PEER_ADAPTERS, ROOT, Stage
from wordnet import rows, trained_adapter

TRAINING_SECONDS = 180
ANSWER_TOKENS = 6


def quality(stage: Stage) -> Figure:
    """Greedy answers on the test rows: the default weights, and the plain fp32 twin in torch."""
    adapter = trained_adapter(ROOT, stage.base, stage.data, TRAINING_SECONDS, stage.say)
    sha256 = adapter_sha256(adapter)
    stage.cache("quality").mkdir(exist_ok=True)
    shutil.copytree(adapter, stage.cache("quality") / sha256, dirs_exist_ok=True)
    _, test = rows(ROOT)
    answers: dict[str, list[str]] = {}
    for name, weights in (("served", "auto"), ("fp32", "torch")):
        server = stage.server(f"grove-quality-{name}", "quality", [sha256], "--weights", weights, lookup=True)
        task = {"texts": [row.prompt for row in test], "adapters": [0] * len(test), "in_flight": 16}
        turn = server.turn({**task, "new_tokens": ANSWER_TOKENS, "ignore_eos": False, "kind": "details"})
        answers[name] = [text.strip() for text in turn["generated"]]
        stage.leave(server.name)
    right = {
        name: statistics.mean(a == row.kind for a, row in zip(given, test, strict=True))
        for name, given in answers.items()
    }
    equal = statistics.mean(a == b for a, b in zip(answers["served"], answers["fp32"], strict=True))
    detail = {
        "rows": len(test),
        "accuracy": {k: round(v, 4) for k, v in right.items()},
        "equal_answers": round(equal, 4),
    }
    title = f"accuracy of the served weights / fp32, {len(test)} WordNet rows ({equal:.1%} of answers equal)"
    return Figure("quality", title, ">= 0.99", round(right["served"] / right["fp32"], 4), detail=detail)


def deterministic(stage: Stage) -> Figure:
    """Each request alone and in two crowds: tokens and log-probabilities must be the same to the bit. Ours is so
    always, so what it costs is seen against the fastest way we have that is not: fp32 products by torch and MKL."""
    shas = [adapter.sha256 for adapter in stage.adapters("peers", PEER_ADAPTERS, half=False)]
    ways: dict[str, Contender] = {}
    same: dict[str, str] = {}
    for name, weights in (("served", "auto"), ("fp32", "fp32"), ("torch", "torch")):
        ways[name] = stage.server(f"grove-{name}", "peers", shas, "--weights", weights, lookup=name == "served")
        same[name] = _same_bytes(stage, ways[name])
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for number in range(stage.rounds):
        stage.say(f"deterministic: round {number + 1} of {stage.rounds}")
        task = stage.task(PEER_ADAPTERS, list(range(PEER_ADAPTERS)))
        for name, server in ways.items():
            turns[name].append(server.turn(task))
    stage.leave(*(server.name for server in ways.values()))
    ratios = {
        name: [torch["wall"] / own["wall"] for torch, own in zip(turns["torch"], turns[name], strict=True)]
        for name in ("served", "fp32")
    }
    detail: dict[str, Any] = {
        "same_bytes": same,
        "served_over_torch": round(statistics.median(ratios["served"]), 2),
        **{name: summary(taken) for name, taken in turns.items()},
    }
    title = f"deterministic: same bytes {same['served']}; fp32 tokens/s / torch's without ({same['torch']} same)"
    return of_rounds("deterministic", title, "there", ratios["fp32"], **detail)


def _same_bytes(stage: Stage, server: Contender) -> str:
    """How many answers in crowds of 16 and 48 are those of the request alone."""
    alone = stage.task(8, list(range(8)), kind="details", in_flight=1, new_tokens=24)
    first = server.turn(alone)
    wanted = list(zip(first["answers"], first["logprobs"], strict=True))
    equal = total = 0
    for crowd in (8, 40):
        others = stage.task(crowd, list(range(PEER_ADAPTERS)), new_tokens=24)
        task = {key: value + others[key] if isinstance(value, list) else value for key, value in alone.items()}
        turn = server.turn({**task, "in_flight": crowd + 8})
        got = list(zip(turn["answers"], turn["logprobs"], strict=True))[:8]
        equal += sum(one == other for one, other in zip(wanted, got, strict=True))
        total += len(wanted)
    return f"{equal} of {total}"
