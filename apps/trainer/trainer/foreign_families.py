"""The architectures that transformers runs for us, and where each keeps the linears that a spec names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lora_py.base_model import LLAMA_FAMILY, BaseModel
from lora_py.peft_files import MODULE_PARENTS

from trainer.errors import TrainerError

LLAMA_NAMES = {name: name for name in MODULE_PARENTS}
ATTENTION_NAMES = {name: name for name in ("q_proj", "k_proj", "v_proj")}

# A spec's name of a linear -> the base's own.
FAMILIES: Mapping[str, Mapping[str, str]] = {
    "GemmaForCausalLM": LLAMA_NAMES,
    "Gemma2ForCausalLM": LLAMA_NAMES,
    "Gemma3ForCausalLM": LLAMA_NAMES,
    "GraniteForCausalLM": LLAMA_NAMES,
    "Olmo2ForCausalLM": LLAMA_NAMES,
    "SmolLM3ForCausalLM": LLAMA_NAMES,
    "PhiForCausalLM": {**ATTENTION_NAMES, "o_proj": "dense", "up_proj": "fc1", "down_proj": "fc2"},
    "Phi3ForCausalLM": {
        **dict.fromkeys(ATTENTION_NAMES, "qkv_proj"),
        "o_proj": "o_proj",
        **dict.fromkeys(("gate_proj", "up_proj"), "gate_up_proj"),
        "down_proj": "down_proj",
    },
    "Starcoder2ForCausalLM": {**ATTENTION_NAMES, "o_proj": "o_proj", "up_proj": "c_fc", "down_proj": "c_proj"},
}

_UNSUPPORTED: Mapping[str, str] = {
    "quantization_config": "give the model before it was quantized, and ask for quantization in the job.",
    "use_bidirectional_attention": "it is not a causal model.",
}


def architecture_of(base: BaseModel) -> str:
    """The folder's architecture, where it is one of ours. Code that came with a model is never run, so `auto_map` has
    no say: an architecture is either transformers' own or refused."""
    config = base.config
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else "none"
    if architecture not in FAMILIES:
        code = " Code that comes with a model is never run." if "auto_map" in config else ""
        raise _refused(
            f"{base.path} holds a model of type {config.get('model_type')!r}, architecture {architecture}. "
            f"We train {', '.join(sorted(LLAMA_FAMILY))}, and {', '.join(sorted(FAMILIES))}.{code}"
        )
    for key, problem in _UNSUPPORTED.items():
        if config.get(key):
            raise _refused(f"{base.path}: {key} is set in config.json: {problem}")
    if (base.path / "adapter_config.json").exists():
        raise _refused(f"{base.path} holds an adapter beside the model: give the base model alone.")
    return architecture


def own_names(architecture: str, target_modules: Collection[str]) -> set[str]:
    """The base's own names of what a spec targets. All seven stand for all that there are."""
    family = FAMILIES[architecture]
    missing = [name for name in target_modules if name not in family]
    if missing and set(target_modules) != set(MODULE_PARENTS):
        raise _refused(
            f"adapter.target_modules names {', '.join(missing)}, which a base of {architecture} does not have: "
            f"choose among {', '.join(family)}."
        )
    return {family[name] for name in target_modules if name in family}


def _refused(message: str) -> TrainerError:
    return TrainerError("trainer_bad_spec", message)
