"""A long run by hand: `python tests/soak.py MINUTES`. 200 adapters, Zipf traffic, clients that leave, failing fetches.

Prints memory every 30 s; at the end every request must have had its answer and every metric must add up.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil
from gateway import SECRET, start_gateway
from server import running_server
from tiny import write_lora, write_model

ADAPTERS, CLIENTS = 200, 24


async def client(http: httpx.AsyncClient, until: float, seen: Counter[str], seed: int) -> None:
    dice = random.Random(seed)
    while time.monotonic() < until:
        rank = min(int(dice.paretovariate(0.9)), ADAPTERS)
        parameters = {"adapter_id": f"a-{rank}/1", "max_new_tokens": dice.randrange(1, 40)}
        if dice.random() < 0.3:
            parameters |= {"temperature": 1.3, "seed": dice.randrange(1000)}
        body = {"inputs": "shared beginning of all prompts " + "x" * dice.randrange(60), "parameters": parameters}
        timeout = dice.uniform(0.01, 0.2) if dice.random() < 0.1 else 60.0
        try:
            if dice.random() < 0.4:
                async with http.stream("POST", "/generate_stream", json=body, timeout=timeout) as answer:
                    last = ""
                    async for line in answer.aiter_lines():
                        last = line or last
                        if dice.random() < 0.01:
                            seen["left"] += 1
                            break
                    else:
                        seen["streamed" if '"generated_text":"' in last else "stream error"] += 1
            else:
                seen[str((await http.post("/generate", json=body, timeout=timeout)).status_code)] += 1
        except httpx.TimeoutException:
            seen["timed out" if timeout > 1 else "left"] += 1


async def traffic(url: str, minutes: float, process: psutil.Process, state: object) -> Counter[str]:
    seen: Counter[str] = Counter()
    until = time.monotonic() + 60 * minutes
    headers = {"authorization": "Bearer pb_a"}
    limits = httpx.Limits(max_connections=CLIENTS * 2)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits) as http:
        clients = [asyncio.create_task(client(http, until, seen, n)) for n in range(CLIENTS)]
        while time.monotonic() < until:
            await asyncio.sleep(min(30, max(0.1, until - time.monotonic())))
            print(
                f"{process.memory_info().rss / 1e6:.1f} MB, {process.num_threads()} threads, {dict(seen)}", flush=True
            )
            state.fail_fetches += random.randrange(3)  # type: ignore[attr-defined]
        await asyncio.gather(*clients)
        await asyncio.sleep(1)
        metrics = (await http.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    failed = sum(float(v) for k, v in lines.items() if k.startswith("lorax_request_failure"))
    asked, answered = float(lines["lorax_request_count"]), float(lines["lorax_request_success"])
    print(f"asked {asked:.0f} = answered {answered:.0f} + failed {failed:.0f}")
    assert asked == answered + failed
    assert float(lines["grove_kv_blocks_free"]) == float(lines["grove_kv_blocks_total"])
    assert float(lines["lorax_queue_length"]) == 0
    return seen


def main() -> None:
    minutes = float(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_model(root / "base")
        state, gateway = start_gateway()
        state.tokens = {"pb_a": "a"}
        for number in range(1, ADAPTERS + 1):
            write_lora(root / f"lora-{number}", number, rank=random.Random(number).choice((2, 8, 16)))
            state.adapters["a", f"a-{number}/1"] = root / f"lora-{number}"
        env = {"GROVE_GATEWAY_URL": state.url, "GROVE_INTERNAL_SECRET": SECRET}
        flags = ("--adapter-slots", "16", "--adapter-memory-gb", "0.005", "--adapter-disk-gb", "0.02")
        with running_server(root / "base", root / "cache", env, *flags) as url:
            child = next(p for p in psutil.Process().children() if "serving" in " ".join(p.cmdline()))
            seen = asyncio.run(traffic(url, minutes, child, state))
        gateway.shutdown()
    assert seen["timed out"] == 0, seen
    print("soak passed", dict(seen))


if __name__ == "__main__":
    main()
