"""Picks the forward pass for the machine."""

from __future__ import annotations

from pathlib import Path

import torch

from serving.models.causal import Model, TorchModel
from serving.models.config import ModelConfig, ModelError
from serving.models.weights import load_weights


def pick_device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"--device {name}: use auto, cpu or cuda")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("--device cuda: torch finds no CUDA device")
    return torch.device(name)


def load_model(
    folder: Path, config: ModelConfig, device: torch.device, max_positions: int, weights: str, threads: int
) -> Model:
    if threads:
        torch.set_num_threads(threads)
    loaded = load_weights(folder, config, device)
    return TorchModel(config, loaded, max_positions)
