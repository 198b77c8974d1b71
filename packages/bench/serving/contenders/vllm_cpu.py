"""vLLM on the CPU through its offline API, so without HTTP, as its own guide says to set it: threads bound to cores,
room for the KV cache, tcmalloc and Intel's OpenMP preloaded (by whoever starts this). With LoRA it runs eager: its CPU
platform switches torch.compile off then.

vllm_cpu.py DTYPE BASE ADAPTER…
"""

from __future__ import annotations

import sys
from typing import Any

from protocol import Answers, Task, serve
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest


def main() -> None:
    dtype, base, adapters = sys.argv[1], sys.argv[2], sys.argv[3:]
    settings: dict[str, Any] = {"enable_lora": True, "max_loras": len(adapters), "max_lora_rank": 8} if adapters else {}
    llm = LLM(base, dtype=dtype, max_num_seqs=32, max_model_len=256, enable_prefix_caching=False, **settings)

    def turn(task: Task) -> Answers:
        new = task["new_tokens"]
        sampling = SamplingParams(temperature=0, max_tokens=new, min_tokens=new, ignore_eos=True, detokenize=False)
        loras = [LoRARequest(f"a{a}", a + 1, adapters[a]) if a >= 0 else None for a in task["adapters"]]
        prompts = [{"prompt_token_ids": ids} for ids in task["ids"]]
        made = llm.generate(prompts, sampling, lora_request=loras, use_tqdm=False)
        return [list(answer.outputs[0].token_ids) for answer in made]

    serve(turn)


if __name__ == "__main__":
    main()
