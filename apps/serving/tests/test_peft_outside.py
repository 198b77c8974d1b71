from __future__ import annotations

from pathlib import Path

import pytest
from lora_py.peft_files import read_adapter
from lora_py.peft_weights import AdapterError
from peft_outside import KINDS, compare, make
from tiny import write_model

TOLERANCE = 0.05  # of logits of about ±10: adapters are kept in half precision


def test_adapters_made_by_peft_answer_as_peft_does_all_in_one_batch(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    rows = compare(tmp_path / "base", tmp_path, "fp32", list(range(40, 70)), 24, TOLERANCE, 0.05)
    assert [row.kind for row in rows] == list(KINDS)
    assert [row for row in rows if row.mismatches] == []
    assert all(row.differs_from_base for row in rows)
    assert [row for row in rows if not row.equal_to_generate and not row.near_ties] == []
    assert sum(row.equal_to_generate for row in rows) >= len(rows) - 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "embed_tokens"),
        ({"target_modules": ["lm_head", "q_proj"]}, "lm_head"),
    ],
)
def test_what_peft_can_make_and_we_can_not_serve_is_refused_by_name(
    tmp_path: Path, base: Path, kind: dict[str, object], name: str
) -> None:
    make(tmp_path / "lora", base, {"r": 2, "target_modules": ["q_proj"], **kind}, 1, 0.1)
    with pytest.raises(AdapterError, match=name):
        read_adapter(tmp_path / "lora")


def test_other_methods_of_peft_are_refused_by_name(tmp_path: Path, base: Path) -> None:
    import peft
    import transformers

    for config in (peft.LoHaConfig(r=2, target_modules=["q_proj"]), peft.IA3Config(task_type="CAUSAL_LM")):
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "lora")
        with pytest.raises(AdapterError, match=f"{config.peft_type.value}"):
            read_adapter(tmp_path / "lora")
