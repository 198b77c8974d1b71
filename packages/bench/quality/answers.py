"""Answers of the base and of PEFT folders, from the serving engine as it is run, and the product's metrics on them."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tasks import Row, Task

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
IN_FLIGHT = 16


def answer_all(port: int, asked: list[tuple[str | None, str]], new_tokens: int) -> list[str]:
    """`asked`: adapter (None: the base) and prompt. Greedy, until EOS or `new_tokens`."""
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return list(pool.map(lambda one: _answer(port, one[0], one[1], new_tokens), asked))


def choose_all(port: int, asked: list[tuple[str | None, str]], labels: list[str]) -> list[str]:
    """Forced choice: for each prompt the likeliest label, as in the evaluations of the product."""
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return list(pool.map(lambda one: _choice(port, one[0], one[1], labels), asked))


def _answer(port: int, adapter: str | None, prompt: str, new_tokens: int) -> str:
    parameters = {"max_new_tokens": new_tokens, **_parameters(adapter)}
    text: str = _ask(port, "/generate", {"inputs": prompt, "parameters": parameters})["generated_text"]
    return text


def _choice(port: int, adapter: str | None, prompt: str, labels: list[str]) -> str:
    continuations = [f" {label}" for label in labels]
    body = {"inputs": prompt, "continuations": continuations, "parameters": _parameters(adapter)}
    logprobs = [score["logprob"] for score in _ask(port, "/score", body)["scores"]]
    return labels[logprobs.index(max(logprobs))]


def _parameters(adapter: str | None) -> dict[str, Any]:
    return {} if adapter is None else {"adapter_id": adapter, "adapter_source": "local"}


def _ask(port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    if response.status != 200:
        raise SystemExit(f"The server answered {response.status}: {data[:300]!r}")
    answer: dict[str, Any] = json.loads(data)
    return answer


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
