"""How little it costs that requests use many adapters: all of them resident, or most of them on disk."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

from adapters import RANK
from figures import Figure, of_rounds, summary
from lora_py.byte_lora import a_bytes, b_bytes
from lora_py.peft_weights import module_shapes
from race import Contender, Turn
from stage import NEW_TOKENS, Stage

IN_FLIGHT = 32
RESIDENT, SLOTS, REGISTERED = 128, 64, 1000


def resident(stage: Stage) -> Figure:
    shas = [adapter.sha256 for adapter in stage.adapters("many", RESIDENT, half=True)[:RESIDENT]]
    server = stage.server("grove-128", "many", shas, "--adapter-slots", str(RESIDENT))
    # one short request for each adapter, so that all are in memory before anything is timed
    server.turn(stage.task(RESIDENT, list(range(RESIDENT)), 16, new_tokens=1, in_flight=IN_FLIGHT))
    count = 64 if stage.quick else RESIDENT
    many, one = _race(stage, server, count, lambda n: list(range(n)))
    title = f"tokens/s at {RESIDENT} resident adapters / at 1, {IN_FLIGHT} in flight"
    return _ratio("resident", title, ">= 0.95", many, one)


def zipf(stage: Stage) -> Figure:
    shas = [adapter.sha256 for adapter in stage.adapters("many", REGISTERED, half=True)]
    memory = f"{(SLOTS + 0.5) * _bytes_in_memory(stage) / 2**30:.4f}"
    server = stage.server("grove-64", "many", shas, "--adapter-slots", str(SLOTS), "--adapter-memory-gb", memory)
    dice = random.Random(3)
    weights = [1 / rank for rank in range(1, REGISTERED + 1)]

    def drawn(count: int) -> list[int]:
        return dice.choices(range(REGISTERED), weights, k=count)

    server.turn(stage.task(128, drawn(128), 16, new_tokens=1, in_flight=IN_FLIGHT))
    many, one = _race(stage, server, 64 if stage.quick else 128, drawn)
    stage.leave("grove-64")
    title = f"tokens/s with {REGISTERED:,} registered on disk, Zipf, {SLOTS} resident / at 1"
    return _ratio("zipf", title, ">= 0.80", many, one)


def _bytes_in_memory(stage: Stage) -> int:
    """Of one adapter, as the server keeps it."""
    sizes = module_shapes(stage.config).values()
    return sum(a_bytes(RANK, in_size) + b_bytes(RANK, out_size) for out_size, in_size in sizes)


def _race(
    stage: Stage, server: Contender, count: int, choose: Callable[[int], list[int]]
) -> tuple[list[Turn], list[Turn]]:
    many: list[Turn] = []
    one: list[Turn] = []
    for number in range(stage.rounds):
        stage.say(f"{server.name}: round {number + 1} of {stage.rounds}")
        for turns, adapters in ((many, choose(count)), (one, [0])):
            turn = server.turn(stage.task(count, adapters, in_flight=IN_FLIGHT))
            assert turn["tokens"] == count * NEW_TOKENS, turn["tokens"]
            turn.pop("answers")
            turns.append(turn)
    return many, one


def _ratio(row: str, title: str, wanted: str, many: list[Turn], one: list[Turn]) -> Figure:
    ratios = [(a["tokens"] / a["wall"]) / (b["tokens"] / b["wall"]) for a, b in zip(many, one, strict=True)]
    cpu = statistics.median(b["cpu"] / a["cpu"] for a, b in zip(many, one, strict=True))
    return of_rounds(row, title, wanted, ratios, by_cpu=round(cpu, 2), many=summary(many), one=summary(one))
