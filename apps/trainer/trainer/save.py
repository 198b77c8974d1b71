"""The finished adapter: a PEFT folder with a model card."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
from pathlib import Path

import torch
from lora_py.peft_files import CONFIG_FILE, GROVE_FILE, WEIGHTS_FILE, AdapterSettings, write_adapter

from trainer import native
from trainer.base_hash import base_sha256
from trainer.events import Checkpoint, Finished, StoppedBy
from trainer.job import Job
from trainer.start_adapter import read_values, take_values

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
| went on from | {origin} |
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


def save_adapter(job: Job, stopped_by: StoppedBy, adapter_step: int | None = None) -> Finished:
    """`adapter_step`: where the adapter stood so, if that was not at the end."""
    spec, position = job.spec, job.position
    sha256 = _write(job, spec.output_dir, stopped_by, adapter_step)
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
    folder = _published(job, job.step)
    sha256 = _write(job, folder, "checkpoint")
    for old in sorted(job.spec.checkpoint_dir.glob("step-*/adapter"))[:-PUBLISHED]:
        shutil.rmtree(old.parent, ignore_errors=True)
    return Checkpoint(job.step, sha256, str(folder))


def take_published(job: Job, step: int) -> bool:
    """Brings the adapter back to what `publish` wrote at that step. False: that is no longer kept."""
    folder = _published(job, step)
    try:
        values = read_values((folder / WEIGHTS_FILE).read_bytes())
        loss = json.loads((folder / GROVE_FILE).read_bytes())["validation_loss"]
    except FileNotFoundError:
        return False
    take_values(job.lora, values)
    job.choose(loss)
    return True


def _published(job: Job, step: int) -> Path:
    return job.spec.checkpoint_dir / f"step-{step:08d}" / "adapter"


def _write(job: Job, folder: Path, stopped_by: str, adapter_step: int | None = None) -> str:
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
    card, manifest = _card(job, stopped_by), _manifest(job, stopped_by, adapter_step)
    return write_adapter(folder, settings, job.lora.weights(), card, manifest, job.lora.magnitudes())


def _manifest(job: Job, stopped_by: str, adapter_step: int | None) -> dict[str, object]:
    """What a replay needs to come to the same hash, and what it must be compared with."""
    spec = job.spec
    return {
        "job_id": spec.job_id,
        "step": job.step,
        "adapter_step": adapter_step,
        "stopped_by": stopped_by,
        "validation_loss": job.position.validation_loss,
        "data_kind": job.train.kind,
        "quantization": None if spec.quantization is None else dataclasses.asdict(spec.quantization),
        "base_sha256": base_sha256(spec.base_model.path),
        "data_sha256": job.train.sha256,
        "max_length": job.train.max_length,
        "adapter": spec.adapter.settings(),
        "init_adapter_sha256": job.lora.origin,
        "modules": list(job.lora.modules),
        "training": dataclasses.asdict(spec.training),
        "versions": versions(),
        "hardware": hardware(job),
    }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__}


def hardware(job: Job) -> dict[str, str]:
    return {"device": job.device, "machine": platform.machine(), "kernels": native.name(job.lora.flat)}


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
        origin="a new adapter" if job.lora.origin is None else f"the adapter of SHA-256 `{job.lora.origin}`",
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
