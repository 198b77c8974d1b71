"""Contenders that take turns, one training step at a time, so that what else the machine does falls on all of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Figure, of_rounds
from own import Batch, write_start
from peers import PEER_ENV

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Step:
    wall: float
    cpu: float
    loss: float


class Contender:
    def __init__(self, name: str, base: Path, folder: Path) -> None:
        python = PEER_ENV / "bin/python" if name.startswith("trl") else Path(sys.executable)
        self.name = name
        self.steps: list[Step] = []
        self._log = (folder / f"{name}.log").open("w+")
        self._process = subprocess.Popen(
            [str(python), str(HERE / "contender.py"), name, str(base), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )

    def ready(self) -> None:
        self._answer("ready")

    def turn(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.steps.append(Step(**json.loads(self._answer("{"))))

    def leave(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _answer(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        self._log.seek(0)
        raise SystemExit(f"The contender {self.name} ended early: {self._log.read()[-2000:]}")


Steps = dict[str, list[Step]]


def race(names: list[str], base: Path, folder: Path, batches: list[Batch]) -> Steps:
    """A step of each contender a batch; the first one, in which memory is found and kernels are chosen, is left out."""
    folder.mkdir()
    (folder / "batches.json").write_text(json.dumps(batches))
    write_start(base, folder / "start")
    contenders: list[Contender] = []
    try:
        for name in names:
            contenders.append(Contender(name, base, folder))
        for contender in contenders:
            contender.ready()
        for _ in batches:
            for contender in contenders:
                contender.turn()
    finally:
        for contender in contenders:
            contender.leave()
    return {contender.name: contender.steps[1:] for contender in contenders}


def faster(row: str, title: str, wanted: str, steps: Steps, own: str, peer: str, batches: list[Batch]) -> Figure:
    """How many of our steps the peer's takes."""
    ours, theirs = steps[own], steps[peer]
    pairs = list(zip(ours, theirs, strict=True))
    by_cpu = statistics.median(other.cpu / step.cpu for step, other in pairs)
    return of_rounds(
        row,
        title,
        wanted,
        [other.wall / step.wall for step, other in pairs],
        by_cpu=f"{by_cpu:.3g}",
        ours=summary(ours, batches),
        peer=summary(theirs, batches),
    )


def summary(steps: list[Step], batches: list[Batch]) -> dict[str, Any]:
    tokens = [sum(len(p) + len(c) for p, c in batch) for batch in batches[1:]]
    return {
        "tokens_per_second": round(statistics.median(n / s.wall for n, s in zip(tokens, steps, strict=True)), 1),
        "cpu_seconds_a_step": round(statistics.median(step.cpu for step in steps), 3),
        "losses": [round(step.loss, 5) for step in steps],
    }


def equal_loss(steps: Steps, own: str, exact: str) -> Figure:
    """All start from one adapter and see the same rows, so in fp32 the losses are the same number step by step."""
    theirs = steps[exact]
    size = statistics.fmean(step.loss for step in theirs)
    apart = {
        name: 100 * statistics.fmean(abs(a.loss - b.loss) for a, b in zip(found, theirs, strict=True)) / size
        for name, found in steps.items()
        if name != exact
    }
    shown = {name: float(f"{value:.2g}") for name, value in apart.items()}
    others = ", ".join(f"{name} {value:g} %" for name, value in shown.items() if name != own)
    title = f"loss of our steps against {exact}'s, mean difference ({others})"
    return Figure("loss", title, "equal", shown[own], unit="%")
