"""Picks the forward pass for the machine."""

from __future__ import annotations

from pathlib import Path

import torch
from lora_py.kernels import load_library

from serving.models.causal import Model, TorchModel
from serving.models.config import ModelConfig, ModelError
from serving.models.native import NativeModel, supports
from serving.models.weights import load_weights

WEIGHTS = ("auto", "int8", "fp32", "torch", "bf16", "fp16")
PLAIN_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise ModelError(f"--device {name}: use auto, cpu or cuda")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("--device cuda: torch finds no CUDA device")
    return torch.device(name)


def plain_dtype(weights: str, device: torch.device) -> torch.dtype:
    """What the torch model computes in: as asked for; by itself 16 bits on CUDA and float32 on a CPU."""
    if weights == "auto" and device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return PLAIN_DTYPES.get(weights, torch.float32)


def load_model(
    folder: Path, config: ModelConfig, device: torch.device, max_positions: int, weights: str, threads: int
) -> Model:
    """`auto`: on a CPU 8-bit weights in the native kernels where there is a compiler, fp32 in torch where there is
    none; on CUDA 16-bit weights in torch."""
    if weights not in WEIGHTS:
        raise ModelError(f"--weights {weights}: use {', '.join(WEIGHTS)}")
    if threads:
        torch.set_num_threads(threads)
    if device.type == "cpu" and weights in ("auto", "int8", "fp32") and supports(config):
        library = load_library()
        if library is not None:
            loaded = load_weights(folder, config, device)
            return NativeModel(library, config, loaded, max_positions, weights != "fp32", threads)
    if weights == "int8":
        lacking = "need a C++ compiler and a CPU" if supports(config) else f"do not compute this {config.family}"
        raise ModelError(f"--weights int8 needs the native kernels, which {lacking}")
    return TorchModel(config, load_weights(folder, config, device, plain_dtype(weights, device)), max_positions)
