"""One contender of the serving benchmark: a process that answers a list of prompts when it is its turn.

It prints "ready", then reads one JSON line a turn ({"requests", "adapters"}) and prints the seconds it took.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

NEW_TOKENS = 64
THREADS = int(os.environ["GROVE_BENCH_THREADS"])
Turn = Callable[[list[list[int]], list[int]], int]  # prompts, adapter of each (-1: none) -> tokens produced


def grove(base: Path, adapters: list[Path], weights: str) -> Turn:
    import torch
    from lora_py.grouped import pack_adapter
    from lora_py.peft_files import read_adapter

    from serving.engine.engine import Engine
    from serving.engine.request import EngineAdapter, Event, NewToken, Request
    from serving.engine.scheduler import Limits
    from serving.models.config import read_config
    from serving.models.load import load_model

    config = read_config(base)
    model = load_model(base, config, torch.device("cpu"), 512, weights, THREADS)
    loaded = []
    for folder in adapters:
        found = read_adapter(folder)
        cpu = torch.device("cpu")
        packed = pack_adapter(found.weights, found.config.scaling, model.adapter_dtype, cpu, config.layers)
        loaded.append(EngineAdapter(found.sha256, packed))
    limits = Limits(max_running=64, step_tokens=512, mixed_step_tokens=128, patience_s=60.0)

    def turn(prompts: list[list[int]], which: list[int]) -> int:
        events: list[Event] = []
        engine = Engine(model, kv_blocks=1024, adapter_slots=64, limits=limits, deliver=events.extend)
        for index, (prompt, adapter) in enumerate(zip(prompts, which, strict=True)):
            chosen = None if adapter < 0 else loaded[adapter]
            engine.take_in(Request(index, tuple(prompt), NEW_TOKENS, adapter=chosen))
        while engine.scheduler.running or len(engine.scheduler.waiting):
            engine.step()
        return sum(isinstance(event, NewToken) for event in events)

    return turn


def peft(base: Path, adapters: list[Path]) -> Turn:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(plain, str(adapters[0]), adapter_name="a0")
    for index, folder in enumerate(adapters[1:], 1):
        model.load_adapter(str(folder), adapter_name=f"a{index}")
    model.eval()

    @torch.inference_mode()
    def turn(prompts: list[list[int]], which: list[int]) -> int:
        names = ["__base__" if adapter < 0 else f"a{adapter}" for adapter in which]
        ids = torch.tensor(prompts)
        settings = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 2}
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), adapter_names=names, **settings)
        return int((out.shape[1] - ids.shape[1]) * out.shape[0])

    return turn


def llama_cpp(model: Path) -> Turn:
    """Without adapters, one request at a time or several slots, through its own server."""
    import threading
    import urllib.request

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel, params.cont_batching = 160 * 16, 16, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.cache_prompt, params.warmup, params.verbosity, params.port = False, True, -1, 46140
    server = xllamacpp.Server(params)

    def ask(prompt: list[int], counts: list[int]) -> None:
        body = {"prompt": prompt, "n_predict": NEW_TOKENS, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        request = urllib.request.Request(  # noqa: S310 (our own child)
            f"{server.listening_address}/completion",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            counts.append(json.load(answer)["tokens_predicted"])

    def turn(prompts: list[list[int]], which: list[int]) -> int:
        assert all(adapter < 0 for adapter in which)
        counts: list[int] = []
        threads = [threading.Thread(target=ask, args=(prompt, counts)) for prompt in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts)

    return turn


def main() -> None:
    name, base, root, seed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    adapters = sorted(path for path in root.iterdir() if path.is_dir())
    if name.startswith("grove-"):
        turn = grove(base, adapters, name.removeprefix("grove-"))
    elif name == "peft":
        turn = peft(base, adapters)
    else:
        turn = llama_cpp(root / "base-q8_0.gguf")
    print("ready", flush=True)
    dice = random.Random(seed)  # noqa: S311
    for line in sys.stdin:
        task = json.loads(line)
        prompts = [[dice.randrange(100, 40_000) for _ in range(64)] for _ in range(task["requests"])]
        count = task["adapters"]
        which = [index % count if count else -1 for index in range(task["requests"])]
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = turn(prompts, which)
        result = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "tokens": tokens}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
