"""`pnpm bench training [--quick] [--rounds N] [--json FILE] [--readme] [--only PART,…]`: our trainer on this machine
against a plain PEFT loop, TRL's SFTTrainer and what we promise of it. README.md says how each row is measured."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1] / "serving"))

import memory
import served
import together
import torch
from figures import Figure
from lora_py.base_model import ensure_default
from lora_py.prompts import load_tokenizer
from machine import describe
from own import CPU, Batch, examples
from peers import peer_environment
from race import equal_loss, faster, race
from report import write_readme
from rows import batches, equally_long
from trainer.packing import shared_prefix
from trainer.session import choose_product_dtype

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


@dataclass(frozen=True, slots=True)
class Bench:
    base: Path
    work: Path
    rounds: int
    quick: bool
    fast: bool  # whether our trainer chooses bf16 products here
    encode: Callable[[str], list[int]]
    eos: int


def template(bench: Bench) -> list[Figure]:
    rows = batches(ROOT, bench.encode, bench.eos, bench.rounds + 1, 8, template=True)
    peers = ["peft", "trl", *(["peft-bf16", "trl-bf16"] if bench.fast else [])]
    steps = race(["own", *_fp32(bench), *peers], bench.base, bench.work / "template", rows)
    shared, length = _shape(rows)
    title = f"tokens/s against {{}}, 8 rows a step, {shared:.0f} of {length:.0f} tokens a common template"
    names = {"peft": "a plain PEFT loop", "trl": "TRL's SFTTrainer"}
    wanted = {"peft": ">= 3", "trl": ">= 5"}
    figures = []
    for peer in ("peft", "trl"):
        kind = "template" if peer == "peft" else "trl"
        figures.append(faster(kind, title.format(names[peer]), wanted[peer], steps, "own", peer, rows))
        if bench.fast:
            same = "the same, bf16 products on both sides"
            figures.append(faster(f"{kind}-bf16", same, "-", steps, "own", f"{peer}-bf16", rows))
            same = "the same, fp32 on both sides"
            figures.append(faster(f"{kind}-fp32", same, "-", steps, "own-fp32", peer, rows))
    return [*figures, equal_loss(steps, "own", "peft")]


def no_template(bench: Bench) -> list[Figure]:
    rows = batches(ROOT, bench.encode, bench.eos, bench.rounds + 1, 16, template=False)
    peers = ["peft", *(["peft-bf16"] if bench.fast else [])]
    steps = race(["own", *_fp32(bench), *peers], bench.base, bench.work / "no-template", rows)
    _, length = _shape(rows)
    title = f"tokens/s against a plain PEFT loop, 16 rows a step of {length:.0f} tokens without a shared prefix"
    figures = [faster("no-template", title, ">= 1.2", steps, "own", "peft", rows)]
    if bench.fast:
        same = "the same, bf16 products on both sides"
        figures.append(faster("no-template-bf16", same, "-", steps, "own", "peft-bf16", rows))
        figures.append(faster("no-template-fp32", "the same, fp32 on both sides", "-", steps, "own-fp32", "peft", rows))
    return figures


def jobs(bench: Bench) -> list[Figure]:
    bench.work.mkdir(parents=True, exist_ok=True)
    make = together.rows_of(ROOT, bench.encode, bench.eos)
    asked = (bench.base, bench.work, make)
    figures = [
        together.measure("jobs-64", ">= 1.4", *asked, 64, "auto", bench.rounds),
        together.measure("jobs-256", ">= 1", *asked, 256, "auto", bench.rounds),
    ]
    if bench.fast:
        figures.append(together.measure("jobs-64-fp32", "-", *asked, 64, "fp32", bench.rounds))
    if bench.fast and not bench.quick:
        figures.append(together.measure("jobs-256-fp32", "-", *asked, 256, "fp32", bench.rounds))
    return [*figures, together.same_gradient(*asked)]


def held(bench: Bench) -> list[Figure]:
    rows = equally_long(bench.encode, ROOT, 32, 128)
    return [memory.measure(bench.base, bench.work / "memory", rows, 32)]


def checkpoints(bench: Bench) -> list[Figure]:
    rows = equally_long(bench.encode, ROOT, 32, 128)
    return served.measure(bench.base, bench.work / "served", rows, 16, 3 if bench.quick else 8)


PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "template": template,
    "no-template": no_template,
    "jobs": jobs,
    "memory": held,
    "checkpoints": checkpoints,
}


def _fp32(bench: Bench) -> list[str]:
    return ["own-fp32"] if bench.fast else []


def _shape(rows: list[Batch]) -> tuple[float, float]:
    """Mean tokens of the shared prefix and of a row."""
    made = [examples(batch) for batch in rows]
    shared = statistics.mean(shared_prefix(batch) for batch in made)
    return shared, statistics.mean(row.length for batch in made for row in batch)


def main() -> None:
    parser = argparse.ArgumentParser(prog="pnpm bench training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under 8 minutes on 2 cores")
    parser.add_argument("--rounds", type=int, help="steps of each contender that count (15; 4 with --quick)")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--readme", action="store_true", help="put the table into this folder's README.md")
    parser.add_argument("--only", help=f"some of the parts: {', '.join(PARTS)}")
    parser.add_argument("--base", type=Path, default=ROOT / ".data/models/smollm2-135m-instruct")
    arguments = parser.parse_args()
    parts = arguments.only.split(",") if arguments.only else list(PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    # contenders would outlive a benchmark that is told to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    base = ensure_default(arguments.base, _say).path
    if "template" in parts:
        peer_environment()
    tokenizer = load_tokenizer(base)
    began, load = time.time(), os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="grove-bench-") as work:
        bench = Bench(
            base=base,
            work=Path(work),
            rounds=arguments.rounds or (4 if arguments.quick else 15),
            quick=arguments.quick,
            fast=choose_product_dtype("auto", CPU) == torch.bfloat16,
            encode=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
            eos=int(json.loads((base / "config.json").read_text())["eos_token_id"]),
        )
        figures = []
        for part in parts:
            _say(f"[{time.time() - began:4.0f} s] {part}")
            for figure in PARTS[part](bench):
                figures.append(figure)
                print(figure.line(), flush=True)
    result = {
        "machine": describe(ROOT, torch.get_num_threads()),
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began),
        "load_before": load,
        "load_after": os.getloadavg(),
        "rounds": bench.rounds,
        "quick": arguments.quick,
        "rows": [figure.json() for figure in figures],
    }
    _say(f"{result['seconds']} s")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.readme:
        write_readme(HERE / "README.md", result, figures)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
