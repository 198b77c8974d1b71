"""Hugging Face transformers with PEFT: one padded batch, each row its own adapter (`adapter_names`), fp32.

hf_peft.py BASE ADAPTER…
"""

from __future__ import annotations

import os
import sys

import torch
from peft import PeftModel
from protocol import Answers, Task, serve
from transformers import AutoModelForCausalLM


def main() -> None:
    base, adapters = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(int(os.environ["GROVE_BENCH_THREADS"]))
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(plain, adapters[0], adapter_name="a0")
    for index, folder in enumerate(adapters[1:], 1):
        model.load_adapter(folder, adapter_name=f"a{index}")
    model.eval()

    @torch.inference_mode()
    def turn(task: Task) -> Answers:
        names = ["__base__" if adapter < 0 else f"a{adapter}" for adapter in task["adapters"]]
        ids, new = torch.tensor(task["ids"]), task["new_tokens"]
        settings = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 2}
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), adapter_names=names, **settings)
        answers: Answers = out[:, ids.shape[1] :].tolist()
        return answers

    serve(turn)


if __name__ == "__main__":
    main()
