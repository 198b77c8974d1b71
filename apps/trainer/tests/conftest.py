from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_support import Folder, write_foreign
from trainer_support import MakeSpec, sums, tiny_folder, write_rows


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # tiny tensors; threads would only wait for one another


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Folder:
    """A family's tiny model, written when a test first asks for it."""
    made: dict[str, Path] = {}

    def of(family: str) -> Path:
        if family not in made:
            made[family] = write_foreign(tmp_path_factory.mktemp("foreign") / family, family, tiny_base)
        return made[family]

    return of


@pytest.fixture
def make_spec(tmp_path: Path, tiny_base: Path) -> MakeSpec:
    """A spec for the tiny base; keyword arguments replace fields wherever they stand."""

    def make(rows: list[tuple[str, str]] | None = None, **changes: Any) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "version": 1,
            "job_id": "job",
            "attempt": 1,
            "base_model": {"id": "tiny", "path": str(tiny_base)},
            "train_file": str(write_rows(tmp_path / "train.jsonl", sums(40) if rows is None else rows)),
            "validation_file": None,
            "output_dir": str(tmp_path / "adapter"),
            "checkpoint_dir": str(tmp_path / "checkpoints"),
            "prompt_format": "raw",
            "adapter": {
                "rank": 4,
                "alpha": 8,
                "dropout": 0,
                "target_modules": ["q_proj", "v_proj", "down_proj"],
                "use_rslora": False,
                "use_dora": False,
                "init_adapter": None,
            },
            "training": {
                "epochs": 2,
                "max_steps": None,
                "max_seconds": None,
                "batch_size": 8,
                "learning_rate": 0.01,
                "scheduler": "cosine",
                "warmup_ratio": 0.1,
                "weight_decay": 0,
                "max_grad_norm": 1,
                "max_length": None,
                "evaluate_every_steps": 0,
                "checkpoint_every_steps": 0,
                "early_stopping_patience": None,
                "seed": 7,
                "optimizer": "adamw",
                "neftune_alpha": 0,
                "method": "sft",
                "beta": 0.1,
            },
            "device": "cpu",
        }
        for name, value in changes.items():
            for part in (spec, spec["adapter"], spec["training"]):
                if name in part:
                    part[name] = value
        return spec

    return make
