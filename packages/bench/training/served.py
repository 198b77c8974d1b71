"""From a checkpoint to the first token that the engine answers from it, while the training goes on, and what that costs
the training.

Every step has as many tokens as any other. The steps of the first half after each checkpoint, in which it is written,
announced and prompted, are set against those of the second half, in which nothing happens beside the training.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

from engine import server
from figures import Figure
from own import spec
from process import trainer

EVERY = 16  # steps between two checkpoints
NEW_TOKENS = 16


def measure(base: Path, work: Path, rows: list[dict[str, str]], batch_size: int, checkpoints: int) -> list[Figure]:
    work.mkdir(parents=True)
    file = work / "rows.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    steps = EVERY * (checkpoints + 1)
    job = spec(base, file, work, "job", batch_size=batch_size, max_steps=steps, checkpoint_every_steps=EVERY)
    folder = work / "job/checkpoints"
    folder.mkdir(parents=True)
    answers: list[Answer] = []
    seconds: dict[int, float] = {}
    with server(base, folder) as port, trainer(job, work / "process") as process:
        for event in process.events():
            match event["event"]:
                case "step":
                    seconds[event["step"]] = event["seconds"]
                case "checkpoint":
                    name = str(Path(event["path"]).relative_to(folder))
                    answers.append(Answer(port, name, rows[len(answers)]["prompt"]))
                case "finished":
                    break
        waits = [answer.first_token() for answer in answers]
    slowed = [100 * _slowed(seconds, EVERY * at) for at in range(1, checkpoints + 1)]
    return [
        Figure(
            "first-token",
            "a checkpoint's event to the first token served from it, while the training goes on",
            "<= 5 s",
            *_spread(waits),
            unit="s",
        ),
        Figure(
            "slowed",
            f"training slowed by a checkpoint every {EVERY} steps, prompted for {NEW_TOKENS} tokens",
            "<= 10 %",
            *_spread(slowed),
            unit="%",
            detail={"seconds_a_step": round((seconds[steps] - seconds[EVERY]) / (steps - EVERY), 3)},
        ),
    ]


def _slowed(seconds: dict[int, float], at: int) -> float:
    """What came on top of the steps after the checkpoint at step `at`, as a share of the steps until the next one."""
    begin, middle, end = (seconds[at + steps] for steps in (0, EVERY // 2, EVERY))
    calm = end - middle
    return (middle - begin - calm) / (2 * calm)


def _spread(values: list[float]) -> tuple[float, float, float]:
    middle, low, high = (float(f"{value:.3g}") for value in (statistics.median(values), min(values), max(values)))
    return middle, low, high


class Answer:
    """A streamed answer, read beside the trainer's events."""

    def __init__(self, port: int, adapter: str, prompt: str) -> None:
        self._parameters = {"max_new_tokens": NEW_TOKENS, "adapter_id": adapter, "adapter_source": "local"}
        self._began = time.perf_counter()
        self._first: float | None = None
        self._said = b""
        self._thread = threading.Thread(target=self._read, args=(port, prompt))
        self._thread.start()

    def first_token(self) -> float:
        self._thread.join()
        if self._first is None:
            raise SystemExit(f"No token came from {self._parameters['adapter_id']}: {self._said!r}")
        return self._first - self._began

    def _read(self, port: int, prompt: str) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        body = json.dumps({"inputs": prompt, "parameters": self._parameters})
        connection.request("POST", "/generate_stream", body, {"content-type": "application/json"})
        for line in connection.getresponse():
            self._said = (self._said + line)[:500]
            if self._first is None and b'"token"' in line:
                self._first = time.perf_counter()
