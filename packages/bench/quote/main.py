"""`pnpm bench quote [--quick] [--json FILE] [--readme]`: ten short, different jobs; what the trainer quoted for each
before it ran, what it took, and what the very same job took when it was run again."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

for folder in ("serving", "training"):  # the second one comes first: both have a module `rows`
    sys.path.insert(1, str(Path(__file__).parents[1] / folder))

import torch
from lora_py.base_model import ensure_default
from machine import describe
from process import trainer
from runs import RUNS, Run, write_spec

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NEAR = 0.20
WANTED = 0.9  # of the runs


@dataclass(frozen=True, slots=True)
class Measured:
    name: str
    quoted_seconds: float
    seconds: float
    seconds_again: float
    quoted_tokens: int
    tokens: int
    quoted_bytes: int
    held_bytes: int

    @property
    def is_near(self) -> bool:
        return abs(self.quoted_seconds / self.seconds - 1) <= NEAR

    @property
    def is_steady(self) -> bool:
        """Whether the run itself would have been a good quote of the next one."""
        return abs(self.seconds_again / self.seconds - 1) <= NEAR

    def cells(self) -> list[str]:
        return [
            self.name,
            f"{self.quoted_seconds:.1f} s",
            f"{self.seconds:.1f} s",
            f"{100 * (self.quoted_seconds / self.seconds - 1):+.0f} %",
            f"{self.seconds_again:.1f} s",
            f"{self.quoted_tokens}",
            f"{self.tokens}",
            f"{self.quoted_bytes / 2**20:.0f} MiB",
            f"{self.held_bytes / 2**20:.0f} MiB",
        ]


def measure(run: Run, number: int, base: Path, work: Path) -> Measured:
    file = write_spec(run, number, ROOT, base, work)
    quote = _quote(file)
    taken, tokens, held = _run(json.loads(file.read_text()), work / f"process-{number}")
    shutil.rmtree(file.parent)
    again, _, _ = _run(json.loads(write_spec(run, number, ROOT, base, work).read_text()), work / f"again-{number}")
    return Measured(run.name, quote["seconds"], taken, again, quote["tokens"], tokens, quote["memory_bytes"], held)


def _run(spec: dict[str, Any], folder: Path) -> tuple[float, int, int]:
    """Its seconds, its tokens, and the most bytes that it held."""
    with trainer(spec, folder) as process:
        for event in process.events():
            if event["event"] == "finished":
                break
        return event["seconds"], event["tokens"], process.most_held()


def _quote(file: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "trainer", "quote", "--spec", str(file)]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = said.stdout.strip().splitlines()
    line: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    if "quote" not in line:
        raise SystemExit(f"The trainer gave no quote: {line.get('message') or said.stderr[-2000:]}")
    quote: dict[str, Any] = line["quote"]
    return quote


def summary(measured: list[Measured]) -> list[str]:
    near = sum(one.is_near for one in measured)
    steady = sum(one.is_steady for one in measured)
    exact = sum(one.quoted_tokens == one.tokens for one in measured)
    return [
        f"time within 20 %: {near} of {len(measured)} runs (wanted: {WANTED:.0%})",
        f"the same run again, within 20 % of the first: {steady} of {len(measured)} (the host's own scatter)",
        f"tokens exact: {exact} of {len(measured)} runs (wanted: all)",
    ]


def markdown(result: dict[str, Any], measured: list[Measured]) -> str:
    machine = result["machine"]
    load = f"{result['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after"
    head = [
        "run",
        "time quoted",
        "taken",
        "off by",
        "taken again",
        "tokens quoted",
        "counted",
        "memory quoted",
        "held",
    ]
    table = [head, ["---"] * len(head), *(one.cells() for one in measured)]
    told = (
        f"{machine['processor']}, {machine['threads']} threads on {machine['cores']} cores, torch {machine['torch']}, "
        f"commit {machine['commit']}, {result['taken_at']}, load average {load}."
    )
    return "\n".join(
        [
            told,
            "",
            *(f"| {' | '.join(row)} |" for row in table),
            "",
            *(f"- {line}" for line in summary(measured)),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="pnpm bench quote", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every third run alone")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="put the table into this folder's README.md",
    )
    parser.add_argument("--base", type=Path, default=ROOT / ".data/models/smollm2-135m-instruct")
    arguments = parser.parse_args()
    base = ensure_default(arguments.base, _say).path
    began, load = time.time(), os.getloadavg()
    measured = []
    with tempfile.TemporaryDirectory(prefix="grove-bench-") as work:
        for number, run in enumerate(RUNS):
            if arguments.quick and number % 3 != 0:
                continue
            measured.append(measure(run, number, base, Path(work)))
            print(" | ".join(measured[-1].cells()), flush=True)
    print("\n".join(summary(measured)), flush=True)
    result = {
        "machine": describe(ROOT, torch.get_num_threads()),
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began),
        "load_before": load,
        "load_after": os.getloadavg(),
        "runs": [asdict(one) for one in measured],
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.readme:
        before, _, rest = (HERE / "README.md").read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}\n{markdown(result, measured)}\n{END}{after}"
        (HERE / "README.md").write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
