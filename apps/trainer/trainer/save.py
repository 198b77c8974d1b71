"""The finished adapter: a PEFT folder with a model card."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import shutil
from functools import lru_cache
from pathlib import Path

import torch
from lora_py.base_model import open_folder
from lora_py.peft_files import CONFIG_FILE, WEIGHTS_FILE, AdapterSettings, write_adapter

from trainer.events import Checkpoint, Finished, StoppedBy
from trainer.job import Job

PUBLISHED = 20  # checkpoints whose adapter folder is kept

CARD = """---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
tags: [lora, grove]
---

# LoRA adapter for {base}

Trained by Grove, job `{job}`.

| | |
|---|---|
| base model | `{base}` |
| prompt format | `{prompt_format}` |
| rank, alpha, dropout | {rank}, {alpha:g}, {dropout:g} |
| modules | {modules} |
| training rows | {rows} (SHA-256 of the file `{data}`) |
| steps, epochs | {steps}, {epochs:.2f} |
| tokens | {tokens} |
| learning rate, schedule | {rate:g}, {scheduler} |
| batch size, maximum length | {batch}, {length} |
| training loss | {train_loss:.4f} |
| validation loss | {validation_loss} |
| stopped by | {stopped_by} |

The adapter stands under the licence of its base model and of the data that it was trained on.

```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("path/to/this/folder")
```
"""


def save_adapter(job: Job, stopped_by: StoppedBy) -> Finished:
    spec, position = job.spec, job.position
    sha256 = _write(job, spec.output_dir, stopped_by)
    return Finished(
        steps=position.step,
        epochs=job.epochs_done,
        tokens=position.tokens,
        seconds=position.seconds,
        train_loss=job.train_loss,
        validation_loss=position.validation_loss,
        sha256=sha256,
        bytes=sum((spec.output_dir / name).stat().st_size for name in (CONFIG_FILE, WEIGHTS_FILE)),
        stopped_by=stopped_by,
    )


def publish(job: Job) -> Checkpoint:
    """The adapter as it stands, as a folder of its own that serving can load while the training goes on."""
    folder = job.spec.checkpoint_dir / f"step-{job.step:08d}" / "adapter"
    sha256 = _write(job, folder, "checkpoint")
    for old in sorted(job.spec.checkpoint_dir.glob("step-*/adapter"))[:-PUBLISHED]:
        shutil.rmtree(old.parent, ignore_errors=True)
    return Checkpoint(job.step, sha256, str(folder))


def _write(job: Job, folder: Path, stopped_by: str) -> str:
    spec = job.spec
    settings = AdapterSettings(
        rank=spec.adapter.rank,
        alpha=spec.adapter.alpha,
        dropout=spec.adapter.dropout,
        target_modules=job.lora.modules,
        prompt_format=spec.prompt_format,
        base_model=spec.base_model.id,
        use_rslora=spec.adapter.use_rslora,
        use_dora=spec.adapter.use_dora,
    )
    card, manifest = _card(job, stopped_by), _manifest(job, stopped_by)
    return write_adapter(folder, settings, job.lora.weights(), card, manifest, job.lora.magnitudes())


def _manifest(job: Job, stopped_by: str) -> dict[str, object]:
    """What a replay needs to come to the same hash, and what it must be compared with."""
    spec = job.spec
    return {
        "job_id": spec.job_id,
        "step": job.step,
        "stopped_by": stopped_by,
        "data_kind": job.train.kind,
        "quantization": None if spec.quantization is None else dataclasses.asdict(spec.quantization),
        "base_sha256": base_sha256(spec.base_model.path),
        "data_sha256": job.train.sha256,
        "max_length": job.train.max_length,
        "adapter": dataclasses.asdict(spec.adapter),
        "modules": list(job.lora.modules),
        "training": dataclasses.asdict(spec.training),
        "versions": versions(),
        "hardware": hardware(job),
    }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__}


def hardware(job: Job) -> dict[str, str]:
    return {"device": job.device, "machine": platform.machine()}


@lru_cache
def base_sha256(path: Path) -> str:
    """Over the bytes of the base's weight files, in the order of their names."""
    digest = hashlib.sha256()
    for name in open_folder(path).weight_files:
        with name.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _card(job: Job, stopped_by: str) -> str:
    spec, position = job.spec, job.position
    validation = "none" if position.validation_loss is None else f"{position.validation_loss:.4f}"
    return CARD.format(
        base=spec.base_model.id,
        job=spec.job_id,
        prompt_format=spec.prompt_format,
        rank=spec.adapter.rank,
        alpha=spec.adapter.alpha,
        dropout=spec.adapter.dropout,
        modules=", ".join(job.lora.modules),
        rows=len(job.train.examples),
        data=job.train.sha256,
        steps=position.step,
        epochs=job.epochs_done,
        tokens=position.tokens,
        rate=spec.training.learning_rate,
        scheduler=spec.training.scheduler,
        batch=spec.training.batch_size,
        length=job.train.max_length,
        train_loss=job.train_loss,
        validation_loss=validation,
        stopped_by=stopped_by,
    )
