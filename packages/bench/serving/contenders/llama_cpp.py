"""llama.cpp's own server, Q8_0, its adapters loaded before; each request names its own (`lora`).

llama_cpp.py SERVER AMX BASE.gguf PORT ADAPTER.gguf…    (AMX: True or False, whether its AMX path works)
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from client import Call, Client, healthy, wait_until
from protocol import Answers, Task, serve

SLOTS = 16


def main() -> None:
    server, amx, base, port, adapters = *sys.argv[1:4], int(sys.argv[4]), sys.argv[5:]
    threads = os.environ["GROVE_BENCH_THREADS"]
    command = [server, "-m", base, "--host", "127.0.0.1", "--port", str(port), "-t", threads, "-tb", threads]
    command += ["-np", str(SLOTS), "-c", str(SLOTS * 160), "--poll", "0", "--poll-batch", "0", "--no-webui"]
    command += ["--cache-ram", "0", "-lv", "0"]
    if amx != "True":
        command += ["--no-repack"]
    if adapters:
        command += ["--lora", ",".join(adapters), "--lora-init-without-apply"]
    subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = Client(port, "/completion")
    wait_until(lambda: healthy(port), 60, "llama-server")

    def turn(task: Task) -> Answers:
        calls: list[Call] = []
        for ids, adapter in zip(task["ids"], task["adapters"], strict=True):
            body: dict[str, Any] = {
                "prompt": ids,
                "n_predict": task["new_tokens"],
                "temperature": 0,
                "ignore_eos": True,
            }
            body |= {"cache_prompt": False, "return_tokens": True}
            if adapters:
                body["lora"] = [{"id": adapter, "scale": 1.0}] if adapter >= 0 else []
            calls.append((body, {}))
        answers: Answers = [body["tokens"] for _, body in client.post_all(calls, task["in_flight"])]
        return answers

    serve(turn)


if __name__ == "__main__":
    main()
