"""What prompt lookup gains: the same server with and without it, on the prompts of the other rows."""

from __future__ import annotations

import statistics

from figures import Figure, of_rounds, summary
from race import Turn
from stage import PEER_ADAPTERS, Stage

CASES = {"one request": (3, 1), "16 requests": (16, 16)}  # requests in a turn, of which at once


def lookup(stage: Stage) -> Figure:
    shas = [adapter.sha256 for adapter in stage.adapters("peers", PEER_ADAPTERS, half=False)]
    servers = {
        "with": stage.server("grove-lookup", "peers", shas, lookup=True),
        "without": stage.server("grove", "peers", shas),
    }
    for server in servers.values():
        server.turn(stage.task(PEER_ADAPTERS, list(range(PEER_ADAPTERS)), new_tokens=4))
    turns: dict[str, dict[str, list[Turn]]] = {case: {name: [] for name in servers} for case in CASES}
    for _ in range(stage.rounds):
        for case, (requests, at_once) in CASES.items():
            task = stage.task(requests, list(range(PEER_ADAPTERS)), in_flight=at_once)
            for name, server in servers.items():
                turns[case][name].append(server.turn(task))
    stage.leave("grove-lookup")
    gains = {
        case: [b["wall"] / a["wall"] for a, b in zip(by["with"], by["without"], strict=True)]
        for case, by in turns.items()
    }
    detail = {case: {name: summary(taken) for name, taken in by.items()} for case, by in turns.items()}
    crowd = statistics.median(gains["16 requests"])
    title = f"prompt lookup on / off, one request with adapter (16 requests: {crowd:.2f})"
    return of_rounds("prompt-lookup", title, "-", gains["one request"], **detail)
