"""One contender as a process: loads the base, then takes one training step for each line it reads and answers with the
step's seconds and loss. The parent lets the contenders take turns.

    contender.py own|own-unshared|own-bf16|peft|peft-bf16|trl BASE BATCHES.json
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

RANK, ALPHA, RATE = 8, 16, 2e-4
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Batch = list[tuple[list[int], list[int]]]


def answer(wall: float, cpu: float, loss: float) -> None:
    print(json.dumps({"wall": wall, "cpu": cpu, "loss": loss}), flush=True)


def serve(step: Callable[[Batch], float], batches: list[Batch]) -> None:
    print("ready", flush=True)
    for batch, _ in zip(batches, sys.stdin, strict=False):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = step(batch)
        answer(time.perf_counter() - wall, time.process_time() - cpu, loss)


def own(base: Path, share: bool, products: torch.dtype) -> Callable[[Batch], float]:
    from trainer.lora import new_lora
    from trainer.model import Trained, load_model
    from trainer.packing import Example, pack
    from trainer.spec import AdapterSpec

    cpu = torch.device("cpu")
    model = load_model(base, cpu, torch.float32, products)
    lora = new_lora(AdapterSpec(RANK, ALPHA, 0.0, tuple(MODULES)), model.config, 0, cpu)
    parameter = torch.nn.Parameter(lora.flat)
    parameter.grad = lora.flat_grad
    optimizer = torch.optim.AdamW([parameter], lr=RATE, weight_decay=0.0, fused=True)

    def step(batch: Batch) -> float:
        rows = [Example(tuple(prompt), tuple(completion)) for prompt, completion in batch]
        packed = pack([rows], [sum(len(row.completion) for row in rows)], cpu, share)
        loss = model.losses(packed, [Trained(lora)]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        lora.flat_grad.mul_(torch.clamp(1.0 / (lora.flat_grad.norm() + 1e-6), max=1.0))
        optimizer.step()
        lora.flat_grad.zero_()
        return float(loss)

    return step


def peft_model(base: Path, dtype: torch.dtype) -> Any:
    import peft
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES, task_type="CAUSAL_LM")
    return peft.get_peft_model(model, config).train()


def peft_loop(base: Path, dtype: torch.dtype) -> Callable[[Batch], float]:
    model = peft_model(base, dtype)
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


def trl(base: Path, batches: list[Batch]) -> None:
    """SFTTrainer drives itself, so its callbacks wait for the turn."""
    import datasets
    import transformers
    from peft import LoraConfig
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
        output_dir=str(base.parent / ".bench-trl"),
        max_steps=len(batches),
        per_device_train_batch_size=len(batches[0]),
        train_sampling_strategy="sequential",
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        completion_only_loss=True,
        max_length=None,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES, task_type="CAUSAL_LM")
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    trainer = Watched(
        model=model,
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[Turns()],
    )
    trainer.train()


def main() -> None:
    name, base, file = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    batches: list[Batch] = json.loads(file.read_text())
    dtype = torch.bfloat16 if name.endswith("-bf16") else torch.float32
    if name == "trl":
        trl(base, batches)
    elif name.startswith("peft"):
        serve(peft_loop(base, dtype), batches)
    else:
        serve(own(base, name != "own-unshared", dtype), batches)


if __name__ == "__main__":
    main()
