"""A long run by hand: `python tests/soak.py --minutes 30`. 200 adapters under Zipf traffic, answers and streams,
clients that leave, downloads that are cut or refused, new weights under old names, priorities and deadlines.

Prints memory every 30 s. At the end every request must have had its answer, the same question to the same weights the
same tokens each time, every metric must add up, and memory after warm-up must be flat.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[3] / "packages" / "lora-py")]

import httpx
import psutil
from gateway import SECRET, GatewayState, start_gateway
from server import serving_process
from tiny import write_lora, write_model

ADAPTERS, CLIENTS, NEW_TOKENS = 200, 24, 40
SAMPLE_S = 30.0
GROWTH = 1.05  # memory at the end over memory after warm-up


@dataclass
class Ledger:
    """What the clients have seen."""

    until: float
    ends: Counter[str] = field(default_factory=Counter)
    tokens: int = 0  # of whole answers
    words: dict[tuple[str, str], list[int]] = field(
        default_factory=dict
    )  # (weights, question) -> the longest answer so far
    repeats: int = 0  # answers that had to agree with an earlier one
    samples: list[tuple[float, float]] = field(default_factory=list)  # (minutes, MB)
    problems: list[str] = field(default_factory=list)

    def answered(self, how: str, weights: str, question: str, tokens: list[int], greedy: bool) -> None:
        self.ends[how] += 1
        self.tokens += len(tokens)
        if not greedy:
            return
        known = self.words.get((weights, question), [])
        self.repeats += bool(known)
        short, long = sorted((known, tokens), key=len)
        if long[: len(short)] != short:
            self.problems.append(f"{weights} said {tokens} to {question!r}, and before that {known}")
        self.words[weights, question] = long


@dataclass(frozen=True, slots=True)
class Ask:
    """One request and what its client means to do with the answer."""

    http: httpx.AsyncClient
    ledger: Ledger
    dice: random.Random
    body: dict[str, Any]
    headers: dict[str, str]
    timeout: float
    greedy: bool


async def client(http: httpx.AsyncClient, ledger: Ledger, seed: int) -> None:
    dice = random.Random(seed)
    while time.monotonic() < ledger.until:
        rank = min(int(dice.paretovariate(0.9)), ADAPTERS)
        greedy = dice.random() < 0.7
        parameters: dict[str, Any] = {"adapter_id": f"a-{rank}/1", "max_new_tokens": dice.randrange(1, NEW_TOKENS)}
        parameters |= {"ignore_eos_token": True, "details": True}
        if not greedy:
            parameters |= {"temperature": 1.3, "seed": dice.randrange(1000), "top_p": 0.9}
        question = "shared beginning of all prompts " + "x" * dice.randrange(60)
        body = {"inputs": question, "parameters": parameters}
        headers = {"x-grove-priority": dice.choice(("low", "normal"))} if dice.random() < 0.2 else {}
        if dice.random() < 0.05:
            headers["x-grove-deadline-ms"] = str(dice.randrange(1, 2000))
        timeout = dice.uniform(0.01, 0.3) if dice.random() < 0.1 else 90.0
        send = stream if dice.random() < 0.4 else generate
        try:
            await send(Ask(http, ledger, dice, body, headers, timeout, greedy))
        except httpx.TimeoutException:
            ledger.ends["stuck" if timeout > 1 else "left"] += 1


async def generate(ask: Ask) -> None:
    ledger, body = ask.ledger, ask.body
    answer = await ask.http.post("/generate", json=body, headers=ask.headers, timeout=ask.timeout)
    if answer.status_code != 200:
        ledger.ends[f"refused {answer.status_code}"] += 1
        return
    said = answer.json()
    tokens = [token["id"] for token in said["details"]["tokens"]]
    late = len(tokens) < body["parameters"]["max_new_tokens"]
    weights = answer.headers["x-grove-adapter"]
    how = "answered, cut off at its deadline" if late else "answered"
    ledger.answered(how, weights, body["inputs"], tokens, ask.greedy)


async def lines_of(answer: httpx.Response) -> AsyncIterator[bytes]:
    """As SSE has them: httpx's own lines end at characters that JSON holds as they are, such as U+2028."""
    rest = b""
    async for chunk in answer.aiter_raw():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


