"""Our server as it is run, over HTTP. Adapters lie in its disk cache and are named as the gateway names them.

grove_http.py BASE CACHE PORT SHA256S.json with|without [SETTING…]

with or without prompt lookup; settings go to the server as they are.

Beside plain turns it takes tasks with "kind": "details" (tokens and log-probabilities of each answer), "first_token"
(seconds to the first token, one request after another), "gaps" (one long prompt arrives while others decode).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from client import Call, Client, healthy, wait_until
from protocol import Answers, Task, serve
from streams import Stream, read_until

SECRET = "bench"


class Server:
    def __init__(self, port: int, adapters: list[str]) -> None:
        self._port = port
        self._adapters = adapters
        self._client = Client(port, "/generate")

    def calls(self, task: Task, **more: Any) -> list[Call]:
        shas = [self._adapters[a] if a >= 0 else None for a in task["adapters"]]
        settings = {"max_new_tokens": task["new_tokens"], "ignore_eos_token": task.get("ignore_eos", True), **more}
        return [_call(text, sha, settings) for text, sha in zip(task["texts"], shas, strict=True)]

    def plain(self, task: Task) -> Answers:
        answered = self._client.post_all(self.calls(task), task["in_flight"])
        return [[0] * int(headers["x-generated-tokens"]) for headers, _ in answered]

    def details(self, task: Task) -> dict[str, Any]:
        answered = self._client.post_all(self.calls(task, details=True), task["in_flight"])
        tokens = [body["details"]["tokens"] for _, body in answered]
        return {
            "tokens": sum(map(len, tokens)),
            "answers": [[token["id"] for token in row] for row in tokens],
            "logprobs": [[token["logprob"] for token in row] for row in tokens],
            "generated": [body["generated_text"] for _, body in answered],
        }

    def first_token(self, task: Task) -> dict[str, Any]:
        seconds = []
        for call in self.calls(task):
            stream = Stream(self._port, "/generate_stream", call)
            read_until([stream], lambda: False)
            seconds.append(stream.moments[0] - stream.began)
        return {"tokens": 0, "seconds": seconds}

    def gaps(self, task: Task) -> dict[str, Any]:
        """The last prompt arrives when every other one has `after` tokens; the others' gaps before and after that."""
        *calls, long = self.calls(task)
        streams = [Stream(self._port, "/generate_stream", call) for call in calls]
        read_until(streams, lambda: all(len(stream.moments) >= task["after"] for stream in streams))
        short = [stream for stream in streams if len(stream.moments) < task["after"]]
        if short:
            raise SystemExit(f"a stream ended early: {short[0].beginning!r}")
        late = Stream(self._port, "/generate_stream", long)
        read_until([*streams, late], lambda: False)
        gaps = [
            (after - before, late.began < after and before < late.moments[0])
            for stream in streams
            for before, after in zip(stream.moments, stream.moments[1:], strict=False)
        ]
        return {"tokens": 0, "gaps": gaps, "long_first_token_s": late.moments[0] - late.began}


def _call(text: str, sha256: str | None, settings: dict[str, Any]) -> Call:
    headers = {"authorization": f"Bearer {SECRET}", "x-grove-tenant": "bench"}
    if sha256 is not None:
        settings = {**settings, "adapter_id": f"bench-{sha256[:16]}/1"}
        headers["x-grove-adapter"] = f"{settings['adapter_id']}@{sha256};format=raw"
    return {"inputs": text, "parameters": settings}, headers


def main() -> None:
    base, cache, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    adapters = json.loads(Path(sys.argv[4]).read_text())
    command = [sys.executable, "-m", "serving", "--model", base, "--port", str(port), "--cache", cache]
    if sys.argv[5] == "without":
        command += ["--speculative-tokens", "0"]
    command += ["--threads", os.environ["GROVE_BENCH_THREADS"], "--log-level", "warning", *sys.argv[6:]]
    subprocess.Popen(command, env={**os.environ, "GROVE_INTERNAL_SECRET": SECRET}, stdout=sys.stderr)
    wait_until(lambda: healthy(port), 120, "the server")
    server = Server(port, adapters)
    kinds = {"details": server.details, "first_token": server.first_token, "gaps": server.gaps}
    serve(lambda task: kinds.get(task.get("kind", ""), server.plain)(task))


if __name__ == "__main__":
    main()
