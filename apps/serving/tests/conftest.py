from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import pytest
import torch
from tiny import write_lora, write_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_model(folder)
    return folder


@pytest.fixture(scope="session")
def loras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of mixed ranks and modules, by name."""
    root = tmp_path_factory.mktemp("loras")
    kinds = {
        "all-4": {"rank": 4},
        "all-16": {"rank": 16},
        "qv-8": {"rank": 8, "modules": ("q_proj", "v_proj")},
        "mlp-1": {"rank": 1, "modules": ("gate_proj", "up_proj", "down_proj")},
        "rs-64": {"rank": 64, "modules": ("o_proj", "down_proj"), "rslora": True},
        "odd-5": {"rank": 5},
    }
    for seed, (name, kind) in enumerate(kinds.items()):
        write_lora(root / name, seed, **kind)
    return {name: root / name for name in kinds}
