"""Adapters that PEFT itself made, served in one batch and compared with PEFT's generate, token by token.

`python tests/peft_outside.py BASE_FOLDER` does it on a real base and prints a table.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

if __name__ == "__main__":
    HERE = Path(__file__).resolve()
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[3] / "packages" / "lora-py")]

from harness import Bench, model_at
from lora_py.peft_files import read_files, sha256_of

from serving.adapters.loader import Loader, PackOptions
from serving.adapters.store import DiskStore
from serving.engine.request import Request
from serving.models.causal import Model

ALL = "all-linear"
KINDS: dict[str, dict[str, Any]] = {
    "rank 4, all-linear": {"r": 4, "lora_alpha": 8, "target_modules": ALL},
    "rank 8, all-linear": {"r": 8, "lora_alpha": 16, "target_modules": ALL},
    "rank 16, all-linear": {"r": 16, "lora_alpha": 32, "target_modules": ALL},
    "rank 64, all-linear": {"r": 64, "lora_alpha": 64, "target_modules": ALL},
    "rank 8, q and v only": {"r": 8, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]},
    "rank 32, rsLoRA": {"r": 32, "lora_alpha": 8, "target_modules": ALL, "use_rslora": True},
    "rank 8, alpha_pattern": {"r": 8, "lora_alpha": 16, "target_modules": ALL, "alpha_pattern": {"v_proj": 48}},
    "rank_pattern": {
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ALL,
        "rank_pattern": {"down_proj": 24, "q_proj": 3},
        "alpha_pattern": {"layers.1.mlp.up_proj": 40},
    },
}


@dataclass(frozen=True, slots=True)
class Compared:
    kind: str
    tokens: int
    equal_to_generate: bool
    mismatches: int  # tokens that PEFT puts below its first by more than the tolerance
    near_ties: int  # tokens where PEFT's first two are closer than the tolerance
    worst: float  # the largest distance below PEFT's first
    differs_from_base: bool


def make(folder: Path, base: Path, kind: dict[str, Any], seed: int, spread: float) -> Any:
    """The PEFT model on its base, with random weights, and saved."""
    import peft
    import transformers

    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    made = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **kind))
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            weight.data = spread * torch.randn_like(weight)
    made.save_pretrained(folder)
    return made.eval()


def compare(
    base: Path, work: Path, weights: str, prompt: list[int], new: int, tolerance: float, spread: float
) -> list[Compared]:
    model = model_at(base, weights)
    config = json.loads((base / "config.json").read_text())
    options = PackOptions(model.adapter_dtype, torch.device("cpu"), 64, model.config.layers)
    loader = Loader(DiskStore(work / "cache", 1 << 40), config, options, 1 << 30)
    theirs, requests = [], [Request(1, tuple(prompt), new)]
    for number, (name, kind) in enumerate(KINDS.items()):
        folder = work / str(number)
        theirs.append(expected(make(folder, base, kind, number, spread), prompt, new))
        files = read_files(folder)
        adapter = loader.from_bytes(name, sha256_of(*files), *files).adapter
        requests.append(Request(number + 2, tuple(prompt), new, adapter=adapter))
    produced = serve(model, requests)
    rows = []
    for number, (name, kind) in enumerate(KINDS.items()):
        ours = produced[number + 2]
        again = make(work / str(number), base, kind, number, spread)
        rows.append(judge(name, again, prompt, ours, theirs[number], produced[1], tolerance))
    return rows


def serve(model: Model, requests: list[Request]) -> dict[int, list[int]]:
    """All in one batch."""
    bench = Bench(model, slots=16)
    bench.run(*requests)
    return {request.id: bench.tokens(request.id) for request in requests}


def expected(model: Any, prompt: list[int], new: int) -> list[int]:
    with torch.no_grad():
        found = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
    tokens: list[int] = found[0, len(prompt) :].tolist()
    return tokens


def judge(
    name: str, model: Any, prompt: list[int], ours: list[int], theirs: list[int], base: list[int], tolerance: float
) -> Compared:
    with torch.no_grad():
        logits = model(torch.tensor([prompt + ours])).logits[0, len(prompt) - 1 : -1]
    top = logits.topk(2).values
    below = top[:, 0] - logits[torch.arange(len(ours)), torch.tensor(ours)]
    return Compared(
        name,
        len(ours),
        ours == theirs,
        int((below > tolerance).sum()),
        int((top[:, 0] - top[:, 1] < tolerance).sum()),
        float(below.max()),
        ours != base,
    )


def main() -> None:
    base = Path(sys.argv[1])
    from lora_py.prompts import load_tokenizer

    text = "The three most important things about growing apple trees in a cold climate are"
    prompt = load_tokenizer(base).encode(text).ids
    print(f"base {base.name}, prompt of {len(prompt)} tokens, 64 new, greedy, {len(KINDS)} adapters in one batch")
    for weights, tolerance in (("fp32", 0.02), ("int8", 0.3)):
        print(f"\nweights {weights}; a mismatch is a token over {tolerance} below PEFT's first (fp32, teacher-forced)")
        print(
            f"{'adapter':24}{'tokens':>7}{'= generate':>12}{'mismatches':>12}{'near-ties':>11}{'worst':>9}{'≠ base':>8}"
        )
        with tempfile.TemporaryDirectory() as work:
            for row in compare(base, Path(work), weights, prompt, 64, tolerance, 0.02):
                print(
                    f"{row.kind:24}{row.tokens:12}{row.equal_to_generate!s:>12}{row.mismatches:12}{row.near_ties:12}"
                    f"{row.worst:12.4f}{row.differs_from_base!s:>12}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
