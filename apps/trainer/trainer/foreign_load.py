"""A base model's folder opened for training: by hand where we can, through transformers where we may.

transformers gives the modules and their wiring; the weights are read here, one tensor at a time, so a quantized base
never stands in memory whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lora_py.base_model import LLAMA_FAMILY, BaseModel, BaseModelError, open_folder
from lora_py.quantized_base import Kind, quantize
from safetensors import safe_open
from torch import Tensor, nn

from trainer.base import Base
from trainer.errors import TrainerError
from trainer.foreign import AdaptedLinear, ForeignModel, Pass
from trainer.foreign_families import architecture_of
from trainer.frozen import Frozen, Quantized, Whole
from trainer.model import Linear, load_model


def load_base(
    path: Path,
    device: torch.device,
    product_dtype: torch.dtype = torch.float32,
    check: Callable[[], None] = lambda: None,
    quantized: Kind | None = None,
) -> Base:
    """Raises TrainerError."""
    try:
        base = open_folder(path)
    except BaseModelError as error:
        raise TrainerError("trainer_bad_spec", str(error)) from error
    if base.config.get("model_type") in LLAMA_FAMILY:
        return load_model(path, device, torch.float32, product_dtype, check, quantized)
    architecture = architecture_of(base)
    model = _empty_model(base, architecture)
    frozen = _fill(model, base, device, lambda weight: _frozen(weight, product_dtype, quantized), check)
    current = Pass()
    sizes = _adapt(model, frozen, device, current)
    config = model.config.to_dict()
    return ForeignModel(
        architecture=architecture,
        config=config,
        linears=sizes,
        weights=frozen,
        widest=max(in_size for _, in_size in sizes.values()),
        max_length=int(config["max_position_embeddings"]),
        notes=(
            *(["bf16 products"] if product_dtype == torch.bfloat16 else []),
            f"by transformers {version('transformers')}",
        ),
        _model=model.to(device).eval().requires_grad_(False),
        _current=current,
    )


def _empty_model(base: BaseModel, architecture: str) -> Any:
    """Its weights have their addresses, and no memory until something is written there."""
    import transformers  # seconds, and no business of the other families
    from transformers.initialization import no_init_weights

    transformers.utils.logging.set_verbosity_error()
    kind = getattr(transformers, architecture)
    with no_init_weights():
        return kind(kind.config_class.from_pretrained(base.path, local_files_only=True))


def _fill(
    model: Any,
    base: BaseModel,
    device: torch.device,
    freeze: Callable[[Tensor], Frozen],
    check: Callable[[], None],
) -> dict[str, Frozen]:
    """Writes all weights but those of the layers' linears, which it gives back."""
    linears = dict(_linears(model))
    wanted: dict[str, Tensor] = dict(model.named_parameters())
    frozen: dict[str, Frozen] = {}
    for key, tensor in _tensors(base):
        check()
        target = wanted.pop(key, None)
        if target is None:
            continue
        if tensor.shape != target.shape:
            there, here = ("x".join(map(str, size)) for size in (tensor.shape, target.shape))
            raise _refused(f"{key} of the base model at {base.path} is {there}, and its config.json says {here}.")
        name = key.removeprefix("model.").removesuffix(".weight")
        if name in linears and key.endswith(".weight"):
            frozen[name] = freeze(tensor.to(device))
        else:
            target.data.copy_(tensor)
    model.tie_weights()
    tied = model.config.tie_word_embeddings
    missing = sorted(key for key in wanted if not (tied and key.startswith("lm_head.")))
    if missing:
        raise _refused(f"The base model at {base.path} has no tensor {missing[0]}.")
    return frozen


def _adapt(model: Any, frozen: Mapping[str, Frozen], device: torch.device, current: Pass) -> dict[str, tuple[int, int]]:
    """Puts our linears in the place of theirs. Returns their sizes, (out, in)."""
    sizes = {}
    for name, linear in list(_linears(model)):
        sizes[name] = (linear.out_features, linear.in_features)
        _, index, module = name.split(".", 2)
        bias = None if linear.bias is None else linear.bias.data.to(device)
        ours = Linear(frozen[name], bias, {module: (0, linear.out_features)})
        parent, _, child = name.rpartition(".")
        setattr(model.base_model.get_submodule(parent), child, AdaptedLinear(ours, int(index), current))
    for layer in model.base_model.layers:
        layer.register_forward_pre_hook(lambda *_: current.check())
    return sizes


def _linears(model: Any) -> Iterator[tuple[str, nn.Linear]]:
    """Of the layers: "layers.0.self_attn.q_proj" and so on."""
    for name, module in model.base_model.named_modules():
        if name.startswith("layers.") and isinstance(module, nn.Linear):
            yield name, module


def _tensors(base: BaseModel) -> Iterator[tuple[str, Tensor]]:
    for file in base.weight_files:
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - not a dict
                yield key, tensors.get_tensor(key)


def _frozen(weight: Tensor, product_dtype: torch.dtype, quantized: Kind | None) -> Frozen:
    if quantized is None:
        return Whole(weight.to(product_dtype))
    return Quantized((quantize(weight, quantized),), product_dtype)


def _refused(message: str) -> TrainerError:
    return TrainerError("trainer_bad_spec", message)
