"""`pnpm bench training [--quick] [--json FILE]`: our training step against a plain PEFT loop and TRL's SFTTrainer.

Every contender is a process that takes one step when it is its turn, all on the same batches in the same order, so that
what else the machine does falls on all of them. Ratios are medians over the rounds, without each one's first step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lora_py.base_model import ensure_default
from lora_py.prompts import load_tokenizer
from trainer.packing import Example, shared_prefix
from trainer.session import choose_product_dtype

from peers import PEER_ENV, peer_environment

HERE = Path(__file__).parent
ROOT = HERE.parents[2]

Step = dict[str, float]


class Contender:
    def __init__(self, name: str, base: Path, batches: Path) -> None:
        python = PEER_ENV / "bin/python" if name == "trl" else Path(sys.executable)
        self.name = name
        self.steps: list[Step] = []
        self._process = subprocess.Popen(
            [str(python), str(HERE / "contender.py"), name, str(base), str(batches)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        )
        self._answer("ready")

    def turn(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.steps.append(json.loads(self._answer("{")))

    def leave(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit(f"The contender {self.name} ended early.")


def race(names: list[str], base: Path, batches: list[Any], rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batches.json"
        file.write_text(json.dumps(batches))
        contenders: list[Contender] = []
        try:
            contenders += [Contender(name, base, file) for name in names]
            for _ in range(rounds + 1):
                for contender in contenders:
                    contender.turn()
        finally:
            for contender in contenders:
                contender.leave()
    tokens = [sum(len(p) + len(c) for p, c in batch) for batch in batches[1 : rounds + 1]]
    return {contender.name: summary(contender.steps, tokens, contenders[0].steps) for contender in contenders}


def summary(steps: list[Step], tokens: list[int], ours: list[Step]) -> dict[str, Any]:
    counted, own = steps[1:], ours[1:]
    wall = sorted(s["wall"] / o["wall"] for s, o in zip(counted, own, strict=True))
    return {
        "tokens_per_second": statistics.median(n / step["wall"] for n, step in zip(tokens, counted, strict=True)),
        "cpu_seconds_a_step": statistics.median(step["cpu"] for step in counted),
        "ours_over_it_wall": statistics.median(wall),
        "ours_over_it_wall_spread": [wall[0], wall[-1]],
        "ours_over_it_cpu": statistics.median(s["cpu"] / o["cpu"] for s, o in zip(counted, own, strict=True)),
        "first_loss": steps[0]["loss"],
        "last_loss": steps[-1]["loss"],
    }


def examples(batch: Any) -> list[Example]:
    return [Example(tuple(prompt), tuple(completion)) for prompt, completion in batch]


def show(title: str, result: dict[str, Any]) -> None:
    print(f"\n{title}\n{'':14} tokens/s  CPU-s/step   ours faster: wall (spread), CPU   first → last loss")
    for name, row in result.items():
        low, high = row["ours_over_it_wall_spread"]
        ratios = f"{row['ours_over_it_wall']:.2f}x ({low:.2f}-{high:.2f})  {row['ours_over_it_cpu']:.2f}x"
        losses = f"{row['first_loss']:.4f} → {row['last_loss']:.4f}"
        print(f"{name:14} {row['tokens_per_second']:8.0f}  {row['cpu_seconds_a_step']:10.2f}   {ratios:>31}   {losses}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="pnpm bench training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under 8 minutes on 2 cores")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--base", type=Path, default=ROOT / ".data/models/smollm2-135m-instruct")
    arguments = parser.parse_args()
    rounds = 4 if arguments.quick else 20
    base = ensure_default(arguments.base, lambda text: print(text, file=sys.stderr)).path
    peer_environment()

    from rows import batches
    from together import measure

    tokenizer = load_tokenizer(base)
    encode: Callable[[str], list[int]] = lambda text: tokenizer.encode(text, add_special_tokens=False).ids  # noqa: E731
    eos = int(json.loads((base / "config.json").read_text())["eos_token_id"])
    results: dict[str, Any] = {"threads": torch.get_num_threads(), "rounds": rounds}

    templated = batches(ROOT, encode, eos, rounds + 1, 8, template=True)
    fast = choose_product_dtype("auto", torch.device("cpu")) == torch.bfloat16
    more = ["own-bf16"] if fast else []
    if not arguments.quick:
        more += ["own-unshared", *(["peft-bf16"] if fast else [])]
    results["common_template"] = race(["own", "peft", "trl", *more], base, templated, rounds)
    shares = [(shared_prefix(rows), sum(row.length for row in rows) / len(rows)) for rows in map(examples, templated)]
    prefix, length = (statistics.mean(values) for values in zip(*shares, strict=True))
    results["common_template_tokens"] = {"shared": prefix, "row": length}
    show(f"8 rows a step, {prefix:.0f} of {length:.0f} tokens a common template", results["common_template"])
    plain = batches(ROOT, encode, eos, rounds + 1, 16, template=False)
    results["no_template"] = race(["own", "peft"], base, plain, rounds)
    show("16 rows a step with nothing in common", results["no_template"])

    results["eight_jobs"] = [measure(ROOT, base, encode, eos, tokens, rounds) for tokens in (64, 256)]
    print("\neight jobs in one step against one after another")
    for row in results["eight_jobs"]:
        print(
            f"{row['tokens_a_job']:4} tokens a job: {row['together_tokens_per_second']:.0f} against "
            f"{row['apart_tokens_per_second']:.0f} tokens/s, {row['ratio']:.2f}x; "
            f"gradients differ by {row['worst_relative_gradient_difference']:.1e} at most"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
