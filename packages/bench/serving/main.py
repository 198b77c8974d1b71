"""`pnpm bench serving [--quick] [--json FILE]`: our engine against HF PEFT's mixed batches and llama.cpp's server.

64-token prompts, 64 new tokens, greedy, random adapters of rank 8 on all linears. Contenders take turns on the same
case; a ratio is the median over the rounds of (peer's seconds / our seconds), by wall clock and by processor time. On a
machine that others use, `--threads 1` and processor time tell more than the clock on the wall. llama.cpp runs without
adapters: its own files for them can't be made from PEFT's here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lora_py.base_model import ensure_default
from lora_py.peft_files import AdapterSettings, write_adapter
from peers import fetch_gguf, make_gguf, peer_python

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CASES = (("1 request, base", 1, 0), ("1 request, 1 adapter", 1, 1), ("16 requests, base", 16, 0))
CASES += (("16 requests, 1 adapter", 16, 1), ("16 requests, 16 adapters", 16, 16))
Turn = dict[str, float]


class Contender:
    def __init__(self, name: str, python: Path, base: Path, root: Path, threads: int) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [str(python), str(HERE / "contender.py"), name, str(base), str(root), "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "HF_HUB_OFFLINE": "1",
                "OMP_WAIT_POLICY": "PASSIVE",
                "GROVE_BENCH_THREADS": str(threads),
            },
        )
        self._line("ready")

    def turn(self, requests: int, adapters: int) -> Turn:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"requests": requests, "adapters": adapters}) + "\n")
        self._process.stdin.flush()
        result: Turn = json.loads(self._line("{"))
        assert result["tokens"] == requests * 64, (self.name, result)
        return result

    def leave(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit(f"{self.name} ended: run it by hand to see why")


def write_adapters(root: Path, config: dict[str, Any], count: int) -> None:
    random = torch.Generator().manual_seed(0)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    shapes = {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    for number in range(count):
        weights = {}
        for layer in range(config["num_hidden_layers"]):
            for module, (rows, columns) in shapes.items():
                a = torch.randn(8, columns, generator=random) / columns**0.5
                weights[f"layers.{layer}.{module}"] = (a, 0.02 * torch.randn(rows, 8, generator=random))
        names = tuple(module.split(".")[1] for module in shapes)
        settings = AdapterSettings(8, 16.0, 0.0, names, "raw", "bench")
        write_adapter(root / f"adapter-{number:02d}", settings, weights, "# bench\n", {})


def run(contenders: list[Contender], rounds: int) -> dict[str, dict[str, list[Turn]]]:
    found: dict[str, dict[str, list[Turn]]] = {}
    for label, requests, adapters in CASES:
        taking = [c for c in contenders if not (c.name == "llama.cpp" and adapters)]
        for contender in taking:
            contender.turn(1, adapters)
        for _ in range(rounds):
            for contender in taking:
                found.setdefault(label, {}).setdefault(contender.name, []).append(contender.turn(requests, adapters))
    return found


def summary(found: dict[str, dict[str, list[Turn]]], ours: str) -> list[dict[str, Any]]:
    rows = []
    for label, turns in found.items():
        for name, taken in turns.items():
            row: dict[str, Any] = {"case": label, "contender": name, "rounds": len(taken)}
            for clock in ("wall", "cpu"):
                speeds = [turn["tokens"] / turn[clock] for turn in taken]
                ratios = [peer[clock] / mine[clock] for peer, mine in zip(taken, turns[ours], strict=True)]
                row[f"tokens_per_{clock}_second"] = round(statistics.median(speeds), 1)
                row[f"ours_faster_by_{clock}"] = round(statistics.median(ratios), 2)
                row[f"ours_faster_by_{clock}_spread"] = [round(min(ratios), 2), round(max(ratios), 2)]
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds instead of five")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--without-llama", action="store_true", help="leave llama.cpp out (nothing is installed)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each contender")
    parser.add_argument("--rounds", type=int, help="turns of each contender in each case")
    args = parser.parse_args()
    rounds = args.rounds or (2 if args.quick else 5)
    base = ROOT / ".data/models/smollm2-135m-instruct"
    ensure_default(base, lambda text: print(text, file=sys.stderr))
    config = json.loads((base / "config.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_adapters(root, config, 16)
        names = {"grove-int8": Path(sys.executable), "grove-fp32": Path(sys.executable), "peft": Path(sys.executable)}
        if not args.without_llama:
            names["llama.cpp"] = peer_python()
            make_gguf(fetch_gguf(root), root / "base-q8_0.gguf")
        contenders = [Contender(name, python, base, root, args.threads) for name, python in names.items()]
        try:
            rows = summary(run(contenders, rounds), "grove-int8")
        finally:
            for contender in contenders:
                contender.leave()
    machine: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }
    machine["threads"] = args.threads
    result = {"machine": machine, "load": os.getloadavg()[0], "torch": torch.__version__, "rows": rows}
    for row in rows:
        low, high = row["ours_faster_by_cpu_spread"]
        print(
            f"{row['case']:26} {row['contender']:11} {row['tokens_per_wall_second']:8.1f} tok/s   "
            f"ours faster by {row['ours_faster_by_wall']:5.2f} (wall), {row['ours_faster_by_cpu']:5.2f} "
            f"[{low}, {high}] (processor time)"
        )
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
