"""Ours over HTTP against the peers, case by case and round by round; and against the machine's own sgemm."""

from __future__ import annotations

import statistics
from typing import Any

from figures import Figure, missing, of_rounds, summary
from race import Contender, ContenderFailed, Turn
from stage import NEW_TOKENS, PEER_ADAPTERS, PROMPT_TOKENS, Stage

OURS = "grove"
VLLM = ("vllm-bfloat16", "vllm-float32")
# case -> requests at once, how many adapters they use, who takes part beside ours
CASES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "16 requests, 16 adapters": (16, 16, ("sgemm", "peft", "llama.cpp", *VLLM)),
    "16 requests, one adapter": (16, 1, ("llama.cpp", *VLLM)),
    "one request": (1, 1, ("llama.cpp-plain",)),
}
# row -> its title, what is wanted, the case and the peers it looks at
ROWS = {
    "peft": ("16 requests, 16 adapters, against HF PEFT mixed batch", ">= 6", "16 requests, 16 adapters", ("peft",)),
    "llama-16": ("the same against llama.cpp server, Q8_0", ">= 4", "16 requests, 16 adapters", ("llama.cpp",)),
    "vllm-16": ("the same against vLLM CPU, tuned", ">= 3", "16 requests, 16 adapters", VLLM),
    "llama-1": ("16 requests, one adapter, against llama.cpp", ">= 2", "16 requests, one adapter", ("llama.cpp",)),
    "vllm-1": ("16 requests, one adapter, against vLLM CPU, tuned", "-", "16 requests, one adapter", VLLM),
    "single": ("one request with adapter, against llama.cpp without", ">= 1", "one request", ("llama.cpp-plain",)),
    "sgemm": ("share of the machine's sgemm bound, 16 in flight", ">= 0.75", "16 requests, 16 adapters", ("sgemm",)),
}
WARM_TOKENS = 16
TURNS = {"one request": 3}  # requests after one another in a turn of this case

Turns = dict[str, dict[str, list[Turn]]]  # case, contender -> its turns, one a round


def measure(stage: Stage, rows: list[str]) -> list[Figure]:
    wanted = {name for row in rows for name in ROWS[row][3]}
    cases = {case: (CASES[case][0], CASES[case][1]) for row, (_, _, case, _) in ROWS.items() if row in rows}
    shas = [adapter.sha256 for adapter in stage.adapters("peers", PEER_ADAPTERS, half=False)]
    ours = stage.server(OURS, "peers", shas)
    taking: dict[str, Contender] = {OURS: ours, **stage.peers(sorted(wanted))}
    stage.say("peers: warm-up")
    turns: Turns = {case: {} for case in cases}
    agreement = {case: _warm(stage, taking, case) for case in cases}
    for number in range(stage.rounds):
        stage.say(f"peers: round {number + 1} of {stage.rounds}")
        for case, (requests, adapters) in cases.items():
            task = stage.task(requests * TURNS.get(case, 1), list(range(adapters)), in_flight=requests)
            for name, contender in _of_case(taking, case).items():
                with stage.noted(name):
                    turns[case].setdefault(name, []).append(_turn(contender, task))
            taking = {name: one for name, one in taking.items() if name not in stage.notes}
    stage.leave(*wanted)
    return [_figure(stage, row, turns, agreement) for row in rows]


def _of_case(taking: dict[str, Contender], case: str) -> dict[str, Contender]:
    return {name: one for name, one in taking.items() if name in (OURS, *CASES[case][2])}


def _turn(contender: Contender, task: dict[str, Any]) -> Turn:
    turn = contender.turn(task)
    if contender.name != "sgemm" and turn["tokens"] != NEW_TOKENS * len(task["ids"]):
        raise ContenderFailed(f"{contender.name} made {turn['tokens']} tokens of {NEW_TOKENS * len(task['ids'])}")
    turn.pop("answers", None)
    return turn


def _warm(stage: Stage, taking: dict[str, Contender], case: str) -> dict[str, float]:
    """One turn that does not count, in which everybody's answers are compared with ours: how many tokens agree."""
    requests, adapters, _ = CASES[case]
    task = stage.task(requests, list(range(adapters)), kind="details", new_tokens=WARM_TOKENS)
    answers: dict[str, list[list[int]]] = {}
    for name, one in _of_case(taking, case).items():
        with stage.noted(name):
            answers[name] = one.turn(task).get("answers", [])
    mine = answers.pop(OURS, [])
    return {name: round(_shared(mine, given), 1) for name, given in answers.items() if given and mine}


def _shared(mine: list[list[int]], theirs: list[list[int]]) -> float:
    """The mean number of first tokens that two contenders' answers have in common."""
    lengths = [
        next((i for i, (one, other) in enumerate(zip(a, b, strict=True)) if one != other), len(a))
        for a, b in zip(mine, theirs, strict=True)
    ]
    return statistics.mean(lengths)


def _figure(stage: Stage, row: str, turns: Turns, agreement: dict[str, dict[str, float]]) -> Figure:
    title, wanted, case, names = ROWS[row]
    present = [name for name in names if name in turns[case] and name not in stage.notes]
    if not present or OURS in stage.notes:
        return missing(row, title, wanted, "; ".join(stage.notes.get(name, "did not run") for name in names))
    ours = turns[case][OURS]
    if row == "sgemm":
        return _against_sgemm(stage, row, ours, turns[case]["sgemm"])
    # the fastest of a peer's ways, by the median of its turns
    best = min(present, key=lambda name: statistics.median(turn["wall"] for turn in turns[case][name]))
    theirs = turns[case][best]
    ratios = {clock: [t[clock] / o[clock] for t, o in zip(theirs, ours, strict=True)] for clock in ("wall", "cpu")}
    detail = {
        "against": best,
        "by_cpu": round(statistics.median(ratios["cpu"]), 2),
        "by_cpu_spread": [round(min(ratios["cpu"]), 2), round(max(ratios["cpu"]), 2)],
        f"of_first_{WARM_TOKENS}_tokens_in_common": agreement[case],
        "ours": summary(ours),
        "peers": {name: summary(turns[case][name]) for name in present},
    }
    return of_rounds(row, title, wanted, ratios["wall"], **detail)


def _against_sgemm(stage: Stage, row: str, ours: list[Turn], yardstick: list[Turn]) -> Figure:
    title, wanted, _, _ = ROWS[row]
    rate = max(turn["flops"] for turn in yardstick)
    bound = rate / flops_a_token(stage.config)
    shares = [turn["tokens"] / turn["wall"] / bound for turn in ours]
    detail = {"sgemm_gflops": round(rate / 1e9, 1), "bound_tokens_per_second": round(bound, 1), "ours": summary(ours)}
    return of_rounds(row, title, wanted, shares, **detail)


def flops_a_token(config: dict[str, Any]) -> float:
    """Of the base's matrices in fp32, for each token made: its share of the prompt, itself, and the head."""
    hidden, layers, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    linears = layers * (hidden * (2 * q + 2 * kv) + 3 * hidden * inner)
    rows = (PROMPT_TOKENS + NEW_TOKENS - 1) / NEW_TOKENS
    return float(2 * (linears * rows + hidden * config["vocab_size"]))
