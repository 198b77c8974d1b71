"""Which grouped LoRA layer a device gets."""

from __future__ import annotations

import importlib.util

import torch

from lora_py.grouped import PlanLora, plan_plain


def plan_lora_for(device: torch.device) -> PlanLora:
    """Triton's on a CUDA device where the package is installed, torch's everywhere else."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return plan_plain
    from lora_py.kernels.triton_lora import plan_triton

    return plan_triton
