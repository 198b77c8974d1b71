"""Answers of the base and of PEFT folders, from the serving engine as it is run, and the product's metrics on them."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

from tasks import Row, Task

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
IN_FLIGHT = 16


def answer_all(port: int, asked: list[tuple[str | None, str]], new_tokens: int) -> list[str]:
    """`asked`: adapter (None: the base) and prompt. Greedy, until EOS or `new_tokens`."""
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return list(pool.map(lambda one: _answer(port, one[0], one[1], new_tokens), asked))


def _answer(port: int, adapter: str | None, prompt: str, new_tokens: int) -> str:
    parameters: dict[str, object] = {"max_new_tokens": new_tokens}
    if adapter is not None:
        parameters |= {"adapter_id": adapter, "adapter_source": "local"}
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    body = json.dumps({"inputs": prompt, "parameters": parameters})
    connection.request("POST", "/generate", body, {"content-type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    if response.status != 200:
        raise SystemExit(f"The server answered {response.status}: {data[:300]!r}")
    text: str = json.loads(data)["generated_text"]
    return text


def scores(task: Task, answers: list[str], rows: list[Row]) -> list[float]:
    """One score a row, by packages/core's own functions."""
    pairs = [[answer, row["completion"]] for answer, row in zip(answers, rows, strict=True)]
    found = subprocess.run(
        ["node", "--import", "tsx", str(HERE / "score.mjs"), task.metric],
        input=json.dumps(pairs),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    parsed: list[float] = json.loads(found.stdout)
    return parsed
