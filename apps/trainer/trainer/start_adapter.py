"""An adapter folder that a job goes on from: another run's, PEFT's, or a checkpoint of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lora_py.peft_config import json_object, parse_config
from lora_py.peft_files import CONFIG_FILE, GROVE_FILE, AdapterConfig, AdapterError, read_files, sha256_of
from lora_py.peft_weights import name_some
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from trainer.base_hash import base_sha256
from trainer.errors import TrainerError
from trainer.lora import Lora
from trainer.spec import Spec

_KEY = re.compile(r"base_model\.model\.(?:model\.)?(layers\..+)\.lora_(A|B|magnitude_vector)(?:\.weight)?")
Values = dict[str, dict[str, Tensor]]  # "layers.0.self_attn.q_proj" -> A, B or magnitude_vector -> values


def go_on_from(folder: Path, spec: Spec, lora: Lora) -> Lora:
    """The new adapter with the values of the one in the folder. Raises TrainerError where it does not fit."""
    try:
        config_bytes, weight_bytes = read_files(folder)
        raw = json_object(config_bytes, CONFIG_FILE)
        config, _ = parse_config(json.dumps({**raw, "use_dora": False}).encode(), spec.prompt_format)
        grove = json_object((folder / GROVE_FILE).read_bytes(), GROVE_FILE) if (folder / GROVE_FILE).is_file() else {}
    except AdapterError as error:
        raise _refused(error.message) from error
    _check_base(spec, config, grove)
    _check_settings(spec, lora, config, raw.get("use_dora") is True)
    take_values(lora, read_values(weight_bytes))
    return replace(lora, origin=sha256_of(config_bytes, weight_bytes))


def read_values(weight_bytes: bytes) -> Values:
    try:
        tensors = load(weight_bytes)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise _refused(f"its weights are not a readable safetensors file: {error}.") from error
    values: Values = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise _refused(f"its weights hold {key[:200]}, which is not a part of a LoRA adapter.")
        values.setdefault(match[1], {})[match[2]] = tensor
    return values


def take_values(lora: Lora, values: Values) -> None:
    _check_modules(lora.pairs, values)
    wanted = [(name, kind, half) for name, pair in lora.pairs.items() for kind, half in zip("AB", pair, strict=True)]
    wanted += [(name, "magnitude_vector", dora.magnitude) for name, dora in lora.doras.items()]
    for name, kind, target in wanted:
        value = values[name].get(kind)
        if value is None:
            raise _refused(f"its weights have no lora_{kind} of {name}.")
        if value.shape != target.shape:
            there, here = ("x".join(map(str, tensor.shape)) for tensor in (value, target))
            raise _refused(f"lora_{kind} of {name} is {there} there and {here} here: it was trained on another base.")
        if not torch.isfinite(value).all():
            raise _refused(f"lora_{kind} of {name} holds values that are no numbers.")
        target.data.copy_(value)


def _check_modules(ours: Iterable[str], theirs: Iterable[str]) -> None:
    more, less = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    if more:
        raise _refused(f"it is also on {name_some(more)}, which adapter.target_modules does not name.")
    if less:
        raise _refused(f"it is not on {name_some(less)}, which adapter.target_modules names.")


def _check_base(spec: Spec, config: AdapterConfig, grove: dict[str, Any]) -> None:
    """By the hash of the weights where the folder tells it, else by name. A path of another machine says nothing."""
    known, named = grove.get("base_sha256"), config.base_model
    if isinstance(known, str):
        if known != base_sha256(spec.base_model.path):
            raise _refused(f"it was trained on {named}, whose weights are not those of {spec.base_model.id}.")
    elif named is not None and not named.startswith(("/", ".", "~")) and _last(named) != _last(spec.base_model.id):
        raise _refused(
            f"it was trained on {named}, and this job's base is {spec.base_model.id}. Where they are the same model, "
            f"write that name as base_model_name_or_path in its {CONFIG_FILE}."
        )


def _check_settings(spec: Spec, lora: Lora, config: AdapterConfig, is_dora: bool) -> None:
    if is_dora != spec.adapter.use_dora:
        kind = "is a DoRA adapter" if is_dora else "is no DoRA adapter"
        raise _refused(f"it {kind}: set adapter.use_dora to {str(is_dora).lower()}.")
    for name in lora.pairs:
        if config.module_rank(name) != spec.adapter.rank:
            raise _refused(
                f"its rank is {config.module_rank(name)} at {name}, and adapter.rank is {spec.adapter.rank}: make them "
                "the same. An adapter whose modules differ in rank cannot be gone on from."
            )
        if abs(config.module_scaling(name) - lora.scaling) > 1e-6 * lora.scaling:
            raise _refused(
                f"it scales {name} by {config.module_scaling(name):g}, and this job by {lora.scaling:g}: set "
                f"adapter.alpha to {config.alpha:g} and adapter.use_rslora to {str(config.use_rslora).lower()}."
            )


def _last(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1].lower()


def _refused(reason: str) -> TrainerError:
    return TrainerError("trainer_bad_spec", f"The adapter to go on from (adapter.init_adapter) does not fit: {reason}")