async def stream(ask: Ask) -> None:
    ledger, body = ask.ledger, ask.body
    call = {"json": body, "headers": ask.headers, "timeout": ask.timeout}
    async with ask.http.stream("POST", "/generate_stream", **call) as answer:
        if answer.status_code != 200:
            ledger.ends[f"refused {answer.status_code}"] += 1
            return
        tokens, last = [], {}
        async for line in lines_of(answer):
            if not line.startswith(b"data:"):
                continue
            last = json.loads(line[5:])
            tokens += [last["token"]["id"]] if "token" in last else []
            if ask.dice.random() < 0.01:
                ledger.ends["left"] += 1
                return
        if last.get("generated_text") is None:
            ledger.ends[f"stream ended with {last.get('error_type')}"] += 1
            return
        weights = answer.headers["x-grove-adapter"]
        ledger.answered("streamed", weights, body["inputs"], tokens, ask.greedy)


class Adapters:
    """The gateway's 200, and the trouble that is made with them."""

    def __init__(self, root: Path, state: GatewayState) -> None:
        self.root, self.state = root, state
        self.versions = itertools.count(1)
        self.replaced = self.cut = 0
        state.tokens = {"pb_a": "a"}
        for number in range(1, ADAPTERS + 1):
            self.write(number)

    def write(self, number: int) -> None:
        version = next(self.versions)
        folder = self.root / f"lora-{version}"
        sha = write_lora(folder, version, rank=random.Random(version).choice((2, 8, 16)))
        # The old weights can still be fetched by their hash, by those who were told it before.
        for key in (("a", f"a-{number}/1"), ("old", sha)):
            self.state.adapters[key], self.state.hashes[key] = folder, sha

    async def trouble(self, until: float) -> None:
        dice = random.Random(0)
        while time.monotonic() < until:
            await asyncio.sleep(1)
            number = min(int(dice.paretovariate(0.9)), ADAPTERS)
            roll = dice.random()
            if roll < 0.2:
                self.write(number)
                self.replaced += 1
            elif roll < 0.6:
                self.state.cut[self.state.hashes["a", f"a-{number}/1"]] = dice.choice((1, 2, 9))
                self.cut += 1
            elif roll < 0.7:
                self.state.fail_fetches += dice.randrange(4)


async def watch(process: psutil.Process, ledger: Ledger, started: float) -> None:
    while time.monotonic() < ledger.until:
        await asyncio.sleep(min(SAMPLE_S, max(0.1, ledger.until - time.monotonic())))
        minutes, memory = (time.monotonic() - started) / 60, process.memory_info().rss / 1e6
        ledger.samples.append((minutes, memory))
        threads, files = process.num_threads(), process.num_fds()
        print(f"{minutes:.1f} min: {memory:.1f} MB, {threads} threads, {files} files, {dict(ledger.ends)}", flush=True)


