"""What one request feels: an adapter that is not in memory yet, and somebody else's long prompt."""

from __future__ import annotations

import os
import statistics

from figures import Figure, missing, of_rounds, percentile
from race import ContenderFailed
from stage import PEER_ADAPTERS, Stage

COLD = 50
DECODERS, LONG_PROMPT = 15, 2000


def cold(stage: Stage) -> Figure:
    """Requests alone on the server, by turns with a resident adapter and with one that it has never seen."""
    count = 2 * COLD
    adapters = stage.adapters("cold", count + 1, half=False)
    server = stage.server("grove-cold", "cold", [adapter.sha256 for adapter in adapters])
    server.turn(stage.task(5, [count], kind="first_token", new_tokens=4))
    hot: list[float] = []
    added: dict[str, list[float]] = {"page cache": [], "disk": []}
    seconds: dict[str, list[float]] = {"page cache": [], "disk": []}
    for index in range(count):
        where = "disk" if index % 2 else "page cache"
        if where == "disk":
            for file in adapters[index].folder.iterdir():
                _forget(str(file))
        turn = server.turn(stage.task(2, [count, index], kind="first_token", new_tokens=4))
        hot.append(turn["seconds"][0])
        seconds[where].append(turn["seconds"][1])
    base = statistics.median(hot)
    for where, taken in seconds.items():
        added[where] = [1000 * (value - base) for value in taken]
    stage.leave("grove-cold")
    stage.drop_adapters("cold")
    told = {
        where: {"p50_ms": round(statistics.median(values), 1), "p99_ms": round(percentile(values, 0.99), 1)}
        for where, values in added.items()
    }
    every = [value for values in added.values() for value in values]
    p50, p99 = statistics.median(every), percentile(every, 0.99)
    detail = {"resident_first_token_ms": round(1000 * base, 1), "p99_ms": round(p99, 1), "count": count, **told}
    title = f"cold adapter on local disk: added time to first token, p50 (p99 {p99:.0f} ms)"
    return Figure(
        "cold", title, "<= 25 ms p50, <= 60 p99", round(p50, 1), round(min(every), 1), round(p99, 1), "ms", detail
    )


def long_prompt(stage: Stage) -> Figure:
    title = f"{LONG_PROMPT}-token prompt arrives while {DECODERS} decode: p99 gap while it is read / median without"
    shas = [adapter.sha256 for adapter in stage.adapters("peers", PEER_ADAPTERS, half=False)]
    server = stage.server("grove", "peers", shas)
    server.turn(stage.task(PEER_ADAPTERS, list(range(PEER_ADAPTERS)), new_tokens=4))
    ratios, strict, rounds = [], [], []
    for _ in range(stage.rounds):
        task = stage.task(DECODERS, list(range(PEER_ADAPTERS)), kind="gaps", new_tokens=256, after=32)
        (late,) = stage.prompts.take(1, LONG_PROMPT)
        task["texts"].append(late.text)
        task["ids"].append(late.ids)
        task["adapters"].append(DECODERS)
        try:
            turn = server.turn(task)
        except ContenderFailed as error:
            return missing("long-prompt", title, "<= 3", str(error))
        gaps = [gap for gap, _ in turn["gaps"]]
        during, quiet = [g for g, late in turn["gaps"] if late], [g for g, late in turn["gaps"] if not late]
        ratios.append(percentile(gaps, 0.99) / statistics.median(gaps))
        strict.append(percentile(during, 0.99) / statistics.median(quiet))
        rounds.append(
            {
                "median_ms": round(1000 * statistics.median(gaps), 1),
                "p99_ms": round(1000 * percentile(gaps, 0.99), 1),
                "longest_ms": round(1000 * max(gaps), 1),
                "quiet_median_ms": round(1000 * statistics.median(quiet), 1),
                "during_p99_ms": round(1000 * percentile(during, 0.99), 1),
                "long_first_token_s": round(turn["long_first_token_s"], 2),
            }
        )
    whole = round(statistics.median(ratios), 2)
    title += f" (p99 / median of the whole run: {whole})"
    return of_rounds("long-prompt", title, "<= 3", strict, whole_run=whole, rounds=rounds)


def _forget(path: str) -> None:
    """Puts the file out of the page cache, so that it is read from the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
