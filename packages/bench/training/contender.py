"""One contender as a process: loads the base and the adapter that all start from, then takes one training step for each
line it reads and answers with the step's seconds and loss. The parent lets the contenders take turns.

    contender.py own|own-fp32|peft|peft-bf16|trl|trl-bf16 BASE FOLDER

FOLDER holds batches.json and the adapter, in `start`. `own` is our trainer with the products it chooses by itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

RATE = 2e-4
Batch = list[tuple[list[int], list[int]]]


def answer(wall: float, cpu: float, loss: float) -> None:
    print(json.dumps({"wall": wall, "cpu": cpu, "loss": loss}), flush=True)


def serve(step: Callable[[Batch], float], batches: list[Batch]) -> None:
    print("ready", flush=True)
    for batch, _ in zip(batches, sys.stdin, strict=False):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = step(batch)
        answer(time.perf_counter() - wall, time.process_time() - cpu, loss)


def own(base: Path, folder: Path, fp32: bool) -> Callable[[Batch], float]:
    from own import examples, jobs, restore, step

    model, (job,) = jobs(base, folder, 1, "fp32" if fp32 else "auto")
    restore(job, folder / "start")
    return lambda batch: step(model, {job: examples(batch)})[0]


def peft_model(base: Path, folder: Path, dtype: torch.dtype) -> Any:
    import peft
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    return peft.PeftModel.from_pretrained(model, folder / "start", is_trainable=True).train()


def peft_loop(base: Path, folder: Path, dtype: torch.dtype) -> Callable[[Batch], float]:
    model = peft_model(base, folder, dtype)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)

    def step(batch: Batch) -> float:
        longest = max(len(p) + len(c) for p, c in batch)
        ids, labels = torch.full((len(batch), longest), 2), torch.full((len(batch), longest), -100)
        mask = torch.zeros(len(batch), longest, dtype=torch.long)
        for i, (prompt, completion) in enumerate(batch):
            end = len(prompt) + len(completion)
            ids[i, :end] = torch.tensor(prompt + completion)
            labels[i, len(prompt) : end] = torch.tensor(completion)
            mask[i, :end] = 1
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return step


def trl(base: Path, folder: Path, batches: list[Batch], bf16: bool) -> None:
    """SFTTrainer drives itself, so its callbacks wait for the turn. bf16 is its default (autocast over fp32 weights);
    recomputing activations is too, and is left off in its favour."""
    import datasets
    import transformers
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": p + c, "completion_mask": [0] * len(p) + [1] * len(c)} for batch in batches for p, c in batch]
    begun: list[float] = []
    losses: list[float] = []

    class Turns(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not sys.stdin.readline():
                os._exit(0)
            begun[:] = [time.perf_counter(), time.process_time()]

        def on_step_end(self, *_: Any, **__: Any) -> None:
            answer(time.perf_counter() - begun[0], time.process_time() - begun[1], losses[-1])

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            print("ready", flush=True)

    class Watched(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            result = super().compute_loss(*args, **kwargs)
            losses.append(float(result[0] if isinstance(result, tuple) else result))
            return result

    config = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=len(batches),
        per_device_train_batch_size=len(batches[0]),
        train_sampling_strategy="sequential",
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        completion_only_loss=True,
        max_length=None,
        use_cpu=True,
        bf16=bf16,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    trainer = Watched(
        model=peft_model(base, folder, torch.float32),
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Turns()],
    )
    trainer.train()


def main() -> None:
    name, base, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    batches: list[Batch] = json.loads((folder / "batches.json").read_text())
    bf16 = name.endswith("-bf16")
    if name.startswith("trl"):
        trl(base, folder, batches, bf16)
    elif name.startswith("peft"):
        serve(peft_loop(base, folder, torch.bfloat16 if bf16 else torch.float32), batches)
    else:
        serve(own(base, folder, name.endswith("-fp32")), batches)


if __name__ == "__main__":
    main()