def check_metrics(text: str, ledger: Ledger) -> None:
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))

    def total(name: str) -> float:
        return sum(float(value) for key, value in lines.items() if re.fullmatch(rf"{name}(_total)?(\{{.*\}})?", key))

    asked, answered = total("lorax_request_count"), total("lorax_request_success")
    causes = {k: float(v) for k, v in lines.items() if k.startswith("lorax_request_failure") and float(v)}
    dropped = sum(count for cause, count in causes.items() if '"dropped"' in cause)
    refused = sum(causes.values()) - dropped
    by_adapter, by_tenant = total("grove_adapter_generated_tokens"), total("grove_tenant_generated_tokens")
    produced, left = total("grove_generated_tokens"), ledger.ends["left"]
    whole = sum(count for end, count in ledger.ends.items() if end.startswith(("answered", "streamed")))
    print(f"asked {asked:.0f} = answered {answered:.0f} + dropped {dropped:.0f} + refused {refused:.0f}: {causes}")
    tokens = {"by adapter": by_adapter, "by tenant": by_tenant, "produced": produced, "clients": ledger.tokens}
    print(f"tokens: {tokens}")
    print(f"clients: {sum(ledger.ends.values())} asked, {whole} had their whole answer, {left} left")
    rules = {
        "requests = answered + dropped + refused": asked == answered + dropped + refused,
        "requests by adapter": total("grove_adapter_requests") == answered,
        "failures by adapter": total("grove_adapter_failures") == dropped + refused,
        "tokens by adapter = tokens by tenant": by_adapter == by_tenant,
        "all that was answered was produced": ledger.tokens <= by_adapter <= produced,
        "nothing was produced for nobody": produced <= ledger.tokens + (left + 1) * NEW_TOKENS,
        "whole answers": whole <= answered <= whole + left,
        "nothing in flight": total("grove_requests_in_flight") == 0 == total("lorax_queue_length"),
        "no KV block lost": total("grove_kv_blocks_free") == total("grove_kv_blocks_total") > 0,
    }
    ledger.problems.extend(f"does not add up: {name}" for name, holds in rules.items() if not holds)


def check_memory(ledger: Ledger) -> None:
    marks = {mark: min(ledger.samples, key=lambda s: abs(s[0] - mark)) for mark in (5, 10, 20, 30)}
    end = ledger.samples[-1][0]
    print("memory: " + ", ".join(f"{s[1]:.1f} MB at {s[0]:.1f} min" for m, s in marks.items() if m <= end + 0.5))
    warm = [memory for minutes, memory in ledger.samples if minutes >= min(5, end / 2)]
    if max(warm) > GROWTH * warm[0]:
        ledger.problems.append(f"memory grew from {warm[0]:.1f} to {max(warm):.1f} MB")


async def run(url: str, minutes: float, process: psutil.Process, adapters: Adapters) -> Ledger:
    started = time.monotonic()
    ledger = Ledger(started + 60 * minutes)
    limits = httpx.Limits(max_connections=CLIENTS * 2)
    async with httpx.AsyncClient(base_url=url, headers={"authorization": "Bearer pb_a"}, limits=limits) as http:
        clients = [client(http, ledger, number) for number in range(CLIENTS)]
        await asyncio.gather(*clients, adapters.trouble(ledger.until), watch(process, ledger, started))
        await asyncio.sleep(3)
        metrics = (await http.get("/metrics")).text
    check_metrics(metrics, ledger)
    check_memory(ledger)
    return ledger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root = Path(folder)
        write_model(root / "base")
        state, gateway = start_gateway()
        stack.callback(gateway.shutdown)
        adapters = Adapters(root, state)
        env = {"GROVE_GATEWAY_URL": state.url, "GROVE_INTERNAL_SECRET": SECRET, "OMP_WAIT_POLICY": "PASSIVE"}
        flags = ("--adapter-slots", "16", "--adapter-memory-gb", "0.005", "--adapter-disk-gb", "0.01")
        server = stack.enter_context(serving_process(root / "base", root / "cache", env, *flags))
        ledger = asyncio.run(run(server[0], minutes, psutil.Process(server[1].pid), adapters))
    print(f"{adapters.replaced} reloads under an old name, {adapters.cut} fetches to be cut, {len(state.fetches)} made")
    print(f"{ledger.repeats} answers agreed with an earlier one to the same weights")
    if ledger.ends["stuck"]:
        ledger.problems.append(f"{ledger.ends['stuck']} requests had no answer in time")
    for problem in ledger.problems[:20]:
        print("PROBLEM:", problem)
    print("soak failed" if ledger.problems else "soak passed", dict(ledger.ends))
    sys.exit(bool(ledger.problems))


if __name__ == "__main__":
    main()
