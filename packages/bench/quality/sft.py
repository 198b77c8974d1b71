"""TRL's SFTTrainer on one task's rows, in the peers' environment: reads a plan, writes a PEFT folder and its losses.

    sft.py PLAN.json

The plan: base, rows (prompt and completion as text, in the order of training), batch_size, steps, seed, output and the
settings that both trainers are given. Tokens, mask and EOS are SFTTrainer's own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import datasets
import torch
import transformers
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer


class Watched(SFTTrainer):  # type: ignore[misc]
    """Keeps each step's loss as it was computed, before any rounding for a log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.losses: list[float] = []

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        result = super().compute_loss(*args, **kwargs)
        self.losses.append((result[0] if isinstance(result, tuple) else result).item())
        return result


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    settings, output = plan["settings"], Path(plan["output"])
    transformers.set_seed(plan["seed"])
    config = SFTConfig(
        output_dir=str(output.with_suffix(".work")),
        seed=plan["seed"],
        max_steps=plan["steps"],
        per_device_train_batch_size=plan["batch_size"],
        train_sampling_strategy="sequential",
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=settings["scheduler"],
        warmup_steps=settings["warmup_ratio"],
        weight_decay=settings["weight_decay"],
        max_grad_norm=settings["max_grad_norm"],
        completion_only_loss=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
    )
    lora = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=settings["target_modules"],
        task_type="CAUSAL_LM",
    )
    trainer = Watched(
        model=transformers.AutoModelForCausalLM.from_pretrained(plan["base"], dtype=torch.float32),
        args=config,
        train_dataset=datasets.Dataset.from_list(plan["rows"]),
        processing_class=transformers.AutoTokenizer.from_pretrained(plan["base"]),
        peft_config=lora,
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    trainer.save_model(str(output))
    tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    result = {"losses": trainer.losses, "seconds": seconds, "tokens": tokens}
    (output / "training.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
